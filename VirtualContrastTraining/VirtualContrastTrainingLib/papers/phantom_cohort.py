"""Phantoms in the place of patients: where no real images are given, every table and figure runs on these."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.catalog import load_catalog, resolve_model
from VirtualContrastLib.models.package import ModelCard, ModelPackage
from VirtualContrastLib.results.manifest import MAMMOGRAM, SYNTHESIS, Manifest, fingerprint, now_utc
from VirtualContrastLib.results.writer import ResultWriter
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.study_synthesizer import StudySynthesizer, study_synthesizer
from VirtualContrastLib.synthesis.synthesizer import Synthesis

from ..data.case_study import study_of, synthesize_case
from ..data.mammograms import RECOMBINED
from ..data.phantom import PhantomSettings, make_phantom
from ..data.phantom.writing import write_phantom

SETTINGS = PhantomSettings(lesion_count_weights=(0.0, 0.4, 0.4, 0.2))
"""Every phantom has a lesion, as otherwise most tables have nothing to say of it."""
FIRST_SEED = 700_001
"""Seeds from here on are not those of the phantoms that the embedded models were trained on."""


@dataclass(frozen=True)
class Cohort:
    """Prepared cases, and what a model made of them.

    Attributes:
        truth: Folder of the prepared cases.
        runs: Folder with `<case>`, as `write_synthesis` writes it.
        data: What this is, in a few words, for every output.
    """

    truth: Path
    runs: Path
    data: str


@contextlib.contextmanager
def phantom_cohort(model: str | None = None, *, count: int = 6, seed: int = FIRST_SEED) -> Iterator[Cohort]:
    """Phantoms and what a model makes of them, in a temporary folder that is removed after the block.

    The phantoms are acquired at the model's own phase times.

    Args:
        model: Id or path of the model, by default the catalog's; a mammogram model gets simulated mammograms.
        count: The number of phantoms.
        seed: Seed of the first.

    Yields:
        The cohort.

    Raises:
        InputError: There is no such model, or `count` is below 1.
    """
    if count < 1:
        raise InputError("--phantoms must be at least 1.")
    package = synthesis_model(model)
    with tempfile.TemporaryDirectory(prefix="virtual-contrast-phantoms-") as place:
        truth, runs = Path(place) / "truth", Path(place) / "runs"
        write_phantoms(truth, package, count=count, seed=seed)
        synthesizer = study_synthesizer(package, choose_device("auto"))
        for case in sorted(truth.iterdir()):
            write_synthesis(synthesizer, package.card, case, runs / case.name)
        made = described(package.card, count, seed)
        yield Cohort(truth, runs, f"{made}, synthesis by {package.card.id}; no patient data")


def mammogram_cohort(
    model: str | None, *, count: int = 6, seed: int = FIRST_SEED
) -> contextlib.AbstractContextManager[Cohort]:
    """As `phantom_cohort`, for tables about mammograms.

    Args:
        model: Id or path of the model.
        count: The number of simulated mammograms.
        seed: Seed of the first.

    Returns:
        The cohort's context.

    Raises:
        InputError: No mammogram model is named.
    """
    if model is None:
        raise InputError("The catalog has no mammogram model to run on phantoms; name one with --model.")
    if resolve_model(model, "synthesis").card.abilities.modality != "MG":
        raise InputError(f"The model {model} makes no mammograms; name one that does with --model.")
    return phantom_cohort(model, count=count, seed=seed)


def described(card: ModelCard, count: int, seed: int) -> str:
    """What `write_phantoms` makes for a model, in a few words.

    Args:
        card: Card of the model.
        count: The number of cases.
        seed: Seed of the first.

    Returns:
        The words.
    """
    what = "simulated mammograms" if card.abilities.modality == "MG" else "phantoms"
    return f"{count} {what} (seeds {seed} to {seed + count - 1})"


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
    name = model or load_catalog().default_id("synthesis", phantom=True)
    if name is None:
        raise InputError("The catalog has no synthesis model to run on phantoms; name one with --model.")
    return resolve_model(name, "synthesis")


def write_phantoms(folder: Path, package: ModelPackage, *, count: int, seed: int) -> None:
    """Write prepared cases that a model can work on: phantoms at its phase times, or mammograms.

    Args:
        folder: Folder of the cases.
        package: The model.
        count: The number of cases.
        seed: Seed of the first.
    """
    if package.card.abilities.modality == "MG":
        from ..data.mammogram_phantom import write_phantom_pair

        for number in range(seed, seed + count):
            write_phantom_pair(number, folder / f"P{number}_L_CC")
        return
    settings = dataclasses.replace(SETTINGS, phase_times_s=phase_times(package.card))
    for number in range(seed, seed + count):
        write_phantom(make_phantom(number, settings), folder / f"case_{number:06d}")


def phase_times(card: ModelCard) -> tuple[float, ...]:
    """Seconds after injection of the phases that the model reads and makes.

    Acquired phases whose time the card does not give are spread evenly before the first that the model makes.
    """
    if card.outputs is None:
        return tuple(SETTINGS.phase_times_s)
    made, acquired = card.outputs.times_s, len(card.inputs.real)
    read = card.inputs.times_s or [made[0] * n / (acquired + 1) for n in range(1, acquired + 1)]
    return (*read, *made)


def write_synthesis(synthesizer: StudySynthesizer, card: ModelCard, case: Path, folder: Path) -> Synthesis:
    """Synthesize a prepared case into a result folder: `phases/phase_N.nrrd`, or `recombined.nrrd` of a mammogram.

    A model of free times makes the phases at the times of the case's own.

    Args:
        synthesizer: The model.
        card: Its card.
        case: Folder of the case.
        folder: The result folder.

    Returns:
        The synthesis.

    Raises:
        InputError: The case cannot be used.
    """
    synthesis = synthesize_case(synthesizer, card, study_of(case))
    mammogram = card.abilities.modality == "MG"
    at: Sequence[float | None] = synthesis.times_s or [None] * len(synthesis.phases)
    phases = []
    with ResultWriter(folder) as writer:
        for number, (image, time_s) in enumerate(zip(synthesis.phases, at, strict=True), start=card.first_phase):
            name = RECOMBINED if mammogram else f"phases/phase_{number}.nrrd"
            writer.image(image, name)
            phases.append({"index": number, "time_s": time_s, "file": name})
        kind = MAMMOGRAM if mammogram else SYNTHESIS
        writer.finish(short_manifest(kind, phases, arbitrary_units=synthesis.arbitrary_units))
    return synthesis


def short_manifest(kind: str, phases: list[dict[str, Any]], *, arbitrary_units: bool) -> Manifest:
    """What the tables need to know of a synthesis that lives as long as they are made.

    Args:
        kind: of the result.
        phases: index, time_s and file of each.
        arbitrary_units: whether they have a scale of their own.

    Returns:
        The manifest, which says nothing of inputs, models and settings.
    """
    return Manifest(
        kind=kind,
        run_id="",
        created_utc=now_utc().isoformat(timespec="seconds"),
        fingerprint=fingerprint([kind, phases]),
        inputs=[],
        models=[],
        settings={},
        device={},
        versions={},
        phases=phases,
        arbitrary_units=arbitrary_units,
        timing_s={},
        warnings=[],
        summary={},
    )
