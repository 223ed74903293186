"""A result in the scene: which node is what, and its lesions. The scene itself is the only store.

The run node (a text node with the manifest) refers to every other node by a role, so that a result is found again
after the scene was saved and loaded, whatever IDs its nodes then have.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from slicer.i18n import tr as _

from ...export.findings import Finding
from ...lesions.confidence import grade_sentence
from ...results.manifest import SYNTHESIS, input_phase_times
from ...synthesis.breast_region import BreastRegion
from . import nodes
from .tables import column

INPUT, RUN, PRE = "input", "run", "pre"
PHASE, REAL, SUBTRACTION, UNCERTAINTY, MAP = "phase", "real", "subtraction", "uncertainty", "map"
ACQUIRED = "acquired"
SEQUENCE, BROWSER, PROXY, SEGMENTATION = "sequence", "browser", "proxy", "segmentation"
TABLE, CHART, SERIES, POINTS = "table", "chart", "series", "points"
COLORS, RENDERING, MIP = "colors", "rendering", "mip"
"""Roles of nodes in a result."""

ALL_LESIONS = "all"
"""Key of the chart with the curves of all lesions; those of one lesion have `lesion_<label>`."""


@dataclass(frozen=True, kw_only=True)
class LesionRow(Finding):
    """One lesion as the panel lists it. Of pictures without millimeters lengths and volumes are in pixels.

    Attributes:
        label: Its label.
        segment_id: Its segment.
        centroid_ras: In the scene's millimeters.
        peak_pe_percent: Of the mean curve; None where there is no curve.
        unit: Of lengths, mm or px.
        hot_spot_type: Curve type of its most enhancing spot.
        confidence: Sentence of a calibrated model, "" where there is none or the lesion's outline was changed.
    """

    label: int
    segment_id: str
    centroid_ras: tuple[float, float, float]
    peak_pe_percent: float | None
    unit: str = "mm"
    hot_spot_type: str = ""
    confidence: str = ""


@dataclass(frozen=True)
class LoadedPhase:
    """One image of a result: node IDs of what belongs to it, "" for what it does not have or what was deleted.

    Attributes:
        index: 1 for the first post-contrast phase.
        time_s: Seconds after injection, NaN for the recombined image of a mammogram.
        volume: The image itself.
        subtraction: Made with it.
        uncertainty: Made with it.
        real: The user's own volume to compare it with.
    """

    index: int
    time_s: float
    volume: str
    subtraction: str = ""
    uncertainty: str = ""
    real: str = ""

    @property
    def caption(self) -> str:
        """`phase 2 (220 s)`, or `recombined`."""
        return caption_of(self.index, self.time_s)


@dataclass
class LoadedResult:
    """Node IDs of a result, "" for what it does not have or what was deleted.

    Attributes:
        run_node: The text node that holds the manifest.
        run_id: Id of the run, no node.
        model_id: Id of the model, no node.
        kind: "synthesis", or "mammogram", whose one phase is the recombined image.
        folder_item: The subject hierarchy item that holds all of it.
        input: The user's pre-contrast volume.
        pre: The same in the units of the phases.
        phases: The synthetic ones in order.
        input_phases: Copies of the real phases that the model read; they come before `phases` in the sequence.
        sequence: The sequence of the phases.
        browser: Its browser.
        proxy: The volume that shows the phase that is chosen in the browser.
        segmentation: The lesions.
        mip: The subtraction of the first phase inside the breasts, cut to them.
        maps: By key, such as `curve_type`.
        tables: By key: `lesions`, `curves`, `curves_real`, `comparison`, `agreement` ...
        charts: By key: `all`, `lesion_1` ...
        colors: Color tables by key.
        lesions: What is known of each lesion.
        breasts: Found when lesions are measured for the first time; the scene does not keep it.
    """

    run_node: str
    run_id: str
    model_id: str
    folder_item: int
    input: str
    pre: str
    phases: list[LoadedPhase]
    sequence: str
    browser: str
    proxy: str
    segmentation: str
    mip: str = ""
    input_phases: list[LoadedPhase] = field(default_factory=list)
    maps: dict[str, str] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    charts: dict[str, str] = field(default_factory=dict)
    colors: dict[str, str] = field(default_factory=dict)
    lesions: list[LesionRow] = field(default_factory=list)
    kind: str = SYNTHESIS
    breasts: BreastRegion | None = field(default=None, repr=False, compare=False)

    @property
    def first_item(self) -> int:
        """Item of the sequence that shows the first of `phases`; before it stand pre-contrast and input phases."""
        return 1 + len(self.input_phases)

    def phase_of(self, volume: str) -> LoadedPhase | None:
        """The phase with this volume node, None where it is none of them."""
        return next((phase for phase in self.phases if phase.volume == volume), None)

    def lesion(self, label: int) -> LesionRow:
        """The lesion with this label; KeyError where there is none."""
        for row in self.lesions:
            if row.label == label:
                return row
        raise KeyError(f"there is no lesion {label}")

    @property
    def arbitrary_units(self) -> bool:
        """The phases are not in the units of the input."""
        return bool(manifest_of(nodes.node(self.run_node))["arbitrary_units"])

    @property
    def has_geometry(self) -> bool:
        """False for a picture, whose pixels have no millimeters."""
        return not any(row.unit == "px" for row in self.lesions)


def caption_of(index: int, time_s: float) -> str:
    """`phase 2 (220 s)`; `recombined` for the image of a mammogram, which has no time (NaN)."""
    if time_s != time_s:
        return _("recombined")
    return _("phase {index} ({time_s:g} s)").format(index=index, time_s=time_s)


def real_times(run_node: Any) -> dict[int, float | None]:
    """Seconds after injection of the real phases by index, as the run took them; None where the input gave none."""
    inputs = manifest_of(run_node)["inputs"]
    real = [entry for entry in inputs if entry["role"].startswith("real_")]
    return {int(entry["role"].removeprefix("real_")): entry["time_s"] for entry in real}


def seconds(entry: dict[str, Any]) -> float:
    """Seconds after injection of an entry of the manifest; NaN where it has no time."""
    return float("nan") if entry["time_s"] is None else float(entry["time_s"])


def manifest_of(run_node: Any) -> dict[str, Any]:
    """The manifest that a run node holds."""
    manifest: dict[str, Any] = json.loads(run_node.GetText())
    return manifest


def is_rebuilt(volume: Any) -> bool:
    """The volume was computed back from a result, whose input was not in the scene."""
    return volume is not None and volume.GetAttribute(nodes.REBUILT) == "1"


def refer(run_node: Any, role: str, referred: Any) -> None:
    """Let the run node refer to a node of the scene.

    Args:
        run_node: The run node.
        role: Role of the reference.
        referred: The node.
    """
    run_node.AddNodeReferenceID(role, referred.GetID())


def adopt(run_node: Any, node: Any, role: str, key: str = "", *, synthetic: bool = True, caption: str = "") -> None:
    """Make a node a part of a result: attributes, reference by role, place in the folder.

    Args:
        run_node: The run node of the result.
        node: The node.
        role: Role of the reference.
        key: Which of several nodes of the role it is.
        synthetic: Whether it is synthetic.
        caption: Name by which the panel shows it.
    """
    for name in (nodes.MODEL_ID, nodes.WEIGHTS_SHA256, nodes.RUN_ID):
        node.SetAttribute(name, run_node.GetAttribute(name))
    node.SetAttribute(nodes.SYNTHETIC, "1" if synthetic else "0")
    node.SetAttribute(nodes.ROLE, role)
    node.SetAttribute(nodes.KEY, key)
    if caption:
        node.SetAttribute(nodes.CAPTION, caption)
    refer(run_node, role, node)
    hierarchy = nodes.subject_hierarchy()
    hierarchy.CreateItem(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(run_node)), node)


def referred(run_node: Any, role: str) -> dict[str, str]:
    """IDs of the nodes to which a run node refers by a role, by their keys; deleted ones are left out."""
    found = {}
    for number in range(run_node.GetNumberOfNodeReferences(role)):
        node = run_node.GetNthNodeReference(role, number)
        if node is not None:
            found[node.GetAttribute(nodes.KEY) or ""] = node.GetID()
    return found


def parts(run_node: Any) -> list[str]:
    """IDs of all nodes of a result that are still there, without the user's own volumes."""
    roles = [PRE, ACQUIRED, PHASE, SUBTRACTION, UNCERTAINTY, MAP, SEQUENCE, BROWSER, PROXY, SEGMENTATION, TABLE, CHART,
             SERIES, POINTS, COLORS, RENDERING, MIP]  # fmt: skip
    return [node_id for role in roles for node_id in referred(run_node, role).values()] + [run_node.GetID()]


