"""The part of the demo module that knows no Slicer."""
