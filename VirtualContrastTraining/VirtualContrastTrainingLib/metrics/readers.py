"""Reader study statistics: accuracy, agreement and paired tests of reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from VirtualContrastLib.metrics.bootstrap import Interval
from VirtualContrastLib.metrics.measure import definitions
from VirtualContrastLib.reader_study.answers import REFERENCE
from VirtualContrastLib.reader_study.study_list import BPE

from .kappa import KappaEstimate, kappa_interval
from .measures import READERS
from .reads import Read

Group = tuple[str, str]
"""Reader and condition."""

DEFINITIONS = definitions(READERS)
"""What the numbers of a report are."""
ENDPOINTS = {"BPE": "grade", "detection": "correct", "score": "score"}
"""What paired tests compare, by the field of a read: the grade, whether the lesion yes/no was true, and the number."""


@dataclass(frozen=True)
class Proportion:
    """A count out of a total.

    Attributes:
        count: how many.
        total: of how many.
    """

    count: int
    total: int

    @property
    def value(self) -> float | None:
        """The share, None for a total of 0."""
        return self.count / self.total if self.total else None

    @property
    def ci95(self) -> Interval | None:
        """The Wilson interval of the share, None for a total of 0."""
        if not self.total:
            return None
        from scipy.stats import binomtest

        interval = binomtest(self.count, self.total).proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)

    def as_json(self) -> dict[str, object]:
        """Count, total, share and interval."""
        return {"count": self.count, "total": self.total, "value": self.value, "ci95": self.ci95}


@dataclass(frozen=True)
class Detection:
    """How a reader found lesions under one condition.

    Attributes:
        reader: who.
        condition: what was read.
        accuracy: reads whose lesion yes/no is the truth.
        sensitivity: reads of cases with a lesion in which one was seen.
        specificity: reads of cases without a lesion in which none was seen.
    """

    reader: str
    condition: str
    accuracy: Proportion
    sensitivity: Proportion
    specificity: Proportion

    @classmethod
    def of(cls, reader: str, condition: str, reads: Iterable[Read]) -> Detection:
        """Count the reads of one reader and condition that have both `truth` and `lesion`.

        Args:
            reader: Who.
            condition: What was read.
            reads: All reads of the study.

        Returns:
            The detection; totals of 0 where nothing can be counted.
        """
        own = [r for r in reads if (r.reader, r.condition) == (reader, condition)]
        known = [(r.truth, r.lesion) for r in own if r.truth is not None and r.lesion is not None]
        positive, negative = [said for truth, said in known if truth], [said for truth, said in known if not truth]
        hits, rejections = sum(map(bool, positive)), sum(not said for said in negative)
        return cls(
            reader,
            condition,
            Proportion(hits + rejections, len(known)),
            Proportion(hits, len(positive)),
            Proportion(rejections, len(negative)),
        )


@dataclass(frozen=True)
class Hallucinations:
    """How many of the images of one condition a reader reported to show something invented.

    Attributes:
        reader: who.
        condition: what was read.
        reported: of the images for which the question was answered.
    """

    reader: str
    condition: str
    reported: Proportion


@dataclass(frozen=True)
class Agreement:
    """Agreement on BPE of two readings of the same cases.

    Attributes:
        first: reader and condition of one reading.
        second: reader and condition of the other.
        kappa: with interval, number of cases and confusion.
        dichotomized: cases that both readings put on one side of mild and moderate.
    """

    first: Group
    second: Group
    kappa: KappaEstimate
    dichotomized: Proportion

    def as_json(self) -> dict[str, object]:
        """The estimate's values beside those of this pair."""
        return {"first": self.first, "second": self.second, **vars(self.kappa), "dichotomized": self.dichotomized}


@dataclass(frozen=True)
class Mean:
    """A measure's mean over readers.

    Attributes:
        condition: what was read, or the two readings compared.
        measure: name of the measure.
        mean: its mean.
        readers: how many readers it is of.
    """

    condition: str
    measure: str
    mean: float
    readers: int


@dataclass(frozen=True)
class PairedTest:
    """A Wilcoxon signed-rank test by case of two readings, second minus first.

    Attributes:
        endpoint: what was compared, of ENDPOINTS.
        first: reader and condition of one reading.
        second: reader and condition of the other.
        cases: number of cases.
        median: of the differences.
        mean: of the differences.
        p: two-sided.
        p_adjusted: over all tests of the report.
    """

    endpoint: str
    first: Group
    second: Group
    cases: int
    median: float
    mean: float
    p: float
    p_adjusted: float = 1.0


@dataclass(frozen=True)
class ReaderReport:
    """All statistics of a reader study, as far as its columns go.

    Attributes:
        detection: of each reader and condition.
        hallucinations: of each reader and condition.
        bpe_labels: grades of BPE in order.
        weights: of kappa.
        agreement: on BPE, of the conditions within each reader and of the readers within each condition; a reference of
            one condition alone stands beside every condition.
        means: over readers.
        tests: of two conditions by case within a reader, of each of ENDPOINTS.
        definitions: definition by measure.
    """

    detection: Sequence[Detection]
    hallucinations: Sequence[Hallucinations]
    bpe_labels: Sequence[str]
    weights: str
    agreement: Sequence[Agreement]
    means: Sequence[Mean]
    tests: Sequence[PairedTest]
    definitions: Mapping[str, str]