def of_run(run_node: Any) -> LoadedResult:
    """The result that belongs to a run node, as it is in the scene now."""
    manifest = manifest_of(run_node)
    entries = sorted(manifest["phases"], key=lambda entry: int(entry["index"]))
    volumes, subtractions, uncertainties = (referred(run_node, role) for role in (PHASE, SUBTRACTION, UNCERTAINTY))

    def one(role: str) -> str:
        return next(iter(referred(run_node, role).values()), "")

    def phase(entry: dict[str, Any]) -> LoadedPhase:
        index = str(entry["index"])
        return LoadedPhase(
            index=int(index),
            time_s=seconds(entry),
            volume=volumes.get(index, ""),
            subtraction=subtractions.get(index, ""),
            uncertainty=uncertainties.get(index, ""),
            real=one(f"{REAL}_{index}"),
        )

    copies = referred(run_node, ACQUIRED)
    hierarchy = nodes.subject_hierarchy()
    found = LoadedResult(
        run_node=run_node.GetID(),
        run_id=run_node.GetAttribute(nodes.RUN_ID),
        model_id=run_node.GetAttribute(nodes.MODEL_ID),
        folder_item=hierarchy.GetItemParent(hierarchy.GetItemByDataNode(run_node)),
        input=one(INPUT),
        pre=one(PRE),
        phases=[phase(entry) for entry in entries],
        sequence=one(SEQUENCE),
        browser=one(BROWSER),
        proxy=one(PROXY),
        segmentation=one(SEGMENTATION),
        mip=one(MIP),
        maps=referred(run_node, MAP),
        tables=referred(run_node, TABLE),
        charts=referred(run_node, CHART),
        colors=referred(run_node, COLORS),
        kind=str(manifest["kind"]),
        input_phases=[
            LoadedPhase(index, float(time_s or 0.0), copies[str(index)])
            for index, time_s in input_phase_times(manifest["inputs"]).items()
            if str(index) in copies
        ],
    )
    found.lesions = lesion_rows(found)
    return found


