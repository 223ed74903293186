"""One folder per trainable system: recipe, losses, trainer and packaging."""
