"""The curves to compare, and what is reported of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from VirtualContrastLib.events import InputError
from VirtualContrastLib.kinetics.feature_agreement import FeatureAgreement

from ..metrics.kinetics import KineticReport, kinetic_report
from .kinetic_cases import Curves, curves_of_results, curves_of_volumes
from .phantom_cohort import data_given


@dataclass(frozen=True)
class CurveReport:
    """How far curves agree, with what they are.

    Attributes:
        agreement: of the curves.
        data: what they are, in words.
        notes: sentences below the report.
        failed_cases: numbers of the cases that could not be used.
        features: agreement of single features; None where they were not pooled.
    """

    agreement: KineticReport
    data: str
    notes: Sequence[str]
    failed_cases: Sequence[int]
    features: Sequence[FeatureAgreement] | None = None

    def as_json(self) -> dict[str, object]:
        """The agreement with the other parts beside it; features only where they were pooled."""
        values = dict(vars(self))
        if self.features is None:
            del values["features"]
        return vars(values.pop("agreement")) | values


def report_of(curves: Curves, data: str, *, repeats: int, seed: int) -> CurveReport:
    """The kinetic report of curves.

    Args:
        curves: The curves.
        data: What they are, in words.
        repeats: Bootstrap samples of patients.
        seed: Of the bootstrap.

    Returns:
        The report.

    Raises:
        InputError: There is no lesion.
    """
    if not curves.pairs:
        raise InputError(curves.failed[0][1] if curves.failed else "No case has a lesion, so there is no curve.")
    report = kinetic_report(curves.pairs, repeats=repeats, seed=seed)
    return CurveReport(report, data, _notes(curves, report), [number for number, _ in curves.failed])


def find_curves(
    results: Path | None, real: Path | None, synthetic: Path | None, lesions: Path | None, times: Sequence[float] | None
) -> tuple[Curves, str]:
    """The curves of result folders, or of real and synthetic cases.

    Args:
        results: Folder of result folders.
        real: Folder of real cases.
        synthetic: Folder of synthetic cases.
        lesions: Folder of label maps named like the cases.
        times: Seconds after injection of phases 1, 2 ...

    Returns:
        The curves, and what they are in words.

    Raises:
        InputError: The folders do not go together, or hold nothing to compare.
    """
    if results is not None:
        if real or synthetic:
            raise InputError("Give either a folder of results, or --real and --synthetic.")
        return curves_of_results(results), "result folders given"
    if real is None or synthetic is None:
        raise InputError("--real and --synthetic go together; without both, phantoms are used.")
    curves = curves_of_volumes(real, synthetic, lesions, times)
    return curves, data_given(path for path in real.iterdir() if path.is_dir())


def _notes(curves: Curves, report: KineticReport) -> list[str]:
    notes = ["Intervals: 95 %, percentile bootstrap over patients; one patient gives none."]
    if report.largest_time_difference_s > 0:
        notes.append(
            f"Phases are matched by number; their times differ by up to {report.largest_time_difference_s:g} s."
        )
    if curves.outlined_by_runs:
        notes.append(
            "The lesions are those that each run outlined; outlines found on synthetic phases favor lesions that "
            "enhance there. Give --real, --synthetic and --lesions for outlines drawn otherwise."
        )
    if curves.without_lesions:
        notes.append(f"{curves.without_lesions} cases have no lesion.")
    if curves.failed:
        notes.append(f"{len(curves.failed)} cases could not be used.")
    return notes
