"""What `coverage` makes tables from: phantoms and cases, their syntheses, and stand-ins for what takes long."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.events import Events
from VirtualContrastLib.io.volumes import like, to_array
from VirtualContrastLib.metrics.baselines import GAIN, TABLE, Baselines
from VirtualContrastLib.models.card import ModelCard
from VirtualContrastLib.models.catalog import load_catalog
from VirtualContrastLib.models.package import ModelPackage, save_package
from VirtualContrastLib.study import Study
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.study_synthesizer import StudySynthesizer, study_synthesizer
from VirtualContrastLib.synthesis.synthesizer import Synthesis

from ..data.cases import case_folders
from ..data.mammogram_phantom import write_phantom_pair
from ..data.mammograms import LOW_ENERGY, RECOMBINED
from ..data.phantom import PhantomSettings, make_phantom
from ..data.phantom.writing import write_phantom
from .patients import baselines_of
from .phantom_cohort import FIRST_SEED, phase_times, synthesis_model, write_synthesis

SETTINGS = PhantomSettings(
    size_kji=(16, 120, 192),
    spacing_kji_mm=(7.5, 1.6, 1.6),
    lesion_count_weights=(0, 0.5, 0.5),
    lesion_radius_mm=(8, 12),
)
"""Phantoms of few slices, so that every table takes seconds; no measure of how good a model is."""


@dataclass(frozen=True)
class CaseSet:
    """What tables are made from.

    Attributes:
        real: folder of the real cases.
        synthetic: what a model made of them.
        perfect: their real phases in the place of synthetic ones.
        data: what this is, in words.
        place: folder for the tables.
        phantoms: whether all tables can be made.
        baselines: what the gain and the intensity table in the model's card made of the cases, by name.
    """

    real: Path
    synthetic: Path
    perfect: Path
    data: str
    place: Path
    phantoms: bool
    baselines: Mapping[str, Path] = field(default_factory=dict)


def phantom_set(folder: Path, count: int) -> CaseSet:
    """Phantoms, and what the catalog's model of phantoms makes of them."""
    package = synthesis_model(None)
    settings = replace(SETTINGS, phase_times_s=phase_times(package.card))
    real = folder / "truth"
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        write_phantom(make_phantom(seed, settings), real / f"case_{seed}")
    data = f"{count} phantoms of {SETTINGS.size_kji[0]} slices, synthesis by {package.card.id}"
    return _synthesized(folder, real, package, data, phantoms=True)


def case_set(folder: Path, cases: Path) -> CaseSet:
    """Prepared cases of patients, and what the catalog's default model makes of them."""
    name = load_catalog().default_id("synthesis")
    package = synthesis_model(name)
    data = f"{len(case_folders(cases))} cases given, synthesis by {package.card.id}"
    return _synthesized(folder, cases, package, data, phantoms=False)


def _synthesized(folder: Path, real: Path, package: ModelPackage, data: str, *, phantoms: bool) -> CaseSet:
    synthetic, perfect = folder / "runs", folder / "perfect-synthesis"
    ways: dict[Path, StudySynthesizer] = {
        synthetic: study_synthesizer(package, choose_device("auto")),
        perfect: _Perfect(),
    }
    baselines = {}
    if package.card.calibration is not None:
        for name in (GAIN, TABLE):
            baselines[name] = folder / "baselines" / name
            ways[baselines[name]] = _Baseline(name, baselines_of(package), package.card)
    for case in case_folders(real):
        for made, synthesizer in ways.items():
            write_synthesis(synthesizer, package.card, case, made / case.name)
    return CaseSet(real, synthetic, perfect, data, folder, phantoms, baselines)


class _Perfect:
    """The real phases on 0..255, each by its own minimum and maximum: what an as-published model is trained to make."""

    def synthesize_study(
        self, study: Study, events: Events, *, times_s: Sequence[float] | None, perturbations: int, seed: int
    ) -> Synthesis:
        """The phases of `study`; nothing is synthesized."""
        phases = [_eight_bit_range(phase.image) for phase in study.real]
        times = [float(phase.index) if phase.time_s is None else phase.time_s for phase in study.real]
        return Synthesis(phases, times, None, arbitrary_units=True, pre=_eight_bit_range(study.pre.image))


@dataclass(frozen=True)
class _Baseline:
    """What a baseline makes of the pre-contrast image, for the phases of a model's card."""

    name: str
    phases: Sequence[Baselines]
    card: ModelCard

    def synthesize_study(
        self, study: Study, events: Events, *, times_s: Sequence[float] | None, perturbations: int, seed: int
    ) -> Synthesis:
        """The phases of `study`, in its units."""
        pre = study.pre.image
        phases = [like(one.apply(self.name, to_array(pre)).astype(np.float32), pre) for one in self.phases]
        assert self.card.outputs is not None
        return Synthesis(phases, list(self.card.outputs.times_s), None, arbitrary_units=False, pre=pre)


def _eight_bit_range(image: sitk.Image) -> sitk.Image:
    """By SimpleITK and not by the function that is checked."""
    return sitk.RescaleIntensity(sitk.Cast(image, sitk.sitkFloat32), 0.0, 255.0)


def models(folder: Path) -> Path:
    """The catalog's model of phantoms, and the same with noise in its weights, as the checkpoints of a run."""
    if not folder.is_dir():
        package = synthesis_model(None)
        shutil.copytree(package.folder, folder / "model")
        rng = np.random.default_rng(0)
        state = {
            name: tensor + 0.05 * float(tensor.float().std()) * tensor.new_tensor(rng.normal(size=tuple(tensor.shape)))
            if tensor.is_floating_point() and tensor.numel() > 1
            else tensor
            for name, tensor in package.load_state().items()
        }
        save_package(folder / "noisy", package.card, state, model_card_md="# With noise\n")
    return folder


def mammograms(folder: Path) -> tuple[Path, Path]:
    """Simulated pairs, and copies of their low-energy images."""
    truth, copies = folder / "truth", folder / "copies"
    for seed in range(FIRST_SEED, FIRST_SEED + 4):
        case = write_phantom_pair(seed, truth / f"P{seed}_L_CC")
        (copies / case.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(case / LOW_ENERGY, copies / case.name / RECOMBINED)
    return truth, copies


def reads(path: Path) -> Path:
    """Two readers, two conditions, answers by chance."""
    rng = np.random.default_rng(0)
    lines = ["reader,case,condition,truth,lesion,bpe,score,hallucination"]
    for reader in ("R1", "R2"):
        for case in range(16):
            for condition in ("real", "synthetic"):
                lesion, bpe, score, invented = rng.integers(0, 2), "abcd"[rng.integers(0, 4)], rng.integers(1, 6), "no"
                lines.append(f"{reader},{case},{condition},{case % 2},{lesion},{bpe},{score},{invented}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
