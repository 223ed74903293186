"""What each kind of report of `coverage` comes to: its main result in a few words, and whether it is a perfect one."""

from __future__ import annotations

from functools import singledispatch

from ..metrics.mamasynth import Score
from .compared_systems import SystemsReport
from .epoch_views import EpochsReport
from .kinetics import CurveFigure
from .lesion_views import ViewsReport
from .mama_synth import MamaSynthReport
from .mammography import LINE, MammographyReport
from .readers import ReadsReport
from .reports import Estimate, Report, shown
from .segmentation import SegmentationReport
from .selection_run import SelectionReport
from .tables import MeasuredRow, QualityReport

_MODELS_AS_CHECKPOINTS = "the model, and the same with noise in its weights, in the place of checkpoints"
_COPIES = "copies of the low-energy images in the place of synthetic ones"
_READS = "reads made up by chance"


@singledispatch
def main_result(report: Report) -> str:
    """The main result of a table or figure in a few words."""
    raise TypeError(f"{type(report).__name__} has no main result")


@main_result.register
def _(report: QualityReport) -> str:
    said = [f"{label}: {_quality(row)}" for label, row in report.rows.items() if label.endswith("(baseline)")]
    made = next(label for label in report.rows if label.endswith("synthetic"))
    return "; ".join([*said[:1], f"{made}: {made_result(report)}"])


@main_result.register
def _(report: ViewsReport) -> str:
    return f"{len(report.rows)} planes"


@main_result.register
def _(report: SegmentationReport) -> str:
    return "; ".join(f"{name}: Dice {_mean(one.summaries['dice'])}" for name, one in report.scenarios.items())


@main_result.register
def _(report: SelectionReport) -> str:
    return f"{_MODELS_AS_CHECKPOINTS}: {report.winner}"


@main_result.register
def _(report: EpochsReport) -> str:
    return f"{_MODELS_AS_CHECKPOINTS}: {len(report.rows)} shown"


@main_result.register
def _(report: CurveFigure) -> str:
    return f"error of PE {_mean(report.report.agreement.statistics['enhancement_error'])} points"


@main_result.register
def _(report: SystemsReport) -> str:
    errors = {label: one.summaries["enhancement_error_ti"] for label, one in report.systems.items()}
    return "; ".join(f"{label}: enhancement error {_mean(found)}" for label, found in errors.items() if found)


@main_result.register
def _(report: MammographyReport) -> str:
    line = report.baselines[LINE]
    return (
        f"{_COPIES}: SSIM of the change {_mean(report.measures['change_ssim'])}, straight line "
        f"{_mean(line['change_ssim'])}, its correlation over images {_mean(line['mae_correlation'])}"
    )


@main_result.register
def _(report: ReadsReport) -> str:
    return f"{_READS}: {len(report.rows)} rows"


@main_result.register
def _(report: MamaSynthReport) -> str:
    return f"MSE {_mean(report.challenge.scores['mse'])} in z-scores"


def _mean(found: Estimate | Score | None) -> str:
    return "-" if found is None else shown(float(found.mean))


def made_result(report: Report) -> str:
    """The main result of the synthetic images alone."""
    if isinstance(report, QualityReport):
        return next(_quality(row) for label, row in report.rows.items() if label.endswith("synthetic"))
    return main_result(report)


def _quality(row: MeasuredRow) -> str:
    mae, ssim = (shown(row.report.mean("true", metric)) for metric in ("mae", "ssim"))
    return f"MAE {mae}, SSIM {ssim}"


@singledispatch
def is_perfect(report: Report) -> bool:
    """Whether the table of a perfect synthesis shows a perfect one."""
    raise TypeError(f"{type(report).__name__} has no units to check")


@is_perfect.register
def _(report: QualityReport) -> bool:
    rows = [row.report for label, row in report.rows.items() if label.endswith("synthetic")]
    means = [(row.mean("true", "mae"), row.mean("true", "ssim")) for row in rows]
    return bool(means) and all(
        mae is not None and ssim is not None and mae < 1e-3 and ssim > 1 - 1e-6 for mae, ssim in means
    )


@is_perfect.register
def _(report: SystemsReport) -> bool:
    found = report.systems["model"].summaries
    ssim, error = found["ssim"], found["enhancement_error_ti"]
    return ssim is not None and error is not None and ssim.mean > 1 - 1e-6 and error.mean < 1e-6


@is_perfect.register
def _(report: CurveFigure) -> bool:
    error = report.report.agreement.statistics["enhancement_error"]
    return error is not None and error.mean < 1e-3


@is_perfect.register
def _(report: MamaSynthReport) -> bool:
    mse = report.challenge.scores["mse"]
    return mse is not None and mse.mean < 1e-6
