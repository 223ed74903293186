"""``slicer.dicomDatabase``, and loading a series as Slicer's DICOM module does."""

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from PySide6 import QtCore


class DicomDatabase(QtCore.QObject):
    """ctkDICOMDatabase: knows where the images are."""

    def __init__(self) -> None:
        super().__init__()
        self._files: dict[str, str] = {}

    def fileForInstance(self, sopInstanceUID: str) -> str:  # noqa: N803
        return self._files.get(sopInstanceUID, "")

    # -- for tests
    def load_series(self, folder: str | Path, name: str) -> Any:
        """Put the images of a folder into the database and load them as one volume node.

        In order of their places along the slice normal, with the UIDs in the node's attribute, as Slicer's plug-in for
        scalar volumes does.
        """
        import pydicom

        headers = {str(file): pydicom.dcmread(file, stop_before_pixels=True) for file in Path(folder).iterdir()}
        self._files |= {str(header.SOPInstanceUID): file for file, header in headers.items()}
        files = sorted(headers, key=lambda file: _place(headers[file]))
        names = vtk.vtkStringArray()
        for file in files:
            names.InsertNextValue(file)
        volume = slicer.modules.volumes.logic().AddArchetypeVolume(files[0], name, 0, names)
        volume.SetAttribute("DICOM.instanceUIDs", " ".join(str(headers[file].SOPInstanceUID) for file in files))
        return volume


def _place(header: Any) -> float:
    """Along the slice normal; a projection (mammography) has no place and is alone in its series."""
    if "ImageOrientationPatient" not in header:
        return 0.0
    row, column = np.reshape(header.ImageOrientationPatient, (2, 3)).astype(float)
    return float(np.cross(row, column) @ np.array(header.ImagePositionPatient, float))