def reader_report(
    reads: Sequence[Read], *, weights: str = "linear", repeats: int = 2000, seed: int = 0
) -> ReaderReport:
    """All statistics of a study, as far as its columns go; p is adjusted over all tests (Benjamini-Hochberg).

    Args:
        reads: The reads.
        weights: Weights of kappa: "linear", "quadratic" or "none".
        repeats: Bootstrap samples of cases.
        seed: Of the bootstrap.

    Returns:
        The report.
    """
    readers, conditions = _sorted(r.reader for r in reads), _sorted(r.condition for r in reads)
    groups = [(r, c) for r in readers for c in conditions]
    pairs = _comparisons(groups, reads)
    labels = list(BPE) if any(r.bpe is not None for r in reads) else []
    detection = [found for group in groups if (found := Detection.of(*group, reads)).accuracy.total]
    agreement = _agreement(reads, pairs, labels, {"weights": weights, "repeats": repeats, "seed": seed})
    return ReaderReport(
        detection=detection,
        hallucinations=_hallucinations(reads, groups),
        bpe_labels=labels,
        weights=weights,
        agreement=agreement,
        means=[*_means_of_detection(detection), *_means_of_agreement(agreement)],
        tests=_tests(reads, [(a, b) for a, b in pairs if a[0] == b[0]]),
        definitions=DEFINITIONS,
    )


def _comparisons(groups: Sequence[Group], reads: Sequence[Read]) -> list[tuple[Group, Group]]:
    """The conditions within each reader, and the readers within each condition.

    A reference of one condition alone, such as grades of the real images, stands beside every condition.
    """
    of_reference = {read.condition for read in reads if read.reader == REFERENCE}
    for_all = len(of_reference) == 1
    pairs = [(a, b) for n, a in enumerate(groups) for b in groups[n + 1 :]]
    return [(a, b) for a, b in pairs if a[0] == b[0] or a[1] == b[1] or (for_all and REFERENCE in (a[0], b[0]))]


def _hallucinations(reads: Sequence[Read], groups: Sequence[Group]) -> list[Hallucinations]:
    rows = []
    for reader, condition in groups:
        said = [r.hallucination for r in reads if (r.reader, r.condition) == (reader, condition)]
        asked = [answer for answer in said if answer is not None]
        if asked:
            rows.append(Hallucinations(reader, condition, Proportion(sum(asked), len(asked))))
    return rows


def _agreement(
    reads: Sequence[Read], pairs: Sequence[tuple[Group, Group]], labels: list[str], bootstrap: Mapping[str, Any]
) -> list[Agreement]:
    """Kappa of each pair of groups, and how often both grades lie on one side of mild and moderate."""
    agreement = []
    for a, b in pairs:
        ratings = _paired(reads, a, b, "bpe")
        if not ratings:
            continue
        first, second = zip(*ratings, strict=True)
        grades = _paired(reads, a, b, "grade")
        dense = Proportion(sum((x > 1) == (y > 1) for x, y in grades), len(grades))
        agreement.append(Agreement(a, b, kappa_interval(first, second, labels, **bootstrap), dense))
    return agreement


def _means_of_detection(rows: Sequence[Detection]) -> list[Mean]:
    """Accuracy, sensitivity and specificity over readers, by condition; the reference is no reader."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in (one for one in rows if one.reader != REFERENCE):
        for name in ("accuracy", "sensitivity", "specificity"):
            if (value := getattr(row, name).value) is not None:
                found.setdefault((row.condition, name), []).append(value)
    return [_mean(condition, name, values) for (condition, name), values in found.items()]


def _means_of_agreement(agreement: Sequence[Agreement]) -> list[Mean]:
    """Kappa and dichotomized accuracy over readers: of two conditions within a reader, and with the reference."""
    found: dict[tuple[str, str], list[float]] = {}
    for entry in agreement:
        (reader, first), (other, second) = entry.first, entry.second
        if reader == other != REFERENCE:
            what = f"{first} - {second}"
        elif REFERENCE in (reader, other):
            what = f"{second if reader == REFERENCE else first} - {REFERENCE}"
        else:
            continue
        for name, value in (("kappa", entry.kappa.kappa), ("dichotomized", entry.dichotomized.value)):
            if value is not None:
                found.setdefault((what, name), []).append(value)
    return [_mean(what, name, values) for (what, name), values in found.items()]


def _mean(condition: str, measure: str, values: Sequence[float]) -> Mean:
    return Mean(condition, measure, float(np.mean(values)), len(values))


def _tests(reads: Sequence[Read], pairs: Sequence[tuple[Group, Group]]) -> list[PairedTest]:
    from scipy.stats import false_discovery_control, wilcoxon

    tests: list[PairedTest] = []
    for endpoint, field in ENDPOINTS.items():
        for a, b in pairs:
            values = _paired(reads, a, b, field)
            if not values:
                continue
            difference = np.array([float(y) - float(x) for x, y in values])
            p = float(wilcoxon(difference).pvalue) if difference.any() else 1.0
            median, mean = float(np.median(difference)), float(difference.mean())
            tests.append(PairedTest(endpoint, a, b, len(values), median, mean, p))
    if not tests:
        return []
    adjusted = false_discovery_control([test.p for test in tests])
    return [replace(test, p_adjusted=float(p)) for test, p in zip(tests, adjusted, strict=True)]


def _paired(reads: Sequence[Read], a: Group, b: Group, what: str) -> list[tuple[Any, Any]]:
    """Values of `what` of the cases that both (reader, condition) groups read."""
    first, second = (
        {r.case: getattr(r, what) for r in reads if (r.reader, r.condition) == group and getattr(r, what) is not None}
        for group in (a, b)
    )
    return [(first[case], second[case]) for case in first if case in second]


def _sorted(values: Any) -> list[str]:
    return sorted(set(values))
