"""The panel's controls for a dynamic examination as one input, and the table with the times of its real phases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from ...events import InputError
from ..stepper import Stepper
from . import dynamic_study
from .dynamic_study import DynamicStudy
from .parameters import chosen_real_phases, parse_times


class StudyChoice:
    """Sets input and real phases of `parameters()` (None: no scene to work on); `tell` writes the status line."""

    def __init__(self, ui: Any, parameters: Callable[[], Any], tell: Callable[..., None]) -> None:
        self._ui, self._parameters, self._tell = ui, parameters, tell
        self._stepper = Stepper()
        self._header_times: dict[str, float | None] = {}  # by node ID, as the DICOM headers tell them
        self._shown: list[str] | None = None  # the real phases of the table
        self._filling = False
        ui.studySelector.connect("currentNodeChanged(vtkMRMLNode*)", self._on_sequence)
        ui.studyButton.connect("clicked(bool)", self._on_study)
        ui.phasesTable.connect("itemChanged(QTableWidgetItem*)", self._on_edited)

    @property
    def busy(self) -> bool:
        """Headers are being read."""
        return self._stepper.busy

    def stop(self) -> None:
        """The scene goes away."""
        self._stepper.stop()
        self._header_times, self._shown = {}, None

    def _on_sequence(self, sequence: Any) -> None:
        parameters = self._parameters()
        if parameters is None or sequence is None or self._filling:
            return
        try:
            volume = dynamic_study.first_of(sequence)
        except InputError as error:
            self._tell(str(error), error=True)
            return
        parameters.realTimes = ""
        parameters.inputVolume = volume
        parameters.realSequence = sequence

    def _on_study(self) -> None:
        parameters = self._parameters()
        if parameters is None or parameters.inputVolume is None:
            self._tell(_("Select a volume of the study first."), error=True)
            return
        self._tell(_("Reading the headers of the study ..."))
        steps = dynamic_study.of_dicom(parameters.inputVolume)
        self._stepper.start(steps, self._found, lambda text: self._tell(text, error=True))

    def _found(self, study: DynamicStudy) -> None:
        parameters = self._parameters()
        if parameters is None:
            return
        self._header_times = {node.GetID(): time_s for node, time_s in zip(study.real, study.times_s, strict=True)}
        parameters.realSequence = None
        parameters.realTimes = ""
        parameters.inputVolume = study.pre
        parameters.realVolumes = list(study.real)
        text = _("{name} is the pre-contrast volume, with {count} real phases after it.")
        summary = text.format(name=study.pre.GetName(), count=len(study.real))
        self._tell(" ".join((summary, *study.remarks)), error=bool(study.remarks))

    def show(self) -> None:
        """Show the real phases of the parameters and their times; corrected times go with the phases they were for."""
        parameters = self._parameters()
        real = chosen_real_phases(parameters)
        names = [node.GetName() for node in real.nodes]
        if self._shown is not None and names != self._shown and parameters.realTimes:
            self._shown = names
            parameters.realTimes = ""  # which shows them again
            return
        self._shown = names
        times = real.times_s or [self._header_times.get(node.GetID() or "") for node in real.nodes]
        self._filling = True
        sequence = parameters.realSequence
        whole = sequence is not None and dynamic_study.is_first_of(parameters.inputVolume, sequence)
        self._ui.studySelector.setCurrentNode(sequence if whole else None)
        self._fill(names, times)
        self._filling = False

    def _fill(self, names: list[str], times: Any) -> None:
        table = self._ui.phasesTable
        table.setColumnCount(2)
        table.setHorizontalHeaderLabels([_("Real phase"), _("Time (s)")])
        table.setRowCount(len(names))
        for row, (name, time_s) in enumerate(zip(names, times, strict=True)):
            item = qt.QTableWidgetItem(name)
            item.setFlags(qt.Qt.ItemIsEnabled)
            table.setItem(row, 0, item)
            table.setItem(row, 1, qt.QTableWidgetItem("" if time_s is None else f"{time_s:g}"))
        table.visible = bool(names)
        table.resizeColumnsToContents()

    def _on_edited(self, item: Any) -> None:
        """Take up corrected times once all are there."""
        parameters, table = self._parameters(), self._ui.phasesTable
        if self._filling or parameters is None:
            return
        texts = [table.item(row, 1).text().strip() for row in range(table.rowCount)]
        if not all(texts):
            return
        if parse_times(" ".join(texts)) is None:
            self._tell(_("The times must be rising numbers of seconds after injection."), error=True)
            return
        parameters.realTimes = " ".join(texts)
