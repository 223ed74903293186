"""Cases too many for the memory: uncompressed copies on disk, of which the system reads what is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from VirtualContrastLib.events import InputError
from VirtualContrastLib.files import atomic_file

from .cases import Case, case_folders, load_case


def load_cases(root: Path, copies: str | None = None) -> list[Case]:
    """All prepared cases below `root`, read by a few threads (the time goes into decompression).

    In memory, or with `copies` mapped from uncompressed copies in that folder.
    """
    load = load_case if copies is None else partial(mapped_case, copies=Path(copies))
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(load, case_folders(root)))


def mapped_case(folder: Path, copies: Path) -> Case:
    """`load_case` whose arrays stay on disk, below `copies/<name of the data>/<case>`.

    The copy is made when it is missing or older than the case, and may be made by several processes at once. Raises
    InputError as `load_case` does, and where the copy cannot be written.
    """
    place = copies / folder.parent.name / folder.name
    described = place / "case.json"  # written last: with it the copy is whole
    try:
        source = (folder / "case.json").stat().st_mtime
        if not described.is_file() or described.stat().st_mtime < source:
            _copy(load_case(folder), place)
        description = json.loads(described.read_text(encoding="utf-8"))
        series, lesions = (np.load(place / name, mmap_mode="r") for name in ("series.npy", "lesions.npy"))
    except OSError as error:
        raise InputError(f"The copy {place} of a prepared case cannot be made: {error.strerror}.") from error
    spacing = tuple(description["spacing_kji_mm"])
    types = {int(label): kind for label, kind in description["lesion_types"].items()}
    return Case(folder.name, tuple(series), lesions, tuple(description["times_s"]), spacing, types)


def _copy(case: Case, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    _write(place / "series.npy", lambda stream: np.save(stream, np.stack(case.series)))
    _write(place / "lesions.npy", lambda stream: np.save(stream, case.lesions))
    description = {
        "times_s": case.times_s,
        "spacing_kji_mm": case.spacing_kji_mm,
        "lesion_types": case.lesion_types,
    }
    _write(place / "case.json", lambda stream: stream.write(json.dumps(description).encode()))


def _write(path: Path, write: Callable[[Any], object]) -> None:
    with atomic_file(path) as beside, beside.open("wb") as stream:
        write(stream)
