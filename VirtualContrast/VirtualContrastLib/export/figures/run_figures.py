"""The figures of a run as PNG files 1400 pixels wide, drawn with Figure objects (no pyplot state).

Every panel that shows synthetic pixels carries the label in its corner, burned into the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ...kinetics.curves import LesionCurve
from ...lesions.confidence import LesionConfidence
from ...study import Phase
from ..content import LABEL, TYPE_NAMES
from .display import DPI, WIDTH_INCHES, acquisition_view, outline, sample, show
from .overview import color_of, overview, projections
from .slices import MOST_LESIONS, Slices, grid, phase_title


@dataclass(frozen=True)
class FigureInput:
    """What the figures show; all images lie on the grid of `pre`.

    Attributes:
        pre: The pre-contrast phase.
        phases: Post-contrast phases of the run, synthetic, at least one.
        labels: Instance labels; None where nothing was segmented.
        curves: Of the lesions.
        real: The real post-contrast phases.
        real_curves: Of the lesions on the real phases.
        uncertainty: One map of standard deviations per phase.
        region: The breasts [k, j, i].
        has_geometry: False for pictures, which get no patient letters, scale bars and MIPs.
        input_phases: The real phases that the model read, which come first in the curves.
        confidence: Bounds the real curves of lesions, where it is known.
    """

    pre: Phase
    phases: Sequence[Phase]
    labels: sitk.Image | None = None
    curves: Sequence[LesionCurve] = ()
    real: Sequence[Phase] = ()
    real_curves: Sequence[LesionCurve] = ()
    uncertainty: Sequence[sitk.Image] = ()
    region: NDArray[np.bool_] | None = None
    has_geometry: bool = True
    input_phases: Sequence[Phase] = ()
    confidence: Sequence[LesionConfidence] = ()


@dataclass(frozen=True)
class FigureFile:
    """A written figure.

    Attributes:
        path: Its file.
        caption: The sentence that explains it in the report.
    """

    path: Path
    caption: str


def write_figures(folder: Path, given: FigureInput) -> list[FigureFile]:
    """Write every figure that `given` allows into `folder` and return them in reading order.

    overview.png; mip.png (volumes at least 20 mm deep); curves.png (where there are curves); comparison.png
    (where real phases exist); uncertainty.png (where maps exist).
    """
    folder.mkdir(parents=True, exist_ok=True)
    view = acquisition_view(given.pre.image, has_geometry=given.has_geometry)
    slices = Slices(given.pre, [*given.input_phases, *given.phases], given.labels, view)
    makers: dict[str, Callable[[], tuple[Any, str] | None]] = {
        "overview": lambda: overview(slices),
        "mip": lambda: _projections(given, slices),
        "curves": lambda: _curves(given),
        "comparison": lambda: _comparison(given, slices),
        "uncertainty": lambda: _uncertainty(given, slices),
    }
    written = []
    for name, make in makers.items():
        made = make()
        if made is not None:
            figure, caption = made
            path = folder / f"{name}.png"
            figure.savefig(path, dpi=DPI)
            written.append(FigureFile(path, caption))
    return written


def _projections(given: FigureInput, slices: Slices) -> tuple[Any, str] | None:
    if not given.has_geometry:
        return None
    return projections(given.pre, given.phases[0], given.labels, slices.window, given.region)


def _curves(given: FigureInput) -> tuple[Any, str] | None:
    """Percent enhancement over minutes, one color per lesion, synthetic solid and real dashed, as in Slicer."""
    if not given.curves and not given.real_curves:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, 4.5), layout="constrained", facecolor="white")
    axes = figure.subplots()
    drawn = [*given.real_curves[:MOST_LESIONS], *given.curves[:MOST_LESIONS]]
    for curve in sorted(drawn, key=lambda curve: curve.label):
        _draw_curve(axes, curve, len(given.input_phases))
    for lesion in given.confidence[:MOST_LESIONS]:
        minutes = np.asarray(lesion.times_s) / 60.0
        axes.fill_between(minutes, lesion.low_percent, lesion.high_percent, color=color_of(lesion.label), alpha=0.12)
    axes.axhline(0.0, color="0.6", linewidth=0.8)
    axes.set_xlabel("Time after injection (min)")
    axes.set_ylabel("Percent enhancement (%)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    if any(curve.synthetic for curve in drawn):
        figure.text(0.99, 0.02, LABEL, fontsize=8, ha="right", color="0.3")
    count = max(len(given.curves), len(given.real_curves))
    read = " Squares on a solid curve: real phases, which the model read." if given.input_phases else ""
    left_out = f" The first {MOST_LESIONS} of {count} lesions are shown." if count > MOST_LESIONS else ""
    band = "one standard deviation of the synthesis, where it was estimated (an upper bound for the mean curve)"
    if given.confidence:
        share = 100 * min(given.confidence[0].coverage)
        band = f"where the real curve lay in {share:.0f} % of patients not used for training"
    return figure, (
        f"Mean percent enhancement of each lesion. Solid: synthetic; dashed: real. Band: {band}.{read}{left_out}"
    )


def _draw_curve(axes: Any, curve: LesionCurve, inputs: int) -> None:
    color = color_of(curve.label)
    minutes = np.asarray(curve.times_s) / 60.0
    kind = "synthetic" if curve.synthetic else "real"
    style: dict[str, Any] = {"marker": "o"} if curve.synthetic else {"linestyle": "--", "marker": "s"}
    label = f"Lesion {curve.label}, {kind}: {TYPE_NAMES[curve.curve_type]}"
    axes.plot(minutes, curve.pe_percent, color=color, label=label, markersize=4, **style)
    if curve.synthetic and inputs:
        read = slice(1, 1 + inputs)
        axes.plot(minutes[read], curve.pe_percent[read], color=color, linestyle="none", marker="s", markersize=7)
    band = np.nan_to_num(curve.pe_uncertainty_percent)
    if band.any():
        low, high = curve.pe_percent - band, curve.pe_percent + band
        axes.fill_between(minutes, low, high, color=color, alpha=0.2, linewidth=0)


def _comparison(given: FigureInput, slices: Slices) -> tuple[Any, str] | None:
    """A row per phase that is both synthetic and real: synthetic, real, difference."""
    real = {phase.index: slices.view.slices(phase.image) for phase in given.real}
    comparable = real.keys() & {phase.index for phase in given.phases}
    pairs = [(phase, volume, real[phase.index]) for phase, volume in slices.phases if phase.index in comparable]
    if not pairs:
        return None
    k = _shown_slice(slices)
    figure, axes = grid(len(pairs), 3, slices.ratio(None))
    differences = [np.subtract(made[k], acquired[k], dtype=np.float32) for _, made, acquired in pairs]
    reach = max(float(np.percentile(np.abs(difference), 99.5)) for difference in differences) or 1.0
    for row, (phase, made, acquired), difference in zip(axes, pairs, differences, strict=True):
        title = f"{phase_title(phase)}, synthetic"
        show(row[0], made[k], slices.view, slices.window, synthetic=True, title=title)
        title = f"Phase {phase.index}, real"
        show(row[1], acquired[k], slices.view, slices.window, synthetic=False, title=title)
        title, limits = "Synthetic minus real", (-reach, reach)
        drawn = show(row[2], difference, slices.view, limits, synthetic=True, title=title, cmap="PuOr_r")
        figure.colorbar(drawn, ax=row[2], shrink=0.8, label="input units")
        for axis in row:
            _outlines(axis, slices, k)
    return figure, (
        f"Slice {slices.number(k)}: synthetic and real phases in one gray window, and their difference "
        "(orange: synthetic brighter, purple: darker)."
    )


def _uncertainty(given: FigureInput, slices: Slices) -> tuple[Any, str] | None:
    """A panel per phase with the standard deviation of the synthesis in input units."""
    if not given.uncertainty:
        return None
    maps = [slices.view.slices(image) for image in given.uncertainty]
    k = _shown_slice(slices)
    high = max(float(np.percentile(sample(volume), 99.8)) for volume in maps) or 1.0
    figure, axes = grid(1, len(maps), slices.ratio(None))
    drawn = None
    for axis, phase, volume in zip(axes[0], given.phases, maps, strict=True):
        title = f"Phase {phase.index}: standard deviation"
        drawn = show(axis, volume[k], slices.view, (0.0, high), synthetic=True, title=title, cmap="cividis")
        _outlines(axis, slices, k)
    figure.colorbar(drawn, ax=list(axes[0]), shrink=0.8, label="input units")
    return figure, (
        f"Slice {slices.number(k)}: how far the synthesis changes when its input is slightly disturbed. "
        "Small values do not mean that the synthesis is right."
    )


def _shown_slice(slices: Slices) -> int:
    """The slice of the first (largest) lesion, else the middle one."""
    return slices.best_slice(slices.numbers[0] if slices.numbers else None)


def _outlines(axis: Any, slices: Slices, k: int) -> None:
    for label in slices.numbers:
        outline(axis, slices.labels[k] == label, color_of(label))
