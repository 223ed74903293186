"""The evaluation protocol of the MAMA-SYNTH 2026 challenge, as its public evaluation container defines it.

Images are z-scored with constants of the pre-contrast training images, the same for pre- and post-contrast. MSE on
these; LPIPS on values cut at 5 sigma; SSIM (7 x 7 uniform window, range 10) averaged over the tumor; FRD version 1
over tumors; Dice and HD95 of masks that the challenge's nnU-Net found on the synthetic images; AUROC of its two
classifiers (`mamasynth_classifiers`). What a model made on a scale of its own is first brought to the units of the real
image, by that image's minimum and maximum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from VirtualContrastLib.events import InputError
from VirtualContrastLib.metrics.image_pairs import mse
from VirtualContrastLib.metrics.measure import definitions
from VirtualContrastLib.metrics.own_scale import in_units_of

from .images import read_mask, read_stack
from .lpips import SMALLEST_SIDE, Lpips
from .mamasynth_classifiers import TASKS, Row, auroc_of_scores, classifier_extractor, rows_of_case
from .measures import CHALLENGE
from .pairs import Pair
from .radiomics_distance import distance_v1, extractor_v1, lesion_features, table_of
from .segmentation import dice, hd95_of_challenge

if TYPE_CHECKING:
    from radiomics.featureextractor import RadiomicsFeatureExtractor

MEAN, STD = 107.41193853581365, 219.96180535228203
"""Pre-contrast intensity of the 1506 MAMA-MIA training patients."""
CLIP_SIGMA = 5.0
AUROC_NOTE = (
    "The challenge's classifiers are pickled programs, which are not loaded here; give the scores of the rows in "
    "mama-synth-features-{task}.csv with --classifier-scores {task}=CSV."
)
DEFINITIONS = definitions(CHALLENGE) | {
    "std": "population standard deviation over cases",
}


@dataclass(frozen=True)
class LesionCase:
    """One pair to measure.

    Attributes:
        pair: The pair; `pair.pre` is for the AUROC.
        predicted_mask: The mask that a network found, where one segmented the synthetic image.
    """

    pair: Pair
    predicted_mask: Path | None = None


@dataclass(frozen=True)
class Score:
    """One score of the challenge over all cases.

    Attributes:
        mean: over the cases, or the one value of all of them.
        n: number of cases or rows that it rests on.
        std: population standard deviation over cases; None for a score that only all cases together have.
    """

    mean: float
    n: int
    std: float | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> Score | None:
        """Mean and standard deviation; None of nothing."""
        return cls(float(np.mean(values)), len(values), float(np.std(values))) if values else None

    def as_json(self) -> dict[str, float | int]:
        """The values, the standard deviation only where there is one."""
        spread = {} if self.std is None else {"std": self.std}
        return {"mean": self.mean, **spread, "n": self.n}


@dataclass(frozen=True)
class ChallengeReport:
    """The challenge's aggregates.

    Attributes:
        scores: score by name, None where there is none.
        notes: sentence by name of a score, why there is none.
        definitions: definition by name.
        cases: cases that were measured.
        without_prediction: cases without a predicted lesion, which Dice and HD95 leave out, as the challenge does.
        failed: cases that could not be measured.
    """

    scores: Mapping[str, Score | None]
    notes: Mapping[str, str]
    definitions: Mapping[str, str]
    cases: int
    without_prediction: int
    failed: int

    def as_json(self) -> dict[str, object]:
        """The scores by name beside the other parts."""
        values = dict(vars(self))
        return values.pop("scores") | values


@dataclass(frozen=True)
class Slices:
    """A case in memory: z-scored slices [j, i].

    Attributes:
        real: The real slice.
        synthetic: The synthetic slice.
        pre: The pre-contrast slice, None where absent.
        tumor: The tumor, None where absent or empty.
    """

    real: np.ndarray
    synthetic: np.ndarray
    pre: np.ndarray | None
    tumor: np.ndarray | None


@dataclass
class Gathered:
    """Values of all cases so far.

    Attributes:
        values: Values of each measure by name.
        tumors: Radiomics of the real and of the synthetic tumors.
        rows: What the classifiers read, by task.
        sentences: What could not be measured.
        masks: Number of masks found on synthetic images.
        empty: How many of these are empty.
    """

    values: dict[str, list[float]] = field(
        default_factory=lambda: {name: [] for name in ("mse", "lpips", "ssim_tumor", "dice", "hausdorff_95")}
    )
    tumors: tuple[list[dict[str, float]], list[dict[str, float]]] = field(default_factory=lambda: ([], []))
    rows: dict[str, list[Row]] = field(default_factory=lambda: {task: [] for task in TASKS})
    sentences: list[str] = field(default_factory=list)
    masks: int = 0
    empty: int = 0


def z_score(values: np.ndarray) -> np.ndarray:
    """Scanner units to the challenge's z-scores, float64."""
    return (values.astype(np.float64) - MEAN) / STD


