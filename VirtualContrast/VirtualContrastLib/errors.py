"""Any failure as one sentence and an exit code.

Only the outermost frames of a program (a command, a case of a batch, a run of the worker, a slot of a panel) catch
`Exception` and hand it to `explain`; everywhere else an except clause names what the call before it is known to raise.
"""

from __future__ import annotations

from .events import ExitCode, VirtualContrastError

SEE_DEBUG = "run again with --debug to see where it arose"
SEE_LOG = "the log shows where it arose"


def explain(error: BaseException, *, advice: str = SEE_DEBUG) -> tuple[str, ExitCode]:
    """The sentence a user reads for `error` and the exit code a command ends with.

    `advice` says of an error that nobody foresaw where to learn more.
    """
    if isinstance(error, VirtualContrastError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "Cancelled.", ExitCode.CANCELLED
    if isinstance(error, ImportError):
        text = f"The Python package {error.name or 'that is needed'} is missing or damaged ({_one_line(error)})"
        return f"{text}; install it with: pip install 'virtual-contrast[engine]'.", ExitCode.FAILED
    if isinstance(error, MemoryError):
        return "The memory of this machine ran out; close other programs or crop the volume.", ExitCode.FAILED
    return f"Unexpected {type(error).__name__} ({_one_line(error)}); {advice}.", ExitCode.FAILED


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or "no details"
