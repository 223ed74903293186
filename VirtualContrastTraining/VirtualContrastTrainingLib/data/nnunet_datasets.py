"""nnU-Net data sets of training scenarios, published and others, and the folds that all of them share.

Images are not copied: a scenario's `dataset.json` names those of the segmentation cases. An image is called by its case
and domain, such as `<case>_pre`, `<case>_post` or `<case>_synthetic`; all images of a case lie in one fold.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from VirtualContrastLib.events import InputError

from .segmentation_cases import LESIONS, SUFFIX
from .segmentation_inputs import Inputs
from .splits import load_split

PUBLISHED_FOLDS = 5
_PUBLISHED = "duke-segmentation-folds"
_PUBLISHED_TEST = "duke-single-phase"


THEN = "-then-"
"""Between what a network is pretrained on and what it is trained on afterwards, in a scenario's name."""


@dataclass(frozen=True)
class Scenario:
    """What a segmentation network is trained on.

    Attributes:
        train: Domains of the training images.
        validation: Domains that nnU-Net looks at while it trains.
        synthetic_per_real: Patients with synthetic images for each patient with real ones; 1 takes all of both.
        pretrained_on: What the network is trained on before; None where it starts from random weights.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    synthetic_per_real: float = 1.0
    pretrained_on: Scenario | None = None

    @property
    def name(self) -> str:
        """Such as `pre+post`, `pre+synthetic@0.5` or `synthetic-then-post`."""
        ratio = "" if self.synthetic_per_real == 1 else f"@{self.synthetic_per_real:g}"
        before = "" if self.pretrained_on is None else f"{self.pretrained_on.name}{THEN}"
        return f"{before}{'+'.join(self.train)}{ratio}"

    @property
    def real(self) -> str:
        """Name of the scenario of the real images alone, "" where there are none."""
        return "+".join(domain for domain in self.train if domain != SYNTHETIC)

    def share(self, domain: str) -> float:
        """Share of the training patients whose images of a domain are used."""
        ratio = self.synthetic_per_real
        return min(1.0, ratio) if domain == SYNTHETIC else min(1.0, 1 / ratio)


SYNTHETIC = "synthetic"
SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(("pre",), ("pre",)),
        Scenario(("post",), ("post",)),
        Scenario(("synthetic",), ("synthetic",)),
        Scenario(("pre", "synthetic"), ("pre",)),
        Scenario(("post", "synthetic"), ("post",)),
        Scenario(("pre", "post"), ("pre", "post")),
        Scenario(("pre", "post", "synthetic"), ("pre", "post")),
    )
}
"""Data sets 205, 204, 207 and 208 (both of its splits) of SimulatingDCE at e199162, synthetic images alone, and the row
of Table 3 that has no published split: real pre-contrast with synthetic post-contrast images."""


STUDY_SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(("real",), ("real",)),
        Scenario(("synthetic",), ("synthetic",)),
        Scenario(("real", "synthetic"), ("real",)),
    )
}
"""Those of networks with several channels, whose images are acquired or synthetic studies."""


def known_scenarios(inputs: Inputs) -> Mapping[str, Scenario]:
    """Scenarios of networks with these inputs, by name; `scenario_named` makes others of them."""
    return STUDY_SCENARIOS if inputs.channels else SCENARIOS


def scenario_named(name: str, inputs: Inputs | None = None) -> Scenario:
    """A scenario by its name.

    Args:
        name: One of `known_scenarios`; with `@S` behind it where it has real and synthetic images, S patients with
            synthetic images for each with real ones; `A-then-B` is pretrained on A and then trained on B.
        inputs: What the networks read; None for the published phase 1.

    Returns:
        The scenario.

    Raises:
        InputError: There is none of this name.
    """
    known = known_scenarios(inputs or Inputs())
    first, then, last = name.rpartition(THEN)
    scenario = _union(last, known)
    if not then:
        return scenario
    before = _union(first, known)
    if before.train == scenario.train:
        raise InputError(f"The scenario {name} trains on the same images twice; name two different ones.")
    return replace(scenario, pretrained_on=before)


def _union(name: str, known: Mapping[str, Scenario]) -> Scenario:
    """A scenario without pretraining."""
    base, at, ratio = name.partition("@")
    if base not in known:
        raise InputError(
            f"There is no scenario {name}; the scenarios are {', '.join(known)}, a union with @S behind it for S "
            f"patients with synthetic images for each with real ones, and A{THEN}B, pretrained on A, fine-tuned on B."
        )
    if not at:
        return known[base]
    try:
        value = float(ratio)
    except ValueError:
        value = math.nan
    if not (0 < value < math.inf):
        raise InputError(f"The scenario {name} needs a number above 0 behind @, such as {base}@0.5.")
    if len(known[base].train) < 2 or SYNTHETIC not in known[base].train:
        raise InputError(f"The scenario {base} has no ratio: its images are not both real and synthetic.")
    return replace(known[base], synthetic_per_real=float(f"{value:g}"))


def published_folds() -> list[list[str]]:
    """The five folds of the JMI 2025 paper: Duke cases to validate on, trained on the other four."""
    splits = [load_split(f"{_PUBLISHED}:{number}") for number in range(PUBLISHED_FOLDS)]
    return [sorted(split.validation) for split in splits]


def published_test_cases() -> frozenset[str]:
    """The Duke cases that neither the folds nor the single-phase synthesis were trained on."""
    return load_split(_PUBLISHED_TEST).test


def deterministic_folds(cases: Sequence[str], count: int) -> list[list[str]]:
    """Cases dealt to `count` folds in the order of a hash of their ids: the same on every machine, sizes within one.

    Raises InputError where a fold would be empty.
    """
    if count < 2:
        raise InputError("Cross-validation needs at least 2 folds.")
    if len(cases) < count:
        raise InputError(
            f"{len(cases)} usable training cases cannot fill {count} folds; give more cases or fewer folds."
        )
    order = sorted(cases, key=lambda case: hashlib.sha256(case.encode()).digest())
    return [sorted(order[number::count]) for number in range(count)]


def folds_of(cases: Sequence[str], count: int) -> list[list[str]]:
    """The published folds where they know a case, else deterministic ones.

    Of the published folds those cases remain that are there. Raises InputError where a fold is empty.
    """
    published = published_folds()
    if not set(cases) & set().union(*published):
        return deterministic_folds(cases, count)
    folds = [[case for case in fold if case in cases] for fold in published]
    empty = [number for number, fold in enumerate(folds) if not fold]
    if empty:
        raise InputError(f"Fold {empty[0]} of the published folds is empty: none of its cases could be used.")
    return folds


def write_nnunet_dataset(
    inputs: Inputs, splits: Sequence[Mapping[str, Sequence[str]]], cases: Path, folder: Path
) -> None:
    """Write `folder/dataset.json` for the images of a scenario.

    Args:
        inputs: What its networks read.
        splits: Its `nnunet_splits`.
        cases: Folder of the cases, where the images lie in `cases/<case>`.
        folder: Folder of the nnU-Net data set.

    Raises:
        InputError: An image is missing.
    """
    dataset = {}
    folder.mkdir(parents=True, exist_ok=True)
    # In an order that depends on neither folds nor a set's.
    for name in sorted({name for split in splits for part in split.values() for name in part}):
        case, _, domain = name.rpartition("_")
        images = [cases / case / f"{file}{SUFFIX}" for file in inputs.channel_files(domain)]
        for image in images:
            if not image.is_file():
                raise InputError(f"{image} is missing; run 'segment prepare' again.")
        # Relative, so that the experiment's folder can be moved.
        dataset[name] = {
            "images": [os.path.relpath(image, folder) for image in images],
            "label": os.path.relpath(cases / case / f"{LESIONS}{SUFFIX}", folder),
        }
    description = {
        "channel_names": {str(number): name for number, name in enumerate(inputs.channels or ("dce1",))},
        "labels": {"background": 0, "lesion": 1},
        "numTraining": len(dataset),
        "file_ending": SUFFIX,
        "dataset": dataset,
    }
    (folder / "dataset.json").write_text(json.dumps(description, indent=1), encoding="utf-8")


def nnunet_splits(scenario: Scenario, folds: Sequence[Sequence[str]], seed: int = 0) -> list[dict[str, list[str]]]:
    """nnU-Net's `splits_final.json`: names of the images to train and validate on, one entry a fold.

    Args:
        scenario: The scenario.
        folds: Cases of each fold.
        seed: Draws the patients where images of a domain are taken of a share of them only.

    Returns:
        The splits. What a smaller share takes, a larger one takes too.

    Raises:
        InputError: The scenario's ratio leaves no image of a domain.
    """
    splits = []
    for number, validation in enumerate(folds):
        others = sorted(case for n, fold in enumerate(folds) if n != number for case in fold)
        used = {domain: _drawn(others, scenario.share(domain), seed) for domain in scenario.train}
        if empty := [domain for domain, drawn in used.items() if others and not drawn]:
            raise InputError(
                f"The ratio of the scenario {scenario.name} leaves no {empty[0]} image of {len(others)} training "
                "cases; choose one nearer to 1."
            )
        splits.append(
            {
                "train": [f"{case}_{domain}" for case in others for domain in scenario.train if case in used[domain]],
                "val": [f"{case}_{domain}" for case in sorted(validation) for domain in scenario.validation],
            }
        )
    return splits


def _drawn(cases: Sequence[str], share: float, seed: int) -> Collection[str]:
    """A share of the cases, rounded to whole ones: the first by a hash of seed and case."""
    order = sorted(cases, key=lambda case: hashlib.sha256(f"{seed} {case}".encode()).digest())
    return set(order[: math.floor(share * len(order) + 0.5)])
