"""The lower part of the panel: look at a result, go through its phases and lesions, remove it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from ...results.manifest import MAMMOGRAM
from ..observers import Observers
from ..scene import result as scene
from ..scene.remeasure import measure_steps
from ..stepper import Stepper
from . import layout, mip
from .annotation import Annotator
from .feature_table import FeatureTable
from .lesion_table import LesionTable
from .overlay_choice import OverlayChoice
from .reading_tools import ReadingTools
from .sending import Sending
from .shared_window import SharedWindow

if TYPE_CHECKING:
    from ..scene.result import LoadedResult

_END = object()
_INPUTS = ("inputButton", "realButton", "computeButton", "advancedButton")
RECOMPUTE_DELAY_MS = 700
"""After the last change of a segment, so that a brush stroke is measured once."""


class ResultPanel:
    """Shows one result of the scene; `tell` writes the panel's status line."""

    def __init__(self, ui: Any, tell: Callable[[str], None]) -> None:
        self._observers = Observers()
        self.ui, self._tell = ui, tell
        ui.mipComboBox.addItems([_("the feet"), _("the front"), _("the right"), _("the left"), _("all sides, turning")])
        self.loaded: LoadedResult | None = None
        self.report: Path | None = None
        self._listed: list[str] = []  # run nodes in the order of the list of results
        self._folders: dict[str, Path] = {}  # by run id; only here, since a scene must not hold the user's paths
        self.table: LesionTable | None = None
        self.features = FeatureTable(ui.featuresTable)
        self.tools = ReadingTools(ui, self._measure, tell)
        self.overlays = OverlayChoice(ui, tell)
        self.sending = Sending(ui, tell)
        self.annotator, self._window = Annotator(), SharedWindow()
        self._showing: Iterator[None] = iter(())
        self._show_timer = qt.QTimer()
        self._show_timer.setInterval(0)
        self._show_timer.connect("timeout()", self._show_step)
        self._edit_timer = qt.QTimer()
        self._edit_timer.setSingleShot(True)
        self._edit_timer.setInterval(RECOMPUTE_DELAY_MS)
        self._edit_timer.connect("timeout()", self._recompute)
        self._measuring = Stepper()
        ui.phaseSlider.connect("valueChanged(int)", self._on_phase)
        ui.flickerCheckBox.connect("toggled(bool)", self._on_flicker)
        ui.resultComboBox.connect("currentIndexChanged(int)", self._on_result)
        ui.layoutButton.connect("clicked(bool)", self._on_layout)
        ui.mipComboBox.connect("currentIndexChanged(int)", self._on_mip)
        ui.reportButton.connect("clicked(bool)", self._on_report)
        ui.removeButton.connect("clicked(bool)", self._on_remove)
        self.clear()

    def cleanup(self) -> None:
        """The module goes away."""
        self.clear()
        self.sending.cleanup()
        self.annotator.cleanup()

    def show(self, loaded: LoadedResult, folder: Path | None = None) -> None:
        """Show a result in the panel, and in the views step by step, so that the application is not held up.

        `folder` is its result folder where that is known.
        """
        self.clear()
        if folder is not None:
            self._folders[loaded.run_id] = folder
        self.loaded = loaded
        self.table = LesionTable(self.ui.lesionsTable, loaded, lambda label: self.features.show(loaded, label))
        self.tools.use(loaded, self.table)
        self._observe_segments(loaded)
        self._window.follow(loaded)
        self._set_up_controls(loaded)
        self._list_results()
        self._on_layout()

    @property
    def showing(self) -> bool:
        """The views are still being set up."""
        return bool(self._show_timer.active)

    def _show_step(self) -> None:
        """Set up the next part of the views."""
        if next(self._showing, _END) is _END:
            self._show_timer.stop()
            self._on_phase(self.ui.phaseSlider.value)
            self.tools.shown()

    def find(self) -> None:
        """Take up the last result that the scene holds (it was loaded with the scene), and let go of a removed one."""
        found = scene.find_results()
        known = [result.run_node for result in found]
        if self.loaded is not None and self.loaded.run_node not in known:
            self.clear()
        if self.loaded is None and found:
            self.show(found[-1])
        self._list_results()

    def _list_results(self) -> None:
        """List the results of the scene where there are several to choose from."""
        found = scene.find_results()
        self._listed = []  # nothing is chosen while the list is filled
        self.ui.resultComboBox.clear()
        self.ui.resultComboBox.addItems([_result_name(one) for one in found])
        shown = [one.run_node for one in found]
        if self.loaded is not None and self.loaded.run_node in shown:
            self.ui.resultComboBox.currentIndex = shown.index(self.loaded.run_node)
        self._listed = shown
        self.ui.resultComboBox.visible = len(found) > 1

    def _on_result(self, index: int) -> None:
        """Another result of the scene was chosen."""
        if 0 <= index < len(self._listed) and self.loaded is not None and self._listed[index] != self.loaded.run_node:
            wanted = self._listed[index]
            self.show(next(one for one in scene.find_results() if one.run_node == wanted))

    def _on_layout(self) -> None:
        """Show the views of the result, step by step; after another layout was chosen they come back so."""
        if self.loaded is not None:
            self.ui.mipComboBox.currentIndex = 0
            self._showing = layout.show_steps(self.loaded)
            self._show_timer.start()

    def remove(self) -> None:
        """Remove the result's nodes from the scene and show the next one, if there is one."""
        if self.loaded is not None:
            loaded = self.loaded
            self.clear()
            scene.remove_result(loaded)
            self.find()

    def clear(self) -> None:
        """Show nothing."""
        self._edit_timer.stop()
        self._measuring.stop()
        self._show_timer.stop()
        self._observers.clear()
        if self.loaded is not None and self.ui.flickerCheckBox.checked:
            self.ui.flickerCheckBox.checked = False
        if self.loaded is not None:
            self.ui.inputButton.collapsed = False
            self._window.clear()
            layout.clear()
        if self.table is not None:
            self.table.cleanup()
        self.features.clear()
        self.tools.clear()
        self.overlays.fill(None)
        self.sending.use(None)
        self.loaded = self.report = self.table = None
        self.ui.resultButton.enabled = False
        self.ui.resultButton.collapsed = True
        self.ui.resultLabel.text = ""

    def _set_up_controls(self, loaded: LoadedResult) -> None:
        ui, count = self.ui, len(loaded.phases)
        ui.resultButton.enabled = True
        ui.resultButton.collapsed = False
        for name in _INPUTS:  # the look is at the result now, and its controls need the room
            getattr(ui, name).collapsed = True
        lesions = len(loaded.lesions)
        text = _("Model {model}: {phases} synthetic phases, lesions found: {lesions}.")
        if loaded.kind == MAMMOGRAM:
            text = _("Model {model}: a synthetic recombined image.")
        ui.resultLabel.text = text.format(model=loaded.model_id, phases=count, lesions=lesions)
        ui.phaseSlider.minimum, ui.phaseSlider.maximum = 1, max(1, count)
        ui.phaseSlider.value = 1
        ui.phaseSlider.enabled = count > 1
        folder = self._folders.get(loaded.run_id)
        self.overlays.fill(loaded, folder if folder is not None and folder.is_dir() else None)
        self.sending.use(folder)
        self._on_phase(1)
        has_real = any(phase.real for phase in loaded.phases)
        ui.flickerCheckBox.enabled = has_real
        ui.flickerCheckBox.toolTip = (
            _("Show the synthetic and the real phase in turn in the same view.")
            if has_real
            else _("There are no real phases to compare with.")
        )
        report = folder / "report.html" if folder is not None else None
        self.report = report if report is not None and report.is_file() else None
        ui.reportButton.enabled = self.report is not None
        there = _("Open the report in the web browser.")
        ui.reportButton.toolTip = there if self.report else _("The result folder of this run is no longer there.")

    def _on_phase(self, number: int) -> None:
        if self.loaded is not None and 1 <= number <= len(self.loaded.phases):
            layout.set_phase(self.loaded, number - 1)
            self.overlays.apply()
            self.ui.phaseLabel.text = self.loaded.phases[number - 1].caption

    def _on_flicker(self, on: bool) -> None:
        if self.loaded is not None:
            layout.flicker(self.loaded, on)

    def _on_mip(self, index: int) -> None:
        if self.loaded is not None:
            layout.see_mip_from(self.loaded, mip.DIRECTIONS[index])

    def _on_report(self) -> None:
        if self.report is not None:
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self.report)))

    def _on_remove(self) -> None:
        self.remove()
        self._tell(_("The result was removed from the scene."))

    # ---- edited segments -------------------------------------------------------------------------------------------

    def _observe_segments(self, loaded: LoadedResult) -> None:
        node = slicer.mrmlScene.GetNodeByID(loaded.segmentation) if loaded.segmentation else None
        if node is not None:
            segmentation = node.GetSegmentation()
            for event in (slicer.vtkSegmentation.SourceRepresentationModified, slicer.vtkSegmentation.SegmentRemoved):
                self._observers.add(segmentation, event, self._on_segments_changed)
        self._observers.add(slicer.mrmlScene, slicer.vtkMRMLScene.NodeRemovedEvent, self._on_node_removed)

    def _on_segments_changed(self, caller: Any, event: Any) -> None:
        self._edit_timer.start()

    def _recompute(self) -> None:
        self._measure()

    def _measure(self, label: int | None = None) -> None:
        """Measure the segments again, step by step, then select the lesion `label`."""
        if self.loaded is not None:
            self._edit_timer.stop()
            self._measuring.start(measure_steps(self.loaded), lambda lost: self._measured(label, lost), self._tell)

    def _measured(self, label: int | None, lost: Sequence[int]) -> None:
        if self.table is not None and self.loaded is not None:
            self.table.refresh()
            self.features.clear()
            layout.mark_lesions(self.loaded)
            if label in [row.label for row in self.loaded.lesions]:
                self.table.select(label)
            told = _("Curves and measures follow the edited segments.")
            if lost:
                told += " " + _("A real curve is gone with the old outline: the real phases are not in the scene.")
            self._tell(told)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_removed(self, caller: Any, event: Any, node: Any) -> None:
        if self.loaded is not None and node.GetID() == self.loaded.run_node:
            self.clear()
            self._list_results()


def _result_name(result: LoadedResult) -> str:
    """Input, model and run, as the list of results shows them."""
    volume = slicer.mrmlScene.GetNodeByID(result.input) if result.input else None
    name = volume.GetName() if volume is not None else _("(input removed)")
    return f"{name} · {result.model_id} · {result.run_id}"
