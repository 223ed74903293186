"""nnU-Net for lesion segmentation."""
