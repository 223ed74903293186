"""Measures and curves of edited segments, by the engine's own functions on the voxels of the scene."""

from __future__ import annotations

import csv
import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from ...export.tables import write_curves_csv, write_lesions_csv
from ...kinetics.curves import LesionCurve, lesion_curves
from ...lesions.location import LesionPlace, lesion_places
from ...lesions.measurement import LesionMeasures, measure_lesions
from ...results.manifest import input_phase_times
from ...study import Phase
from ...synthesis.breast_region import find_breasts
from ..views import charts
from . import loaded as result_nodes
from . import nodes, segments, tables
from .loaded import LoadedResult

_OUTLINE = ("lesion", "volume", "centroid", "diameter")
"""Columns of the table of lesions that tell whether an outline is as it was."""


def measure_again(loaded: LoadedResult) -> None:
    """Do all of `measure_steps` at once."""
    nodes.drain(measure_steps(loaded))


def measure_steps(loaded: LoadedResult) -> nodes.Steps[list[int]]:
    """Measure all segments of a result again; tables, charts and `loaded` follow, emptied segments leave them.

    A segment that a user added becomes a lesion with the next free number. Nothing happens where the segmentation, a
    phase or the pre-contrast volume was deleted, or an acquired phase that the model read is not in the scene. Tables
    that compare with real phases, and those of radiomics and of the model's confidence, keep the run's numbers and are
    renamed. Where the real phases are not in the scene, a lesion keeps the run's real curve until its outline changes.

    Returns:
        The labels of the lesions that lost their real curve.
    """
    segmentation, pre = nodes.node(loaded.segmentation), nodes.node(loaded.pre)
    volumes = [nodes.node(phase.volume) for phase in (*loaded.input_phases, *loaded.phases)]
    read = input_phase_times(result_nodes.manifest_of(nodes.node(loaded.run_node))["inputs"])
    if None in (segmentation, pre, *volumes) or len(loaded.input_phases) < len(read):
        return []
    if loaded.breasts is None and loaded.has_geometry:
        image = nodes.image_of(pre)
        loaded.breasts = yield from nodes.in_thread(lambda: find_breasts(image))
        if not all(map(nodes.in_scene, (segmentation, pre, *volumes))):
            return []
    measures, curves, real_curves, places = [], [], [], []
    for segment_id, label in sorted(segments.number_segments(segmentation).items(), key=lambda item: item[1]):
        if segmentation.GetSegmentation().GetSegment(segment_id) is None:
            continue  # deleted meanwhile; it is measured again in a moment
        mask = segments.mask_of(segmentation, segment_id, pre)
        box = segments.bounding_box(mask, margin=1)
        if box is not None:
            one = _Segment(loaded, label, mask[box], box)
            measures.append(one.measures())
            curves.append(one.curve())
            real_curves += one.real_curves()
            places += one.places()
            yield
    lost = _write_tables(loaded, (measures, curves, real_curves, places))
    loaded.lesions = result_nodes.lesion_rows(loaded)
    charts.update(loaded)
    segmentation.CreateClosedSurfaceRepresentation()
    return lost


