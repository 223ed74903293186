"""The result folder: manifest, atomic writing, checksums."""
