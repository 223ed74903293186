"""The pixels of a case without anything else: no name, no header, the same gray scale for real and synthetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..events import InputError
from ..export.figures.display import common_window, sample
from ..io.read import read_volume, split_spec
from ..io.volumes import voxels_of
from .study_list import BESIDE, NODE, ReadingCase, ReadingList

WINDOW = (0.0, 1000.0)
"""The gray window in which every image of a reading is shown."""
Scale = tuple[float, float]


@dataclass(frozen=True)
class CaseImages:
    """What is shown of a case, as `blinded` makes it.

    Attributes:
        image: The image to read.
        beside: The one beside it.
    """

    image: sitk.Image
    beside: sitk.Image | None

    @property
    def volumetric(self) -> bool:
        """A volume, not a single picture."""
        return self.image.GetSize()[2] > 1


def own_scale(image: sitk.Image) -> Scale:
    """Lowest and highest gray value shown, from the image itself: its 1st and 99.5th percentile."""
    low, high = (float(value) for value in np.percentile(sample(voxels_of(image)), (1.0, 99.5)))
    whole = sitk.GetArrayViewFromImage(image)
    return (low, high) if high > low else (float(whole.min()), float(whole.max()))


def blinded(image: sitk.Image, scale: Scale) -> sitk.Image:
    """The image as int16 in its place, the gray values of `scale` (low, high) mapped to 0..1000.

    Whole numbers in one unit for all: the number type, the fractions and the units of gray values under the mouse would
    tell a network's output from a scanner's. So would the digits of a geometry from another file format: it is rounded
    to 0.0001 mm (spacing) and 0.001 mm (origin). Values beyond the scale are kept as far as int16 reaches.
    """
    values = sitk.GetArrayFromImage(image).astype(np.float32)
    values -= scale[0]
    values *= (WINDOW[1] - WINDOW[0]) / max(scale[1] - scale[0], 1e-12)
    np.clip(np.rint(values, out=values), -32768, 32767, out=values)
    plain = sitk.GetImageFromArray(values.astype(np.int16))
    plain.SetSpacing([round(value, 4) for value in image.GetSpacing()])
    plain.SetOrigin([round(value, 3) for value in image.GetOrigin()])
    plain.SetDirection([round(value, 6) for value in image.GetDirection()])
    return plain


def load_case(case: ReadingCase, kept: Mapping[str, sitk.Image]) -> CaseImages:
    """Read the images of a case; `kept` holds those of `node:NAME`. Raises InputError."""

    def read(place: str) -> sitk.Image:
        return kept[place] if place.startswith(NODE) else read_volume(place)[0]

    image = read(case.image)
    if not case.beside:
        return CaseImages(blinded(image, own_scale(image)), None)
    beside = read(case.beside)
    if case.scale == BESIDE:
        common = common_window(voxels_of(beside))
        return CaseImages(blinded(image, common), blinded(beside, common))
    return CaseImages(blinded(image, own_scale(image)), blinded(beside, own_scale(beside)))


def check_present(reading_list: ReadingList, nodes: Mapping[str, sitk.Image]) -> None:
    """Raise InputError for the first row whose image is not there; it names the row, not the file, to keep blind."""
    for number, case in enumerate(reading_list.cases, start=2):
        for place in filter(None, (case.image, case.beside)):
            there = place in nodes if place.startswith(NODE) else split_spec(Path(place))[0].exists()
            if not there:
                raise InputError(f"An image of row {number} of the reading list is not there; ask the study lead.")
