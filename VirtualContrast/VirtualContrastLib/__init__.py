"""The VirtualContrast engine: a pre-contrast breast study in, a result folder of synthetic contrast out.

Research only. Nothing in this package imports slicer, vtk or qt.
"""

__version__ = "0.1.0"
