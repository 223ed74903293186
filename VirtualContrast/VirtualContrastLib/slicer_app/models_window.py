"""The window with all models: what they are, and to fetch, import and remove them. Nothing is fetched unasked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from .run import install
from .run.engine_command import EngineCommand
from .run.model_records import EMBEDDED, INSTALLED, ModelRecord, all_models


class ModelsWindow:
    """Opened from the panel; `changed` is called when a model has come or gone."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._command = EngineCommand()
        self._records: list[ModelRecord] = []
        self.dialog: Any = None

    @property
    def busy(self) -> bool:
        """A model is being fetched, imported or removed."""
        return self._command.busy

    def show(self) -> None:
        """Open the window, or bring it to the front, with the models of now."""
        if self.dialog is None:
            self._make()
        self.fill()
        self.dialog.show()
        self.dialog.raise_()

    def close(self) -> None:
        """Close the window for good; a command under way is ended."""
        self._command.stop()
        if self.dialog is not None:
            self.dialog.close()
            self.dialog.deleteLater()
            self.dialog = None

    def fill(self) -> None:
        """List the models as they are now."""
        self._records = all_models()
        self.table.setRowCount(len(self._records))
        for row, record in enumerate(self._records):
            for place, text in enumerate(_cells(record)):
                self.table.setItem(row, place, qt.QTableWidgetItem(text))
        self.table.resizeColumnsToContents()
        self._update()

    def _make(self) -> None:
        self.dialog = qt.QDialog(slicer.util.mainWindow())
        self.dialog.windowTitle = _("Virtual Contrast: models")
        self.dialog.resize(900, 520)
        layout = qt.QVBoxLayout(self.dialog)
        self.table = qt.QTableWidget()
        names = [_("Model"), _("For"), _("Where"), _("Size"), _("License")]
        self.table.setColumnCount(len(names))
        self.table.setHorizontalHeaderLabels(names)
        self.table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        self.table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        self.table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        self.table.connect("itemSelectionChanged()", self._update)
        self.details = qt.QPlainTextEdit()
        self.details.readOnly = True
        self.status = qt.QLabel()
        self.status.wordWrap = True
        for widget in (self.table, self.details, self.status):
            layout.addWidget(widget)
        row = qt.QHBoxLayout()
        layout.addLayout(row)
        self.download_button = qt.QPushButton(_("&Download..."))
        self.import_button = qt.QPushButton(_("&Import from file..."))
        self.remove_button = qt.QPushButton(_("&Remove..."))
        actions = (
            (self.download_button, self._on_download), (self.import_button, self._on_import),
            (self.remove_button, self._on_remove),
        )  # fmt: skip
        for button, action in actions:
            button.connect("clicked(bool)", action)
            row.addWidget(button)

    @property
    def _chosen(self) -> ModelRecord | None:
        row = self.table.currentRow()
        return self._records[row] if 0 <= row < len(self._records) else None

    def _update(self) -> None:
        record = self._chosen
        self.details.setPlainText(record.details if record is not None else _("Select a model."))
        self.download_button.enabled = not self.busy and record is not None and record.downloadable
        self.remove_button.enabled = not self.busy and record is not None and record.removable
        self.import_button.enabled = not self.busy

    def _on_download(self) -> None:
        record = self._chosen
        if record is not None and slicer.util.confirmOkCancelDisplay(record.what_is_fetched, _("Download a model")):
            self._start(["download", record.id], _("Fetching {id} ...").format(id=record.id))

    def _on_import(self) -> None:
        kinds = _("Models (*.zip *.pth *.pt *.onnx);;All files (*)")
        name = qt.QFileDialog.getOpenFileName(self.dialog, _("Model package or checkpoint"), "", kinds)
        if name:
            self._start(["import", str(name)], _("Importing {name} ...").format(name=Path(str(name)).name))

    def _on_remove(self) -> None:
        record = self._chosen
        question = _("Delete the files of {id} from this computer?")
        if record is not None and slicer.util.confirmOkCancelDisplay(
            question.format(id=record.id), _("Remove a model")
        ):
            self._start(["remove", record.id], _("Removing {id} ...").format(id=record.id))

    def _start(self, arguments: list[str], text: str) -> None:
        if missing := install.missing_packages():
            self.status.text = install.explanation(missing)
            return
        self.status.text = text
        self._command.run(["models", *arguments], self._on_ended)
        self._update()

    def _on_ended(self, problem: str) -> None:
        self.status.text = problem or _("Done.")
        self.fill()
        self._changed()


def _cells(record: ModelRecord) -> list[str]:
    where = {EMBEDDED: _("part of the software"), INSTALLED: _("on this computer")}.get(record.where, _("not here"))
    return [record.id, record.kind, where, record.size, record.license]
