"""Image similarity metrics shared by runs and evaluation."""
