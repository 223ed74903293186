"""Many cases in one process: weights loaded once, one result folder a case, a failing case harms no other."""

from __future__ import annotations

import csv
import dataclasses
import enum
import io
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..errors import explain
from ..events import CancelledError, Events, ExitCode, InputError, VirtualContrastError
from ..files import as_text, write_json, write_text
from .batch_cases import BatchCase
from .batch_log import logging_to
from .model_cache import ModelCache
from .pipeline import RunSettings, run
from .provenance import Redactor

logger = logging.getLogger(__name__)

SUMMARY_CSV = "summary.csv"
SUMMARY_JSON = "summary.json"


class Status(enum.StrEnum):
    """How a case ended. KEPT: `--resume` found it whole. NOT_RUN: the batch was cancelled before it."""

    DONE = "done"
    KEPT = "kept"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class CaseOutcome:
    """How one case ended: seconds, the sentence it failed with, the numbers of its result, its warnings."""

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
    """Hears of cases as they start and end."""

    def case_started(self, case: str, number: int, total: int) -> None:
        """Case `number` (from 1) of `total` begins."""

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
) -> BatchOutcome:
    """Run every case into `out/<case>` and write `summary.csv` and `summary.json` there after each one, and a log.

    A case that fails is recorded with its sentence and the next one starts. With `settings.resume` a case
    whose result folder is whole and was made from the same input, weights and settings is kept; one that is
    there but differs or was changed fails, unless `settings.overwrite` allows to make it anew. Cancelling
    ends the case in hand and records the rest as not run.

    Raises:
        InputError: `out` is a file, cannot be written, or is not empty without `resume` or `overwrite`.
    """
    out = Path(out).expanduser().absolute()
    events = events or Events()
    models = models or ModelCache()
    _prepare(out, settings)
    outcomes: list[CaseOutcome] = []
    with logging_to(out, _redactor(cases, out)):
        for number, case in enumerate(cases, start=1):
            if outcomes and outcomes[-1].status in (Status.CANCELLED, Status.NOT_RUN):
                outcomes.append(CaseOutcome(case.name, Status.NOT_RUN))
                continue
            if listener:
                listener.case_started(case.name, number, len(cases))
            logger.info("case %d of %d starts", number, len(cases))
            outcomes.append(_run_case(case, out / case.name, settings, events, models))
            logger.info("case %d: %s in %.1f s", number, outcomes[-1].status.value, outcomes[-1].seconds)
            if listener:
                listener.case_ended(outcomes[-1])
            _write_summary(out, outcomes, len(cases))
    _write_summary(out, outcomes, len(cases))
    return BatchOutcome(tuple(outcomes))


def _redactor(cases: Sequence[BatchCase], out: Path) -> Redactor:
    """What takes the names of cases and files out of the log; cases are told by their number in summary.csv."""
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
        logger.exception("an error that nobody foresaw")
        message, _code = explain(error)
    seconds = round(time.perf_counter() - start, 3)
    for warning in own.warnings:
        logger.warning("%s", warning)
    where = case.name if summary or status in (Status.DONE, Status.KEPT) else ""
    return CaseOutcome(case.name, status, seconds, message, where, summary, tuple(own.warnings), unusable)


def _write_summary(out: Path, outcomes: Sequence[CaseOutcome], total: int) -> None:
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
