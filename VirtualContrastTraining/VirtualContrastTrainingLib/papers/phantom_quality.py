"""How good a synthesis model and a lesion model are on phantoms they were never trained on.

The truth is the phantom's: noise-free phases, lesion masks, and the curve type that each lesion was built with. The
baseline is to do nothing, that is to take the pre-contrast volume for every phase.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.kinetics.curves import LesionCurve, lesion_curves
from VirtualContrastLib.lesions.nnunet import LesionNet
from VirtualContrastLib.lesions.threshold import segment_by_threshold
from VirtualContrastLib.metrics.measure import Better, Measure, definitions
from VirtualContrastLib.models.package import Metric
from VirtualContrastLib.study import Phase, Source, Study
from VirtualContrastLib.synthesis.study_synthesizer import StudySynthesizer

from ..data.cases import case_folders

MATCH_OVERLAP = 0.1
"""Intersection over union from which a found lesion counts as the true one."""

_ROMAN = {1: "I", 2: "II", 3: "III"}


@dataclass(frozen=True)
class Detection:
    """Lesion-level counts of one case.

    Attributes:
        lesions: True lesions.
        found: Those that were found.
        false_positives: Findings that are no lesion.
    """

    lesions: int
    found: int
    false_positives: int


@dataclass(frozen=True)
class CaseQuality:
    """Figures of one phantom; averages over lesions are NaN where it has none.

    Attributes:
        case: Name of the case.
        detection: Lesions found by the segmentation network.
        threshold_detection: Lesions found by the threshold rule.
        types_right: Lesions whose synthetic curve has the true type.
        real_types_right: Lesions whose real curve has the true type.
        pe_error: PE error in percentage points, averaged over lesions and phases.
        baseline_pe_error: The same of the pre-contrast image for every phase.
        ssim: Structural similarity.
        baseline_ssim: The same of the pre-contrast image for every phase.
        mae: Mean absolute error, in units of the signal.
        baseline_mae: The same of the pre-contrast image for every phase.
        dice: Overlap of the lesions that the network found with the true ones.
    """

    case: str
    detection: Detection
    threshold_detection: Detection
    types_right: int
    real_types_right: int
    pe_error: float
    baseline_pe_error: float
    ssim: float
    baseline_ssim: float
    mae: float
    baseline_mae: float
    dice: float


def measure_case(folder: Path, synthesizer: StudySynthesizer, net: LesionNet) -> CaseQuality:
    """Synthesize one phantom case from its pre-contrast volume and compare with the noise-free truth.

    Args:
        folder: Folder of the case, with its `truth_` volumes.
        synthesizer: The synthesis model.
        net: The lesion model.

    Returns:
        The measures of the case.

    Raises:
        InputError: The model needs more than that, or makes phases at other times than the case has.
    """
    description = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    acquired = [sitk.ReadImage(str(folder / name)) for name in description["images"]]
    truth = [_truth(folder, name) for name in description["images"]]
    labels = sitk.ReadImage(str(folder / "lesions.nrrd"))
    times = description["times_s"]
    study = Study(Phase(0, acquired[0], 0.0, synthetic=False), Source((), "nrrd", ""))
    synthesis = synthesizer.synthesize_study(study, Events(), times_s=times[1:], perturbations=0, seed=0)
    if synthesis.times_s != times[1:]:
        raise InputError(f"{folder} has phases at {times[1:]} s, the model makes them at {synthesis.times_s} s.")

    series = {0: acquired[0], **dict(enumerate(synthesis.phases, start=1))}
    found = net.segment(series)
    by_threshold = segment_by_threshold(acquired[0], synthesis.phases[0])
    curves = {
        "synthetic": lesion_curves(_phases([acquired[0], *synthesis.phases], times, True), labels),
        "real": lesion_curves(_phases(acquired, times, False), labels),
        "truth": lesion_curves(_phases(truth, times, False), labels),
    }
    types = {int(lesion["label"]): lesion["curve_type"] for lesion in description["lesions"]}
    phases = [_array(image) for image in synthesis.phases]
    true_phases = [_array(image) for image in truth[1:]]
    unchanged = [_array(acquired[0])] * len(phases)
    label_array = sitk.GetArrayFromImage(labels)
    return CaseQuality(
        case=folder.name,
        detection=detect(label_array, sitk.GetArrayFromImage(found)),
        threshold_detection=detect(label_array, sitk.GetArrayFromImage(by_threshold)),
        types_right=_types_right(curves["synthetic"], types),
        real_types_right=_types_right(curves["real"], types),
        pe_error=_pe_error(curves["synthetic"], curves["truth"]),
        baseline_pe_error=_mean([np.abs(curve.pe_percent[1:]).mean() for curve in curves["truth"]]),
        ssim=_mean_ssim(phases, true_phases),
        baseline_ssim=_mean_ssim(unchanged, true_phases),
        mae=_mean([np.abs(a - b).mean() for a, b in zip(phases, true_phases, strict=True)]),
        baseline_mae=_mean([np.abs(a - b).mean() for a, b in zip(unchanged, true_phases, strict=True)]),
        dice=_dice(label_array > 0, sitk.GetArrayFromImage(found) > 0),
    )


def detect(truth: NDArray[np.integer], found: NDArray[np.integer]) -> Detection:
    """Match instance labels [k, j, i]: a lesion is found where some found part overlaps it with IoU >= MATCH_OVERLAP.

    Every found part that matches no lesion is one false positive.
    """
    matched: set[int] = set()
    hits = 0
    for label in range(1, int(truth.max()) + 1):
        lesion = truth == label
        touching = [int(n) for n in np.unique(found[lesion]) if n > 0]
        good = [n for n in touching if _iou(lesion, found == n) >= MATCH_OVERLAP]
        hits += bool(good)
        matched.update(good)
    return Detection(int(truth.max()), hits, int(found.max()) - len(matched))


Cases = Sequence[CaseQuality]


def _share(count: Callable[[CaseQuality], float]) -> Callable[[Cases], float]:
    """What `count` counts over all cases, as a share of their lesions."""

    def share(cases: Cases) -> float:
        lesions = sum(case.detection.lesions for case in cases)
        return sum(map(count, cases)) / lesions if lesions else float("nan")

    return share


def _mean_of(value: Callable[[CaseQuality], float]) -> Callable[[Cases], float]:
    return lambda cases: _mean([value(case) for case in cases])


_PRE_FOR_EVERY = "the same with the pre-contrast volume for every phase"
_BY_THRESHOLD = "the same by the threshold rule on the synthetic subtraction"
_PE_ERROR = "lesion enhancement error (points of PE)"


def _row(name: str, unit: str, better: Better, definition: str, function: Callable[[Cases], float]) -> Measure:
    return Measure(name, name, unit, better, definition, function)


MEASURES = (
    _row("cases", "", None, "phantoms measured", len),
    _row("lesions", "", None, "lesions in them", lambda cases: sum(c.detection.lesions for c in cases)),
    _row("lesion sensitivity", "", "higher",
         f"share of lesions that a part found by the lesion model meets, IoU >= {MATCH_OVERLAP}",
         _share(lambda c: c.detection.found)),
    _row("false positives per case", "", "lower", "found parts that match no lesion",
         _mean_of(lambda c: c.detection.false_positives)),
    _row("lesion Dice", "", "higher", "voxels of all lesions of a case, mean over cases with lesions",
         _mean_of(lambda c: c.dice)),
    _row("sensitivity by threshold", "", "higher", _BY_THRESHOLD, _share(lambda c: c.threshold_detection.found)),
    _row("false positives per case by threshold", "", "lower", _BY_THRESHOLD,
         _mean_of(lambda c: c.threshold_detection.false_positives)),
    _row("curve type agreement", "", "higher",
         "share of lesions whose synthetic mean curve, in the true outline, has the built-in type",
         _share(lambda c: c.types_right)),
    _row("curve type agreement of the acquired phases", "", "higher", "the same on the phantom's own noisy phases",
         _share(lambda c: c.real_types_right)),
    _row(_PE_ERROR, "percentage points", "lower",
         "mean |PE synthetic - PE noise-free truth| over lesions and phases", _mean_of(lambda c: c.pe_error)),
    _row(f"baseline {_PE_ERROR}", "percentage points", "lower", _PRE_FOR_EVERY,
         _mean_of(lambda c: c.baseline_pe_error)),
    _row("SSIM", "", "higher",
         "slice-wise SSIM against the noise-free phases, Gaussian window of sigma 1.5, data range of the true phase",
         _mean_of(lambda c: c.ssim)),
    _row("baseline SSIM", "", "higher", _PRE_FOR_EVERY, _mean_of(lambda c: c.baseline_ssim)),
    _row("MAE", "signal", "lower", "mean absolute error against the noise-free phases, in signal units",
         _mean_of(lambda c: c.mae)),
    _row("baseline MAE", "signal", "lower", _PRE_FOR_EVERY, _mean_of(lambda c: c.baseline_mae)),
)  # fmt: skip
"""The rows of the table, in order."""
DEFINITIONS = definitions(MEASURES)


def summarize(cases: Cases) -> dict[str, float]:
    """One figure each over all cases, by name of its measure."""
    return {measure.name: measure.function(cases) for measure in MEASURES if measure.function is not None}


def as_metrics(summary: dict[str, float], data: str) -> list[Metric]:
    """The table as metrics for a model card; rows without a value are left out."""
    return [
        Metric(name=name, value=value, definition=DEFINITIONS[name], data=data)
        for name, value in summary.items()
        if np.isfinite(value)
    ]


def as_rows(cases: Sequence[CaseQuality]) -> list[dict[str, object]]:
    """One flat row per case, for a CSV file."""
    rows = []
    for case in cases:
        row = asdict(case)
        for key in ("detection", "threshold_detection"):
            row |= {f"{key}_{name}": value for name, value in row.pop(key).items()}
        rows.append(row)
    return rows


def quality_cases(root: Path) -> list[Path]:
    """Case folders below `root`; raises InputError where the noise-free truth was not written."""
    folders = case_folders(root)
    for folder in folders:
        if not (folder / "truth_pre.nrrd").is_file():
            raise InputError(f"{folder} lacks its noise-free truth; make the phantoms with --noise-free.")
    return folders


def _truth(folder: Path, name: str) -> sitk.Image:
    return sitk.ReadImage(str(folder / f"truth_{name}"))


def _phases(images: Sequence[sitk.Image], times_s: Sequence[float], synthetic: bool) -> list[Phase]:
    return [
        Phase(number, image, time, synthetic and number > 0)
        for number, (image, time) in enumerate(zip(images, times_s, strict=True))
    ]


def _array(image: sitk.Image) -> NDArray[np.float64]:
    return sitk.GetArrayFromImage(image).astype(np.float64)


def _types_right(curves: Sequence[LesionCurve], types: dict[int, str]) -> int:
    return sum(_ROMAN.get(int(curve.curve_type)) == types[curve.label] for curve in curves)


def _pe_error(curves: Sequence[LesionCurve], truth: Sequence[LesionCurve]) -> float:
    return _mean([np.abs(a.pe_percent[1:] - b.pe_percent[1:]).mean() for a, b in zip(curves, truth, strict=True)])


def _mean_ssim(images: Sequence[NDArray[np.float64]], truth: Sequence[NDArray[np.float64]]) -> float:
    """Mean over phases of the volume's mean slice SSIM (Gaussian window, sigma 1.5; data range of the true phase)."""
    from skimage.metrics import structural_similarity

    values = []
    for image, true in zip(images, truth, strict=True):
        values += [
            structural_similarity(
                a, b, data_range=np.ptp(true), gaussian_weights=True, sigma=1.5, use_sample_covariance=False
            )
            for a, b in zip(image, true, strict=True)
        ]
    return _mean(values)


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum())) if a.any() else float("nan")


def _mean(values: Sequence[float]) -> float:
    """Mean of the values that are defined; NaN where none is."""
    defined = [float(value) for value in values if np.isfinite(value)]
    return float(np.mean(defined)) if defined else float("nan")