def lesion_confidences(loaded: LoadedResult) -> dict[int, str]:
    """What a calibrated model says of each lesion, by label; {} where it says nothing, or of outlines since changed."""
    table = nodes.node(loaded.tables.get("confidence", ""))
    if table is None or table.GetNumberOfRows() == 0 or table.GetAttribute(nodes.OUTDATED):
        return {}
    rows = zip(*(column(table, name) for name in ("lesion", "grade", "false_positive_rate")), strict=True)
    return {int(label): grade_sentence(grade, rate if rate == rate else None) for label, grade, rate in rows}


def lesion_rows(loaded: LoadedResult) -> list[LesionRow]:
    """The lesions as the lesion table of the scene has them now."""
    table = nodes.node(loaded.tables.get("lesions", ""))
    if table is None or table.GetNumberOfRows() == 0:
        return []
    unit = "mm" if table.GetColumnIndex("volume_mm3") >= 0 else "px"
    volume_name = "volume_mm3" if unit == "mm" else "volume_px"
    segments = _segments(nodes.node(loaded.segmentation))
    place = nodes.node(loaded.pre)
    names = (
        "lesion", f"centroid_left_{unit}", f"centroid_posterior_{unit}", f"centroid_superior_{unit}", volume_name,
        f"longest_diameter_{unit}", "side", "curve_type", "curve_peak_pe_percent", f"diameter_left_right_{unit}",
        f"diameter_anterior_posterior_{unit}", f"diameter_superior_inferior_{unit}", "early_pe_percent", "ser",
        volume_name.replace("volume", "ftv"), "hot_spot_curve_type",
    )  # fmt: skip
    later = ("worst_curve_type", "persistent_percent", "plateau_percent", "washout_percent", "quadrant",
             f"distance_to_skin_{unit}", f"distance_to_nipple_{unit}", f"distance_to_chest_wall_{unit}",
             "axis_ratio", "solidity")  # fmt: skip
    rows, confidences = [], lesion_confidences(loaded)
    columns = [column(table, name) for name in names] + [_column_of_later(table, name) for name in later]
    for label, left, posterior, superior, volume, diameter, side, kind, peak, *more in zip(*columns, strict=True):
        wide, deep, high, early, ser, ftv, hot_spot, worst, persistent, plateau, washout, quadrant, *distances = more
        skin, nipple, wall, ratio, solidity = map(_known, distances)
        segment_id, name = segments.get(int(label), ("", f"Lesion {int(label)}"))
        point = (-float(left), -float(posterior), float(superior))
        rows.append(
            LesionRow(
                label=int(label),
                name=name,
                segment_id=segment_id,
                centroid_ras=nodes.to_world(point, place) if place is not None else point,
                volume=float(volume),
                longest_diameter=float(diameter),
                side=str(side),
                curve_type=_text(kind),
                peak_pe_percent=_known(peak),
                unit=unit,
                diameters=(float(wide), float(deep), float(high)),
                early_pe_percent=_known(early),
                ser=_known(ser),
                ftv=_known(ftv),
                worst_type=_text(worst),
                confidence=confidences.get(int(label), ""),
                hot_spot_type=_text(hot_spot),
                type_percent=(persistent, plateau, washout) if washout == washout else None,
                quadrant=_text(quadrant),
                skin_mm=skin,
                nipple_mm=nipple,
                chest_wall_mm=wall,
                axis_ratio=ratio,
                solidity=solidity,
            )
        )
    return rows


def _column_of_later(table: Any, name: str) -> list[Any]:
    """A column that tables of version 0.1 and early 0.2 do not have: empty there."""
    if table.GetColumnIndex(name) < 0:
        return [float("nan")] * int(table.GetNumberOfRows())
    return column(table, name)


def _text(value: Any) -> str:
    """A cell of texts; "" where it is empty."""
    return str(value) if value == value else ""


def _known(value: float) -> float | None:
    """A cell of a table; None where it is empty."""
    return float(value) if value == value else None


def _segments(segmentation: Any) -> dict[int, tuple[str, str]]:
    """Segment ID and name by lesion label."""
    from .segments import labels_by_segment

    if segmentation is None:
        return {}
    content = segmentation.GetSegmentation()
    return {
        label: (segment_id, content.GetSegment(segment_id).GetName())
        for segment_id, label in labels_by_segment(segmentation).items()
    }
