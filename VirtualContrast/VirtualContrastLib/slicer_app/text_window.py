"""A window with a text to read or edit, and to copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _


class TextWindow:
    """Shows what `source` returns, `empty` in place of no text; opened again it shows the present text."""

    def __init__(self, title: str, source: Callable[[], str], *, empty: str = "", editable: bool = False) -> None:
        self._title, self._source, self._empty, self._editable = title, source, empty, editable
        self._dialog: Any = None
        self._text: Any = None

    @property
    def text(self) -> str:
        """What the window shows."""
        return self._text.plainText if self._text is not None else ""

    def show(self) -> None:
        """Open the window, or bring it to the front, with the present text."""
        if self._dialog is None:
            self._make()
        self._text.setPlainText(self._source() or self._empty)
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
        self._dialog.windowTitle = self._title
        self._dialog.resize(800, 500)
        layout = qt.QVBoxLayout(self._dialog)
        self._text = qt.QPlainTextEdit()
        self._text.readOnly = not self._editable
        self._text.lineWrapMode = qt.QPlainTextEdit.WidgetWidth if self._editable else qt.QPlainTextEdit.NoWrap
        copy = qt.QPushButton(_("&Copy to clipboard"))
        copy.connect("clicked(bool)", self._copy)
        layout.addWidget(self._text)
        layout.addWidget(copy)

    def _copy(self) -> None:
        qt.QApplication.clipboard().setText(self.text)


def log_window(log_text: Callable[[], str]) -> TextWindow:
    """The window with the log of a computing process."""
    title = _("Virtual Contrast: log of the computation")
    return TextWindow(title, log_text, empty=_("Nothing was computed yet."))
