"""Data preparation, training and evaluation of the VirtualContrast models, headless."""

from VirtualContrastLib.version import __version__

__all__ = ["__version__"]
