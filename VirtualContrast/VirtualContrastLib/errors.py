"""Any failure as one sentence and an exit code."""

from __future__ import annotations

from .events import ExitCode, VirtualContrastError

UNFORESEEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What our own and third-party code raises on input that nobody foresaw."""


def explain(error: BaseException) -> tuple[str, ExitCode]:
    """The sentence a user reads for `error` and the exit code a command ends with."""
    if isinstance(error, VirtualContrastError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "Cancelled.", ExitCode.CANCELLED
    if isinstance(error, ImportError):
        text = f"The Python package {error.name or 'that is needed'} is missing or damaged ({_one_line(error)})"
        return f"{text}; install it with: pip install 'virtual-contrast[engine]'.", ExitCode.FAILED
    if isinstance(error, MemoryError):
        return "The memory of this machine ran out; close other programs or crop the volume.", ExitCode.FAILED
    text = f"Unexpected {type(error).__name__} ({_one_line(error)})"
    return f"{text}; run again with --debug to see where it arose.", ExitCode.FAILED


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or "no details"