@dataclasses.dataclass(frozen=True)
class _Segment:
    """One segment, cut out with its images: whole volumes would be copied for each lesion."""

    loaded: LoadedResult
    label: int
    mask: np.ndarray
    box: nodes.Box

    def measures(self) -> LesionMeasures:
        """Size and enhancement."""
        has_geometry = self.loaded.has_geometry
        measured = measure_lesions(self._labels(), self._phases(), has_geometry=has_geometry)[0]
        return dataclasses.replace(measured, label=self.label)

    def places(self) -> list[LesionPlace]:
        """Where it lies in the breast, in a list; [] where the image has no millimeters."""
        found = lesion_places(self._labels(), self.loaded.breasts) if self.loaded.breasts is not None else []
        return [dataclasses.replace(place, label=self.label) for place in found]

    def curve(self) -> LesionCurve:
        """The synthetic curve with its error."""
        maps = [nodes.node(phase.uncertainty) for phase in self.loaded.phases]
        uncertainty = None if None in maps else [nodes.image_of(volume, self.box) for volume in maps]
        curve = lesion_curves(self._phases(), self._labels(), uncertainty)[0]
        return dataclasses.replace(curve, label=self.label)

    def real_curves(self) -> list[LesionCurve]:
        """The real curve, in a list; [] where the scene has no real phases to compare with."""
        phases = [Phase(0, self._image(self.loaded.input or self.loaded.pre), 0.0, synthetic=False), *self._inputs()]
        read = len(phases)
        times_s = result_nodes.real_times(nodes.node(self.loaded.run_node))
        for phase in self.loaded.phases:
            if nodes.node(phase.real) is not None:
                time_s = times_s.get(phase.index) or phase.time_s
                phases.append(Phase(phase.index, self._image(phase.real), time_s, synthetic=False))
        if len(phases) == read:
            return []
        return [dataclasses.replace(lesion_curves(phases, self._labels())[0], label=self.label)]

    def _inputs(self) -> list[Phase]:
        """The real phases that the model read."""
        return [
            Phase(number, self._image(phase.volume), phase.time_s, synthetic=False)
            for number, phase in enumerate(self.loaded.input_phases, start=1)
        ]

    def _image(self, node_id: str) -> Any:
        return nodes.image_of(nodes.node(node_id), self.box)

    def _labels(self) -> Any:
        return nodes.to_image(self.mask.astype(np.uint8), nodes.node(self.loaded.pre), self.box)

    def _phases(self) -> list[Phase]:
        made = [Phase(p.index, self._image(p.volume), p.time_s, synthetic=True) for p in self.loaded.phases]
        return [Phase(0, self._image(self.loaded.pre), 0.0, synthetic=False), *self._inputs(), *made]


def _write_tables(
    loaded: LoadedResult,
    measured: tuple[list[LesionMeasures], list[LesionCurve], list[LesionCurve], list[LesionPlace]],
) -> list[int]:
    """The tables as the engine writes them, so that they look as at first; labels that lost their real curve."""
    measures, curves, real_curves, places = measured
    unit = "mm" if loaded.has_geometry else "px"
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.csv" for name in ("lesions", "curves", "curves_real")}
        write_lesions_csv(files["lesions"], measures, curves, places=places, unit=unit)
        write_curves_csv(files["curves"], curves, inputs=len(loaded.input_phases))
        write_curves_csv(files["curves_real"], real_curves)
        lost = [] if real_curves else _keep_real_curves(loaded, files["lesions"], files["curves_real"])
        for name, file in files.items():
            table = nodes.node(loaded.tables.get(name, ""))
            if table is not None:
                tables.fill_from_csv(table, file)
    for name in ("comparison", "agreement", "confidence", "radiomics", "feature_agreement", "breast_tissue"):
        table = nodes.node(loaded.tables.get(name, ""))
        if table is not None and not table.GetAttribute(nodes.OUTDATED):
            table.SetAttribute(nodes.OUTDATED, "1")
            table.SetName(_("{name} (before editing)").format(name=table.GetName()))
    return lost


def _keep_real_curves(loaded: LoadedResult, lesions: Path, real: Path) -> list[int]:
    """Add the run's real curves of lesions whose outline is as it was to the file `real`.

    Args:
        loaded: the result, its tables as they were.
        lesions: the new table of lesions.
        real: the new table of real curves, which is empty.

    Returns:
        The labels of the others.
    """
    outlines, curves = (nodes.node(loaded.tables.get(name, "")) for name in ("lesions", "curves_real"))
    if outlines is None or curves is None:
        return []
    with lesions.open(encoding="utf-8", newline="") as file:
        new = [{name: row[name] for name in row if name.startswith(_OUTLINE)} for row in csv.DictReader(file)]
    old = [dict(zip(new[0], cells, strict=True)) for cells in _rows(outlines, list(new[0]))] if new else []
    kept = {int(row["lesion"]) for row in new if {name: float(cell) for name, cell in row.items()} in old}
    with real.open(encoding="utf-8", newline="") as file:
        names = next(csv.reader(file))
    rows = _rows(curves, names)
    with real.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            ["" if cell != cell else cell for cell in row] for row in rows if int(row[0]) in kept
        )
    return sorted({int(row[0]) for row in rows} - kept)


def _rows(table: Any, names: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(tables.column(table, name) for name in names), strict=True))
