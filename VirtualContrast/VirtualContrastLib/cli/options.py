"""What every command of both programs shares: how arguments are declared, refused and explained."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from ..events import Events, ExitCode, InputError
from ..run.settings import Option, RunSettings, options

if TYPE_CHECKING:
    from .console import Reporter

Action = Callable[[argparse.Namespace, "Reporter", Events], ExitCode]
"""Translates arguments into a call of the library and reports the outcome."""

EXIT_CODES = "exit codes: 0 done, 1 failed, 2 unusable arguments or input, 3 cancelled, 4 some cases of a batch failed"
INPUT_HELP = "NIfTI, NRRD, MetaImage, PNG, TIFF or DICOM file or DICOM folder; FILE@N is time point N, from 0"


class Parser(argparse.ArgumentParser):
    """Raises InputError with one sentence on a wrong argument, in place of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments; argparse calls it."""
        raise InputError(f"{message}; see {self.prog} --help.")


def add_command(commands: Any, name: str, action: Action, help: str, **more: Any) -> argparse.ArgumentParser:
    """Add a command with the options that every command has.

    Args:
        commands: what `add_subparsers` returned.
        name: of the command.
        action: what it does.
        help: one line for the list of commands.
        **more: further arguments of `add_parser`.

    Returns:
        The parser of the command, for its own options.
    """
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help, epilog=EXIT_CODES, **more)
    parser.add_argument("--json", action="store_true", help="one JSON object per line on standard output")
    parser.add_argument("--quiet", action="store_true", help="no progress; warnings and errors are still shown")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(action=action)
    return parser


def add_output(parser: argparse.ArgumentParser, help: str, *, required: bool = True) -> None:
    """Add `-o/--out`, the place that a command writes to.

    Args:
        parser: Gets the option.
        help: What is written there.
        required: Whether the option must be given.
    """
    parser.add_argument("-o", "--out", metavar="OUT", required=required, help=help)


def add_scheduler(add: Callable[..., Any], what: str) -> None:
    """Add `--scheduler` through a parser's or group's `add_argument`; `what` are the parts that go to the workers."""
    add(
        "--scheduler",
        metavar="ADDRESS|FILE",
        help=f"spread the {what} over the workers of this Dask scheduler (tcp://HOST:8786 or the JSON file it writes); "
        "all machines must see the same files",
    )


def add_settings(parser: argparse.ArgumentParser, *, without: tuple[str, ...] = ()) -> None:
    """Add the options of a run, as `RunSettings` declares them; `without` are fields that a command does not have."""
    for name, option in options().items():
        if name not in without:
            default = RunSettings.__dataclass_fields__[name].default
            parser.add_argument(option.flag, dest=name, default=default, **_argument(option))


def _argument(option: Option) -> dict[str, Any]:
    """The arguments of `add_argument` for a setting."""
    if option.kind is bool:
        return {"action": "store_true", "help": option.help}
    values: dict[str, Any] = {"type": option.kind, "help": option.help}
    if option.choices:
        return values | {"choices": option.choices}
    return values | {"metavar": option.metavar} | ({"nargs": "+"} if option.many else {})


def settings_of(arguments: argparse.Namespace) -> RunSettings:
    """The settings that the arguments of `add_settings` give; raises InputError where they make no sense."""
    given = vars(arguments)
    return RunSettings.from_json({name: given[name] for name in options() if name in given})
