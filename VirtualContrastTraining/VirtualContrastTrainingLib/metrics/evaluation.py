"""The pairwise evaluation of any number of pairs, as a stream: true and as-published metrics side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from VirtualContrastLib.events import InputError
from VirtualContrastLib.metrics.measure import definitions

from .bootstrap import PatientSums, Summary
from .lpips import Lpips
from .measured_pair import MeasuredPair, Settings, measure
from .measures import IMAGE
from .pairs import Pair
from .slice_metrics import Values
from .subgroups import GroupComparison, compare_groups

METRICS = tuple(measure.name for measure in IMAGE)
DEFINITIONS = definitions(IMAGE) | {
    "data_range": "255 for 8-bit files, else max - min of the pair's real image or volume",
    "statistics": "each metric is taken per slice (true_per_volume: per volume) and averaged over slices; std is the "
    "population standard deviation over slices, ci95 a percentile bootstrap over patients",
    "true_in_lesion": "over the pixels of lesion masks; SSIM is the mean there of the whole slice's map",
    "true_in_breast": "over the pixels of breast masks; SSIM is the mean there of the whole slice's map",
    "as_published.mse": "mean of (a - b)^2 modulo 256; 0 to 249",
    "as_published.mae": "mean of (a - b) modulo 256; 0 to 255, depends on the order of a and b",
    "as_published.psnr": "10 log10(peak^2 / as-published MSE) in dB, peak the maximum of b",
    "as_published.ssim": "torchmetrics: range of each pair of slices, mirrored borders counted; -1 to 1",
    "as_published.ms_ssim": "torchmetrics: range of each pair of slices; 0 to 1",
    "as_published.lpips": "of images cut to 0 and 1 at three quarters of their range; 0 and up",
}
AS_PUBLISHED_MEANING = (
    "artifacts of the published scripts (8-bit wrap-around, binarized LPIPS), for comparison with the papers only"
)


@dataclass(frozen=True)
class Failure:
    """A pair that could not be measured.

    Attributes:
        pair: Its number in the order given.
        reason: Why; names its files as [real].
        sentence: The whole reason, with the file, for the terminal only: file names may carry patient ids.
    """

    pair: int
    reason: str
    sentence: str


@dataclass(frozen=True)
class EvaluationReport:
    """What an evaluation found.

    Attributes:
        statistics: summary by group ("true", "as_published", "true_in_lesion" ...) and metric.
        notes: sentence by metric, why some of it is missing.
        settings: what was compared.
        data_range: least and greatest range of the pairs.
        pairs: how many were measured.
        slices: how many were measured.
        patients: how many were measured.
        failed: pairs that could not be.
    """

    statistics: Mapping[str, Mapping[str, Summary]]
    notes: Mapping[str, str]
    settings: Settings
    data_range: tuple[float, float]
    pairs: int
    slices: int
    patients: int
    failed: tuple[Failure, ...]

    def summary(self, group: str, metric: str) -> Summary | None:
        """Of one metric in one group, None where it was not measured."""
        return self.statistics.get(group, {}).get(metric)

    def mean(self, group: str, metric: str) -> float | None:
        """As `summary`, the mean alone."""
        found = self.summary(group, metric)
        return None if found is None else found.mean

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON files, with definitions."""
        low, high = self.data_range
        return {
            **{group: {name: self.mean(group, name) for name in METRICS} for group in ("true", "as_published")},
            "notes": dict(self.notes),
            "statistics": self.statistics,
            "definitions": DEFINITIONS,
            "as_published_means": AS_PUBLISHED_MEANING,
            "protocol": self.settings.protocol,
            "subtraction": self.settings.subtraction,
            "data_range": low if low == high else [low, high],
            "pairs": self.pairs,
            "slices": self.slices,
            "patients": self.patients,
            "failed": [{"pair": failure.pair, "reason": failure.reason} for failure in self.failed],
        }


