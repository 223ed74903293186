"""Blinded reading in Slicer's views."""
