"""DICOM output labeled as synthetic: series, segmentation, structured report."""
