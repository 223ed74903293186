"""The panel's part for blinded readings: start a session, ask, save, continue.

It shows a reader nothing that could give an image away: no case, file or node name, no engine's message about a file.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Optional

import qt
import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _

from ...events import VirtualContrastError
from ...reader_study.images import CaseImages, check_present, load_case
from ...reader_study.reads_table import write_reads
from ...reader_study.session import Session, open_session
from ...reader_study.study_list import BPE, NODE, REAL, SYNTHETIC, ReadingCase, ReadingList, load_list
from ..scene import nodes
from ..views.annotation import Annotator
from .questions import Questions
from .views import ReadingViews

ERROR_STYLE = "color: #b00020; font-weight: bold;"
POLL_MS, WAIT_S = 20, 0.015
_WORK = ("vtkMRMLVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLMarkupsNode", "vtkMRMLSequenceNode")
"""A scene with none of these is closed without asking."""


class ReadingPanel:
    """Goes through a session with its reader. `reading_changed` is called when a reading starts or stops."""

    def __init__(self, ui_path: str, annotator: Annotator, reading_changed: Callable[[], None]) -> None:
        self.widget = slicer.util.loadUI(ui_path)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.session: Optional[Session] = None  # noqa: UP045
        self.views, self.questions = ReadingViews(), Questions(self.ui)
        self._annotator, self._changed = annotator, reading_changed
        self._kept: dict[str, sitk.Image] = {}
        self._executor = ThreadPoolExecutor(1)
        self._ahead: dict[ReadingCase, Future[CaseImages]] = {}
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._poll)
        self._shortcuts: list[Any] = []
        self._judging = False  # the page after the findings: real or synthetic, anything invented
        ui = self.ui
        ui.startButton.connect("clicked(bool)", self._on_start)
        ui.tableButton.connect("clicked(bool)", self._on_table)
        ui.nextButton.connect("clicked(bool)", self._on_next)
        ui.backButton.connect("clicked(bool)", self._on_back)
        ui.breakButton.connect("clicked(bool)", self._on_break)
        ui.placeButton.connect("clicked(bool)", self._on_place)
        self.questions.changed = self._update
        self._show_page()

    @property
    def active(self) -> bool:
        """A reading is under way."""
        return self.session is not None

    def enter(self) -> None:
        """The module is shown: keys answer again."""
        if self.active and not self._shortcuts:
            self._make_shortcuts()

    def exit(self) -> None:
        """Another module is shown: its keys are its own."""
        self._remove_shortcuts()

    def cleanup(self) -> None:
        """The module goes away; what was read is saved."""
        self.stop()
        self._executor.shutdown(wait=False, cancel_futures=True)

    # ---- start and stop --------------------------------------------------------------------------------------------

    def _on_start(self) -> None:
        try:
            reading_list = load_list(self.ui.listPath.currentPath)
            kept = _images_of_nodes(reading_list)
            check_present(reading_list, kept)
            if not self._may_close_scene():
                return
            session = open_session(
                reading_list,
                self.ui.answersPath.currentPath or "/",
                self.ui.readerEdit.text,
                self.ui.sessionSpinBox.value,
                washout_days=self.ui.washoutSpinBox.value,
                allow_back=self.ui.allowBackCheckBox.checked,
            )
        except VirtualContrastError as error:
            self._tell(str(error), error=True)
            return
        slicer.mrmlScene.Clear(0)  # this stops an earlier session
        self.session, self._kept = session, kept
        self._annotator.set_blinded(True)
        self._make_shortcuts()
        self._tell("")
        self._show_page()
        self._changed()
        self._load()

    def _may_close_scene(self) -> bool:
        if not any(map(slicer.util.getNodesByClass, _WORK)):
            return True
        return bool(
            slicer.util.confirmOkCancelDisplay(
                _("The scene is closed first, because names in it could give the images away. Unsaved work is lost."),
                windowTitle=_("Blinded reading"),
            )
        )

    def stop(self) -> None:
        """End the reading; the session continues here another time. Also called when the scene is closed."""
        self._timer.stop()
        self._remove_shortcuts()
        if self.active:
            self.session = None
            self._kept = {}
            self._ahead.clear()
            self.views.clear()
            self._annotator.set_blinded(False)
            self._show_page()
            self._changed()

    def _on_break(self) -> None:
        session = self.session
        if session is not None:
            self.stop()
            text = _("{done} of {count} images are read and saved. Start the same session to continue.")
            self._tell(text.format(done=session.position, count=session.count))

    # ---- one image after the other -----------------------------------------------------------------------------------

    def _load(self) -> None:
        """Bring on the present image; the next one is read from the disk meanwhile."""
        session = self.session
        if session is None:
            return
        self.questions.clear()
        self._judging = False
        self.views.clear()
        coming = [session.current, *([session.following] if session.following is not None else [])]
        self._ahead = {
            case: self._ahead.get(case) or self._executor.submit(load_case, case, self._kept) for case in coming
        }
        self._update()
        self._timer.start()
        self._poll()

    def _poll(self) -> None:
        """Show the present image as soon as it is read.

        An idle Slicer holds Python's lock, and so stops the thread that reads: waiting here lets it continue.
        """
        wait(self._ahead.values(), WAIT_S)
        session = self.session
        if session is not None and not session.is_shown and self._ahead[session.current].done():
            self._show(session)
        if all(future.done() for future in self._ahead.values()):
            self._timer.stop()

    def _show(self, session: Session) -> None:
        try:
            images = self._ahead.pop(session.current).result()
        except VirtualContrastError:  # its sentence names the file
            self._stop_at_damaged(session)
            return
        self.views.show(images)
        earlier = session.earlier_answer
        if earlier is not None:
            self.questions.set_answer(earlier)
            self.views.set_point(earlier.location_lps_mm)
        try:
            session.shown()
        except VirtualContrastError as error:
            self._fail(error)
            return
        self._tell("")
        self._update()

    def _stop_at_damaged(self, session: Session) -> None:
        self.stop()
        text = _("The image in row {row} of the reading list cannot be read; ask the study lead. Reads are saved.")
        self._tell(text.format(row=session.row + 2), error=True)

    def _fail(self, error: Exception) -> None:
        """The answers cannot be saved."""
        self.stop()
        self._tell(str(error), error=True)

    def _on_next(self) -> None:
        session = self.session
        if session is None or not self._complete():
            return
        if not self._judging:
            self._judging = True
            self._update()
            return
        try:
            session.answer(**self.questions.answer(), location_lps_mm=self._location())
        except VirtualContrastError as error:
            self._fail(error)
            return
        if session.finished:
            self.stop()
            self._tell(_("The session is finished: {count} images are read and saved.").format(count=session.count))
        else:
            self._load()

    def _on_back(self) -> None:
        """From the second page to the findings, from these to the image before, where the study allows it."""
        if self._judging and self.session is not None and self.session.log.plan.allow_back:
            self._judging = False
            self._update()
        elif not self._judging and self.session is not None and self.session.can_go_back():
            self.session.go_back()
            self._load()

    def _on_place(self) -> None:
        if self.session is not None and self.session.is_shown and not self._judging:
            self.questions.set_lesion(True)
            self.views.start_placing()

    def _location(self) -> Any:
        return self.views.point() if self.questions.answer()["lesion"] else None

    def _complete(self) -> bool:
        """The page that is shown is answered."""
        answered = self.questions.complete if self._judging else self.questions.findings_complete
        return self.session is not None and self.session.is_shown and answered

    # ---- what the panel shows --------------------------------------------------------------------------------------

    def _show_page(self) -> None:
        self.ui.setUpPage.visible = not self.active
        self.ui.questionsPage.visible = self.active
        self._update()

    def _update(self) -> None:
        session = self.session
        if session is None:
            return
        text = _("Image {number} of {count}").format(number=session.position + 1, count=session.count)
        self.ui.positionLabel.text = text if session.is_shown else _("{text}: loading").format(text=text)
        self.ui.findingsPage.visible, self.ui.judgmentPage.visible = not self._judging, self._judging
        self.ui.nextButton.text = _("Save and next") if self._judging else _("Continue")
        self.ui.nextButton.enabled = self._complete()
        self.ui.backButton.visible = session.log.plan.allow_back
        self.ui.backButton.enabled = self._judging or session.can_go_back()
        self.ui.placeButton.enabled = session.is_shown

    def _tell(self, text: str, *, error: bool = False) -> None:
        self.ui.readingStatusLabel.styleSheet = ERROR_STYLE if error else ""
        self.ui.readingStatusLabel.text = text

    # ---- keys ------------------------------------------------------------------------------------------------------

    def _make_shortcuts(self) -> None:
        questions = self.questions
        actions: dict[str, Callable[[], None]] = {
            "Return": self._on_next,
            "Enter": self._on_next,
            "Backspace": self._on_back,
            "P": self._on_place,
            "Y": lambda: self._answer_yes_or_no(True),
            "N": lambda: self._answer_yes_or_no(False),
            "R": lambda: self._on_page(True, questions.set_guess, REAL),
            "S": lambda: self._on_page(True, questions.set_guess, SYNTHETIC),
        }
        answers: list[tuple[str, Callable[[Any], None], Any]] = [(one.upper(), questions.set_bpe, one) for one in BPE]
        answers += [(str(number), questions.set_confidence, number) for number in range(1, 6)]
        for key, answer, value in answers:
            actions[key] = lambda answer=answer, value=value: self._on_page(False, answer, value)  # type: ignore[misc]
        for key, action in actions.items():
            shortcut = qt.QShortcut(qt.QKeySequence(key), slicer.util.mainWindow())
            shortcut.connect("activated()", action)
            self._shortcuts.append(shortcut)

    def _on_page(self, judging: bool, answer: Callable[[Any], None], value: Any) -> None:
        """Answer a question of the page that is shown; a key of the other page does nothing."""
        if self._judging == judging:
            answer(value)

    def _answer_yes_or_no(self, yes: bool) -> None:
        """The yes-or-no question of the page that is shown."""
        if self._judging:
            self.questions.set_hallucination(yes)
        else:
            self.questions.set_lesion(yes)

    def _remove_shortcuts(self) -> None:
        for shortcut in self._shortcuts:
            shortcut.enabled = False
            shortcut.deleteLater()
        self._shortcuts = []

    # ---- the study lead's table ------------------------------------------------------------------------------------

    def _on_table(self) -> None:
        sure = slicer.util.confirmOkCancelDisplay(
            _("The table shows which images are synthetic. It is for the study lead, after the reading."),
            windowTitle=_("End the blinding"),
        )
        if not sure:
            return
        folder = Path(self.ui.answersPath.currentPath)
        try:
            reads, guesses = write_reads(load_list(self.ui.listPath.currentPath), folder, folder)
        except VirtualContrastError as error:
            self._tell(str(error), error=True)
            return
        text = _("Wrote {reads} and {guesses}; evaluate them with: virtual-contrast-training readers FILE")
        self._tell(text.format(reads=reads.name, guesses=guesses.name))


def _images_of_nodes(reading_list: ReadingList) -> dict[str, sitk.Image]:
    """Copies of the volumes of the scene that the list names, since the scene is closed for the reading."""
    names = {place for case in reading_list.cases for place in (case.image, case.beside) if place.startswith(NODE)}
    found = {}
    for place in names:
        volume = slicer.mrmlScene.GetFirstNodeByName(place.removeprefix(NODE))
        if volume is not None and volume.IsA(nodes.SCALAR_VOLUME) and volume.GetImageData() is not None:
            found[place] = nodes.image_of(volume)
    return found
