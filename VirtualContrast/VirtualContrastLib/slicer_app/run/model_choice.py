"""The panel's list of models and the line with the card of the chosen one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from . import model_list


class ModelChoice:
    """Shows the installed models in the panel's `ui`; `choose` is called with the name that the user picked."""

    def __init__(self, ui: Any, choose: Callable[[str], None]) -> None:
        self._ui, self._choose = ui, choose
        self._names: list[str] = []
        self._updating = False
        ui.modelComboBox.connect("currentIndexChanged(int)", self._on_index)

    def fill(self, chosen: str, *, phantom: bool = False) -> None:
        """List the installed models, and the chosen one where it is a folder of the user's."""
        entries = model_list.installed_models()
        entry = model_list.find_model(chosen, phantom=phantom)
        if entry is not None and entry.name not in [one.name for one in entries]:
            entries.append(entry)
        names = [one.name for one in entries]
        if names != self._names:
            self._updating = True
            self._ui.modelComboBox.clear()
            self._ui.modelComboBox.addItems([one.title for one in entries])
            self._updating, self._names = False, names

    def show(self, chosen: str, *, phantom: bool = False) -> None:
        """Select the chosen model ("": the default, of a `phantom` its own) and tell its card, if there is one."""
        entry = model_list.find_model(chosen, phantom=phantom)
        if entry is not None and entry.name not in self._names:
            self.fill(chosen, phantom=phantom)
        self._updating = True
        self._ui.modelComboBox.currentIndex = self._names.index(entry.name) if entry is not None else -1
        self._updating = False
        none = _("<b>No model is installed.</b> Import one with: virtual-contrast models import.")
        self._ui.modelCardLabel.text = entry.card_line() if entry is not None else none

    def _on_index(self, index: int) -> None:
        if not self._updating and 0 <= index < len(self._names):
            self._choose(self._names[index])
