"""What all systems share in training: recipes, exact resume, run folders, progress."""
