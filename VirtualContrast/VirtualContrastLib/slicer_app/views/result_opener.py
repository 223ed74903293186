"""Results that were made elsewhere: open a result folder, or look through the cases of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from ...events import VirtualContrastError
from ...results.batch_folder import BatchEntry, read_batch
from ..scene import opening
from ..scene import result as scene
from ..stepper import Stepper

if TYPE_CHECKING:
    from ..scene.loaded import LoadedResult


class ResultOpener:
    """The panel's buttons that open results, and the list of a batch's cases.

    Args:
        ui: the panel's widgets.
        inputs: gives the panel's input volume (None where none is selected) and its real phases.
        show: gets what was opened, with its folder.
        tell: writes the panel's status line.
    """

    def __init__(
        self,
        ui: Any,
        inputs: Callable[[], tuple[Any, Sequence[Any]]],
        show: Callable[[LoadedResult, Path], None],
        tell: Callable[..., None],
    ) -> None:
        self._ui, self._inputs, self._show, self._tell = ui, inputs, show, tell
        self._cases: list[BatchEntry] = []
        self._of_batch: LoadedResult | None = None
        self._last = ""
        self._stepper = Stepper()
        table = ui.casesTable
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        table.connect("cellActivated(int,int)", self._on_case)
        table.visible = False
        ui.openResultButton.connect("clicked(bool)", self._on_open_result)
        ui.openBatchButton.connect("clicked(bool)", self._on_open_batch)

    @property
    def busy(self) -> bool:
        """A result is being opened."""
        return self._stepper.busy

    def stop(self) -> None:
        """Leave what is being opened; nothing of it stays."""
        self._stepper.stop()
        self._of_batch = None

    def open(self, folder: Path) -> None:
        """Open a result folder."""
        self._start(folder, None)

    def list_batch(self, folder: Path) -> None:
        """List the cases of a batch's folder."""
        try:
            self._cases = read_batch(folder)
        except VirtualContrastError as error:
            self._tell(str(error), error=True)
            return
        table = self._ui.casesTable
        headers = [_("Case"), _("Status"), _("Lesions"), _("Volume (cm³)"), _("Curves")]
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels(headers)
        table.setRowCount(len(self._cases))
        for row, entry in enumerate(self._cases):
            for column, text in enumerate(case_cells(entry)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(entry.message)
                table.setItem(row, column, item)
        table.resizeColumnsToContents()
        table.visible = True
        whole = sum(entry.folder is not None for entry in self._cases)
        text = _("{count} cases, {whole} with a result. Double-click one (or press Enter) to open it.")
        self._tell(text.format(count=len(self._cases), whole=whole))

    def _on_open_result(self) -> None:
        folder = self._ask(_("Result folder"))
        if folder:
            self.open(Path(folder))

    def _on_open_batch(self) -> None:
        folder = self._ask(_("Folder of a batch"))
        if folder:
            self.list_batch(Path(folder))

    def _ask(self, title: str) -> str:
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title, self._last)
        self._last = folder or self._last
        return str(folder)

    def _on_case(self, row: int, column: int) -> None:
        """Open a case; it takes the place of the one before, so that a night's batch does not fill the memory."""
        entry = self._cases[row]
        if entry.folder is None:
            self._tell(entry.message or _("This case has no result."), error=True)
            return
        self._start(entry.folder, entry)

    def _start(self, folder: Path, entry: BatchEntry | None) -> None:
        if self._stepper.busy:
            self._tell(_("A result is being opened; wait a moment."))
            return
        selected, real = self._inputs()
        own = self._of_batch.run_id if self._of_batch is not None else ""
        kept = {known.run_id for known in scene.find_results()} - {own}
        self._tell(_("Opening the result ..."))
        steps = opening.open_steps(folder, selected, real)

        def opened(loaded: LoadedResult) -> None:
            self._opened(loaded, folder, of_batch=entry is not None and loaded.run_id not in kept)

        self._stepper.start(steps, opened, self._failed)

    def _opened(self, loaded: LoadedResult, folder: Path, *, of_batch: bool) -> None:
        before = self._of_batch
        self._show(loaded, folder)
        if of_batch:
            self._of_batch = loaded
            if before is not None and before.run_id != loaded.run_id:
                scene.remove_result(before)
        self._tell(_("Opened. Synthetic, research only."))

    def _failed(self, sentence: str) -> None:
        self._tell(_("The result could not be opened: {reason}").format(reason=sentence), error=True)


def case_cells(entry: BatchEntry) -> list[str]:
    """The texts of one case: name, how it ended, lesions, their volume in cm3, curve types."""
    lesions, volume = entry.summary.get("lesions"), entry.summary.get("lesion_volume_mm3")
    types = entry.summary.get("curve_types") or ()
    return [
        entry.case,
        entry.status,
        "" if lesions is None else str(lesions),
        "" if volume is None else f"{float(volume) / 1000.0:.2f}",
        ", ".join(str(kind).replace("_", " ") for kind in types),
    ]
