"""Reader study statistics: accuracy, agreement and paired tests from a table of reads."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from VirtualContrastLib.events import InputError
from VirtualContrastLib.metrics.measure import definitions

from .measures import READERS

DEFINITIONS = definitions(READERS)
"""What the numbers of a report are."""
BPE = ("a", "b", "c", "d")
_YES, _NO = ("1", "yes", "true", "y", "present"), ("0", "no", "false", "n", "absent")


@dataclass(frozen=True)
class Read:
    """One case read by one reader under one condition (for example real or synthetic); what was not asked is None."""

    reader: str
    case: str
    condition: str
    truth: bool | None = None
    lesion: bool | None = None
    bpe: str | None = None
    score: float | None = None


def load_reads(path: Path) -> list[Read]:
    """Read a CSV with columns reader, case, condition and any of truth, lesion (yes/no), bpe (a..d), score (number).

    Raises InputError with the row number for what cannot be understood, and for a case that a reader read twice under
    one condition.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [
                {(k or "").strip().lower(): (v or "").strip() for k, v in row.items()} for row in csv.DictReader(file)
            ]
    except (OSError, UnicodeDecodeError, csv.Error, AttributeError) as error:
        raise InputError(f"{path} cannot be read as a CSV table ({error}).") from error
    needed = {"reader", "case", "condition"}
    if not rows or not needed <= rows[0].keys():
        raise InputError(f"{path} needs rows with the columns reader, case and condition.")
    reads = [_read_of(row, number, path) for number, row in enumerate(rows, start=2)]
    seen = set()
    for number, read in enumerate(reads, start=2):
        key = (read.reader, read.case, read.condition)
        if key in seen:
            raise InputError(f"{path}, row {number}: this reader has read this case under this condition before.")
        seen.add(key)
    return reads


def _read_of(row: Mapping[str, str], number: int, path: Path) -> Read:
    def flag(name: str) -> bool | None:
        text = row.get(name, "").lower()
        if text and text not in _YES + _NO:
            raise InputError(f"{path}, row {number}: {name} must be yes or no, not '{text}'.")
        return None if not text else text in _YES

    score = row.get("score", "")
    try:
        value = float(score) if score else None
    except ValueError as error:
        raise InputError(f"{path}, row {number}: score must be a number, not '{score}'.") from error
    bpe = row.get("bpe", "").lower() or None
    return Read(row["reader"], row["case"], row["condition"], flag("truth"), flag("lesion"), bpe, value)


@dataclass(frozen=True)
class Proportion:
    """A count out of a total with its Wilson 95 % interval."""

    count: int
    total: int

    def as_dict(self) -> dict[str, Any]:
        """Count, total, value and interval; value and interval are None for a total of 0."""
        if self.total == 0:
            return {"count": 0, "total": 0, "value": None, "ci95": None}
        from scipy.stats import binomtest

        interval = binomtest(self.count, self.total).proportion_ci(method="wilson")
        value = self.count / self.total
        return {"count": self.count, "total": self.total, "value": value, "ci95": [interval.low, interval.high]}


def detection(reads: Sequence[Read]) -> dict[str, Proportion]:
    """Accuracy, sensitivity and specificity of reads that have both `truth` and `lesion`."""
    known = [(r.truth, r.lesion) for r in reads if r.truth is not None and r.lesion is not None]
    positive, negative = [said for truth, said in known if truth], [said for truth, said in known if not truth]
    hits, rejections = sum(map(bool, positive)), sum(not said for said in negative)
    return {
        "accuracy": Proportion(hits + rejections, len(known)),
        "sensitivity": Proportion(hits, len(positive)),
        "specificity": Proportion(rejections, len(negative)),
    }


