"""Phantoms in the place of patients: where no real images are given, every table and figure runs on these."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import SimpleITK as sitk
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.models.catalog import load_catalog, resolve_model
from VirtualContrastLib.models.package import ModelPackage
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.synthesizer import Synthesis, Synthesizer

from ..data.phantom import PhantomSettings, make_phantom
from ..data.phantom.writing import write_phantom

SETTINGS = PhantomSettings(lesion_count_weights=(0.0, 0.4, 0.4, 0.2))
"""Every phantom has a lesion, as otherwise most tables have nothing to say of it."""
FIRST_SEED = 700_001
"""Seeds from here on are not those of the phantoms that the embedded models were trained on."""


@dataclass(frozen=True)
class Cohort:
    """Prepared cases in `truth`, and what a model made of them in `runs/<case>/phases`.

    `data` says in a few words what this is, for every output.
    """

    truth: Path
    runs: Path
    data: str


@contextlib.contextmanager
def phantom_cohort(model: str | None = None, *, count: int = 6, seed: int = FIRST_SEED) -> Iterator[Cohort]:
    """Phantoms and their synthetic phases in a temporary folder, gone after the block.

    `model` is an id or path, by default the catalog's. The phantoms are acquired at the model's own phase times.
    Raises InputError where there is no such model or `count` is below 1.
    """
    if count < 1:
        raise InputError("--phantoms must be at least 1.")
    package = synthesis_model(model)
    with tempfile.TemporaryDirectory(prefix="virtual-contrast-phantoms-") as place:
        truth, runs = Path(place) / "truth", Path(place) / "runs"
        write_phantoms(truth, package, count=count, seed=seed)
        synthesizer = Synthesizer(package, choose_device("auto"))
        for case in sorted(truth.iterdir()):
            write_synthesis(synthesizer, case, runs / case.name)
        data = f"{count} phantoms (seeds {seed} to {seed + count - 1}), synthesis by {package.card.id}; no patient data"
        yield Cohort(truth, runs, data)


class MakesRecombined(Protocol):
    """A mammogram model, such as the engine's MammogramSynthesizer."""

    def synthesize(self, low_energy: sitk.Image, events: Events) -> sitk.Image:
        """The recombined image of a low-energy one."""


@contextlib.contextmanager
def mammogram_cohort(model: str | None, *, count: int = 6, seed: int = FIRST_SEED) -> Iterator[Cohort]:
    """Simulated mammograms and the recombined images that a CycleGAN package makes of them; see `phantom_cohort`."""
    if count < 1:
        raise InputError("--phantoms must be at least 1.")
    if model is None:
        raise InputError("The catalog has no mammogram model to run on phantoms; name one with --model.")
    from VirtualContrastLib.synthesis.mammogram import MammogramSynthesizer

    package = resolve_model(model, "synthesis")
    synthesizer = MammogramSynthesizer(package, choose_device("auto"))
    with tempfile.TemporaryDirectory(prefix="virtual-contrast-phantoms-") as place:
        truth, runs = Path(place) / "truth", Path(place) / "runs"
        write_mammograms(truth, runs, synthesizer, range(seed, seed + count))
        data = f"{count} simulated mammograms (seeds {seed} to {seed + count - 1}), synthesis by {package.card.id}"
        yield Cohort(truth, runs, data + "; no patient data")


def write_mammograms(truth: Path, runs: Path, synthesizer: MakesRecombined, seeds: Iterable[int]) -> None:
    """Write a simulated pair a seed into `truth`, and `recombined.nrrd` as synthesized into `runs`."""
    from ..data.mammogram_phantom import write_phantom_pair
    from ..data.mammograms import LOW_ENERGY, RECOMBINED

    for seed in seeds:
        case = write_phantom_pair(seed, truth / f"P{seed}_L_CC")
        made = synthesizer.synthesize(sitk.ReadImage(str(case / LOW_ENERGY)), Events())
        (runs / case.name).mkdir(parents=True)
        sitk.WriteImage(made, str(runs / case.name / RECOMBINED), useCompression=True)


def data_given(cases: Iterable[Path]) -> str:
    """What the case folders hold: "phantoms" where the case.json of every one says so, else "images given"."""
    return "phantoms" if all(_is_phantom(case) for case in set(cases)) else "images given"


def _is_phantom(case: Path) -> bool:
    try:
        description = json.loads((case / "case.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(description, dict) and description.get("kind") == "phantom"


def synthesis_model(model: str | None) -> ModelPackage:
    """The model of an id or path, by default the catalog's; raises InputError where it is not on this machine."""
    name = model or load_catalog().default_id("synthesis")
    if name is None:
        raise InputError("The catalog has no synthesis model to run on phantoms; name one with --model.")
    return resolve_model(name, "synthesis")


def write_phantoms(folder: Path, package: ModelPackage, *, count: int, seed: int) -> None:
    """Write `count` prepared phantom cases with the phase times of `package`."""
    times = package.card.outputs.times_s if package.card.outputs is not None else list(SETTINGS.phase_times_s)
    settings = dataclasses.replace(SETTINGS, phase_times_s=tuple(times))
    for number in range(seed, seed + count):
        write_phantom(make_phantom(number, settings), folder / f"case_{number:06d}")


def write_synthesis(synthesizer: Synthesizer, case: Path, folder: Path) -> Synthesis:
    """Synthesize the phases of a prepared case's `pre.nrrd` into `<folder>/phases/phase_N.nrrd`."""
    synthesis = synthesizer.synthesize(sitk.ReadImage(str(case / "pre.nrrd")), Events())
    (folder / "phases").mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(synthesis.phases, start=1):
        sitk.WriteImage(image, str(folder / "phases" / f"phase_{number}.nrrd"), useCompression=True)
    return synthesis
