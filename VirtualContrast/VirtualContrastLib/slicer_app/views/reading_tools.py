"""What a reader does with the lesions of a result: edit one, add a region, follow curves, copy table and findings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from ...events import InputError
from ...export.content import LABEL
from ...export.findings import findings_text
from ..scene import nodes, segments
from ..text_window import TextWindow
from . import layout
from .lesion_table import headers
from .live_curve import LiveCurve
from .view_keys import ViewKeys

if TYPE_CHECKING:
    from ..scene.loaded import LesionRow, LoadedResult
    from .lesion_table import LesionTable

REGION_RADIUS_MM = 5.0
"""A new region is a ball of this radius, to be edited."""
EDITOR_TAG = "SegmentEditor"
"""Of the parameter node of Slicer's Segment Editor, which it takes up when it opens."""


class ReadingTools:
    """The buttons below the lesion table. `measure` measures the segments again, `tell` writes the status line."""

    def __init__(self, ui: Any, measure: Callable[[int], None], tell: Callable[..., None]) -> None:
        self._ui, self._measure, self._tell = ui, measure, tell
        self._loaded: LoadedResult | None = None
        self._table: LesionTable | None = None
        self.live, self.keys = LiveCurve(), ViewKeys(self._step_phase, self._step_lesion)
        self.findings = TextWindow(_("Findings: synthetic, research only"), self.findings_text, editable=True)
        ui.liveCheckBox.connect("toggled(bool)", self._on_live)
        ui.editButton.connect("clicked(bool)", self._on_edit)
        ui.regionButton.connect("clicked(bool)", self._on_region)
        ui.copyButton.connect("clicked(bool)", self._on_copy)
        ui.findingsButton.connect("clicked(bool)", self.findings.show)

    def use(self, loaded: LoadedResult, table: LesionTable) -> None:
        """Work on a result."""
        self._loaded, self._table = loaded, table
        has_segments = nodes.node(loaded.segmentation) is not None
        for button in (self._ui.editButton, self._ui.regionButton):
            button.enabled = has_segments
        self._ui.findingsButton.enabled = self._ui.copyButton.enabled = loaded.has_geometry and has_segments

    def shown(self) -> None:
        """The views of the result are there."""
        self.keys.start()
        self._on_live(self._ui.liveCheckBox.checked)

    def clear(self) -> None:
        """There is no result."""
        self.live.stop()
        self.keys.stop()
        self.findings.close()
        self._loaded = self._table = None

    def _on_live(self, on: bool) -> None:
        if on and self._loaded is not None:
            self.live.start(self._loaded)
        else:
            self.live.stop()

    def _step_phase(self, step: int) -> None:
        self._ui.phaseSlider.value = self._ui.phaseSlider.value + step  # the slider stops at its ends

    def _step_lesion(self, step: int) -> None:
        """The next or the last lesion; from none the first one."""
        if self._loaded is None or self._table is None or not self._loaded.lesions:
            return
        labels, selected = [row.label for row in self._loaded.lesions], self._table.selected_label()
        number = labels.index(selected) + step if selected in labels else 0
        if 0 <= number < len(labels):
            self._table.select(labels[number])

    def _on_edit(self) -> None:
        """Open Slicer's Segment Editor on the selected lesion and the phase that is shown."""
        if self._loaded is None or self._table is None:
            return
        label = self._table.selected_label()
        row = self._loaded.lesion(label) if label is not None else next(iter(self._loaded.lesions), None)
        if row is None:
            self._tell(_("There is no lesion to edit; New region adds one."))
            return
        edit_segment(self._loaded, row, self._loaded.phases[self._ui.phaseSlider.value - 1].volume)

    def _on_region(self) -> None:
        """A ball where the crosshair was put, or in the middle of the phase view, with its curve."""
        if self._loaded is None:
            return
        segmentation, pre = nodes.node(self._loaded.segmentation), nodes.node(self._loaded.pre)
        if segmentation is None or pre is None:
            return
        try:
            label = segments.add_ball(segmentation, pre, _place(), REGION_RADIUS_MM)
        except InputError as error:
            self._tell(str(error), error=True)
            return
        self._measure(label)

    def _on_copy(self) -> None:
        qt.QApplication.clipboard().setText(self.table_text())
        self._tell(_("The table was copied, with the note that it is synthetic."))

    def table_text(self) -> str:
        """The lesion table as text with tabs, for a spreadsheet, below the note that it is synthetic."""
        if self._loaded is None or self._table is None:
            return ""
        rows = [headers("mm" if self._loaded.has_geometry else "px"), *self._table.rows()]
        return "\n".join([LABEL, *("\t".join(row) for row in rows)]) + "\n"

    def findings_text(self) -> str:
        """The findings in words, as they are measured now."""
        if self._loaded is None:
            return ""
        return findings_text(self._loaded.lesions, self._loaded.model_id, self._loaded.run_id)


def edit_segment(loaded: LoadedResult, row: LesionRow, volume_id: str) -> None:
    """Open the Segment Editor with a lesion selected, over a volume.

    Args:
        loaded: The result.
        row: The lesion to edit.
        volume_id: ID of the volume node that the editor shows.
    """
    editor = slicer.mrmlScene.GetSingletonNode(EDITOR_TAG, "vtkMRMLSegmentEditorNode")
    if editor is None:
        editor = slicer.vtkMRMLSegmentEditorNode()
        editor.SetSingletonTag(EDITOR_TAG)
        editor = slicer.mrmlScene.AddNode(editor)
    editor.SetAndObserveSegmentationNode(nodes.node(loaded.segmentation))
    editor.SetAndObserveSourceVolumeNode(nodes.node(volume_id))
    editor.SetSelectedSegmentID(row.segment_id)
    slicer.util.selectModule("SegmentEditor")


def _place() -> tuple[float, float, float]:
    """Where the user put the crosshair; where none is shown, the middle of the phase view."""
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    if crosshair is not None and crosshair.GetCrosshairMode() != crosshair.NoCrosshair:
        x, y, z = crosshair.GetCrosshairRAS()
        return float(x), float(y), float(z)
    view = slicer.mrmlScene.GetSingletonNode(layout.PHASE, "vtkMRMLSliceNode")
    if view is None:
        return 0.0, 0.0, 0.0
    matrix = view.GetSliceToRAS()
    return matrix.GetElement(0, 3), matrix.GetElement(1, 3), matrix.GetElement(2, 3)
