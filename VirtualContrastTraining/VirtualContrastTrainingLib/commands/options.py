"""What the training commands share: their options, how they print, and what their arguments may be."""

from __future__ import annotations

import argparse
import json
import math
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from VirtualContrastLib.cli.console import JsonReporter, QuietReporter, Reporter
from VirtualContrastLib.cli.options import add_command
from VirtualContrastLib.events import Events, ExitCode, InputError

from ..console import quietly

Command = Callable[[argparse.Namespace, "Output"], ExitCode]
"""Translates arguments into a request, calls the library, and prints what came of it."""


class Output:
    """Where a command's result goes: lines for people, or with --json one JSON object for programs."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._json = isinstance(reporter, JsonReporter)

    def result(self, text: str, values: Mapping[str, Any]) -> None:
        """The result of the command, once: `text`, or `values` as JSON. Standard output holds nothing else."""
        shown = json.dumps(dict(values), allow_nan=False, default=str) if self._json else text
        self._reporter.tell(shown)

    def warn(self, sentence: str) -> None:
        """A sentence on standard error."""
        self._reporter.say(f"Warning: {sentence}")

    def left_out(self, failures: Iterable[str]) -> ExitCode:
        """Name what could not be used on standard error; the exit code that follows from it."""
        failures = list(failures)
        for sentence in failures:
            self._reporter.say(f"left out: {sentence}")
        return ExitCode.SOME_CASES_FAILED if failures else ExitCode.DONE


def add_training_command(
    subparsers: Any, name: str, run: Command, help: str, *, description: str | None = None
) -> argparse.ArgumentParser:
    """Add a command with the options that every command of both programs has.

    Args:
        subparsers: what `add_subparsers` returned.
        name: of the command.
        run: what it does.
        help: one line for the list of commands.
        description: for its own help, by default the same line.

    Returns:
        The parser of the command, for its own options.
    """

    def action(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
        with quietly(isinstance(reporter, QuietReporter)), _signals_as_usual():
            return run(arguments, Output(reporter))

    return add_command(subparsers, name, action, help, description=description or help)


def add_output(add: Callable[..., Any], help: str, *, required: bool = False) -> None:
    """Add `-o/--out`; `--output` is its older name.

    Args:
        add: The `add_argument` of a parser or group.
        help: What is written there.
        required: Whether the option must be given.
    """
    add("-o", "--out", "--output", dest="output", metavar="OUT", type=Path, required=required, help=help)


def count(text: str) -> int:
    """Argument type: a whole number of at least 1."""
    return _whole(text, least=1)


def whole(text: str) -> int:
    """Argument type: a whole number of at least 0, such as a seed."""
    return _whole(text, least=0)


def minutes(text: str) -> float:
    """Argument type: a time above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of minutes above 0")
    return value


def named_paths(texts: Sequence[str], option: str, example: str) -> dict[str, Path]:
    """NAME=PATH arguments as a mapping.

    Args:
        texts: The arguments.
        option: Name of the option, for messages.
        example: An argument of the right form, for messages.

    Returns:
        Paths by name.

    Raises:
        InputError: An argument has another form, or a name is given twice.
    """
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or not name or not path:
            raise InputError(f"{option} takes NAME=PATH, such as {example}, not '{text}'.")
        if name in found:
            raise InputError(f"{option} names {name} twice.")
        found[name] = Path(path)
    return found


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least or value >= 2**32:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least {least}")
    return value


@contextmanager
def _signals_as_usual() -> Iterator[None]:
    """Let Ctrl-C interrupt and a terminate signal end the process, or do what a training makes of it.

    The engine's runs ask their events whether to stop; trainings do not, and Lightning, which ends one at a step with a
    checkpoint, leaves a signal alone that already has a handler.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
