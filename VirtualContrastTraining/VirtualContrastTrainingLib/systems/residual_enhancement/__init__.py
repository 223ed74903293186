"""The residual network of relative enhancement, trained on real patients: the system behind the default model."""
