"""Curves of a run from the metrics.csv files that Lightning writes, read on as they grow; needs no Qt and no Slicer."""

from __future__ import annotations

import csv
import math
from pathlib import Path

HELD_OUT = "val_"
"""Columns that start so are measured on held-out data; the others, but epoch and step, are losses."""
Curve = dict[int, float]
"""Epoch (from 1) to value."""


class MetricsFile:
    """One growing metrics.csv. A new column makes Lightning rewrite the file, which is then read again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.curves: dict[str, Curve] = {}
        self._header: list[str] = []
        self._read = 0

    def poll(self) -> bool:
        """Read what is new, whole lines only; True where there was something."""
        try:
            with self.path.open("rb") as file:
                header = next(csv.reader([file.readline().decode("utf-8")]), [])
                size = file.seek(0, 2)
                if header != self._header or size < self._read:
                    self._header, self._read, self.curves = header, 0, {}
                file.seek(self._read)
                whole, end, _rest = file.read().rpartition(b"\n")
        except OSError:
            return False
        skip = 1 if self._read == 0 else 0
        self._read += len(whole + end)
        rows = list(csv.reader(whole.decode("utf-8").splitlines()))[skip:]
        for row in rows:
            self._take(dict(zip(self._header, row, strict=False)))
        return bool(rows)

    def _take(self, row: dict[str, str]) -> None:
        epoch = _number(row.pop("epoch", ""))
        row.pop("step", None)
        if epoch is None:
            return
        for name, text in row.items():
            value = _number(text)
            if value is not None:
                self.curves.setdefault(name, {})[int(epoch) + 1] = value


class StageMetrics:
    """All starts of one stage: `<stage>/logs/version_N/metrics.csv`; a later start overrules an epoch of an earlier."""

    def __init__(self, stage: Path) -> None:
        self._logs = stage / "logs"
        self._files: dict[int, MetricsFile] = {}

    def poll(self) -> bool:
        """Read what is new; True where there was something."""
        for path in self._logs.glob("version_*/metrics.csv"):
            number = path.parent.name.removeprefix("version_")
            if number.isdigit() and int(number) not in self._files:
                self._files[int(number)] = MetricsFile(path)
        return any([file.poll() for file in self._files.values()])

    def curves(self) -> dict[str, Curve]:
        """The curves by name, epochs in order."""
        merged: dict[str, Curve] = {}
        for _number_of_start, file in sorted(self._files.items()):
            for name, curve in file.curves.items():
                merged.setdefault(name, {}).update(curve)
        return {name: dict(sorted(curve.items())) for name, curve in sorted(merged.items())}


def one_after_the_other(stages: list[dict[str, Curve]]) -> dict[str, Curve]:
    """The curves of consecutive stages on one axis of epochs."""
    joined: dict[str, Curve] = {}
    before = 0
    for curves in stages:
        for name, curve in curves.items():
            joined.setdefault(name, {}).update({before + epoch: value for epoch, value in curve.items()})
        before += max((epoch for curve in curves.values() for epoch in curve), default=0)
    return joined


def _number(text: str) -> float | None:
    """The finite number in a cell; None for an empty cell, NaN or text."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
