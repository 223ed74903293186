"""Measures and curves of edited segments, by the engine's own functions on the voxels of the scene."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from ...export.tables import write_curves_csv, write_lesions_csv
from ...kinetics.curves import LesionCurve, lesion_curves
from ...lesions.measurement import LesionMeasures, measure_lesions
from ...results.manifest import acquired_inputs
from ...study import Phase
from ..views import charts
from . import loaded as result_nodes
from . import nodes, segments, tables
from .loaded import LoadedResult

_OUTDATED = nodes.PREFIX + "Outdated"


def measure_again(loaded: LoadedResult) -> None:
    """Measure all segments of a result again; tables, charts and `loaded` follow, emptied segments leave them.

    A segment that a user added becomes a lesion with the next free number. Nothing happens where the segmentation, a
    phase or the pre-contrast volume was deleted, or an acquired phase that the model read is not in the scene. Tables
    that compare with real phases keep the run's numbers and are renamed to say so.
    """
    segmentation, pre = nodes.node(loaded.segmentation), nodes.node(loaded.pre)
    needed = [segmentation, pre, *map(nodes.node, (*loaded.acquired, *loaded.phases))]
    read = acquired_inputs(result_nodes.manifest_of(nodes.node(loaded.run_node))["inputs"])
    if any(node is None for node in needed) or len(loaded.acquired) < len(read):
        return
    measures, curves, real_curves = [], [], []
    for segment_id, label in sorted(segments.number_segments(segmentation).items(), key=lambda item: item[1]):
        mask = segments.mask_of(segmentation, segment_id, pre)
        box = segments.bounding_box(mask, margin=1)
        if box is not None:
            one = _Segment(loaded, label, mask[box], box)
            measures.append(one.measures())
            curves.append(one.curve())
            real_curves += one.real_curves()
    _write_tables(loaded, measures, curves, real_curves)
    loaded.lesions = result_nodes.lesion_rows(loaded)
    charts.update(loaded)
    segmentation.CreateClosedSurfaceRepresentation()


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

    def curve(self) -> LesionCurve:
        """The synthetic curve with its error."""
        maps = [nodes.node(node_id) for node_id in self.loaded.uncertainty]
        uncertainty = None if None in maps else [nodes.image_of(volume, self.box) for volume in maps]
        curve = lesion_curves(self._phases(), self._labels(), uncertainty)[0]
        return dataclasses.replace(curve, label=self.label)

    def real_curves(self) -> list[LesionCurve]:
        """The real curve, in a list; [] where the scene has no real phases to compare with."""
        volumes = [nodes.node(node_id) for node_id in self.loaded.real]
        phases = [Phase(0, self._image(self.loaded.input or self.loaded.pre), 0.0, synthetic=False), *self._acquired()]
        read = len(phases)
        for index, volume, time_s in zip(self.loaded.indices, volumes, self._real_times(), strict=True):
            if volume is not None:
                phases.append(Phase(index, nodes.image_of(volume, self.box), time_s, synthetic=False))
        if len(phases) == read:
            return []
        return [dataclasses.replace(lesion_curves(phases, self._labels())[0], label=self.label)]

    def _acquired(self) -> list[Phase]:
        """The real phases that the model read."""
        pairs = zip(self.loaded.acquired, self.loaded.acquired_times_s, strict=True)
        return [Phase(n, self._image(node_id), time_s, False) for n, (node_id, time_s) in enumerate(pairs, start=1)]

    def _real_times(self) -> list[float]:
        """Seconds after injection of the real phases, as the run took them."""
        inputs = result_nodes.manifest_of(nodes.node(self.loaded.run_node))["inputs"]
        given = {entry["role"]: entry["time_s"] for entry in inputs}
        nominal = zip(self.loaded.indices, self.loaded.times_s, strict=True)
        return [float(given.get(f"real_{index}") or time_s) for index, time_s in nominal]

    def _image(self, node_id: str) -> Any:
        return nodes.image_of(nodes.node(node_id), self.box)

    def _labels(self) -> Any:
        return nodes.to_image(self.mask.astype(np.uint8), nodes.node(self.loaded.pre), self.box)

    def _phases(self) -> list[Phase]:
        phases = [Phase(0, self._image(self.loaded.pre), 0.0, synthetic=False), *self._acquired()]
        for index, node_id, time_s in zip(self.loaded.indices, self.loaded.phases, self.loaded.times_s, strict=True):
            phases.append(Phase(index, self._image(node_id), time_s, synthetic=True))
        return phases


def _write_tables(
    loaded: LoadedResult,
    measures: list[LesionMeasures],
    curves: list[LesionCurve],
    real_curves: list[LesionCurve],
) -> None:
    """The tables as the engine writes them, so that they look as at first."""
    reference = nodes.image_of(nodes.node(loaded.pre))
    unit = "mm" if loaded.has_geometry else "px"
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.csv" for name in ("lesions", "curves", "curves_real")}
        write_lesions_csv(files["lesions"], measures, curves, reference, unit=unit)
        write_curves_csv(files["curves"], curves, acquired=len(loaded.acquired))
        write_curves_csv(files["curves_real"], real_curves)
        for name, file in files.items():
            table = nodes.node(loaded.tables.get(name, ""))
            if table is not None:
                tables.fill_from_csv(table, file)
    for name in ("comparison", "agreement"):
        table = nodes.node(loaded.tables.get(name, ""))
        if table is not None and not table.GetAttribute(_OUTDATED):
            table.SetAttribute(_OUTDATED, "1")
            table.SetName(_("{name} (before editing)").format(name=table.GetName()))
