"""One reader a file format; each hands over a volume and what its header records."""
