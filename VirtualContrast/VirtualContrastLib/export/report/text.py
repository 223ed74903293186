"""The words of the report: what every number means and what it does not mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...kinetics.parameters import CurveRules, early_and_late
from ...lesions.measurement import FTV_PE_PERCENT
from ...lesions.threshold import ThresholdSettings
from ..content import GIVEN, NO_LESIONS, THRESHOLD, ModelIdentity, named_phases

PHANTOM = (
    "TRAINED ON SIMULATED PHANTOMS ONLY: {models}. There was no patient among the training images. It shows that the "
    "program works. What it draws on a patient's images has no meaning."
)
ARBITRARY_UNITS = (
    "The model's output is in arbitrary units, not in those of the input. Enhancement against the "
    "pre-contrast image is only as good as that mapping."
)
NOT_SEGMENTED = "This run did not look for lesions."
NO_LESION = (
    "No lesion was outlined. This does not mean that there is none: the synthesis may hide a lesion, and "
    "the method may miss one."
)
LESION_NOTE = (
    "Diameters: extent left-right × anterior-posterior × superior-inferior. Longest: greatest distance on "
    "the surface in 3-D. Side: from the patient coordinate of the centroid; check it against the images. "
    "Early PE: percent enhancement of the mean curve at the early phase. Peak PE: its highest point, with one "
    "standard deviation of the synthesis (an upper bound for the mean curve; it is sensitivity to small "
    "disturbances, not a calibrated error). SER: signal enhancement ratio. FTV: functional tumor volume. "
    "Hot spot: the most enhancing 3 × 3 voxels."
)
CONFIDENCE_NOTE = (
    "Certainty was measured on patients not used for training. Real PE: in {coverage:.0f} % of them the real "
    "mean enhancement of the lesion lay in such a range. It holds for patients like those; for others it was "
    "not measured."
)
METRICS_NOTE = (
    "Each image against the real phase, on the input's values without rescaling. MAE: mean absolute "
    "difference, in input units; MSE: mean squared difference; PSNR: 10 log10(L² / MSE) with L the range "
    "of the real volume; SSIM: structural similarity, slice by slice, Gaussian window of sigma 1.5 "
    "pixels. Rows named pre compare the pre-contrast image itself: what doing nothing would give. A "
    "synthesis that is no better than these rows has added nothing."
)
MAMMOGRAM_METRICS_NOTE = (
    "The synthetic image against the real recombined one, on gray values without rescaling: a difference in scale "
    "between the two counts as error. MAE: mean absolute difference; MSE: mean squared difference; PSNR: 10 log10(L² / "
    "MSE) with L the range of the real image; SSIM: structural similarity, Gaussian window of sigma 1.5 pixels."
)
AGREEMENT_HEADER = ("Quantity", "Unit", "Lesions", "Value", "SD", "Lower", "Upper")
AGREEMENT_NOTE = (
    "Differences are synthetic minus real in the same outlines. For a bias, lower and upper are the "
    "limits of agreement (bias ± 1.96 SD); for equal curve type and kappa they are a 95 % bootstrap "
    "interval over lesions (five lesions or more). A dash: the number of lesions is too small."
)
INPUT_PHASES_NOTE = (
    "The {read} belongs to both curves, so only later phases are compared. Rows of the images named phase_N compare "
    "the last phase that the model read: what repeating it would give."
)


def trained_on(model: ModelIdentity) -> str:
    """What is said of a model that was not trained on phantoms."""
    return "patients; see its model card" if model.weights_sha256 else "not trained"


def lesion_header(unit: str) -> list[str]:
    """Column titles of the lesion table; lengths in `unit` ("mm" or "px")."""
    volumes = ["Volume (mm³)", "Volume (cm³)"] if unit == "mm" else ["Area or volume (px)"]
    ftv = "FTV (mm³)" if unit == "mm" else "FTV (px)"
    return [
        "No.", "Side", *volumes, f"Diameters ({unit})", f"Longest ({unit})", "Early PE (%)", "Peak PE (%)",
        "Synthesis SD (%)", "SER", "Curve type", "Hot spot type", ftv,
    ]  # fmt: skip


def methods(segmentation: str, synthetic: Mapping[int, float], read: Mapping[int, float]) -> list[str]:
    """Paragraphs on how the numbers were made, with every threshold.

    Args:
        segmentation: a method or a model's id.
        synthetic: seconds after injection of the synthetic phases, by index.
        read: the same of the real phases that the model read.

    Returns:
        The paragraphs.
    """
    rules, inputs = CurveRules(), list(read)
    times = ", ".join(f"{time_s:.0f}" for time_s in synthetic.values())
    early, late = _early_and_late({**read, **synthetic})
    synthesis = (
        "The post-contrast phases were computed by a neural network from the pre-contrast volume alone; no "
        "contrast agent was given for them. Intensities of all phases were mapped with one set of "
        "constants, taken from the pre-contrast volume."
    )
    if inputs:
        named = named_phases(inputs)
        synthesis = (
            f"The post-contrast phases after the {named} were computed by a neural network from the pre-contrast "
            f"volume and the {named}, for which contrast agent was given. Intensities of all phases were mapped with "
            "one set of constants. Curves, maps and the functional tumor volume rest on real and synthetic phases "
            "together."
        )
    if times:
        synthesis += f" They stand for {times} s after injection."
    kinetics = (
        "Percent enhancement PE = 100 (S - S0) / S0, S0 before contrast. The early phase is the one nearest to "
        f"{rules.early_s:.0f} s after injection, here {early}; the late phase is the one nearest to "
        f"{rules.late_s:.0f} s after it, here {late}. Early PE, hot spot, functional tumor volume and "
        "SER = (S early - S0) / (S late - S0) rest on them. Curve type: the last phase against the highest signal "
        f"within {rules.early_limit_s:.0f} s; more than {rules.plateau_percent:.0f} % above is type I (persistent), "
        f"more than {rules.plateau_percent:.0f} % below type III (washout), between them type II (plateau); no type "
        f"below a peak PE of {rules.minimum_pe_percent:.0f} %, and none without a phase later than "
        f"{rules.early_limit_s:.0f} s. Functional tumor volume: voxels with early PE of at least "
        f"{FTV_PE_PERCENT:.0f} % and SER of at least 0. Curves are means over all voxels of the outline."
    )
    return [synthesis, _segmentation(segmentation, inputs, early), kinetics]


def mammogram_methods() -> list[str]:
    """Paragraphs on how a recombined image was made, and on what it is not."""
    return [
        "The recombined image was computed by a neural network from the low-energy image alone, in overlapping windows "
        "that were averaged; no high-energy image or iodine map was used. Outside the breast's bounding "
        "box it is the darkest value that the model draws.",
        "Gray values are those of the images that the model was trained on. They have no unit and do not measure "
        "iodine. The network works on larger pixels than the input's, so the result is smoother than a real one.",
    ]


def _early_and_late(times_s: Mapping[int, float]) -> tuple[str, str]:
    """What the early and the late phase of a curve over these phases (seconds by index) are called."""
    if not times_s:
        return "none", "none"
    indices = sorted(times_s)
    early, late = early_and_late([0.0, *(times_s[index] for index in indices)])

    def called(place: int | None) -> str:
        if place is None:
            return "none (so there is no SER)"
        index = indices[place - 1]
        return f"phase {index} ({times_s[index]:.0f} s)"

    return called(early), called(late)


def _segmentation(method: str, inputs: Sequence[int], early: str) -> str:
    if method == GIVEN:
        return "The outlines of the lesions were given by the user; the synthetic images were not used for them."
    if method == NO_LESIONS:
        return "The run did not look for lesions."
    if method != THRESHOLD:
        on = "on the real and synthetic phases" if inputs else "on the synthetic phases"
        return f"Lesions were outlined by the network {method} {on}, unchecked by a reader."
    rule = ThresholdSettings()
    return (
        f"Lesions were outlined by a threshold on the early phase, {early}, inside the breasts: PE of at least "
        f"{rule.pe_percent:.0f} %, a signal before contrast of at least {rule.background_fraction:g} times the "
        f"{rule.background_percentile:.0f}th percentile of the breasts, at least {rule.minimum_volume_mm3:.0f} mm³, "
        f"and no longer than {rule.maximum_elongation:g} times their thickness (longer parts are taken for vessels). "
        "They were not checked by a reader."
    )
