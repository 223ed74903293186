"""A user's lesions as labels on the grid of the study: any format and grid, layers, soft values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..events import Events, InputError
from ..files import sha256_of
from ..study import Source
from .dicom.files import dicom_errors, is_dicom, open_data_set, quiet_pydicom
from .formats.nrrd import parse_header
from .loaded import read_with_itk
from .read import load
from .volumes import like, same_geometry

MOST_LESIONS = 100
_SOFT_LIMIT = 0.5
"""A soft mask (probabilities, or a mask that was interpolated) counts from here on."""
_WHOLE = 1e-3
_KEPT = 0.5
"""A mask that loses more than half of its volume on the way to the study's grid lies elsewhere."""

_MOST_MARKED = 0.25


def read_lesions(path: str | Path, pre: sitk.Image, events: Events) -> tuple[sitk.Image, Source]:
    """Lesion labels 1..n from a mask, label volume, layered .seg.nrrd or DICOM SEG.

    A mask on another grid (other order of axes, cropped, shifted, coarser) is resampled to the nearest voxel, with a
    warning. Values between 0 and 1 are soft: 0.5 and more is lesion.

    Args:
        path: The file.
        pre: The pre-contrast volume.
        events: Where warnings go.

    Returns:
        The labels on the grid of `pre`, and the file they came from.

    Raises:
        InputError: Nothing is marked, values are not labels, or the mask lies elsewhere.
    """
    file = Path(path)
    if file.is_file() and is_dicom(file) and (found := _segmentation_object(file)) is not None:
        mask, source = found, Source((file,), "dicom", sha256_of(file), "SEG")
    elif file.is_file() and file.name.lower().endswith(".nrrd") and (layers := _layers(file)):
        mask, source = _merged(file, layers, events), Source((file,), "nrrd", sha256_of(file))
    else:
        loaded = load(path)
        mask, source = loaded.image, Source(loaded.files, loaded.format, sha256_of(*loaded.files), loaded.modality)
    labels = lesion_labels(mask, pre, file.name, events)
    if (share := float((sitk.GetArrayViewFromImage(labels) > 0).mean())) > _MOST_MARKED:
        events.warn(
            f"The lesion mask {file.name} marks {share:.0%} of the volume: make sure that it marks lesions, and is "
            "neither a mask of the breast nor inverted."
        )
    return labels, source


def lesion_labels(mask: sitk.Image, pre: sitk.Image, name: str, events: Events | None = None) -> sitk.Image:
    """Lesion labels 1..n from a user's mask, in order of its values. A mask of one value is one lesion, connected or
    not.

    Args:
        mask: The mask, on any grid.
        pre: The pre-contrast volume.
        name: File name of the mask, for messages.
        events: Where warnings go.

    Returns:
        The labels on the grid of `pre`; 0 is no lesion.

    Raises:
        InputError: There is no lesion, values are not labels, or the mask lies elsewhere.
    """
    hard = _hard(sitk.GetArrayFromImage(mask), name)
    present = np.unique(hard[hard != 0])
    if not len(present):
        raise InputError(f"The lesion mask {name} is empty; mark at least one voxel.")
    if len(present) > MOST_LESIONS:
        raise InputError(f"The lesion mask {name} has {len(present)} values; give one value, or one per lesion.")
    labels = like(np.searchsorted([0, *present], hard).astype(np.uint8), mask)
    difference = same_geometry(mask, pre)
    if not difference:
        return like(sitk.GetArrayFromImage(labels), pre)
    return _on_grid(labels, pre, name, difference, events or Events())


def _hard(values: np.ndarray, name: str) -> np.ndarray:
    """Whole labels of a mask's values; soft ones count from 0.5 on."""
    if not np.isfinite(values).all() or values.min() < 0:
        raise InputError(f"The lesion mask {name} has values that are not labels (negative or not a number).")
    whole = np.rint(values)
    if np.abs(values - whole).max() < _WHOLE:
        return whole.astype(np.int64)
    if values.max() <= 1:
        return (values >= _SOFT_LIMIT).astype(np.int64)
    raise InputError(f"The lesion mask {name} has values that are not labels; give one value, or one per lesion.")


