"""Many cases, here or on the workers of a cluster: weights loaded once, a result folder per case, and a case that fails
harms no other.
"""

from __future__ import annotations

import csv
import dataclasses
import enum
import functools
import io
import logging
import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..errors import explain
from ..events import CancelledError, Events, ExitCode, InputError, VirtualContrastError
from ..files import as_text, expanded, write_json, write_text
from ..results.batch_folder import SUMMARY_CSV, SUMMARY_JSON
from .batch_cases import BatchCase
from .batch_log import BATCH_LOG, logging_to
from .cluster import LostError, spread
from .model_cache import ModelCache
from .pipeline import RunSettings, run
from .provenance import Redactor

logger = logging.getLogger(__name__)


class Status(enum.StrEnum):
    """How a case ended. KEPT: `--resume` found it whole. NOT_RUN: the batch was cancelled before it."""

    DONE = "done"
    KEPT = "kept"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class CaseOutcome:
    """How one case ended.

    Attributes:
        case: Its name.
        status: How it ended.
        seconds: How long it took.
        message: The sentence it failed with.
        folder: Its result folder.
        summary: The numbers of its result.
        warnings: Its warnings.
        unusable: Whether its input was the reason.
    """

    case: str
    status: Status
    seconds: float = 0.0
    message: str = ""
    folder: str = ""
    summary: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    unusable: bool = False


@dataclass(frozen=True)
class BatchOutcome:
    """All cases in the order given; `exit_code` is what the command ends with."""

    cases: tuple[CaseOutcome, ...]

    @property
    def exit_code(self) -> ExitCode:
        """CANCELLED when stopped, UNUSABLE when no case could be used, SOME_CASES_FAILED, or DONE."""
        statuses = {outcome.status for outcome in self.cases}
        if statuses & {Status.CANCELLED, Status.NOT_RUN}:
            return ExitCode.CANCELLED
        if all(outcome.unusable for outcome in self.cases):
            return ExitCode.UNUSABLE
        return ExitCode.SOME_CASES_FAILED if Status.FAILED in statuses else ExitCode.DONE

    def count(self, status: Status) -> int:
        """How many cases ended with `status`."""
        return sum(outcome.status is status for outcome in self.cases)


class BatchListener(Protocol):
    """Receives cases as they start and end."""

    def case_started(self, case: str, number: int, total: int) -> None:
        """A case starts on this machine. Cases on a cluster report their end only.

        Args:
            case: Its name.
            number: Its number, from 1.
            total: The number of cases.
        """

    def case_ended(self, outcome: CaseOutcome) -> None:
        """A case ended, well or not."""


def run_batch(
    cases: Sequence[BatchCase],
    out: str | Path,
    settings: RunSettings,
    *,
    events: Events | None = None,
    models: ModelCache | None = None,
    listener: BatchListener | None = None,
    scheduler: str | None = None,
) -> BatchOutcome:
    """Run every case into `out/<case>` and write `summary.csv` and `summary.json` there after each one, and a log.

    A case that fails is recorded with its sentence and the next one starts. With `settings.resume` a case whose result
    folder is whole and was made from the same input, weights and settings is kept; one that is there but differs or was
    changed fails, unless `settings.overwrite` allows replacing it. Canceling ends the current case and records the rest
    as not run.

    Args:
        cases: Names and inputs of the cases.
        out: Folder that gets one result folder per case.
        settings: Of every case; a case may have its own values on top.
        events: Receives progress and warnings, and carries the request to cancel.
        models: Models that are loaded already.
        listener: Called when a case starts and ends.
        scheduler: Address of a Dask scheduler. The cases then run on its workers, which must see the same files at the
            same paths. When a worker dies, another one runs its case. Whole results are then always kept, because a
            worker may have finished one and died before it could report it.

    Returns:
        How each case ended.

    Raises:
        InputError: `out` is a file, cannot be written, or is not empty without `resume` or `overwrite`; or no scheduler
            answers.
    """
    out = expanded(out).absolute()
    events = events or Events()
    _prepare(out, settings)
    outcomes: dict[int, CaseOutcome] = {}
    shown = _relative(cases, out)
    with logging_to(out, _redactor(cases, out)):
        if scheduler:
            ended = _on_workers(scheduler, cases, out, settings, events)
        else:
            ended = _here(cases, out, settings, events, models or ModelCache(), listener)
        for number, outcome in ended:
            outcomes[number] = outcome
            if outcome.status is Status.NOT_RUN:
                continue
            logger.info("case %d: %s in %.1f s", number, outcome.status.value, outcome.seconds)
            if listener:
                listener.case_ended(outcome)
            _write_summary(out, _in_order(outcomes), len(cases), shown)
    _write_summary(out, _in_order(outcomes), len(cases), shown)
    return BatchOutcome(_in_order(outcomes))


