"""The findings as text in the words of BI-RADS, to be edited by a reader: what was measured, and nothing else.

Words are those of the ACR BI-RADS Atlas, 5th edition (2013), MRI: a focus is smaller than 5 mm; initial enhancement is
slow below 50 %, medium to 100 %, fast above. What the outline's numbers mean for the shape is this project's own
convention and was compared with no reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..kinetics.parameters import CurveType, initial_word
from ..synthesis.breast_region import LEFT, RIGHT, UNKNOWN
from .content import TYPE_NAMES

FOCUS_MM = 5.0
ROUND_RATIO = 1.3
"""A compact outline is round up to this ratio of its longest to its shortest principal axis, and oval above."""
IRREGULAR_SOLIDITY = 0.8
"""An outline that fills less of its convex hull is irregular."""
HEADER = (
    "SYNTHETIC IMAGES, RESEARCH ONLY. Computed, not acquired: lesions can be invented or missing. Not a diagnostic "
    "report; no assessment category is given."
)
FOOTER = "Margin, internal enhancement and associated features were not measured."
_DELAYED = {
    TYPE_NAMES[CurveType.PERSISTENT]: "persistent",
    TYPE_NAMES[CurveType.PLATEAU]: "plateau",
    TYPE_NAMES[CurveType.WASHOUT]: "washout",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One lesion as measured. Lengths in mm, volumes in mm3, None and "" for what is not known.

    Attributes:
        name: What the lesion is called.
        side: Of the patient, as `lesions.location.breast_side` names it.
        diameters: Along left-right, anterior-posterior and superior-inferior.
        longest_diameter: Greatest distance of two points of the surface.
        volume: Of all voxels.
        quadrant: Of the breast; a geometric estimate, as the distances are.
        skin_mm: Distance from the skin.
        nipple_mm: Distance from the nipple.
        chest_wall_mm: Distance from the chest wall.
        axis_ratio: Longest to shortest principal axis.
        solidity: Share of the convex hull that the outline fills.
        early_pe_percent: Percent enhancement at the early phase.
        curve_type: Of the mean curve, a name of `export.content.TYPE_NAMES`.
        worst_type: The most suspicious type of its voxels.
        type_percent: Shares of voxels of type I, II and III.
        ser: Signal enhancement ratio.
        ftv: Functional tumor volume.
    """

    name: str
    side: str
    diameters: tuple[float, float, float] = (0.0, 0.0, 0.0)
    longest_diameter: float
    volume: float
    quadrant: str = ""
    skin_mm: float | None = None
    nipple_mm: float | None = None
    chest_wall_mm: float | None = None
    axis_ratio: float | None = None
    solidity: float | None = None
    early_pe_percent: float | None = None
    curve_type: str = ""
    worst_type: str = ""
    type_percent: tuple[float, float, float] | None = None
    ser: float | None = None
    ftv: float | None = None


def findings_text(findings: Sequence[Finding], model_id: str, run_id: str) -> str:
    """The text of all findings, with what they rest on above and what is missing below.

    Args:
        findings: One finding per lesion.
        model_id: Id of the synthesis model.
        run_id: Id of the run.

    Returns:
        Paragraphs of plain text.
    """
    parts = [HEADER, f"Model {model_id}, run {run_id}."]
    parts += ["\n".join(_lines(finding)) for finding in findings] or ["No lesion was found on the synthetic images."]
    return "\n\n".join([*parts, FOOTER]) + "\n"


def shape_word(longest_mm: float, axis_ratio: float | None, solidity: float | None) -> str:
    """The word for a lesion's shape.

    Args:
        longest_mm: Longest diameter in mm.
        axis_ratio: Longest over shortest axis; None where the outline was not measured.
        solidity: Part of its convex hull that the outline fills, 0 to 1; None where it was not measured.

    Returns:
        `focus`, `round`, `oval`, `irregular`, or "" where the outline was not measured.
    """
    if longest_mm < FOCUS_MM:
        return "focus"
    if axis_ratio is None or solidity is None:
        return ""
    if solidity < IRREGULAR_SOLIDITY:
        return "irregular"
    return "round" if axis_ratio <= ROUND_RATIO else "oval"


def delayed_word(curve_type: str) -> str:
    """`persistent`, `plateau` or `washout`; the name itself for what is no type (no enhancement, not assessed)."""
    return _DELAYED.get(curve_type, curve_type)


def _lines(one: Finding) -> list[str]:
    size = " x ".join(f"{length:.0f}" for length in one.diameters)
    lines = [
        f"{one.name}: {_place(one)}.",
        f"Size {size} mm (left-right, anterior-posterior, superior-inferior), longest diameter "
        f"{one.longest_diameter:.0f} mm, volume {one.volume / 1000.0:.2f} cm³.",
    ]
    distances = (("nipple", one.nipple_mm), ("skin", one.skin_mm), ("chest wall", one.chest_wall_mm))
    known = [f"{what} {distance:.0f} mm" for what, distance in distances if distance is not None]
    if known:
        lines.append(f"Distance from {', '.join(known)} (geometric estimates).")
    word = shape_word(one.longest_diameter, one.axis_ratio, one.solidity)
    if word == "focus":
        lines.append("Focus (smaller than 5 mm).")
    elif word:
        lines.append(f"Outline {word} (axis ratio {one.axis_ratio:.1f}, solidity {one.solidity:.2f}).")
    return lines + _kinetics(one)


def _place(one: Finding) -> str:
    side = f"{one.side} breast" if one.side in (LEFT, RIGHT) else "breast, side not known"
    if one.quadrant in ("", UNKNOWN):
        return side
    return f"{side}, central" if one.quadrant == "central" else f"{side}, {one.quadrant} quadrant"


def _kinetics(one: Finding) -> list[str]:
    parts = []
    if one.early_pe_percent is not None:
        parts.append(f"initial phase {initial_word(one.early_pe_percent)} (PE {one.early_pe_percent:.0f} %)")
    if one.curve_type:
        parts.append(f"delayed phase {delayed_word(one.curve_type)}")
    if one.worst_type:
        parts.append(f"worst curve {delayed_word(one.worst_type)}")
    lines = [f"Kinetics, synthetic: {', '.join(parts)}."] if parts else []
    if one.type_percent is not None:
        persistent, plateau, washout = one.type_percent
        lines.append(f"Voxels: {persistent:.0f} % persistent, {plateau:.0f} % plateau, {washout:.0f} % washout.")
    numbers = [f"SER {one.ser:.2f}"] if one.ser is not None else []
    numbers += [f"FTV {one.ftv / 1000.0:.2f} cm³"] if one.ftv is not None else []
    return lines + ([", ".join(numbers) + "."] if numbers else [])
