"""One folder a trainable system: recipe, losses, trainer and packaging."""
