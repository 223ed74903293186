"""nnU-Net data sets of the published scenarios, and the folds that all of them share.

Images are not copied: a scenario's `dataset.json` names those of the segmentation cases. An image is called by its case
and domain, `<case>_pre`, `<case>_post` or `<case>_synthetic`; all images of a case lie in one fold.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from VirtualContrastLib.events import InputError

from .segmentation_cases import LESIONS, SUFFIX
from .splits import load_split

PUBLISHED_FOLDS = 5
_PUBLISHED = "duke-segmentation-folds"
_PUBLISHED_TEST = "duke-single-phase"


@dataclass(frozen=True)
class Scenario:
    """What a segmentation network is trained on.

    Attributes:
        train: Domains of the training images.
        validation: Domains that nnU-Net looks at while it trains.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]

    @property
    def name(self) -> str:
        """Such as `pre+post`."""
        return "+".join(self.train)


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


def write_nnunet_dataset(scenario: Scenario, folds: Sequence[Sequence[str]], cases: Path, folder: Path) -> None:
    """Write `folder/dataset.json` for the images of a scenario.

    Args:
        scenario: The training scenario.
        folds: Cases of each fold.
        cases: Folder of the cases, where the images lie in `cases/<case>`.
        folder: Folder of the nnU-Net data set.

    Raises:
        InputError: An image is missing.
    """
    dataset = {}
    folder.mkdir(parents=True, exist_ok=True)
    for case in sorted(case for fold in folds for case in fold):
        for domain in scenario.train:
            image, label = (cases / case / f"{name}{SUFFIX}" for name in (domain, LESIONS))
            if not image.is_file():
                raise InputError(f"{image} is missing; run 'segment prepare' again.")
            # Relative, so that the experiment's folder can be moved.
            dataset[f"{case}_{domain}"] = {
                "images": [os.path.relpath(image, folder)],
                "label": os.path.relpath(label, folder),
            }
    description = {
        "channel_names": {"0": "dce1"},
        "labels": {"background": 0, "lesion": 1},
        "numTraining": len(dataset),
        "file_ending": SUFFIX,
        "dataset": dataset,
    }
    (folder / "dataset.json").write_text(json.dumps(description, indent=1), encoding="utf-8")


def nnunet_splits(scenario: Scenario, folds: Sequence[Sequence[str]]) -> list[dict[str, list[str]]]:
    """nnU-Net's `splits_final.json`: names of the images to train and validate on, one entry a fold."""
    splits = []
    for number, validation in enumerate(folds):
        others = [case for n, fold in enumerate(folds) if n != number for case in fold]
        splits.append(
            {
                "train": [f"{case}_{domain}" for case in sorted(others) for domain in scenario.train],
                "val": [f"{case}_{domain}" for case in sorted(validation) for domain in scenario.validation],
            }
        )
    return splits
