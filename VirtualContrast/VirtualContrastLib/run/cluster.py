"""Work spread over the workers of a Dask cluster; all that knows `dask.distributed` stands here.

Every item is one call of one function, and must be idempotent: a worker that dies loses the item in its hand, and Dask
gives that item to another one. What a function keeps in its module, such as the weights of a model, stays with the
worker from item to item.
"""

from __future__ import annotations

import concurrent.futures
import functools
import json
import logging
import logging.handlers
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .. import installation
from ..errors import explain, quiet_libraries
from ..events import Events, InputError, VirtualContrastError
from ..files import expanded
from ..version import __version__

if TYPE_CHECKING:
    from distributed import Client, Future

Item = TypeVar("Item")
Result = TypeVar("Result")

CONNECT_S = 15
_POLL_S = 0.1
_LIBRARY = __name__.partition(".")[0]
_alone = threading.Lock()


class LostError(VirtualContrastError):
    """No worker brought an item to its end; the sentence says why."""


def spread(
    scheduler: str, function: Callable[[Item], Result], items: Sequence[Item], events: Events | None = None
) -> Iterator[tuple[int, Result | LostError]]:
    """Call `function` with each item on the workers, one item a worker at a time.

    Args:
        scheduler: the address of the scheduler, or the JSON file that it writes (`dask scheduler --scheduler-file`).
        function: importable on the workers, like all that it is given and returns; they see the same files.
        items: what it is called with.
        events: carries the request to cancel; calls that have begun then run to their end unheeded.

    Yields:
        (number from 0, what the function returned or why it never did), in the order in which they end. What the
        library logged on the worker is logged here.

    Raises:
        InputError: `dask.distributed` is not installed, or no scheduler answers.
        CancelledError: `events.cancel()` was called.
    """
    events = events or Events()
    with _connect(scheduler) as client:
        from distributed import as_completed

        call = functools.partial(_call, __version__, function)
        numbers = {client.submit(call, item, pure=False): number for number, item in enumerate(items)}
        ended = as_completed(list(numbers), loop=client.loop)
        while numbers:
            events.check_cancelled()
            for future in ended.next_batch(block=False):
                # A result that nobody holds any more needs not be computed again when its worker dies.
                yield numbers.pop(future), _result(future)
            time.sleep(_POLL_S)


def _connect(scheduler: str) -> Client:
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            f"--scheduler needs dask.distributed; install it with: {installation.advice('distributed')}"
        ) from error
    try:
        return Client(_address(scheduler), timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"No Dask scheduler answers at {scheduler}; start one with `dask scheduler` and name the address that it "
            "prints."
        ) from error


def _address(scheduler: str) -> str:
    """The address itself; of a scheduler's file, which may be about to be written, what stands in it."""
    if not scheduler.endswith(".json"):
        return scheduler
    path, end = expanded(scheduler), time.monotonic() + CONNECT_S
    while not path.is_file() and time.monotonic() < end:
        time.sleep(_POLL_S)
    return str(json.loads(path.read_text(encoding="utf-8"))["address"])


def _call(version: str, function: Callable[[Item], Result], item: Item) -> tuple[Result, list[logging.LogRecord]]:
    """One item on a worker, alone in its process, with what the library logged meanwhile."""
    if version != __version__:
        raise InputError(f"A worker runs version {__version__} of VirtualContrast and this is {version}; install one.")
    records: queue.SimpleQueue[Any] = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(records)
    logger = logging.getLogger(_LIBRARY)
    with _alone, quiet_libraries():
        before = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            result = function(item)
        finally:
            logger.setLevel(before)
            logger.removeHandler(handler)
    return result, [records.get() for _ in range(records.qsize())]


def _result(future: Future) -> Any:
    """What a call returned; its log is replayed here."""
    try:
        result, records = future.result()
    except concurrent.futures.CancelledError:
        return LostError("The Dask scheduler went away; start it again and use --resume.")
    except Exception as error:  # noqa: BLE001  whatever a worker raised, or what ended it
        return LostError(_why(error))
    for record in records:
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
    return result


def _why(error: BaseException) -> str:
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return (
            f"It was given to {error.allowed_failures + 1} workers and each of them died; look into their logs (not "
            "enough memory?)."
        )
    message, _code = explain(error)
    return message
