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
from VirtualContrastLib.reader_study.answers import REFERENCE

from .kappa import kappa_interval
from .measures import READERS

Group = tuple[str, str]
"""Reader and condition."""

DEFINITIONS = definitions(READERS)
"""What the numbers of a report are."""
BPE = ("a", "b", "c", "d")
"""Minimal, mild, moderate, marked."""
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
    hallucination: bool | None = None

    @property
    def correct(self) -> bool | None:
        """Whether the lesion yes/no is the truth; None where one of them is unknown."""
        return None if self.truth is None or self.lesion is None else self.truth == self.lesion

    @property
    def grade(self) -> int | None:
        """BPE from 0, minimal, to 3, marked; None for another scale."""
        return BPE.index(self.bpe) if self.bpe in BPE else None


ENDPOINTS = {"BPE": "grade", "detection": "correct", "score": "score"}
"""What paired tests compare, by the field of a read: the grade, whether the lesion yes/no was true, and the number."""


def load_reads(path: Path) -> list[Read]:
    """Read a CSV with columns reader, case, condition and any of the following.

    truth, lesion and hallucination (yes/no; the last: something is shown that the reader holds to be invented), bpe
    (a..d), score (a number).

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
    said = (flag("truth"), flag("lesion"), bpe, value, flag("hallucination"))
    return Read(row["reader"], row["case"], row["condition"], *said)


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


def reader_report(
    reads: Sequence[Read], *, weights: str = "linear", repeats: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """All statistics of a study, as far as its columns go.

    `detection` and `hallucinations` are of each reader and condition, `agreement` on BPE compares the conditions within
    each reader and the readers within each condition; `means` are over readers. `tests` are Wilcoxon signed-rank tests
    of two conditions by case within a reader, of each of ENDPOINTS, p adjusted over all tests (Benjamini-Hochberg).

    Args:
        reads: The reads.
        weights: Weights of kappa: "linear", "quadratic" or "none".
        repeats: Bootstrap samples of cases.
        seed: Of the bootstrap.

    Returns:
        The report, ready for JSON.
    """
    readers, conditions = _sorted(r.reader for r in reads), _sorted(r.condition for r in reads)
    groups = [(r, c) for r in readers for c in conditions]
    pairs = [(a, b) for n, a in enumerate(groups) for b in groups[n + 1 :] if a[0] == b[0] or a[1] == b[1]]
    labels = _scale({r.bpe for r in reads if r.bpe is not None})
    rows = _detection(reads, groups)
    agreement = _agreement(reads, pairs, labels, {"weights": weights, "repeats": repeats, "seed": seed})
    return {
        "detection": rows,
        "hallucinations": _hallucinations(reads, groups),
        "bpe_labels": labels,
        "weights": weights,
        "agreement": agreement,
        "means": [*_means_of_detection(rows), *_means_of_agreement(agreement)],
        "tests": _tests(reads, [(a, b) for a, b in pairs if a[0] == b[0]]),
        "definitions": DEFINITIONS,
    }


def _detection(reads: Sequence[Read], groups: Sequence[Group]) -> list[dict[str, Any]]:
    found = {group: detection([r for r in reads if (r.reader, r.condition) == group]) for group in groups}
    return [
        {"reader": reader, "condition": condition, **{name: p.as_dict() for name, p in values.items()}}
        for (reader, condition), values in found.items()
        if values["accuracy"].total
    ]


def _hallucinations(reads: Sequence[Read], groups: Sequence[Group]) -> list[dict[str, Any]]:
    """How many of its images a reader reported to show something invented."""
    rows = []
    for reader, condition in groups:
        said = [r.hallucination for r in reads if (r.reader, r.condition) == (reader, condition)]
        asked = [answer for answer in said if answer is not None]
        if asked:
            reported = Proportion(sum(asked), len(asked)).as_dict()
            rows.append({"reader": reader, "condition": condition, "reported": reported})
    return rows


def _agreement(
    reads: Sequence[Read], pairs: Sequence[tuple[Group, Group]], labels: list[str], bootstrap: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Kappa of each pair of groups, and how often both grades lie on one side of mild and moderate."""
    agreement = []
    for a, b in pairs:
        ratings = _paired(reads, a, b, "bpe")
        if not ratings:
            continue
        first, second = zip(*ratings, strict=True)
        value = kappa_interval(first, second, labels, **bootstrap)
        grades = _paired(reads, a, b, "grade")
        dense = Proportion(sum((x > 1) == (y > 1) for x, y in grades), len(grades)).as_dict()
        agreement.append({"first": list(a), "second": list(b), **value, "dichotomized": dense})
    return agreement


def _means_of_detection(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Accuracy, sensitivity and specificity over readers, by condition."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        for name in ("accuracy", "sensitivity", "specificity"):
            if row[name]["value"] is not None:
                found.setdefault((row["condition"], name), []).append(row[name]["value"])
    return [_mean(condition, name, values) for (condition, name), values in found.items()]


def _means_of_agreement(agreement: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Kappa and dichotomized accuracy over readers: of two conditions within a reader, and with the reference."""
    found: dict[tuple[str, str], list[float]] = {}
    for entry in agreement:
        (reader, first), (other, second) = entry["first"], entry["second"]
        if reader == other != REFERENCE:
            what = f"{first} - {second}"
        elif REFERENCE in (reader, other):
            what = f"{first} - {REFERENCE}"
        else:
            continue
        for name, value in (("kappa", entry["kappa"]), ("dichotomized", entry["dichotomized"]["value"])):
            if value is not None:
                found.setdefault((what, name), []).append(value)
    return [_mean(what, name, values) for (what, name), values in found.items()]


def _mean(condition: str, measure: str, values: Sequence[float]) -> dict[str, Any]:
    return {"condition": condition, "measure": measure, "mean": float(np.mean(values)), "readers": len(values)}


def _tests(reads: Sequence[Read], pairs: Sequence[tuple[Group, Group]]) -> list[dict[str, Any]]:
    from scipy.stats import false_discovery_control, wilcoxon

    tests: list[dict[str, Any]] = []
    for endpoint, field in ENDPOINTS.items():
        for a, b in pairs:
            values = _paired(reads, a, b, field)
            if not values:
                continue
            difference = np.array([float(y) - float(x) for x, y in values])
            p = float(wilcoxon(difference).pvalue) if difference.any() else 1.0
            said = {"endpoint": endpoint, "first": list(a), "second": list(b), "cases": len(values)}
            tests.append(said | {"median": float(np.median(difference)), "mean": float(difference.mean()), "p": p})
    if tests:
        for test, adjusted in zip(tests, false_discovery_control([t["p"] for t in tests]), strict=True):
            test["p_adjusted"] = float(adjusted)
    return tests


def _paired(reads: Sequence[Read], a: Group, b: Group, what: str) -> list[tuple[Any, Any]]:
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
