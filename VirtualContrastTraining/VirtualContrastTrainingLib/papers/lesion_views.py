"""Lesions in three planes (Fig. 5 of the JMI paper, Figs. 3 and 5 of the SPIE paper): slices of the volume that was
stacked again from synthetic slices show whether these agree with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.events import InputError
from VirtualContrastLib.export.figures.display import common_window, oriented_view, outline, show, subtraction_window
from VirtualContrastLib.io.volumes import to_array
from VirtualContrastLib.metrics.own_scale import image_on_own_scale

from ..metrics.pairs import Pair, phase_number
from .named_table import NamedTable, Panels, Row
from .reports import new_figure
from .table_options import TableOptions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 3
"""Lesions, the largest ones."""
COLUMNS = ("pre-contrast", "real", "synthetic", "real subtraction", "synthetic subtraction", "lesion mask")
_PANELS = Panels((), COLUMNS)
_PLANES = ("S", "P", "L")
_ROW = ("case", "plane", "slice", "lesion pixels", "real signal", "synthetic signal", "pre-contrast signal")


@dataclass(frozen=True)
class Lesion:
    """The first phase of a case: images on one scale, and the mask of its lesions.

    Attributes:
        pre: Pre-contrast volume.
        real: Real phase.
        synthetic: Synthetic phase.
        mask: The lesions.
    """

    pre: sitk.Image
    real: sitk.Image
    synthetic: sitk.Image
    mask: sitk.Image


@dataclass(frozen=True)
class ViewsReport:
    """What a figure of lesions in three planes shows.

    Attributes:
        table: name of the figure.
        data: what it shows, in words.
        rows: numbers of each plane, by column of the CSV file.
        panels: labels of the pictures of each plane.
    """

    table: str
    data: str
    rows: Sequence[Row]
    panels: Panels = _PANELS


def write_lesion_views(
    name: str, title: str, pairs: Sequence[Pair], folder: Path, options: TableOptions
) -> ViewsReport:
    """Write the figure with its numbers as CSV, JSON, PNG and HTML.

    Args:
        name: of the figure.
        title: its heading.
        pairs: volumes with lesion masks and pre-contrast volumes; those of the first phase are shown.
        folder: for the files.
        options: `data` says where the images come from.

    Returns:
        What the figure shows.

    Raises:
        InputError: no pair of the first phase has a lesion mask with voxels and a pre-contrast volume.
    """
    lesions = _largest(pairs)
    if not lesions:
        raise InputError(f"{name} needs volumes with lesion masks and pre-contrast volumes; give --lesions and --pre.")
    figure, rows = _drawn(lesions)
    figure.supxlabel(f"Data: {options.data}; the outline is the given mask", fontsize=8, color="0.35")
    report = ViewsReport(name, options.data or "", rows)
    NamedTable(
        name,
        title,
        _ROW,
        rows,
        report,
        figure,
        "lesions in three planes",
        [
            f"Data: {options.data}. The {len(lesions)} largest lesions, each in the slice with most of it.",
            "Subtractions are clipped at 0. One gray window for all phases of a case, one for its subtractions.",
        ],
    ).write(folder)
    return report


def _largest(pairs: Sequence[Pair]) -> list[Lesion]:
    """The cases with the most lesion voxels."""
    found = []
    for pair in pairs:
        if phase_number(pair.real) not in (None, 1) or pair.lesion is None or pair.pre is None:
            continue
        real, synthetic, pre, mask = (
            sitk.ReadImage(str(p)) for p in (pair.real, pair.synthetic, pair.pre, pair.lesion)
        )
        if real.GetDimension() != 3 or not (sitk.GetArrayViewFromImage(mask) > 0).any():
            continue
        if pair.own_scale:
            real, pre = image_on_own_scale(real), image_on_own_scale(pre)
        found.append(Lesion(pre, real, synthetic, mask > 0))
    return sorted(found, key=lambda lesion: -int(sitk.GetArrayViewFromImage(lesion.mask).sum()))[:SHOWN]


def _drawn(lesions: Sequence[Lesion]) -> tuple[Figure, list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    figure = new_figure(13, 1.6 * len(lesions) * len(_PLANES) + 0.4)
    axes = figure.subplots(len(lesions) * len(_PLANES), len(COLUMNS), squeeze=False)
    for number, lesion in enumerate(lesions):
        for plane, axis in enumerate(_PLANES):
            rows.append({"case": number + 1, **_draw_plane(axes[number * len(_PLANES) + plane], lesion, axis)})
    return figure, rows


def _draw_plane(axes: Sequence[Any], lesion: Lesion, axis: str) -> dict[str, Any]:
    """One row of the figure, and its numbers."""
    view = oriented_view(lesion.real, axis)
    mask = view.slices(lesion.mask) > 0
    k = int(mask.sum(axis=(1, 2)).argmax())
    pre, real, synthetic = (
        view.slices(image)[k].astype(float) for image in (lesion.pre, lesion.real, lesion.synthetic)
    )
    window = common_window(to_array(lesion.pre))
    differences = [np.maximum(post - pre, 0) for post in (real, synthetic)]
    subtracted = subtraction_window(differences[0], mask[k], window)
    shown = [(pre, window, False), (real, window, False), (synthetic, window, True)]
    shown += [(differences[0], subtracted, False), (differences[1], subtracted, True), (pre, window, False)]
    for panel, title, (pixels, gray, made) in zip(axes, COLUMNS, shown, strict=True):
        show(panel, pixels, view, gray, synthetic=made, title=f"{title}, {view.plane}")
    outline(axes[-1], mask[k], "#ffd400")
    inside = [float(image[mask[k]].mean()) for image in (real, synthetic, pre)]
    named = dict(zip(_ROW[4:], inside, strict=True))
    return {"plane": view.plane, "slice": k, "lesion pixels": int(mask[k].sum()), **named}
