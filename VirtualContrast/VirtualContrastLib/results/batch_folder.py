"""The folder of a batch as a list of its cases, for whoever looks through a night's results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..events import InputError
from ..files import expanded
from .manifest import MANIFEST, load_result

SUMMARY_CSV = "summary.csv"
SUMMARY_JSON = "summary.json"


@dataclass(frozen=True)
class BatchEntry:
    """One case of a batch.

    Attributes:
        case: Name of the case.
        status: How it ended.
        folder: Its result folder, None where there is no whole result.
        summary: Its numbers (`Analysis.summary`).
        message: The sentence of a failure.
    """

    case: str
    status: str
    folder: Path | None
    summary: dict[str, Any]
    message: str = ""


def read_batch(folder: str | Path) -> list[BatchEntry]:
    """The cases of a batch in its own order, by its summary; without one, the result folders that lie in it, by name.

    Raises:
        InputError: neither a summary nor a result folder is there, or the summary is damaged.
    """
    folder = expanded(folder).absolute()
    path = folder / SUMMARY_JSON
    if not path.is_file():
        found = sorted(manifest.parent for manifest in folder.glob(f"*/{MANIFEST}"))
        if not found:
            raise InputError(f"{folder} is not the folder of a batch: it has no {SUMMARY_JSON} and no result folder.")
        return [BatchEntry(one.name, "done", one, load_result(one).manifest.summary) for one in found]
    try:
        cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
        return [_entry(folder, case) for case in cases]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is not the summary of a batch or is damaged; open a single result folder.") from error


def _entry(folder: Path, case: dict[str, Any]) -> BatchEntry:
    name = str(case["folder"])
    place = folder / name
    whole = bool(name) and place.resolve().parent == folder.resolve() and (place / MANIFEST).is_file()
    return BatchEntry(str(case["case"]), str(case["status"]), place if whole else None, dict(case["summary"]),
                      str(case["message"]))  # fmt: skip