def tumor_ssim(real: np.ndarray, synthetic: np.ndarray, tumor: np.ndarray) -> float:
    """Mean over the tumor of the SSIM map of two z-scored slices.

    Args:
        real: Real slice [j, i].
        synthetic: Synthetic slice of the same shape.
        tumor: Tumor mask of the same shape.

    Returns:
        The mean, at most 1.
    """
    from skimage.metrics import structural_similarity

    _, full = structural_similarity(synthetic, real, data_range=2 * CLIP_SIGMA, full=True)
    return float(full[tumor].mean())


def gather(cases: Iterable[LesionCase], *, lpips: Lpips | None, z_scored: bool = False) -> Gathered:
    """Measure all cases; one that cannot be read gets a sentence.

    Args:
        cases: The cases.
        lpips: The network of LPIPS; None leaves it out.
        z_scored: Whether the images hold z-scores already.

    Returns:
        What was measured.

    Raises:
        InputError: No case can be read.
    """
    found = Gathered()
    extractors = extractor_v1(), classifier_extractor()
    for number, case in enumerate(cases, start=1):
        try:
            slices = _load(case.pair, z_scored)
            predicted = _prediction(case, slices)
        except InputError as error:
            found.sentences.append(str(error))
            continue
        _add_images(found, slices, lpips)
        _add_radiomics(found, number, case.pair, slices, extractors)
        if predicted is not None and slices.tumor is not None:
            found.masks, found.empty = found.masks + 1, found.empty + (not predicted.any())
            if predicted.any():
                found.values["dice"].append(dice(predicted, slices.tumor))
                found.values["hausdorff_95"].append(hd95_of_challenge(predicted, slices.tumor))
    if not found.values["mse"]:
        raise InputError(found.sentences[0] if found.sentences else "There was no case to evaluate.")
    return found


def summarize(found: Gathered, *, lpips_missing: str = "", scores: Mapping[str, Path] | None = None) -> ChallengeReport:
    """The challenge's aggregates.

    Args:
        found: What `gather` measured.
        lpips_missing: Why there is no LPIPS.
        scores: Tables of the classifiers' scores by task.

    Returns:
        The scores, with a note for each that is missing.

    Raises:
        InputError: A table of scores does not fit.
    """
    report = {name: Score.of(values) for name, values in found.values.items()}
    notes: dict[str, str] = {}
    for task in TASKS:
        table = (scores or {}).get(task)
        value = None if table is None else auroc_of_scores(table, found.rows[task])
        report[f"auroc_{task}"] = None if value is None else Score(value, len(found.rows[task]))
        if value is None:
            notes[f"auroc_{task}"] = AUROC_NOTE.format(task=task) if table is None else "Four rows or more are needed."
    if report["lpips"] is None:
        notes["lpips"] = lpips_missing or f"No slice has {SMALLEST_SIDE} pixels on a side."
    if report["ssim_tumor"] is None:
        notes["ssim_tumor"] = "No case has a tumor mask."
    if found.masks == 0:
        notes["dice"] = notes["hausdorff_95"] = "No masks found on the synthetic images were given."
    report["frd"] = _frd(found, notes)
    return ChallengeReport(report, notes, DEFINITIONS, len(found.values["mse"]), found.empty, len(found.sentences))