def confusion(first: Sequence[str], second: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Counts [first, second] of two ratings of the same cases, in the order of `labels`."""
    place = {label: n for n, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), int)
    for a, b in zip(first, second, strict=True):
        table[place[a], place[b]] += 1
    return table


def weighted_kappa(table: np.ndarray, weights: str = "linear") -> float | None:
    """Cohen's kappa of confusion tables [..., n, n]; weights "linear", "quadratic" or "none" (Cohen 1968).

    None where chance alone would agree fully (all ratings in one class).
    """
    value = float(_kappas(np.asarray(table)[None], weights)[0])
    return None if np.isnan(value) else value


def kappa_interval(
    first: Sequence[str],
    second: Sequence[str],
    labels: Sequence[str],
    *,
    weights: str = "linear",
    repeats: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Weighted kappa of paired ratings with a percentile bootstrap interval over cases.

    Resamples in which kappa is not defined are left out; the interval is None when fewer than half remain.
    """
    place = {label: n for n, label in enumerate(labels)}
    codes = np.array([place[a] * len(labels) + place[b] for a, b in zip(first, second, strict=True)])
    rng = np.random.default_rng(seed)
    size = len(labels) ** 2
    counts = np.array([np.bincount(rng.choice(codes, len(codes)), minlength=size) for _ in range(repeats)])
    drawn = _kappas(counts.reshape(repeats, len(labels), len(labels)), weights)
    drawn = drawn[~np.isnan(drawn)]
    interval = [float(q) for q in np.quantile(drawn, [0.025, 0.975])] if 2 * len(drawn) >= repeats else None
    table = confusion(first, second, labels)
    return {"kappa": weighted_kappa(table, weights), "ci95": interval, "cases": len(codes), "confusion": table.tolist()}


def _kappas(tables: np.ndarray, weights: str) -> np.ndarray:
    """Kappa of every table [m, n, n]; NaN where it is not defined."""
    if weights not in ("linear", "quadratic", "none"):
        raise ValueError(f"weights must be linear, quadratic or none, got {weights}")
    n = tables.shape[-1]
    distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n))).astype(float)
    cost = {"linear": distance, "quadratic": distance**2, "none": (distance > 0).astype(float)}[weights]
    total = tables.sum(axis=(1, 2)).astype(float)
    chance = tables.sum(axis=2)[:, :, None] * tables.sum(axis=1)[:, None, :] / total[:, None, None]
    expected = (cost * chance).sum(axis=(1, 2))
    return np.asarray(1 - (cost * tables).sum(axis=(1, 2)) / np.where(expected == 0, np.nan, expected))


def reader_report(
    reads: Sequence[Read], *, weights: str = "linear", repeats: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """All statistics of a study: detection, agreement on BPE, paired tests of scores.

    `agreement` compares the conditions within each reader and the readers within each condition; `tests` are Wilcoxon
    signed-rank tests of the scores of two conditions by case, with p adjusted over all tests (Benjamini-Hochberg).
    """
    readers, conditions = _sorted(r.reader for r in reads), _sorted(r.condition for r in reads)
    found = {
        (reader, condition): detection([r for r in reads if (r.reader, r.condition) == (reader, condition)])
        for reader in readers
        for condition in conditions
    }
    rows = [
        {"reader": reader, "condition": condition, **{name: p.as_dict() for name, p in values.items()}}
        for (reader, condition), values in found.items()
        if values["accuracy"].total
    ]
    labels = _scale({r.bpe for r in reads if r.bpe is not None})
    groups = [(r, c) for r in readers for c in conditions]
    pairs = [(a, b) for n, a in enumerate(groups) for b in groups[n + 1 :] if a[0] == b[0] or a[1] == b[1]]
    agreement = []
    for a, b in pairs:
        ratings = _paired(reads, a, b, "bpe")
        if ratings:
            first, second = zip(*ratings, strict=True)
            value = kappa_interval(first, second, labels, weights=weights, repeats=repeats, seed=seed)
            agreement.append({"first": list(a), "second": list(b), **value})
    tests = _tests(reads, [(a, b) for a, b in pairs if a[0] == b[0]])
    return {
        "detection": rows,
        "bpe_labels": labels,
        "weights": weights,
        "agreement": agreement,
        "tests": tests,
        "definitions": DEFINITIONS,
    }


def _tests(reads: Sequence[Read], pairs: Sequence[tuple[tuple[str, str], tuple[str, str]]]) -> list[dict[str, Any]]:
    from scipy.stats import false_discovery_control, wilcoxon

    tests = []
    for a, b in pairs:
        scores = _paired(reads, a, b, "score")
        if not scores:
            continue
        difference = np.array([y - x for x, y in scores], dtype=float)
        p = float(wilcoxon(difference).pvalue) if difference.any() else 1.0
        tests.append(
            {"first": list(a), "second": list(b), "cases": len(scores), "median": float(np.median(difference)), "p": p}
        )
    if tests:
        for test, adjusted in zip(tests, false_discovery_control([t["p"] for t in tests]), strict=True):
            test["p_adjusted"] = float(adjusted)
    return tests


def _paired(reads: Sequence[Read], a: tuple[str, str], b: tuple[str, str], what: str) -> list[tuple[Any, Any]]:
    """Values of `what` of the cases that both (reader, condition) groups read."""
    first, second = (
        {r.case: getattr(r, what) for r in reads if (r.reader, r.condition) == group and getattr(r, what) is not None}
        for group in (a, b)
    )
    return [(first[case], second[case]) for case in first if case in second]


def _scale(found: set[str]) -> list[str]:
    """The grades in order; BPE is graded a to d, and a grade that no one gave still keeps its neighbors apart."""
    return list(BPE) if found and found <= set(BPE) else sorted(found)


def _sorted(values: Any) -> list[str]:
    return sorted(set(values))