def _in_order(outcomes: dict[int, CaseOutcome]) -> tuple[CaseOutcome, ...]:
    return tuple(outcomes[number] for number in sorted(outcomes))


def _here(
    cases: Sequence[BatchCase],
    out: Path,
    settings: RunSettings,
    events: Events,
    models: ModelCache,
    listener: BatchListener | None,
) -> Iterator[tuple[int, CaseOutcome]]:
    """Number (from 1) and outcome of one case after the other, in this process."""
    cancelled = False
    for number, case in enumerate(cases, start=1):
        if cancelled:
            yield number, CaseOutcome(case.name, Status.NOT_RUN)
            continue
        if listener:
            listener.case_started(case.name, number, len(cases))
        logger.info("case %d of %d starts", number, len(cases))
        outcome = _run_case(case, out / case.name, settings, events, models)
        cancelled = outcome.status is Status.CANCELLED
        yield number, outcome


def _on_workers(
    scheduler: str, cases: Sequence[BatchCase], out: Path, settings: RunSettings, events: Events
) -> Iterator[tuple[int, CaseOutcome]]:
    """As `_here`, on the workers of a Dask cluster, in the order in which cases end."""
    model, segmentation = _absolute(settings.model), _absolute(settings.segmentation)
    settings = dataclasses.replace(settings, model=model, segmentation=segmentation, resume=True)
    left = dict(enumerate(cases, start=1))
    try:
        for index, ended in spread(scheduler, functools.partial(_run_on_worker, out, settings), cases, events):
            case = left.pop(index + 1)
            if isinstance(ended, LostError):
                ended = CaseOutcome(case.name, Status.FAILED, message=str(ended))
            own = events.with_own_warnings()
            for warning in ended.warnings:
                own.warn(warning)
            yield index + 1, ended
    except CancelledError:
        for number, case in left.items():
            yield number, CaseOutcome(case.name, Status.NOT_RUN)


def _absolute(model: str) -> str:
    """A model as a worker finds it: the path of a package made absolute, an id as it is."""
    from ..models.catalog import DEFAULT, installed_models

    if model in ("", DEFAULT) or model in installed_models():
        return model
    path = expanded(model)
    return str(path.absolute()) if path.exists() else model


@functools.cache
def _resident_models() -> ModelCache:
    """The weights that a worker keeps as long as it lives."""
    return ModelCache()


def _run_on_worker(out: Path, settings: RunSettings, case: BatchCase) -> CaseOutcome:
    if not (out / BATCH_LOG).is_file():  # it would write where nobody looks
        message = f"The worker on {platform.node()} does not see the output folder; name one that all machines share."
        return CaseOutcome(case.name, Status.FAILED, message=message)
    return _run_case(case, out / case.name, settings, Events(), _resident_models())


def _redactor(cases: Sequence[BatchCase], out: Path) -> Redactor:
    """What takes the names of cases and files out of the log; cases are named by their number in summary.csv."""
    paths = [place for case in cases for place in (case.input, *case.real, case.lesions, out / case.name) if place]
    return Redactor(paths, [case.name for case in cases])


