"""The pictures of held-out data of a run, with a slider over the epochs; it follows the newest until it is moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

LEAST_WIDTH = 200


class SampleView:
    """Shows one of the pictures in `ui.sampleLabel`, as wide as the panel."""

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._files: list[Path] = []
        self._shown: tuple[Path, int] | None = None
        ui.sampleSlider.connect("valueChanged(int)", self._on_slider)
        ui.sampleOpenButton.connect("clicked(bool)", self._on_open)
        self.show([])

    @property
    def shown(self) -> Path | None:
        """The file that is shown."""
        return self._shown[0] if self._shown else None

    def show(self, files: list[Path]) -> None:
        """Offer these pictures, in the order they were made."""
        if files == self._files and (self._shown or not files):
            self._refresh()
            return
        slider = self._ui.sampleSlider
        at_end = not self._files or slider.value == len(self._files) - 1
        self._files = list(files)
        slider.enabled = len(files) > 1
        self._ui.sampleOpenButton.enabled = bool(files)
        blocked = slider.blockSignals(True)
        slider.maximum = max(0, len(files) - 1)
        if at_end:
            slider.value = slider.maximum
        slider.blockSignals(blocked)
        self._refresh()

    def _on_slider(self, number: int) -> None:
        self._refresh()

    def _on_open(self) -> None:
        if self._shown:
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self._shown[0])))

    def _refresh(self) -> None:
        label = self._ui.sampleLabel
        number = self._ui.sampleSlider.value
        if not 0 <= number < len(self._files):
            self._shown = None
            label.clear()
            label.minimumHeight = 0
            label.setText(_("Sample images come after the first epoch."))
            self._ui.sampleEpochLabel.text = ""
            return
        path, width = self._files[number], max(LEAST_WIDTH, label.width - 4)
        if self._shown == (path, width):
            return
        picture = qt.QPixmap(str(path))
        if not picture.isNull():
            scaled = picture.scaledToWidth(width, qt.Qt.SmoothTransformation)
            label.setPixmap(scaled)
            label.minimumHeight = scaled.height()
            self._shown = (path, width)
            stage = _("warm-up, ") if path.parents[1].name == "warm_up" else ""
            epoch = int(path.stem.removeprefix("epoch_"))
            self._ui.sampleEpochLabel.text = _("{stage}epoch {epoch}").format(stage=stage, epoch=epoch)
