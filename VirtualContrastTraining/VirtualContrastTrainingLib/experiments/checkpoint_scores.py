"""Scores a model package on validation cases: the figures of merit that SAMe takes together."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import SimpleITK as sitk
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.package import ModelPackage
from VirtualContrastLib.synthesis.device import DeviceChoice
from VirtualContrastLib.synthesis.synthesizer import Synthesizer

from ..data.cases import case_folders
from ..metrics.distributions import Preparation, image_distances
from ..metrics.evaluation import Evaluation, Settings
from ..metrics.feature_networks import FeatureNetwork
from ..metrics.kinetics import kinetic_report
from ..metrics.lpips import Lpips
from ..metrics.pairs import Pair
from .kinetic_cases import curves_of_volumes
from .phantom_cohort import write_synthesis

DEFINITIONS = {
    "mse": "true mean squared error over slices",
    "mae": "true mean absolute error over slices",
    "psnr": "true peak signal-to-noise ratio over slices, dB",
    "ssim": "true SSIM over slices",
    "ms_ssim": "true MS-SSIM over slices",
    "lpips": "LPIPS (AlexNet) over slices",
    "lesion_mse": "mean squared error inside lesions",
    "lesion_mae": "mean absolute error inside lesions",
    "lesion_psnr": "peak signal-to-noise ratio inside lesions, dB",
    "lesion_ssim": "mean of the SSIM map inside lesions",
    "enhancement_error": "mean absolute error of percent enhancement of lesions, percentage points",
}
PAPERS_METRICS = ("ssim", "mse", "mae")
"""SAMe of the papers takes these, FID on ImageNet features and FID on RadImageNet features."""
LESION_TERMS = ("lesion_ssim", "lesion_mae", "enhancement_error")


@dataclass
class Scorer:
    """Synthesizes all cases below `cases` with a package and measures the phases that the cases have.

    `failures` receives a sentence a pair or case that could not be measured, once. `measured` is how many pairs the
    last package's metrics rest on.
    """

    cases: Path
    device: DeviceChoice
    lpips: Lpips | None = None
    networks: Mapping[str, FeatureNetwork] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    measured: int = 0

    def __call__(self, package: ModelPackage) -> dict[str, float]:
        """Metric values by name; raises InputError where nothing could be measured."""
        synthesizer = Synthesizer(package, self.device)
        with tempfile.TemporaryDirectory(prefix="virtual-contrast-checkpoint-") as place:
            runs = Path(place)
            pairs: list[Pair] = []
            for case in case_folders(self.cases):
                pairs += self._synthesize(synthesizer, case, runs / case.name)
            evaluation = Evaluation(Settings(repeats=1), self.lpips)
            usable = [pair for pair in pairs if evaluation.try_add(pair)]
            self.measured = len(usable)
            for failure in evaluation.failures:
                self._note(failure.sentence.replace(str(runs), "synthetic"))
            scores = _means(evaluation.report())
            for name, network in self.networks.items():
                found = image_distances(usable, network, Preparation())["synthetic_against_real"]
                scores |= {f"fid_{name}": found["fid"], f"kid_{name}": found["kid"]}
            return scores | self._enhancement_error(runs)

    def _synthesize(self, synthesizer: Synthesizer, case: Path, folder: Path) -> list[Pair]:
        """Pairs of the case's phases and the synthetic ones, by number; an unusable case is a failure."""
        try:
            synthesis = write_synthesis(synthesizer, case, folder)
        except (InputError, RuntimeError) as error:
            self._note(f"{case}: {str(error).splitlines()[0]}")
            return []
        if synthesis.arbitrary_units:
            sitk.WriteImage(synthesis.pre, str(folder / "pre.nrrd"))
        lesion = case / "lesions.nrrd"
        pairs = []
        for number in range(1, len(synthesis.phases) + 1):
            real = case / f"phase_{number}.nrrd"
            if not real.is_file():
                continue
            if synthesis.arbitrary_units:
                real = _eight_bit_range(real, folder / f"real_{number}.nrrd")
            made = folder / "phases" / f"phase_{number}.nrrd"
            pairs.append(Pair(real, made, case.name, lesion=lesion if lesion.is_file() else None))
        return pairs

    def _note(self, sentence: str) -> None:
        if sentence not in self.failures:
            self.failures.append(sentence)

    def _enhancement_error(self, runs: Path) -> dict[str, float]:
        curves = curves_of_volumes(self.cases, runs)
        if not curves.pairs:
            return {}
        found = kinetic_report(curves.pairs, repeats=1)["statistics"]["enhancement_error"]
        return {} if found is None else {"enhancement_error": found["mean"]}


def default_metrics(names: Sequence[str], *, lesion_terms: bool) -> list[str]:
    """Those of the papers among `names`, with the lesion-level ones where wished."""
    chosen = [name for name in names if name in PAPERS_METRICS or name.startswith("fid_") or name == "lpips"]
    return chosen + [name for name in names if lesion_terms and name in LESION_TERMS]


def _means(report: Mapping[str, Any]) -> dict[str, float]:
    scores = {name: value for name, value in report["true"].items() if value is not None}
    inside = report["statistics"].get("true_in_lesion", {})
    return scores | {f"lesion_{name}": found["mean"] for name, found in inside.items()}


def _eight_bit_range(path: Path, target: Path) -> Path:
    """The volume scaled to 0..255 by its own minimum and maximum, as the models of that scale were trained."""
    image = sitk.RescaleIntensity(sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkFloat32), 0.0, 255.0)
    sitk.WriteImage(image, str(target))
    return target
