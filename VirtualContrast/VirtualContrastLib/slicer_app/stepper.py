"""Work in steps, driven by the event loop, so that the application is not held up."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import qt

from ..events import VirtualContrastError


class Stepper:
    """Does one piece of work at a time; what was under way is closed when another starts."""

    def __init__(self) -> None:
        self._steps: Generator[Any, None, Any] | None = None
        self._done: Callable[[Any], None] = lambda value: None
        self._failed: Callable[[str], None] = lambda sentence: None
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._step)

    @property
    def busy(self) -> bool:
        """Work is under way."""
        return self._steps is not None

    def start(
        self,
        steps: Generator[Any, None, Any],
        done: Callable[[Any], None],
        failed: Callable[[str], None],
    ) -> None:
        """Begin to work off steps.

        Args:
            steps: The steps.
            done: Gets what the steps return.
            failed: Gets the sentence of what went wrong. A fault of the program is raised as well, after this call.
        """
        self.stop()
        self._steps, self._done, self._failed = steps, done, failed
        self._timer.start()

    def stop(self) -> None:
        """Close what is under way; it removes what it made, and no callback is called."""
        self._timer.stop()
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.close()

    def _step(self) -> None:
        steps = self._steps
        if steps is None:
            self._timer.stop()
            return
        try:
            next(steps)
        except StopIteration as end:
            value = end.value
            self._end(lambda: self._done(value))
        except (VirtualContrastError, OSError, RuntimeError) as error:
            sentence = str(error)
            self._end(lambda: self._failed(sentence))
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
            self._end(lambda: self._failed(fault))
            raise

    def _end(self, tell: Callable[[], None]) -> None:
        self._timer.stop()
        self._steps = None
        tell()
