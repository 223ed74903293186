"""The questions of a blinded reading: the findings, then on a page of its own what the reader takes the image for.

Whoever has just been asked whether an image is real reads it with other eyes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ...reader_study.answers import CONFIDENCES, Answer
from ...reader_study.study_list import REAL, SYNTHETIC


class Questions:
    """The radio buttons of the panel's `ui` and their answers; `changed` is called after each click."""

    def __init__(self, ui: Any) -> None:
        self.changed: Callable[[], None] = lambda: None
        self._confidence = ui.confidenceComboBox
        self._confidence.addItems([_("not asked"), *map(str, CONFIDENCES)])
        self._bpe = {"a": ui.bpeAButton, "b": ui.bpeBButton, "c": ui.bpeCButton, "d": ui.bpeDButton}
        self._lesion = {True: ui.lesionYesButton, False: ui.lesionNoButton}
        self._guess = {REAL: ui.guessRealButton, SYNTHETIC: ui.guessSyntheticButton}
        self._hallucination = {True: ui.hallucinationYesButton, False: ui.hallucinationNoButton}
        self._remarks = ui.remarksEdit
        for button in self._buttons():
            button.connect("toggled(bool)", self._on_toggled)

    def _buttons(self) -> list[Any]:
        return [button for group in self._groups for button in group.values()]

    @property
    def _groups(self) -> tuple[dict[Any, Any], ...]:
        return self._bpe, self._lesion, self._guess, self._hallucination

    def _on_toggled(self) -> None:
        self.changed()

    @property
    def findings_complete(self) -> bool:
        """Background enhancement and lesion have an answer."""
        return _answered(self._bpe) and _answered(self._lesion)

    @property
    def complete(self) -> bool:
        """Every question but those of confidence and remarks has an answer."""
        return all(map(_answered, self._groups))

    def answer(self) -> dict[str, Any]:
        """The answers as `Session.answer` takes them, without the place; None where there is none."""
        chosen = [next((value for value, button in group.items() if button.checked), None) for group in self._groups]
        number = self._confidence.currentIndex
        return {
            "bpe": chosen[0], "lesion": chosen[1], "guess": chosen[2],
            "confidence": CONFIDENCES[number - 1] if number > 0 else None,
            "hallucination": chosen[3], "remarks": self._remarks.text,
        }  # fmt: skip

    def set_answer(self, answer: Answer) -> None:
        """Show an earlier answer."""
        self.set_bpe(answer.bpe)
        self.set_lesion(answer.lesion)
        self.set_guess(answer.guess)
        if answer.hallucination is not None:
            self.set_hallucination(answer.hallucination)
        self._remarks.text = answer.remarks
        self._confidence.currentIndex = 0 if answer.confidence is None else CONFIDENCES.index(answer.confidence) + 1

    def set_bpe(self, grade: str) -> None:
        """Background parenchymal enhancement, a to d."""
        self._bpe[grade].checked = True

    def set_lesion(self, there: bool) -> None:
        """There is a lesion or not."""
        self._lesion[there].checked = True

    def set_guess(self, kind: str) -> None:
        """What the reader takes the image for."""
        self._guess[kind].checked = True

    def set_hallucination(self, there: bool) -> None:
        """Something in the image looks invented, or nothing."""
        self._hallucination[there].checked = True

    def set_confidence(self, number: int) -> None:
        """How sure the answer on the lesion is, 1 to 5."""
        self._confidence.currentIndex = CONFIDENCES.index(number) + 1

    def clear(self) -> None:
        """No answer to any question: none is suggested."""
        for button in self._buttons():
            button.autoExclusive = False  # else one of a group stays checked
            button.checked = False
            button.autoExclusive = True
        self._confidence.currentIndex = 0
        self._remarks.text = ""


def _answered(group: dict[Any, Any]) -> bool:
    return any(button.checked for button in group.values())