@dataclass
class Evaluation:
    """Accumulates pairs; memory does not grow with their number.

    Attributes:
        settings: What to compare.
        lpips: The network of LPIPS; None leaves it out.
        lpips_missing: Why it is left out.
        rows: Receives one mapping per slice, where given.
        failures: Pairs that could not be measured.
    """

    settings: Settings = field(default_factory=Settings)
    lpips: Lpips | None = None
    lpips_missing: str = "no AlexNet weights were given"
    rows: Callable[[Mapping[str, Any]], None] | None = None
    failures: list[Failure] = field(default_factory=list)
    _sums: dict[tuple[str, str], PatientSums] = field(default_factory=dict)
    _notes: dict[str, list[str]] = field(default_factory=dict)
    _pairs: int = 0
    _slices: int = 0
    _seen: int = 0
    _patients: set[str] = field(default_factory=set)
    _ranges: tuple[float, float] = (math.inf, -math.inf)

    def add(self, pair: Pair) -> None:
        """Read one pair, add all its slices; raises InputError where its images do not match."""
        self.take(pair, measure(pair, self.settings, self.lpips, self.lpips_missing))

    def try_add(self, pair: Pair) -> bool:
        """Like `add`, but a pair that cannot be measured goes to `failures`; True where it was added."""
        try:
            self.add(pair)
        except InputError as error:
            self.leave_out(pair, str(error))
            return False
        return True

    def take(self, pair: Pair, measured: MeasuredPair) -> None:
        """Add what was measured of a pair, here or elsewhere."""
        number, self._seen = self._seen, self._seen + 1
        for name, sentence in measured.notes:
            self._note(name, sentence)
        for k, values in zip(measured.indices, measured.slices, strict=True):
            self._accumulate(pair.patient, values)
            if self.rows is not None:
                named = {f"{group}.{metric}": value for (group, metric), value in values.items()}
                self.rows({"pair": number, "slice": k, **named})
        if measured.volume is not None:
            self._accumulate(pair.patient, measured.volume)
        self._slices += len(measured.slices)
        self._pairs += 1
        if measured.slices:
            self._patients.add(pair.patient)
        self._ranges = (min(self._ranges[0], measured.data_range), max(self._ranges[1], measured.data_range))

    def leave_out(self, pair: Pair, sentence: str) -> None:
        """Count a pair that could not be measured, with the sentence why."""
        self.failures.append(Failure(self._seen, _without_names(sentence, pair), sentence))
        self._seen += 1

    def report(self) -> EvaluationReport:
        """What was found; raises InputError where no pair could be measured."""
        if self._slices == 0:
            without = " ".join(self._notes.get("slices", ["There was no pair to evaluate."]))
            raise InputError(self.failures[0].sentence if self.failures else without)
        statistics: dict[str, dict[str, Summary]] = {}
        for (group, metric), sums in self._sums.items():
            summary = sums.summary(repeats=self.settings.repeats, seed=self.settings.seed)
            if summary is not None:
                statistics.setdefault(group, {})[metric] = summary
        if len(self._patients) == 1:
            self._note("ci95", "A confidence interval by patient needs more than one patient.")
        return EvaluationReport(
            statistics=statistics,
            notes={name: " ".join(sentences) for name, sentences in self._notes.items()},
            settings=self.settings,
            data_range=self._ranges,
            pairs=self._pairs,
            slices=self._slices,
            patients=len(self._patients),
            failed=tuple(self.failures),
        )

    def by(self, group_of: Mapping[str, str]) -> dict[str, dict[str, GroupComparison]]:
        """Scores of subgroups by group of measures and metric; `group_of` maps each patient to a subgroup."""
        found: dict[str, dict[str, GroupComparison]] = {}
        for (group, metric), sums in self._sums.items():
            if sums.by_group(group_of):
                compared = compare_groups(sums, group_of, repeats=self.settings.repeats, seed=self.settings.seed)
                found.setdefault(group, {})[metric] = compared
        return found

    def _accumulate(self, patient: str, values: Values) -> None:
        for key, value in values.items():
            if math.isfinite(value):
                self._sums.setdefault(key, PatientSums()).add(patient, value)
            elif math.isnan(value):
                self._note(key[1], "Slices where it is not a number (NaN) are left out of its mean.")
            elif value > 0:
                self._note("psnr", "Slices without any difference have an infinite PSNR and are left out of its mean.")
            else:
                self._note("psnr", "Slices that are 0 everywhere have no published PSNR and are left out of its mean.")

    def _note(self, name: str, sentence: str) -> None:
        sentences = self._notes.setdefault(name, [])
        if sentence not in sentences:
            sentences.append(sentence)


def _without_names(sentence: str, pair: Pair) -> str:
    """The sentence with each file of the pair called by its part, as [real]."""
    parts = ("real", "synthetic", "lesion", "breast", "pre")
    paths = {part: path for part in parts if (path := getattr(pair, part)) is not None}
    for part, path in paths.items():
        sentence = sentence.replace(str(path), f"[{part}]")
    for part, path in paths.items():
        sentence = sentence.replace(path.name, f"[{part}]")
    return sentence