def _prepare(out: Path, settings: RunSettings) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"The output {out} is a file; name a folder with -o.")
    if out.is_dir() and any(out.iterdir()) and not (settings.resume or settings.overwrite):
        raise InputError(f"The output folder {out} is not empty; use --resume, --overwrite or a new folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot write {out}: {error.strerror}; name another folder with -o.") from error


def _run_case(case: BatchCase, folder: Path, settings: RunSettings, events: Events, models: ModelCache) -> CaseOutcome:
    start = time.perf_counter()
    own = events.with_own_warnings()
    status, message, summary, unusable = Status.FAILED, "", {}, False
    try:
        settings = dataclasses.replace(settings, **case.settings)
        own.check_cancelled()
        result = run(case.input, folder, settings, real=case.real, lesions=case.lesions, events=own, models=models)
        status = Status.KEPT if result.kept else Status.DONE
        summary = result.manifest.summary
        if result.incomplete:
            status, message = Status.FAILED, " ".join(result.incomplete)
    except CancelledError as error:
        status, message = Status.CANCELLED, str(error)
    except VirtualContrastError as error:
        logger.error("%s", error)
        message, unusable = str(error), error.exit_code is ExitCode.UNUSABLE
    except Exception as error:
        logger.exception("an unexpected error")
        message, _code = explain(error)
    seconds = round(time.perf_counter() - start, 3)
    for warning in own.warnings:
        logger.warning("%s", warning)
    where = case.name if summary or status in (Status.DONE, Status.KEPT) else ""
    return CaseOutcome(case.name, status, seconds, message, where, summary, tuple(own.warnings), unusable)


def _relative(cases: Sequence[BatchCase], out: Path) -> Callable[[str], str]:
    """What makes paths in a text relative to the output folder and to the one that holds all inputs.

    A summary is passed on, and folders above the study's own often name a user, a hospital or a patient. Where inputs
    share no folder, of each only its name stays.
    """
    places = [expanded(place).absolute() for case in cases for place in (case.input, *case.real, case.lesions) if place]
    folders = {place.parent for place in places}
    try:
        common = Path(os.path.commonpath(folders)) if folders else out
    except ValueError:  # inputs on several drives
        common = Path(out.anchor)
    if common != Path(common.anchor):
        folders = {common}
    known = sorted({str(folder) for folder in (*folders, out)}, key=len, reverse=True)
    pattern = re.compile("|".join(rf"{re.escape(folder)}(?:{re.escape(os.sep)}|(?![\w-]))" for folder in known))
    return lambda text: pattern.sub(lambda found: "" if found[0].endswith(os.sep) else Path(found[0]).name, text)


def _write_summary(out: Path, outcomes: Sequence[CaseOutcome], total: int, shown: Callable[[str], str]) -> None:
    outcomes = [
        dataclasses.replace(o, message=shown(o.message), warnings=tuple(map(shown, o.warnings))) for o in outcomes
    ]
    counts = {status.value: sum(o.status is status for o in outcomes) for status in Status}
    cases = [{key: value for key, value in dataclasses.asdict(o).items() if key != "unusable"} for o in outcomes]
    write_json(out / SUMMARY_JSON, {"total": total, "ended": len(outcomes), "counts": counts, "cases": cases})
    write_text(out / SUMMARY_CSV, _csv(outcomes))


def _csv(outcomes: Sequence[CaseOutcome]) -> str:
    keys = sorted({key for outcome in outcomes for key in outcome.summary})
    buffer = io.StringIO(newline="")
    table = csv.writer(buffer)
    table.writerow(["case", "status", "seconds", *keys, "warnings", "folder", "message"])
    for o in outcomes:
        values = [_cell(o.summary.get(key, "")) for key in keys]
        case, folder, message = (as_text(cell) for cell in (o.case, o.folder, o.message))
        table.writerow([case, o.status.value, o.seconds, *values, len(o.warnings), folder, message])
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value
