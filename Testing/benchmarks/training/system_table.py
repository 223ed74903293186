"""One table of all systems: what each makes of held-out phantoms, beside doing nothing.

Every system is measured by the same rules against the noise-free truth. Two baselines need no training: taking the
pre-contrast volume for every phase, and, for systems that also read phase 1, taking phase 1 for the later phases.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.kinetics.parameters import percent_enhancement
from VirtualContrastLib.lesions.threshold import segment_by_threshold
from VirtualContrastLib.metrics.image_pairs import mae
from VirtualContrastLib.metrics.similarity import Similarity
from VirtualContrastLib.models.card import ModelCard
from VirtualContrastLib.study import Phase, Source, Study
from VirtualContrastLib.synthesis.study_synthesizer import StudySynthesizer
from VirtualContrastLib.synthesis.synthesizer import Synthesis
from VirtualContrastTrainingLib.data.mammograms import LOW_ENERGY, RECOMBINED
from VirtualContrastTrainingLib.data.phantom.anatomy import Tissue
from VirtualContrastTrainingLib.metrics.mammography import change_agreement, tissue_masks
from VirtualContrastTrainingLib.metrics.segmentation import dice

MODEL, COPY_PRE, COPY_PHASE_1 = "model", "copy the pre-contrast volume", "copy phase 1"
COPY_LOW, LINE, THRESHOLD = "copy the low-energy image", "straight line of the low-energy image", "threshold rule"

UPTAKE_FROM = 2000.0
"""Gray value of the phantom mammograms' recombined image above which tissue counts as enhancing: masses, not gland."""

_NOT_BREAST = (Tissue.AIR, Tissue.MUSCLE, Tissue.LUNG, Tissue.HEART)
_BREAST = [int(tissue) for tissue in Tissue if tissue not in _NOT_BREAST]

DEFINITIONS = {
    "mae": "mean absolute error inside the breast against the noise-free phase, in signal units",
    "ssim": "SSIM inside the breast, slice by slice (Gaussian window of sigma 1.5, range of the true phase)",
    "pe_error": "mean |PE - true PE| over lesions, PE of the lesion's mean signal, in percentage points",
    "change_mae": "mean absolute error of recombined minus low-energy image inside the breast, in gray values",
    "change_ssim": "SSIM of that change, on the range of the real change",
    "uptake_mae": f"mean absolute error where the real recombined image is above {UPTAKE_FROM:g}, in gray values",
    "dice": "Dice of all lesion voxels of a case, mean over cases with lesions, from acquired phases",
}
"""What each measure is. All are means over cases."""


@dataclass(frozen=True)
class Measured:
    """Measures of one case by one `method` (MODEL or a baseline); `phase` is 0 where the measure has none."""

    case: str
    method: str
    phase: int
    values: dict[str, float]

    def as_row(self) -> dict[str, Any]:
        """One flat row, for a CSV file."""
        return {"case": self.case, "method": self.method, "phase": self.phase, **self.values}


class Segments(Protocol):
    """A lesion model, such as the engine's LesionNet."""

    def segment(self, phases: Mapping[int, sitk.Image], events: Events | None = None) -> sitk.Image:
        """Instance labels of a study's volumes by phase index."""


def measure_phases(folder: Path, synthesizer: StudySynthesizer, card: ModelCard) -> list[Measured]:
    """Measure every phase that a model makes of one phantom case (made with its noise-free truth), and the baselines.

    The model is asked for the phantom's own times. It sees the acquired pre-contrast volume, and phase 1 where its
    `card` says so, nothing later. Raises InputError where the truth is missing, a phase was made at a time the phantom
    has not, or units are arbitrary.
    """
    description = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    times: list[float] = description["times_s"]
    reads_first = 1 in card.inputs.phases
    study = _study(folder, description["images"][: 2 if reads_first else 1], times)
    made = _made(study, synthesizer, times[card.first_phase :])
    if made.arbitrary_units:
        raise InputError(f"The model '{card.id}' gives arbitrary units, which cannot be compared here.")
    truth = _Truth.of(folder, description["images"])
    found = []
    for image, time_s in zip(made.phases, made.times_s, strict=True):
        if time_s not in times:
            raise InputError(f"{folder} has phases at {times[1:]} s, but the model makes one at {time_s:g} s.")
        phase = times.index(time_s)
        methods = {MODEL: image, COPY_PRE: study.pre.image}
        if reads_first:
            methods[COPY_PHASE_1] = study.real[0].image
        pre = sitk.GetArrayFromImage(made.pre)
        for method, volume in methods.items():
            values = truth.errors(phase, sitk.GetArrayFromImage(volume), pre)
            found.append(Measured(folder.name, method, phase, values))
    return found


