"""Network architectures, one file a network. Modules here need torch and know nothing of files or images."""
