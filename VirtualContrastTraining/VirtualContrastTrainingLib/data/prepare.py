"""Prepares many cases: in parallel, going on where it was stopped, listing broken cases instead of failing."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from VirtualContrastLib.events import VirtualContrastError
from VirtualContrastLib.files import write_text

from .prepared import SCHEMA, PreparedCase, damaged_files, fingerprint_of, is_current, read_description, write_case
from .splits import HoldOut, Split


class CaseSource(Protocol):
    """One case to prepare: picklable, cheap to make, and read by a worker process."""

    @property
    def case(self) -> str:
        """Name of the case's folder."""

    @property
    def patient(self) -> str:
        """Id that splits go by, so that all cases of a patient fall into one part."""

    @property
    def folder(self) -> Path:
        """Folder that the files lie below."""

    @property
    def kind(self) -> str:
        """duke, dynamic or mammogram."""

    def files(self) -> list[Path]:
        """Files that decide whether the case has changed."""

    def settings(self) -> object:
        """What shapes the result besides the files, with a `repr` that is the same in every process."""

    def read(self) -> PreparedCase:
        """The case's content; raises InputError where it cannot be used."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        case: Name of the case.
        state: "prepared", "usable" (only read), "kept", "failed" or "excluded".
        reason: Why it failed or was excluded.
        entry: Its line in the index.
        warnings: What is odd, in sentences.
    """

    case: str
    state: str
    reason: str = ""
    entry: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()


def prepare(
    sources: Sequence[CaseSource],
    output: Path,
    *,
    split: Split | HoldOut | None = None,
    workers: int = 1,
    write: bool = True,
) -> Iterator[Outcome]:
    """Prepare every case into `output/<case>`, or `output/<part>/<case>` with a split. Ends with `output/index.json`.

    A case that was prepared from unchanged files is kept. A case that cannot be read is a `failed` outcome; one that
    the split does not know or that has too few phases for it is `excluded`.

    Args:
        sources: The cases.
        output: Folder of the prepared cases.
        split: Divides the cases into parts; None for one part.
        workers: Processes.
        write: Whether anything is written; otherwise every case is only read and judged.

    Yields:
        The outcomes as they come.

    Raises:
        VirtualContrastError: The output cannot be written, or a worker process dies.
    """
    outcomes = []
    for outcome in _run(sources, output, split, workers, write):
        outcomes.append(outcome)
        yield outcome
    if write:
        _write_index(sorted(outcomes, key=lambda o: o.case), output, split.name if split else None)


def verify(output: Path) -> dict[str, list[str]]:
    """Damaged or missing files by case folder (relative) of everything prepared below `output`."""
    folders = sorted(path.parent for path in output.rglob("case.json"))
    found = {str(folder.relative_to(output)): damaged_files(folder) for folder in folders}
    return {folder: files for folder, files in found.items() if files}


def _run(
    sources: Sequence[CaseSource], output: Path, split: Split | HoldOut | None, workers: int, write: bool
) -> Iterator[Outcome]:
    if workers == 1:
        yield from (prepare_one(source, output, split, write) for source in sources)
        return
    # "spawn": SimpleITK has threads of its own, which a forked child would lack.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        tasks = [pool.submit(prepare_one, source, output, split, write) for source in sources]
        try:
            for task in as_completed(tasks):
                yield task.result()
        except BrokenProcessPool as error:
            raise VirtualContrastError(
                "A worker process was killed, most likely for lack of memory; use fewer --workers and start again "
                "(finished cases are kept)."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def prepare_one(source: CaseSource, output: Path, split: Split | HoldOut | None, write: bool = True) -> Outcome:
    """Prepare one case; see `prepare`.

    Args:
        source: The case.
        output: Folder of the prepared cases.
        split: Divides the cases into parts; None for one part.
        write: Whether anything is written; otherwise every case is only read and judged.

    Returns:
        The outcome.
    """
    part = split.part_of(source.patient) if split else None
    if split and part is None:
        return Outcome(source.case, "excluded", f"{split.name} does not know it")
    folder = output / part / source.case if part else output / source.case
    try:
        fingerprint = fingerprint_of(source.files(), source.folder, (source.kind, part, source.settings()))
        if write and is_current(folder, fingerprint):
            return Outcome(source.case, "kept", entry=_entry(source.case, folder, output))
        content = source.read()
    except (VirtualContrastError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0].removeprefix(f"{source.case}: ") or type(error).__name__
        return Outcome(source.case, "failed", reason)
    if split and source.kind != "mammogram" and len(content.images) - 1 < split.minimum_post_phases:
        reason = f"{len(content.images) - 1} post-contrast phases, {split.name} needs {split.minimum_post_phases}"
        return Outcome(source.case, "excluded", reason)
    if not write:
        return Outcome(source.case, "usable", warnings=content.warnings)
    header = {"kind": source.kind, "split": {"name": split.name, "part": part} if split else None}
    write_case(content, folder, header, fingerprint)
    return Outcome(source.case, "prepared", entry=_entry(source.case, folder, output), warnings=content.warnings)


def _entry(case: str, folder: Path, output: Path) -> dict[str, Any]:
    description = read_description(folder) or {}
    kept = ("images", "times_s", "ordered_by", "spacing_mm", "lesion_source", "warnings", "sha256")
    return {
        "case": case,
        "folder": folder.relative_to(output).as_posix(),
        "part": (description.get("split") or {}).get("part"),
        **{name: description[name] for name in kept if name in description},
    }


def _write_index(outcomes: Sequence[Outcome], output: Path, split: str | None) -> None:
    listed = {
        state: [{"case": o.case, "reason": o.reason} for o in outcomes if o.state == state]
        for state in ("failed", "excluded")
    }
    index = {
        "schema": SCHEMA,
        "split": split,
        "cases": [outcome.entry for outcome in outcomes if outcome.entry is not None],
        **listed,
    }
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_text(output / "index.json", json.dumps(index, indent=1))
    except OSError as error:
        raise VirtualContrastError(f"{output}/index.json could not be written ({error.strerror}).") from error
