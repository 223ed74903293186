"""The panel's list of maps to lay over the phase, and how opaque they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from ..scene import loaded as result_nodes
from ..scene import nodes
from ..scene import result as scene
from ..scene.loaded import LoadedResult
from ..stepper import Stepper
from . import display, layout
from .type_threshold import LOWEST_PERCENT, TypeThreshold

ORDER = ("curve_type", "ser", "wash_in", "wash_out", "time_to_peak")
UNCERTAINTY = "uncertainty"


class OverlayChoice:
    """Offers the maps of a result; one that is not in the scene yet is read from the result folder when chosen."""

    def __init__(self, ui: Any, tell: Callable[..., None]) -> None:
        self._ui, self._tell = ui, tell
        self._loaded: LoadedResult | None = None
        self._folder: Path | None = None
        self._keys: list[str] = []
        self._stepper, self._threshold = Stepper(), TypeThreshold()
        ui.overlayComboBox.connect("currentIndexChanged(int)", self.apply)
        ui.opacitySlider.connect("valueChanged(int)", self.apply)
        ui.peSlider.minimum = LOWEST_PERCENT
        ui.peSlider.connect("valueChanged(int)", self.apply)

    @property
    def busy(self) -> bool:
        """A map is being read."""
        return self._stepper.busy

    def fill(self, loaded: LoadedResult | None, folder: Path | None = None) -> None:
        """Offer the maps of a result (None: nothing); `folder` is its result folder where that is there."""
        self._stepper.stop()
        self._threshold.restore()
        self._loaded, self._folder = loaded, folder
        self._keys = []  # nothing is shown while the list is filled
        keys = ["", *_keys_of(loaded, folder)] if loaded is not None else []
        self._ui.overlayComboBox.clear()
        self._ui.overlayComboBox.addItems([display.map_title(key) if key else _("None") for key in keys])
        self._keys = keys

    def apply(self) -> None:
        """Show the chosen map at the chosen opacity."""
        index = self._ui.overlayComboBox.currentIndex
        if self._loaded is None or not 0 <= index < len(self._keys):
            return
        key = self._keys[index]
        self._show_threshold(key)
        if not key or key == UNCERTAINTY or nodes.node(self._loaded.maps.get(key, "")) is not None:
            layout.set_overlay(self._loaded, key, self._ui.opacitySlider.value / 100.0)
        elif self._folder is not None and not self._stepper.busy:
            self._tell(_("Reading the map {name} ...").format(name=display.map_title(key)))
            steps = scene.load_map_steps(self._folder, self._loaded, key)
            self._stepper.start(steps, lambda _none: self._read(), lambda text: self._tell(text, error=True))

    def _show_threshold(self, key: str) -> None:
        """The slider belongs to the map of curve types; any other map leaves that one as the run made it."""
        of_types = key == "curve_type" and self._loaded is not None
        share = self._threshold.set(self._loaded, self._ui.peSlider.value) if of_types and self._loaded else ""
        for widget in (self._ui.peTitleLabel, self._ui.peSlider, self._ui.peLabel):
            widget.visible = bool(share)
        self._ui.peLabel.text = f"{self._ui.peSlider.value} %: {share}"
        if not share:
            self._threshold.restore()

    def _read(self) -> None:
        self._tell("")
        self.apply()


def _keys_of(loaded: LoadedResult, folder: Path | None) -> list[str]:
    """The maps that are in the scene or can be read, in the order of the list."""
    run_node = nodes.node(loaded.run_node)
    outputs = result_nodes.manifest_of(run_node)["outputs"] if folder is not None else ()
    there = {name.partition("/")[2].partition(".")[0] for name in outputs if name.startswith("maps/")} | set(
        loaded.maps
    )
    keys = [key for key in ORDER if key in there] + sorted(there - set(ORDER))
    return keys + ([UNCERTAINTY] if any(phase.uncertainty for phase in loaded.phases) else [])
