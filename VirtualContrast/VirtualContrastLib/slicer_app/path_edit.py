"""Paths typed into CTK's path editor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

UNSET = Path()


def on_change(editor: Any, callback: Callable[..., None]) -> None:
    """Call `callback(text)` at every change of a ctkPathLineEdit.

    Its own signal `currentPathChanged` is silent when the text is emptied.
    """
    editor.comboBox().lineEdit().connect("textChanged(QString)", callback)


def path_of(text: str) -> Path:
    """The path that a text means; `UNSET` for none."""
    return Path(text).expanduser() if text else UNSET


def show(editor: Any, path: Path) -> None:
    """Let the editor show a path, unless it does: writing the text again would move the cursor of who is typing."""
    if path_of(editor.currentPath) != path:
        editor.currentPath = "" if path == UNSET else str(path)
