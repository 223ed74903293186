"""The version of engine and training library; pyproject.toml says the same."""

__version__ = "0.2.0"