def _on_grid(labels: sitk.Image, pre: sitk.Image, name: str, difference: str, events: Events) -> sitk.Image:
    resampled = sitk.Resample(labels, pre, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    before, after = (sitk.GetArrayViewFromImage(image) for image in (labels, resampled))
    share = _volume_mm3(after > 0, pre) / _volume_mm3(before > 0, labels)
    lost = set(np.unique(before)) - set(np.unique(after))
    if share < _KEPT or lost:
        raise InputError(
            f"The lesion mask {name} does not lie on the input's grid, and {100 * share:.0f} % of it would be left "
            f"there: {difference} Give a mask drawn on this study."
        )
    events.warn(f"The lesion mask was resampled to the voxels of the input ({100 * share:.0f} % of its volume): "
                f"{difference}")  # fmt: skip
    return resampled


def _volume_mm3(mask: np.ndarray, image: sitk.Image) -> float:
    return float(mask.sum()) * float(np.prod(image.GetSpacing()))


def _layers(path: Path) -> list[tuple[int, int]]:
    """Layer and label value of each segment of a Slicer segmentation; [] for a NRRD file that is none."""
    pairs = parse_header(path).pairs
    found: list[tuple[int, int]] = []
    while (value := pairs.get(f"Segment{len(found)}_LabelValue")) is not None:
        found.append((int(pairs.get(f"Segment{len(found)}_Layer", "0")), int(value)))
    return found


def _merged(path: Path, segments: list[tuple[int, int]], events: Events) -> sitk.Image:
    """Segments 1..n of a segmentation with one or several layers; the later one stays where two overlap (a warning)."""
    image = read_with_itk(path)
    count = image.GetNumberOfComponentsPerPixel()
    layers = [sitk.VectorIndexSelectionCast(image, n) for n in range(count)] if count > 1 else [image]
    labels, shared = np.zeros(sitk.GetArrayViewFromImage(layers[0]).shape, np.uint16), 0
    for number, (layer, value) in enumerate(segments, start=1):
        if layer >= len(layers):
            raise InputError(f"{path.name} names a layer {layer} that does not exist; save the segmentation again.")
        inside = sitk.GetArrayViewFromImage(layers[layer]) == value
        shared += int(np.count_nonzero(labels[inside]))
        labels[inside] = number
    if shared:
        events.warn(f"Segments of {path.name} overlap: {shared} voxels were given to the later segment alone.")
    return like(labels, layers[0])


def _segmentation_object(path: Path) -> sitk.Image | None:
    """Segments of a DICOM SEG as labels on the grid of its frames; None for another kind of DICOM file."""
    try:
        with quiet_pydicom():
            dataset = open_data_set(path)
            if dataset.get("Modality") != "SEG":
                return None
            return _from_frames(dataset)
    except dicom_errors() as error:
        raise InputError(f"{path.name} is a damaged DICOM segmentation; export it again.") from error


def _from_frames(dataset: Any) -> sitk.Image:
    """All segments of a segmentation object; fractional ones count from half their maximum on."""
    pixels = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    kind = str(dataset.get("SegmentationType"))
    limit = _SOFT_LIMIT * float(dataset.get("MaximumFractionalValue", 1)) if kind == "FRACTIONAL" else 1
    shared = dataset.SharedFunctionalGroupsSequence[0]
    groups = list(dataset.PerFrameFunctionalGroupsSequence)

    def part(group: Any, name: str) -> Any:
        return (group if name in group else shared)[name][0]

    first = groups[0]
    orientation = [float(v) for v in part(first, "PlaneOrientationSequence").ImageOrientationPatient]
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    places = np.array([[float(v) for v in part(g, "PlanePositionSequence").ImagePositionPatient] for g in groups])
    along = places @ normal
    measures = part(first, "PixelMeasuresSequence")
    step = _step(along, float(measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 1.0))
    slices = np.rint((along - along.min()) / step).astype(int)
    labels = np.zeros((slices.max() + 1, dataset.Rows, dataset.Columns), np.uint16)
    for frame, group, k in zip(pixels, groups, slices, strict=True):
        if kind == "LABELMAP":
            labels[k] = frame
        else:
            labels[k][frame >= limit] = int(part(group, "SegmentIdentificationSequence").ReferencedSegmentNumber)
    image = sitk.GetImageFromArray(labels)
    between_rows, between_columns = (float(v) for v in measures.PixelSpacing)
    image.SetSpacing((between_columns, between_rows, step))
    image.SetOrigin(places[int(along.argmin())].tolist())
    image.SetDirection(np.column_stack((row, column, normal)).ravel().tolist())
    return image


def _step(along: np.ndarray, declared: float) -> float:
    """Distance of neighboring slices in mm: the smallest that is measured, as empty slices may be left out."""
    gaps = np.diff(np.unique(np.round(along, 3)))
    return min(float(gaps.min()), declared) if gaps.size and declared > 0 else (declared or 1.0)
