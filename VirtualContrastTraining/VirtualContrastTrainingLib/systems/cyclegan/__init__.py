"""CycleGAN: low-energy to recombined contrast-enhanced mammograms."""
