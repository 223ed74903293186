"""Layouts, charts, labels and the panel of a result."""
