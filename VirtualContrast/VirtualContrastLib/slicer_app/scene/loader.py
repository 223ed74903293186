"""Makes the nodes of one result folder, step by step; `scene` looks after what happens when that fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _

from ...events import InputError
from ...results.manifest import MAMMOGRAM, Result, input_phase_times
from ..views import charts, display
from . import loaded, nodes, segments, tables
from .breasts import add_inside
from .breasts import find as find_breasts
from .nodes import Steps
from .sequence import add_sequence

TABLES = (
    "lesions", "curves", "curves_real", "comparison", "agreement", "confidence", "radiomics", "feature_agreement",
    "breast_tissue",
)  # fmt: skip


@dataclass
class Loader:
    """Makes the nodes of one result. `pre` is the pre-contrast volume in the units of the phases."""

    result: Result
    input_node: Any
    made: nodes.Made
    run_node: Any = None
    folder: int = 0
    phases: list[Any] = field(default_factory=list)
    registered: list[Any] = field(default_factory=list)
    files_read: int = 0

    @property
    def read(self) -> dict[int, float]:
        """Index and seconds after injection of the real phases that the model read."""
        return {index: float(time_s or 0.0) for index, time_s in input_phase_times(self.result.manifest.inputs).items()}

    @property
    def fraction(self) -> float:
        """About how much is done, 0..1, by the volumes that were read."""
        folders = ("phases/", "registered/", "recombined", "subtraction/", "uncertainty/", "lesions.seg")
        return min(1.0, self.files_read / (1 + sum(name.startswith(folders) for name in self.result.manifest.outputs)))

    def load(self, real_nodes: Sequence[Any], maps: Sequence[str]) -> Steps[None]:
        """All nodes, in the order in which they stand in the folder."""
        self._start()
        real_nodes = yield from self._real(real_nodes)
        yield
        yield from self._phases()
        if self.result.manifest.kind == MAMMOGRAM:
            yield from self._mammogram()
            return
        subtraction = yield from self._per_phase("subtraction", loaded.SUBTRACTION, _("subtraction"))
        pre = yield from self._pre(subtraction)
        acquired = yield from self._acquired(real_nodes)
        proxy = yield from self._sequence(pre, acquired)
        lesions = yield from self._lesions()
        breasts, kind = yield from find_breasts(self.input_node)
        shown_alike = [pre, *acquired, *self.phases, *self._real_alike(real_nodes)]
        window = yield from self._window(shown_alike, breasts, lesions)
        for volume in (proxy, *self.registered, *shown_alike):
            display.set_window(volume, window)
            yield
        yield from self._show_subtraction(subtraction, window, lesions)
        yield from self._mip(subtraction, breasts | lesions, kind)
        yield from self._maps(maps)
        yield from self._tables()
        yield from charts.update_steps(loaded.of_run(self.run_node))

    def _start(self) -> None:
        """The folder beside the input, in its study, and the run node with the manifest."""
        hierarchy, manifest = nodes.subject_hierarchy(), self.result.manifest
        model = manifest.models[0]
        parent = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(self.input_node))
        text = _("Synthetic contrast {run} ({model})")
        if manifest.kind == MAMMOGRAM:
            text = _("Synthetic recombined mammogram {run} ({model})")
        name = text.format(run=manifest.run_id, model=model["id"])
        self.folder = hierarchy.CreateFolderItem(parent or hierarchy.GetSceneItemID(), name)
        self.made.items.append(self.folder)
        self.run_node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", _("Run (manifest)"))
        self.run_node.SetText((self.result.folder / "manifest.json").read_text(encoding="utf-8"))
        self.run_node.SetAttribute(nodes.MODEL_ID, model["id"])
        self.run_node.SetAttribute(nodes.WEIGHTS_SHA256, model["weights_sha256"])
        self.run_node.SetAttribute(nodes.RUN_ID, manifest.run_id)
        self.run_node.SetAttribute(nodes.ROLE, loaded.RUN)
        hierarchy.CreateItem(self.folder, self.run_node)
        loaded.refer(self.run_node, loaded.INPUT, self.input_node)

    def _adopt(self, node: Any, role: str, key: str = "", *, synthetic: bool = True, caption: str = "") -> None:
        loaded.adopt(self.run_node, node, role, key, synthetic=synthetic, caption=caption)

    def _name(self, what: str) -> str:
        return f"{self.input_node.GetName()}: {what}"

    def _read(self, name: str) -> Steps[sitk.Image]:
        """Read a file of the result; unpacking a large one takes a second."""
        try:
            image = yield from nodes.in_thread(lambda: sitk.ReadImage(str(self.result.folder / name)))
        except RuntimeError as error:
            raise InputError(f"{name} in {self.result.folder} cannot be read; make the result again.") from error
        if difference := nodes.difference(image, self.input_node):
            raise InputError(f"{name} does not lie on the volume {self.input_node.GetName()}: {difference}")
        self.files_read += 1
        return image

    def _volume(self, file: str, what: str, class_name: str = nodes.SCALAR_VOLUME) -> Steps[Any]:
        """A volume node of a file of the result."""
        image = yield from self._read(file)
        array = sitk.GetArrayViewFromImage(image)
        volume = yield from nodes.add_volume(array, self._name(what), self.input_node, class_name)
        return volume

    def _entries(self) -> list[tuple[int, float, str]]:
        """Index, time in s (NaN where there is none) and file of the phases."""
        entries = sorted(self.result.manifest.phases, key=lambda entry: int(entry["index"]))
        return [(int(entry["index"]), loaded.seconds(entry), str(entry["file"])) for entry in entries]

    def _real(self, real_nodes: Sequence[Any]) -> Steps[list[Any]]:
        """The real phases: the user's own, or what the result has of them without motion."""
        suffix, found = self._entries()[0][2].partition(".")[2], []
        for index, real in enumerate(real_nodes, start=1):
            file, role = f"registered/phase_{index}.{suffix}", f"{loaded.REAL}_{index}"
            if file in self.result.manifest.outputs:
                caption = _("real phase {index} without motion").format(index=index)
                volume = yield from self._volume(file, caption)
                self._adopt(volume, role, str(index), synthetic=False, caption=caption)
                self.registered.append(volume)
                found.append(volume)
                continue
            if nodes.in_scene(real):  # it may have been removed during a run
                loaded.refer(self.run_node, role, real)
            found.append(real)
        return found

    def _phases(self) -> Steps[None]:
        for index, time_s, file in self._entries():
            when = loaded.caption_of(index, time_s)
            what = _("synthetic {phase}").format(phase=when)
            volume = yield from self._volume(file, what)
            self._adopt(volume, loaded.PHASE, str(index), caption=when)
            self.phases.append(volume)

    def _per_phase(self, folder: str, role: str, what: str) -> Steps[list[Any]]:
        """The volumes of one kind that the result has, one a phase."""
        volumes = []
        for index, _time, phase_file in self._entries():
            file = f"{folder}/{phase_file.rpartition('/')[2]}"
            if file in self.result.manifest.outputs:
                caption = _("{what}, phase {index}").format(what=what, index=index)
                volume = yield from self._volume(file, caption)
                self._adopt(volume, role, str(index), caption=caption)
                volumes.append(volume)
        return volumes

    def _pre(self, subtraction: Sequence[Any]) -> Steps[Any]:
        """The pre-contrast volume in the units and the data type of the phases, to stand first in the sequence.

        Where the model has units of its own, a phase minus its subtraction gives it back.
        """
        values = slicer.util.arrayFromVolume(self.input_node)
        if self.result.manifest.arbitrary_units and subtraction:
            arrays = [slicer.util.arrayFromVolume(volume) for volume in (self.phases[0], subtraction[0])]
            values = arrays[0] - arrays[1]
            yield
        values = values.astype(slicer.util.arrayFromVolume(self.phases[0]).dtype, copy=False)
        yield
        what = _("low energy") if self.result.manifest.kind == MAMMOGRAM else _("pre-contrast (0 s)")
        volume = yield from nodes.add_volume(values, self._name(what), self.input_node)
        self._adopt(volume, loaded.PRE, "0", synthetic=False)
        return volume

    def _acquired(self, real_nodes: Sequence[Any]) -> Steps[list[Any]]:
        """Copies of the real phases that the model read, in the data type of the phases."""
        volumes = []
        like = slicer.util.arrayFromVolume(self.phases[0])
        for index, time_s in self.read.items():
            values = slicer.util.arrayFromVolume(real_nodes[index - 1]) if index <= len(real_nodes) else None
            if values is None or values.shape != like.shape:
                continue
            yield
            caption = loaded.caption_of(index, time_s)
            what = self._name(_("acquired {phase}").format(phase=caption))
            volume = yield from nodes.add_volume(values.astype(like.dtype, copy=False), what, self.input_node)
            self._adopt(volume, loaded.ACQUIRED, str(index), synthetic=False, caption=caption)
            volumes.append(volume)
        return volumes

    def _sequence(self, pre: Any, acquired: Sequence[Any]) -> Steps[Any]:
        """The sequence and its browser; returns the browser's proxy volume."""
        times = [0.0, *(self.read[int(volume.GetAttribute(nodes.KEY))] for volume in acquired)]
        times += [time_s for _index, time_s, _file in self._entries()]
        name = self._name(_("synthetic dynamic series"))
        sequence, browser, proxy = yield from add_sequence([pre, *acquired, *self.phases], times, name)
        self._adopt(sequence, loaded.SEQUENCE)
        self._adopt(browser, loaded.BROWSER)
        loaded.adopt(self.run_node, proxy, loaded.PROXY, synthetic=nodes.is_synthetic(proxy))
        return proxy

    def _mammogram(self) -> Steps[None]:
        """What stands beside a recombined image: the low-energy one, and the table of metrics."""
        pre = yield from self._pre(())
        for volume in (pre, *self.phases):
            yield
            low, high = np.percentile(display.sample(volume), (1.0, 99.8))
            display.set_window(volume, (float(low), float(max(high, low + 1e-6))))
        yield from self._tables()

    def _lesions(self) -> Steps[np.ndarray]:
        """The segmentation where there is one; a mask of all lesions, bool [k, j, i]."""
        if "lesions.seg.nrrd" not in self.result.manifest.outputs:
            return np.zeros(slicer.util.arrayFromVolume(self.phases[0]).shape, bool)
        labels = yield from self._read("lesions.seg.nrrd")
        given = self.result.manifest.settings.get("segmentation") == "given"
        found = _("lesions (found on synthetic phases)")
        if self.read:
            found = _("lesions (found on acquired and synthetic phases)")
        name = _("lesions (given)") if given else found
        segmentation = yield from segments.add_segmentation(labels, self._name(name), self.input_node)
        self._adopt(segmentation, loaded.SEGMENTATION, synthetic=not given)
        return np.asarray(sitk.GetArrayViewFromImage(labels) > 0)

    def _real_alike(self, real_nodes: Sequence[Any]) -> list[Any]:
        """The real phases that can be compared with the synthetic ones: in their units and on their grid."""
        shape = slicer.util.arrayFromVolume(self.phases[0]).shape
        present = [] if self.result.manifest.arbitrary_units else [one for one in real_nodes if nodes.in_scene(one)]
        return [one for one in present if one.GetImageData() and slicer.util.arrayFromVolume(one).shape == shape]

    def _window(self, volumes: Sequence[Any], breasts: np.ndarray, lesions: np.ndarray) -> Steps[display.Window]:
        arrays = [slicer.util.arrayFromVolume(volume) for volume in volumes]
        window = yield from nodes.in_thread(lambda: display.phases_window(arrays, breasts, lesions))
        return window

    def _mip(self, subtraction: Sequence[Any], breasts: np.ndarray, kind: str) -> Steps[None]:
        """The first subtraction inside the breasts, and inside lesions that reach beyond them, with its gray window."""
        if not subtraction:
            return
        what = _("MIP of the breasts, phase 1 minus pre-contrast")
        if kind == "body":
            what = _("MIP of the body, phase 1 minus pre-contrast (chest wall not found)")
        volume = yield from add_inside(breasts, subtraction[0], self._name(what))
        display.set_window(volume, display.window_of(subtraction[0].GetDisplayNode()))
        self._adopt(volume, loaded.MIP, caption=what)
        yield

    def _show_subtraction(self, volumes: Sequence[Any], phases: display.Window, lesions: np.ndarray) -> Steps[None]:
        highs = []
        for volume in volumes:
            yield
            highs.append(display.subtraction_high(volume, phases, lesions))
        for volume in volumes:
            yield
            display.set_window(volume, (0.0, max(highs)))

    def _maps(self, names: Sequence[str]) -> Steps[None]:
        heat = display.add_heat_colors(self._name(_("colors of maps")))
        yield
        volumes = yield from self._per_phase("uncertainty", loaded.UNCERTAINTY, _("uncertainty (1 SD)"))
        for volume in volumes:
            yield from self._show_map(volume, heat, display.map_title("uncertainty"))
        for name in names:
            if self.map_file(name) in self.result.manifest.outputs:
                yield from self.one_map(name, heat)
        # After the volumes, so that a deleted folder loses them first: a legend without its colors is an error.
        self._adopt(heat, loaded.COLORS, "heat", synthetic=False)

    def map_file(self, name: str) -> str:
        """The file of a parametric map, as the manifest names it."""
        return f"maps/{name}.{self._entries()[0][2].partition('.')[2]}"

    def one_map(self, name: str, heat: Any) -> Steps[None]:
        """The volume of a parametric map, in the colors of the curve types or in `heat`."""
        if name == "curve_type":
            yield from self._curve_type(self.map_file(name))
            return
        title = display.map_title(name)
        volume = yield from self._volume(self.map_file(name), title)
        self._adopt(volume, loaded.MAP, name, caption=title)
        yield from self._show_map(volume, heat, title)

    def _show_map(self, volume: Any, colors: Any, title: str) -> Steps[None]:
        yield
        display.show_map(volume, colors)
        yield
        display.add_legend(volume, title)
        yield

    def _curve_type(self, file: str) -> Steps[None]:
        what = _("curve type")
        colors = display.add_type_colors(self._name(_("colors of curve types")))
        volume = yield from self._volume(file, what, "vtkMRMLLabelMapVolumeNode")
        volume.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())
        self._adopt(volume, loaded.MAP, "curve_type", caption=what)
        self._adopt(colors, loaded.COLORS, "curve_type", synthetic=False)
        yield
        display.add_legend(volume, display.map_title("curve_type"), named=True)
        yield

    def _tables(self) -> Steps[None]:
        for name in TABLES:
            if f"{name}.csv" in self.result.manifest.outputs:
                table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", self._name(name))
                tables.fill_from_csv(table, self.result.folder / f"{name}.csv")
                self._adopt(table, loaded.TABLE, name)
                yield
