# Slicer does more here; nothing of it concerns the lists of files.
