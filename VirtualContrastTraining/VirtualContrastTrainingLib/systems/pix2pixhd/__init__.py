"""Pix2PixHD: pre-contrast to one or three post-contrast phases."""
