"""iterU-Net: later phases from the pre-contrast volume and the first phase."""
