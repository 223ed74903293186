"""How the volumes of a result look: gray windows, color tables, legends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from ...export.content import TYPE_NAMES
from ...export.figures import display as figures
from ...kinetics.parameters import CurveType

Window = tuple[float, float]

# Blue, yellow, vermilion and gray of Okabe and Ito: apart for every color vision, and washout the most alarming.
TYPE_COLORS = {
    CurveType.PERSISTENT: (0.0, 0.447, 0.698),
    CurveType.PLATEAU: (0.941, 0.894, 0.259),
    CurveType.WASHOUT: (0.835, 0.369, 0.0),
    CurveType.UNASSESSED: (0.6, 0.6, 0.6),
}
# Lightness rises evenly from dark blue to pale yellow.
_HEAT = (
    (0.0, (0.05, 0.03, 0.20)), (0.25, (0.35, 0.08, 0.45)), (0.5, (0.72, 0.22, 0.40)), (0.75, (0.96, 0.52, 0.25)),
    (1.0, (0.99, 0.95, 0.70)),
)  # fmt: skip


def sample(volume: Any) -> np.ndarray:
    """Voxels of a volume node [k, j, i], as the figures sample them."""
    return figures.sample(slicer.util.arrayFromVolume(volume))


def common_window(pre: Any) -> Window:
    """The gray window (low, high) of a pre-contrast volume that has no phases yet, as the figures have it."""
    return figures.common_window(slicer.util.arrayFromVolume(pre))


def phases_window(volumes: Sequence[np.ndarray], breasts: np.ndarray, lesions: np.ndarray) -> Window:
    """The one gray window (low, high) of a pre-contrast volume and its phases, real ones with them.

    From the 1st percentile of the pre-contrast volume to the highest that any of them has: the 99.8th percentile of
    the breasts or the 95th of the lesions. So neither a phase nor its real counterpart is cut off where the other is
    not, and the heart, brighter than any lesion, does not count.

    Args:
        volumes: Voxels [k, j, i], the pre-contrast ones first.
        breasts: Mask [k, j, i].
        lesions: Mask [k, j, i]; may be empty.

    Returns:
        The window.
    """
    inside, marked = figures.sample(breasts), figures.sample(lesions)
    low, highs = float(np.percentile(figures.sample(volumes[0]), 1.0)), []
    for values in map(figures.sample, volumes):
        highs.append(np.percentile(values[inside] if inside.any() else values, 99.8))
        if marked.any():
            highs.append(np.percentile(values[marked], 95.0))
    return low, max(float(max(highs)), low + 1e-6)


def window_of(display: Any) -> Window:
    """The gray window (low, high) of a display node."""
    return display.GetLevel() - display.GetWindow() / 2, display.GetLevel() + display.GetWindow() / 2


def set_window(volume: Any, window: Window) -> None:
    """Show a volume node in gray from low to high."""
    display = volume.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(*window)


def subtraction_high(subtraction: Any, phases: Window, lesions: np.ndarray) -> float:
    """Upper end of the gray window of a subtraction map, as in the figures.

    Args:
        subtraction: The volume node of the map.
        phases: Gray window of the phases.
        lesions: Lesion mask [k, j, i].

    Returns:
        The gray value.
    """
    return figures.subtraction_window(sample(subtraction), figures.sample(lesions), phases)[1]


def map_title(key: str) -> str:
    """What a map shows and its unit, as list and legend name it; `key` is that of the result, "pe_phase_1" ..."""
    if key.startswith("pe_phase_"):
        return _("PE, phase {number} (%)").format(number=key.removeprefix("pe_phase_"))
    titles = {
        "curve_type": _("Curve type"), "wash_in": _("Wash-in (%/min)"), "wash_out": _("Wash-out (%/min)"),
        "ser": _("SER (ratio)"), "time_to_peak": _("Time to peak (s)"), "uncertainty": _("Uncertainty, 1 SD (signal)"),
    }  # fmt: skip
    return titles.get(key, key)


def show_map(volume: Any, colors: Any) -> None:
    """Show a map of positive values over an image: the 99.5th percentile is the brightest.

    Below a tenth of it the map is transparent, so that the image is seen where there is little enhancement. In a map
    without positive values (wash-out) it is the strongest loss that is the brightest.
    """
    values = sample(volume)
    losses = values.size > 0 and values.max() <= 0 and values.min() < 0
    sizes = -values if losses else values
    positive = sizes[sizes > 0]
    high = float(np.percentile(positive, 99.5)) if positive.size else 1.0
    display = volume.GetDisplayNode()
    display.SetAndObserveColorNodeID(colors.GetID())
    display.SetInvertDisplayScalarRange(bool(losses))
    display.SetApplyThreshold(True)
    most = max(float(sizes.max(initial=0.0)), high) * 1.01
    if losses:
        set_window(volume, (-high, 0.0))
        display.SetLowerThreshold(-most)
        display.SetUpperThreshold(-0.1 * high)
    else:
        set_window(volume, (0.0, high))
        display.SetLowerThreshold(0.1 * high)
        display.SetUpperThreshold(most)


def link_places(composite: Any) -> None:
    """Link a slice view with the others of its group: place and zoom, never which volumes they show."""
    composite.SetInteractionFlagsModifier(0)
    composite.SetLinkedControl(True)
    composite.SetHotLinkedControl(True)


def add_type_colors(name: str) -> Any:
    """A color table node that names the curve types; no enhancement is transparent."""
    colors = _color_table(name, len(CurveType))
    colors.SetColor(int(CurveType.NO_ENHANCEMENT), TYPE_NAMES[CurveType.NO_ENHANCEMENT], 0.0, 0.0, 0.0, 0.0)
    for kind, rgb in TYPE_COLORS.items():
        colors.SetColor(int(kind), TYPE_NAMES[kind], *rgb, 1.0)
    return colors


def add_heat_colors(name: str) -> Any:
    """A color table node of evenly rising lightness for positive values."""
    colors = _color_table(name, 256)
    places = np.linspace(0.0, 1.0, 256)
    channels = [np.interp(places, [a[0] for a in _HEAT], [a[1][c] for a in _HEAT]) for c in range(3)]
    for number, (place, red, green, blue) in enumerate(zip(places, *channels, strict=True)):
        colors.SetColor(number, f"{place:.3f}", float(red), float(green), float(blue), 1.0)
    return colors


def _color_table(name: str, count: int) -> Any:
    colors = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
    colors.SetTypeToUser()
    colors.HideFromEditorsOff()
    colors.SetNumberOfColors(count)
    return colors


def add_legend(volume: Any, title: str, *, named: bool = False) -> Any:
    """A color legend of a volume node.

    Args:
        volume: The volume node.
        title: Title of the legend.
        named: Whether it shows the names of the colors.

    Returns:
        The legend's display node; None where Slicer has none.
    """
    if not slicer.mrmlScene.IsNodeClassRegistered("vtkMRMLColorLegendDisplayNode"):
        return None
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(volume)
    legend.SetTitleText(title)
    legend.SetPosition(0.02, 0.02)  # below the breasts, beside ruler and axes
    if named:
        legend.SetSize(0.22, 0.34)
        legend.SetUseColorNamesForLabels(True)
        legend.SetMaxNumberOfColors(len(CurveType))
        legend.SetNumberOfLabels(len(CurveType))
    else:
        legend.SetSize(0.06, 0.22)  # numbers and title are as large as fits, other than names
        legend.SetLabelFormat("%.0f")
    for text in (legend.GetTitleTextProperty(), legend.GetLabelTextProperty()):
        text.SetFontSize(12)
        text.SetColor(1.0, 1.0, 1.0)
    return legend


def renew_legend(volume: Any) -> None:
    """Recreate the legend of a volume that has one: views made after a legend do not show it."""
    if not slicer.mrmlScene.IsNodeClassRegistered("vtkMRMLColorLegendDisplayNode"):
        return
    old = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(volume)
    if old is not None:
        title, named = old.GetTitleText(), bool(old.GetUseColorNamesForLabels())
        slicer.mrmlScene.RemoveNode(old)
        add_legend(volume, title, named=named)