def _frd(found: Gathered, notes: dict[str, str]) -> Score | None:
    if len(found.tumors[0]) < 2:
        notes["frd"] = "FRD needs two tumors or more."
        return None
    try:
        value = distance_v1(*(table_of(rows) for rows in found.tumors))
    except ValueError as error:
        notes["frd"] = f"FRD is not defined: {error}."
        return None
    if math.isfinite(value):
        return Score(value, len(found.tumors[0]))
    notes["frd"] = "The radiomics of both sets are equal, the log of their distance is not finite."
    return None


def _add_images(found: Gathered, slices: Slices, lpips: Lpips | None) -> None:
    found.values["mse"].append(mse(slices.real, slices.synthetic))
    if lpips is not None and min(slices.real.shape) >= SMALLEST_SIDE:
        cut = (np.clip(x, -CLIP_SIGMA, CLIP_SIGMA) / CLIP_SIGMA for x in (slices.real, slices.synthetic))
        found.values["lpips"].append(lpips.distance(*cut))
    if slices.tumor is not None:
        found.values["ssim_tumor"].append(tumor_ssim(slices.real, slices.synthetic, slices.tumor))


def _add_radiomics(
    found: Gathered,
    number: int,
    pair: Pair,
    slices: Slices,
    extractors: tuple[RadiomicsFeatureExtractor, RadiomicsFeatureExtractor],
) -> None:
    """Features for FRD and for the classifiers; a case with one value everywhere has none and gets a sentence."""
    distance, classifiers = extractors
    try:
        if slices.tumor is not None and slices.tumor.sum() > 1:
            images = (slices.real, slices.synthetic)
            features = [
                lesion_features(distance, image[None], slices.tumor[None], diagnostics=True) for image in images
            ]
            for rows, row in zip(found.tumors, features, strict=True):
                rows.append(row)
        for task, own in rows_of_case(classifiers, number, slices.synthetic, slices.pre, slices.tumor).items():
            found.rows[task] += own
    except ValueError:
        found.sentences.append(f"{pair.real} or {pair.synthetic} has no radiomics; it is not part of FRD and AUROC.")


def _load(pair: Pair, z_scored: bool) -> Slices:
    def scores(pixels: np.ndarray) -> np.ndarray:
        return pixels.astype(np.float64) if z_scored else z_score(pixels)

    def image(path: Path) -> np.ndarray:
        return _one_slice(read_stack(path).pixels, path)

    pixels, made = image(pair.real), image(pair.synthetic)
    real, synthetic = scores(pixels), scores(in_units_of(pixels, made) if pair.own_scale else made)
    pre = None if pair.pre is None else scores(image(pair.pre))
    tumor = None if pair.lesion is None else _one_slice(read_mask(pair.lesion), pair.lesion)
    for path, array in ((pair.synthetic, synthetic), (pair.pre, pre), (pair.lesion, tumor)):
        if array is not None and array.shape != real.shape:
            raise InputError(f"{path} differs in size from {pair.real}.")
    return Slices(real, synthetic, pre, tumor if tumor is not None and tumor.any() else None)


def _prediction(case: LesionCase, slices: Slices) -> np.ndarray | None:
    if case.predicted_mask is None:
        return None
    predicted = _one_slice(read_mask(case.predicted_mask), case.predicted_mask)
    if predicted.shape != slices.real.shape:
        raise InputError(f"{case.predicted_mask} differs in size from {case.pair.real}.")
    return predicted


def _one_slice(stack: np.ndarray, path: Path) -> np.ndarray:
    if len(stack) != 1:
        raise InputError(f"{path} has {len(stack)} slices; the MAMA-SYNTH protocol takes one slice per case.")
    return np.asarray(stack[0])
