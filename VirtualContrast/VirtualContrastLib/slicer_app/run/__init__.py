"""Starting, watching and ending runs from Slicer."""
