"""Reading, checking and writing of volumes: NIfTI, NRRD, MetaImage, DICOM and PNG."""
