"""The same slice as the checkpoints of a run make it (Fig. 4b of the JMI paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.export.figures.display import common_window, oriented_view, show
from VirtualContrastLib.io.volumes import to_array
from VirtualContrastLib.metrics.own_scale import image_on_own_scale
from VirtualContrastLib.models.package import ModelPackage
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.study_synthesizer import study_synthesizer

from ..data.case_study import study_of
from ..data.cases import case_folders
from ..metrics.images import read_mask
from .named_table import NamedTable, Row
from .reports import new_figure

SHOWN = 6
"""Checkpoints at most, spread over the run."""
_COLUMNS = ("checkpoint", "slice", "MAE", "MAE in lesions")


@dataclass(frozen=True)
class EpochsReport:
    """What a figure of one slice by checkpoint shows.

    Attributes:
        table: name of the figure.
        data: what it shows, in words.
        rows: numbers of each checkpoint, by column of the CSV file.
    """

    table: str
    data: str
    rows: Sequence[Row]


def write_epochs(
    name: str, title: str, packages: Mapping[str, ModelPackage], cases: Path, folder: Path, data: str
) -> EpochsReport:
    """Write the figure with its numbers as CSV, JSON, PNG and HTML, of the case with the largest lesion in a slice.

    Args:
        name: of the figure.
        title: its heading.
        packages: the checkpoints of the run by name, in order.
        cases: prepared cases.
        folder: for the files.
        data: what the cases are.

    Returns:
        What the figure shows.

    Raises:
        InputError: no case has a lesion and a first phase.
    """
    case = _shown_case(cases)
    chosen = _spread(list(packages))
    real = sitk.ReadImage(str(case / "phase_1.nrrd"))
    pre = sitk.ReadImage(str(case / "pre.nrrd"))
    view = oriented_view(real, "S")
    mask = view.slices(sitk.ReadImage(str(case / "lesions.nrrd"))) > 0
    k = int(mask.sum(axis=(1, 2)).argmax())
    figure = new_figure(2.6 * (len(chosen) + 2), 3.2)
    axes = figure.subplots(1, len(chosen) + 2)
    rows = []
    for axis, label in zip(axes[2:], chosen, strict=True):
        made = study_synthesizer(packages[label], choose_device("auto")).synthesize_study(
            study_of(case), Events(), times_s=None, perturbations=0, seed=0
        )
        truth, before = (image_on_own_scale(i) if made.arbitrary_units else i for i in (real, pre))
        window = common_window(to_array(before))
        pixels, wanted = (view.slices(image)[k].astype(float) for image in (made.phases[0], truth))
        show(axis, pixels, view, window, synthetic=True, title=label)
        error = np.abs(pixels - wanted)
        rows.append(
            {
                "checkpoint": label,
                "slice": k,
                "MAE": float(error.mean()),
                "MAE in lesions": float(error[mask[k]].mean()),
            }
        )
    for axis, image, label in zip(axes, (pre, real), ("pre-contrast", "real"), strict=False):
        show(
            axis, view.slices(image)[k].astype(float), view, common_window(to_array(pre)), synthetic=False, title=label
        )
    figure.supxlabel(f"Data: {data}", fontsize=8, color="0.35")
    report = EpochsReport(name, data, rows)
    NamedTable(
        name,
        title,
        _COLUMNS,
        rows,
        report,
        figure,
        "one slice by checkpoint",
        [f"Data: {data}. Phase 1 in the slice with the largest lesion; {len(chosen)} of {len(packages)} checkpoints."],
    ).write(folder)
    return report


def _shown_case(cases: Path) -> Path:
    """The case with the largest lesion in one slice."""
    areas = {}
    for case in case_folders(cases):
        if (case / "lesions.nrrd").is_file() and (case / "phase_1.nrrd").is_file():
            areas[case] = int(read_mask(case / "lesions.nrrd").sum(axis=(1, 2)).max())
    found = max(areas, key=lambda case: areas[case], default=None)
    if found is None or areas[found] == 0:
        raise InputError(f"{cases} has no case with a lesion and a first phase; the figure shows one.")
    return found


def _spread(names: list[str]) -> list[str]:
    """At most SHOWN of them, the first and the last among them."""
    if len(names) <= SHOWN:
        return names
    return [names[round(n)] for n in np.linspace(0, len(names) - 1, SHOWN)]
