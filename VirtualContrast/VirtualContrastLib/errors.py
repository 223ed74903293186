"""Any failure as one sentence and an exit code.

Only the outermost frames of a program (a command, a case of a batch, a run of the worker, a slot of a panel) catch
`Exception` and hand it to `explain`; everywhere else an except clause names what the call before it is known to raise.
"""

from __future__ import annotations

import errno
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from . import installation
from .events import ExitCode, VirtualContrastError

SEE_DEBUG = "run again with --debug to see where it occurred"
_NO_MEMORY = ("DefaultCPUAllocator", "failed to map segment", "cannot allocate memory")
"""What torch and the loader of shared libraries say in place of MemoryError."""
SEE_LOG = "the log shows where it occurred"


def explain(error: BaseException, *, advice: str = SEE_DEBUG) -> tuple[str, ExitCode]:
    """The sentence a user reads for `error` and the exit code a command ends with.

    `advice` says of an unexpected error where to learn more.
    """
    if isinstance(error, VirtualContrastError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "Cancelled.", ExitCode.CANCELLED
    if isinstance(error, MemoryError) or any(word in str(error) for word in _NO_MEMORY):
        return "The memory of this machine ran out; close other programs or crop the volume.", ExitCode.FAILED
    if "can't start new thread" in str(error):
        text = "The system starts no further thread for this program, whose memory or number of processes is limited"
        return f"{text}; raise the limit (ulimit -v, ulimit -u) or close other programs.", ExitCode.FAILED
    if isinstance(error, ImportError):
        text = f"The Python package {error.name or 'that is needed'} is missing or damaged ({_one_line(error)})"
        return f"{text}; install what is missing with: {installation.advice()}", ExitCode.FAILED
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"The path {_shortened(error.filename)} is too long for this disk; shorten its names.", ExitCode.UNUSABLE
    return f"Unexpected {type(error).__name__} ({_one_line(error)}); {advice}.", ExitCode.FAILED


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Tell warnings of Python's libraries without the values in them inside the block: they quote patients' headers."""

    def show(message: Warning | str, category: type[Warning], *_place: object) -> None:
        if not issubclass(category, DeprecationWarning | PendingDeprecationWarning):
            on_stderr(f"{category.__name__}: {without_values(str(message))}")

    before = warnings.showwarning
    warnings.showwarning = show  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.showwarning = before


def on_stderr(text: str) -> None:
    """Print to standard error; where it takes no more (a closed pipe, a full disk) the work continues."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def without_values(text: str) -> str:
    """A text of somebody else's code without what may be a value of a patient: quoted words, names with ^, numbers.

    Libraries quote the value that they could not use, and the value may be a birth date or a name.
    """
    text = re.sub(r"(['\"`]).*?\1", "'...'", text)
    return re.sub(r"\S*\^\S*|\d[\d./:,-]{5,}", "...", text)


def _shortened(path: object) -> str:
    text = str(path)
    return text if len(text) <= 80 else f"{text[:50]}...{text[-20:]}"


def _one_line(error: BaseException) -> str:
    text = str(error) if isinstance(error, ImportError) else without_values(str(error))
    return " ".join(text.split())[:500] or "no details"
