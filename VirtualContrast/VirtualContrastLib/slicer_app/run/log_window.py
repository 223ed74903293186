"""A window with the log of the computing process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _


class LogWindow:
    """Shows what `log_text` returns; opened again it shows the present log."""

    def __init__(self, log_text: Callable[[], str]) -> None:
        self._log_text = log_text
        self._dialog: Any = None
        self._text: Any = None

    @property
    def text(self) -> str:
        """What the window shows."""
        return self._text.plainText if self._text is not None else ""

    def show(self) -> None:
        """Open the window, or bring it to the front, with the present log."""
        if self._dialog is None:
            self._make()
        self._text.setPlainText(self._log_text() or _("Nothing was computed yet."))
        self._dialog.show()
        self._dialog.raise_()

    def close(self) -> None:
        """Close the window for good."""
        if self._dialog is not None:
            self._dialog.close()
            self._dialog.deleteLater()
            self._dialog = self._text = None

    def _make(self) -> None:
        self._dialog = qt.QDialog(slicer.util.mainWindow())
        self._dialog.windowTitle = _("Virtual Contrast: log of the computation")
        self._dialog.resize(800, 500)
        layout = qt.QVBoxLayout(self._dialog)
        self._text = qt.QPlainTextEdit()
        self._text.readOnly = True
        self._text.lineWrapMode = qt.QPlainTextEdit.NoWrap
        copy = qt.QPushButton(_("&Copy to clipboard"))
        copy.connect("clicked(bool)", self._copy)
        layout.addWidget(self._text)
        layout.addWidget(copy)

    def _copy(self) -> None:
        qt.QApplication.clipboard().setText(self.text)