def measure_mammogram(
    folder: Path, synthesizer: StudySynthesizer, line: tuple[float, float] | None = None
) -> list[Measured]:
    """Measure the recombined image that a model makes of one prepared pair, and the baselines.

    `line` is what `fit_line` gives for the training pairs.
    """
    study = _study(folder, [LOW_ENERGY], [0.0])
    low, real = _slice(study.pre.image), _slice(sitk.ReadImage(str(folder / RECOMBINED)))
    methods = {MODEL: _slice(_made(study, synthesizer, None).phases[0]), COPY_LOW: low}
    if line is not None:
        methods[LINE] = line[0] * low + line[1]
    fat, gland = tissue_masks(low)
    breast, enhancing = fat | gland, real > UPTAKE_FROM
    found = []
    for method, image in methods.items():
        change = change_agreement(low, real, image, breast)
        uptake = mae(real[enhancing], image[enhancing]) if enhancing.any() else float("nan")
        values = {"change_mae": change.mae, "change_ssim": change.ssim, "uptake_mae": uptake}
        found.append(Measured(folder.name, method, 0, values))
    return found


def fit_line(folders: Sequence[Path]) -> tuple[float, float]:
    """Slope and intercept of the recombined against the low-energy gray values, least squares over all breasts."""
    low, high = [], []
    for folder in folders:
        images = [_slice(sitk.ReadImage(str(folder / name))) for name in (LOW_ENERGY, RECOMBINED)]
        fat, gland = tissue_masks(images[0])
        low.append(images[0][fat | gland])
        high.append(images[1][fat | gland])
    slope, intercept = np.polyfit(np.concatenate(low), np.concatenate(high), 1)
    return float(slope), float(intercept)


def measure_lesions(folder: Path, net: Segments) -> list[Measured]:
    """Dice of a lesion model and of the threshold rule on the acquired phases of one phantom case (NaN: no lesion)."""
    description = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    phases = {n: sitk.ReadImage(str(folder / name)) for n, name in enumerate(description["images"])}
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "lesions.nrrd"))) > 0
    methods = {MODEL: net.segment(phases), THRESHOLD: segment_by_threshold(phases[0], phases[1])}
    return [
        Measured(folder.name, method, 0, {"dice": dice(_array(labels) > 0, truth) if truth.any() else float("nan")})
        for method, labels in methods.items()
    ]


def averages(measured: Sequence[Measured]) -> dict[str, dict[str, float | None]]:
    """Mean over cases by method, of each measure of each phase (`phase_2_mae`, or `dice` without a phase).

    Values that are not defined do not count; None where none is.
    """
    collected: dict[str, dict[str, list[float]]] = {}
    for one in measured:
        for name, value in one.values.items():
            key = f"phase_{one.phase}_{name}" if one.phase else name
            values = collected.setdefault(one.method, {}).setdefault(key, [])
            if np.isfinite(value):
                values.append(value)
    return {
        method: {key: float(np.mean(values)) if values else None for key, values in columns.items()}
        for method, columns in collected.items()
    }


@dataclass(frozen=True)
class _Truth:
    """The noise-free volumes [phase, k, j, i] of a phantom, its lesion labels and its breasts [k, j, i]."""

    series: NDArray[np.float64]
    labels: NDArray[np.integer]
    breast: NDArray[np.bool_]

    @classmethod
    def of(cls, folder: Path, names: Sequence[str]) -> _Truth:
        if not (folder / f"truth_{names[0]}").is_file():
            raise InputError(f"{folder} lacks its noise-free truth; make the phantoms with --noise-free.")
        series = np.stack([_array(sitk.ReadImage(str(folder / f"truth_{name}"))) for name in names])
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "lesions.nrrd")))
        tissue = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "tissue.nrrd")))
        return cls(series, labels, np.isin(tissue, _BREAST))

    def errors(self, phase: int, made: NDArray[Any], pre: NDArray[Any]) -> dict[str, float]:
        """MAE, SSIM and PE error of the volume `made` [k, j, i]; `pre` is the baseline of its PE."""
        true = self.series[phase]
        similarity = np.stack([Similarity(a, b).ssim_map(float(np.ptp(true))) for a, b in zip(true, made, strict=True)])
        differences = self._enhancements(made, pre) - self._enhancements(true, self.series[0])
        return {
            "mae": mae(true[self.breast], made[self.breast]),
            "ssim": float(similarity[self.breast].mean()),
            "pe_error": float(np.abs(differences).mean()) if differences.size else float("nan"),
        }

    def _enhancements(self, volume: NDArray[Any], pre: NDArray[Any]) -> NDArray[np.float64]:
        """PE of each lesion's mean signal, in percent."""
        numbers = [int(n) for n in np.unique(self.labels) if n > 0]
        signals = [[float(image[self.labels == n].mean()) for image in (pre, volume)] for n in numbers]
        return percent_enhancement(signals)[:, 1] if signals else np.empty(0)


def _study(folder: Path, names: Sequence[str], times: Sequence[float]) -> Study:
    images = [sitk.ReadImage(str(folder / name)) for name in names]
    phases = [Phase(n, image, times[n], synthetic=False) for n, image in enumerate(images)]
    source = Source((), "memory", "")
    return Study(phases[0], source, tuple(phases[1:]), (source,) * (len(phases) - 1))


def _made(study: Study, synthesizer: StudySynthesizer, times_s: Sequence[float] | None) -> Synthesis:
    return synthesizer.synthesize_study(study, Events(), times_s=times_s, perturbations=0, seed=0)


def _array(image: sitk.Image) -> NDArray[np.float64]:
    return sitk.GetArrayFromImage(image).astype(np.float64)


def _slice(image: sitk.Image) -> NDArray[np.float64]:
    return _array(image)[0]
