"""Training losses, one file a published system; plain functions on tensors."""
