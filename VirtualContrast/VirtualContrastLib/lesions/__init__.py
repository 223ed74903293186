"""Subtraction, lesion segmentation (nnU-Net or threshold) and measurement."""
