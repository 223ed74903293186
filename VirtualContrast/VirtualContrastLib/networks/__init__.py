"""Network architectures, one file per network. Modules here need torch and know nothing of files or images."""
