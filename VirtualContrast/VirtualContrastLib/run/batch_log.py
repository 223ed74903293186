"""The log of a batch: what ran, how long it took, what failed and where in our code; no name or path of a user."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

BATCH_LOG = "batch.log"
_LIBRARY = __name__.partition(".")[0]


class _Redacted(logging.Formatter):
    """Formats a record, its traceback included, and takes the private words out of all of it."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(super().format(record))


@contextmanager
def logging_to(folder: Path, redact: Callable[[str], str]) -> Iterator[None]:
    """Append what the library logs inside the block to `folder/batch.log`, every text as `redact` returns it."""
    handler = logging.FileHandler(folder / BATCH_LOG, encoding="utf-8")
    handler.setFormatter(_Redacted(redact))
    logger = logging.getLogger(_LIBRARY)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
        handler.close()
