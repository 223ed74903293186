"""Training data: the phantom, prepared data sets and how they are sampled."""
