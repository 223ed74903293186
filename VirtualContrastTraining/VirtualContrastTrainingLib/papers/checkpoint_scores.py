"""Scores a model package on validation cases: the figures of merit that SAMe takes together."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from VirtualContrastLib.events import InputError
from VirtualContrastLib.metrics.measure import definitions
from VirtualContrastLib.models.package import ModelCard, ModelPackage
from VirtualContrastLib.synthesis.device import DeviceChoice
from VirtualContrastLib.synthesis.study_synthesizer import StudySynthesizer, study_synthesizer

from ..data.cases import case_folders
from ..data.mammograms import LOW_ENERGY, RECOMBINED
from ..metrics.distributions import DEFINITIONS as DISTANCE_DEFINITIONS
from ..metrics.distributions import KnownFeatures, Preparation, image_distances
from ..metrics.evaluation import Evaluation, EvaluationReport, Settings
from ..metrics.feature_networks import FeatureNetwork
from ..metrics.kinetics import kinetic_report
from ..metrics.lpips import Lpips
from ..metrics.measures import CHANGE, CURVES, IMAGE
from ..metrics.pairs import Pair
from .kinetic_cases import curves_of_volumes
from .mammography import measure
from .phantom_cohort import write_synthesis

_IMAGE = {measure.name: f"{measure.definition}; mean over slices" for measure in IMAGE}
_LESION = {f"lesion_{measure.name}": f"inside lesions: {measure.definition}" for measure in IMAGE}
DEFINITIONS = _IMAGE | _LESION | definitions(CHANGE) | definitions(m for m in CURVES if m.name == "enhancement_error")


def definition(metric: str) -> str:
    """What a metric of a checkpoint is, its range and unit; for those that the user gave, that they were given."""
    if metric.startswith(("fid_", "kid_")):
        return DISTANCE_DEFINITIONS[metric[:3]]
    return DEFINITIONS.get(metric, "as given")


PAPERS_METRICS = ("ssim", "mse", "mae")
"""SAMe of the papers takes these, FID on ImageNet features and FID on RadImageNet features."""
LESION_TERMS = ("lesion_ssim", "lesion_mae", "enhancement_error")
CHANGE_TERMS = ("change_mae", "change_ssim")
"""Of mammograms: how well the change from the low-energy image is met."""
_PRE = "pre.nrrd"
FID_LIMIT = 3000
"""FID of checkpoints is of the first 3000 slices of the validation cases, as published; it depends on their number."""


@dataclass
class Scorer:
    """Synthesizes all cases with a package and measures the images that the cases have.

    Attributes:
        cases: Folder of the cases.
        device: Where to compute.
        lpips: The network of LPIPS; None leaves it out.
        lpips_missing: Why it is left out.
        networks: Feature networks by name.
        failures: Receives, once, a sentence per pair or case that could not be measured.
        measured: The pairs that the last package's metrics rest on.
    """

    cases: Path
    device: DeviceChoice
    lpips: Lpips | None = None
    lpips_missing: str = ""
    networks: Mapping[str, FeatureNetwork] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    measured: list[Pair] = field(default_factory=list)
    _features: dict[str, KnownFeatures] = field(default_factory=dict)

    def __call__(self, package: ModelPackage) -> dict[str, float]:
        """Metric values by name; raises InputError where nothing could be measured."""
        synthesizer = study_synthesizer(package, self.device)
        with tempfile.TemporaryDirectory(prefix="virtual-contrast-checkpoint-") as place:
            runs = Path(place)
            pairs: list[Pair] = []
            for case in case_folders(self.cases):
                pairs += self._synthesize(synthesizer, package.card, case, runs / case.name)
            evaluation = Evaluation(Settings(repeats=1), self.lpips)
            usable = [pair for pair in pairs if evaluation.try_add(pair)]
            self.measured = usable
            for failure in evaluation.failures:
                self._note(failure.sentence.replace(str(runs), "synthetic"))
            scores = _means(evaluation.report()) | self._distances(usable)
            if package.card.abilities.modality == "MG":
                return scores | self._change_error(usable)
            return scores | self._enhancement_error(runs)

    def copying(self) -> dict[str, float]:
        """Metric values of the image before contrast in place of what the last package made."""
        copied = [pair.against(pair.pre or pair.real.with_name(_PRE)) for pair in self.measured]
        evaluation = Evaluation(Settings(repeats=1), self.lpips)
        usable = [pair for pair in copied if evaluation.try_add(pair)]
        return _means(evaluation.report()) | self._distances(usable)

    def _distances(self, pairs: Sequence[Pair]) -> dict[str, float]:
        """FID and KID by network."""
        scores: dict[str, float] = {}
        for name, network in self.networks.items():
            known = self._features.setdefault(name, {})
            found = image_distances(pairs, network, Preparation(), limit=FID_LIMIT, known=known)
            between = found.synthetic_against_real
            scores |= {f"fid_{name}": between.fid, f"kid_{name}": between.kid}
        return scores

    def _synthesize(self, synthesizer: StudySynthesizer, card: ModelCard, case: Path, folder: Path) -> list[Pair]:
        """Pairs of the case's images and the synthetic ones; an unusable case is a failure."""
        try:
            synthesis = write_synthesis(synthesizer, card, case, folder)
        except (InputError, RuntimeError) as error:
            self._note(f"{case}: {str(error).splitlines()[0]}")
            return []
        if card.abilities.modality == "MG":
            real, made = case / RECOMBINED, folder / RECOMBINED
            return [Pair(real, made, case.name.partition("_")[0], pre=case / LOW_ENERGY)] if real.is_file() else []
        lesion = case / "lesions.nrrd"
        pairs = []
        for number in range(card.first_phase, card.first_phase + len(synthesis.phases)):
            real = case / f"phase_{number}.nrrd"
            if not real.is_file():
                continue
            made = folder / "phases" / f"phase_{number}.nrrd"
            masked = lesion if lesion.is_file() else None
            pairs.append(Pair(real, made, case.name, lesion=masked, own_scale=synthesis.arbitrary_units))
        return pairs

    def _note(self, sentence: str) -> None:
        if sentence not in self.failures:
            self.failures.append(sentence)

    def _enhancement_error(self, runs: Path) -> dict[str, float]:
        curves = curves_of_volumes(self.cases, runs)
        if not curves.pairs:
            return {}
        found = kinetic_report(curves.pairs, repeats=1).statistics["enhancement_error"]
        return {} if found is None else {"enhancement_error": found.mean}

    def _change_error(self, pairs: Sequence[Pair]) -> dict[str, float]:
        """Mean error and similarity of the change from the low-energy mammogram, over the pairs that have one."""
        found: dict[str, list[float]] = {}
        for pair in pairs:
            try:
                values = measure(pair)
            except InputError as error:
                self._note(str(error))
                continue
            for name in CHANGE_TERMS:
                value = values[name]
                if value is not None:
                    found.setdefault(name, []).append(value)
        return {name: sum(values) / len(values) for name, values in found.items()}


def default_metrics(names: Sequence[str], *, lesion_terms: bool) -> list[str]:
    """Those of the papers among `names`, with the lesion-level ones where requested."""
    own = (*PAPERS_METRICS, *CHANGE_TERMS, "lpips")
    chosen = [name for name in names if name in own or name.startswith("fid_")]
    return chosen + [name for name in names if lesion_terms and name in LESION_TERMS]


def _means(report: EvaluationReport) -> dict[str, float]:
    names = {"": "true", "lesion_": "true_in_lesion"}
    return {
        f"{prefix}{name}": found.mean
        for prefix, group in names.items()
        for name, found in report.statistics.get(group, {}).items()
    }
