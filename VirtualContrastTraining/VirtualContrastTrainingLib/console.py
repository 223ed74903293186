"""How a command shows that it is at work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)


def progress(items: Iterable[T], total: int, title: str) -> Iterator[T]:
    """Show a progress bar on a terminal, and nothing elsewhere or within `quietly`.

    Args:
        items: What to go through.
        total: The number of items.
        title: Stands before the bar.

    Yields:
        The items.
    """
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    hidden = _QUIET.get() or not console.is_terminal
    yield from track(items, title, total=total, console=console, disable=hidden)


@contextmanager
def quietly(quiet: bool = True) -> Iterator[None]:
    """Show no progress within, if `quiet`."""
    token = _QUIET.set(quiet)
    try:
        yield
    finally:
        _QUIET.reset(token)
