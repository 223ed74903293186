"""The segmentation experiment of the papers: nnU-Nets trained on pre-contrast, post-contrast and synthetic images.

Folder of an experiment: `recipe.yaml` (size of the network, length of training), `experiment.json` (folds, test cases,
what was left out and why), `cases/`, `scenarios/NAME/nnunet` (nnU-Net's own folders), `scenarios/NAME/model` (package
of the trained folds), `predictions/NAME/DOMAIN/<case>.nii.gz` and `table/`. Every step keeps what is finished.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import SimpleITK as sitk
from VirtualContrastLib.events import InputError
from VirtualContrastLib.files import atomic_file
from VirtualContrastLib.lesions.nnunet import LesionNet
from VirtualContrastLib.models.package import ModelPackage, load_package
from VirtualContrastLib.synthesis.device import choose_device

from ..console import progress
from ..data.nnunet_datasets import (
    SCENARIOS,
    folds_of,
    nnunet_splits,
    published_folds,
    published_test_cases,
    write_nnunet_dataset,
)
from ..data.segmentation_cases import DOMAINS, SUFFIX, FirstPhases, SegmentationSource, prepare_segmentation_case
from ..systems.nnunet import folds as nnunet
from ..systems.nnunet.recipe import NNUNetRecipe
from ..systems.recipes import load_recipe
from ..training.recipe import write_recipe
from .phantom_cohort import data_given
from .segmentation import label_maps


@dataclass(frozen=True)
class Experiment:
    """What `experiment.json` says.

    Attributes:
        folder: Folder of the experiment.
        data: What the cases are, in words.
        synthetic: What made the synthetic images.
        scenarios: Names of the scenarios.
        folds: Validation cases of each fold.
        test: Test cases.
        excluded: Cases that were left out, with the reason as a sentence.
        failed: Cases that could not be prepared, with the reason as a sentence.
        cut_lesions: Number of tumors that reach across the middle.
        crops: Number of cases that are crops around the tumor.
        images: A hash of all images and masks.
    """

    folder: Path
    data: str
    synthetic: str
    scenarios: tuple[str, ...]
    folds: list[list[str]]
    test: list[str]
    excluded: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    cut_lesions: int = 0
    crops: int = 0
    images: str = ""

    @property
    def cases(self) -> Path:
        """Folder of the cases."""
        return self.folder / "cases"

    def place(self, scenario: str) -> Path:
        """Folder of a scenario; raises InputError for one that was not prepared."""
        if scenario not in self.scenarios:
            raise InputError(
                f"{self.folder} has no scenario {scenario}; prepared are {', '.join(self.scenarios)} "
                f"(known: {', '.join(SCENARIOS)})."
            )
        return self.folder / "scenarios" / scenario

    def predictions(self, scenario: str, domain: str) -> Path:
        """Folder of the label maps of the test cases' images of one domain."""
        return self.folder / "predictions" / scenario / domain

    def recipe(self) -> NNUNetRecipe:
        """The recipe that all scenarios are trained by."""
        recipe = load_recipe(str(self.folder / "recipe.yaml"))
        assert isinstance(recipe, NNUNetRecipe)
        return recipe


def load_experiment(folder: Path) -> Experiment:
    """Read `experiment.json`; raises InputError where there is none."""
    path = folder / "experiment.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Experiment(folder, **{**content, "scenarios": tuple(content["scenarios"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is missing or damaged; run 'segment prepare' with -o {folder} first.") from error


def prepare_experiment(
    sources: Sequence[SegmentationSource],
    test_sources: Sequence[SegmentationSource],
    folder: Path,
    phases: FirstPhases,
    recipe: NNUNetRecipe,
    *,
    scenarios: Sequence[str] = tuple(SCENARIOS),
    folds: int = 5,
) -> Experiment:
    """Prepare all cases, deal the folds, and let nnU-Net plan and preprocess each scenario.

    Scenarios that were prepared before are kept beside the new ones.

    Args:
        sources: The training cases.
        test_sources: The test cases. Without them the cases must be Duke's: then folds and test cases are the published
            ones, and cases in neither are left out.
        folder: Folder of the experiment.
        phases: Where synthetic first phases come from.
        recipe: Size and length of the training.
        scenarios: Names of the scenarios.
        folds: The number of folds, of cases that are not Duke's.

    Returns:
        The experiment.

    Raises:
        InputError: No fold or no test case remains, or `folder` holds training on other cases or by another recipe.
    """
    unknown = [name for name in scenarios if name not in SCENARIOS]
    if unknown:
        raise InputError(f"There is no scenario {unknown[0]}; the scenarios are {', '.join(SCENARIOS)}.")
    experiment = _prepare_cases(sources, test_sources, folder, phases, tuple(scenarios), folds)
    before = _kept_scenarios(experiment, recipe)
    experiment = replace(experiment, scenarios=tuple(n for n in SCENARIOS if n in before or n in scenarios))
    write_recipe(recipe, folder / "recipe.yaml")
    content = {key: value for key, value in asdict(experiment).items() if key != "folder"}
    (folder / "experiment.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for name in scenarios:
        place = experiment.place(name) / "nnunet"
        scenario = SCENARIOS[name]
        write_nnunet_dataset(scenario, experiment.folds, experiment.cases, nnunet.raw_folder(place))
        nnunet.plan_and_preprocess(recipe, place, nnunet_splits(scenario, experiment.folds))
    return experiment


def train_scenario(
    experiment: Experiment, scenario: str, folds: Sequence[int] | None = None, max_minutes: float | None = None
) -> None:
    """Train folds of a scenario; a finished fold is kept, a killed one continues.

    Args:
        experiment: The experiment.
        scenario: Name of the scenario.
        folds: Numbers of the folds, from 0; None for all.
        max_minutes: Time after which each fold ends, with a checkpoint.

    Raises:
        InputError: A fold does not exist.
    """
    place = experiment.place(scenario) / "nnunet"
    for fold in range(len(experiment.folds)) if folds is None else folds:
        if not 0 <= fold < len(experiment.folds):
            raise InputError(f"There is no fold {fold}; the folds are 0 to {len(experiment.folds) - 1}.")
        nnunet.train_fold(experiment.recipe(), place, fold, max_minutes=max_minutes)


def export_scenario(experiment: Experiment, scenario: str, *, mirroring: bool = True) -> ModelPackage:
    """The package of all finished folds, `scenarios/NAME/model`; kept where it is this already.

    Args:
        experiment: The experiment.
        scenario: Name of the scenario.
        mirroring: Whether outputs are averaged over all flips of the image, as published.

    Returns:
        The package.

    Raises:
        InputError: No fold is finished.
    """
    place = experiment.place(scenario)
    finished = nnunet.finished_folds(experiment.recipe(), place / "nnunet")
    if not finished:
        raise InputError(f"No fold of {scenario} is trained; run 'segment train {experiment.folder} {scenario}'.")
    if (place / "model").is_dir():
        package = load_package(place / "model")
        config = package.card.architecture.config
        if (config["folds"], config["mirroring"]) == (finished, mirroring):
            return package
    recipe = experiment.recipe()
    return nnunet.export_folds(
        recipe,
        place / "nnunet",
        place / "model",
        model_id=f"{recipe.id}-{scenario.replace('+', '-')}",
        title=f"Tumor segmentation trained on {' and '.join(SCENARIOS[scenario].train)} images, {len(finished)} folds",
        # All networks have one input; which phase it is in the engine follows from what the network knows.
        channels=["pre"] if scenario == "pre" else ["phase_1"],
        # As published, nothing is removed afterwards.
        options={"mirroring": mirroring, "minimum_volume_mm3": 0.0, "tile_step_size": recipe.tile_step_size},
        training={"scenario": scenario, "data": experiment.data, "synthetic": experiment.synthetic},
        trained_on_phantoms="phantoms" in experiment.data,
    )


def predict_scenario(experiment: Experiment, scenario: str, *, mirroring: bool = True) -> None:
    """Segment the test cases' images of each domain by the ensemble of the scenario's finished folds.

    nnU-Net's own ensemble: the mean of the folds' outputs before the softmax. No post-processing. A prediction of the
    same model is kept.

    Args:
        experiment: The experiment.
        scenario: Name of the scenario.
        mirroring: Whether outputs are averaged over all flips of the image.

    Raises:
        InputError: No fold is finished.
    """
    package = export_scenario(experiment, scenario, mirroring=mirroring)
    root = experiment.folder / "predictions" / scenario
    made_by, model = root / "made_by.json", json.dumps([package.card.weights_sha256, mirroring])
    if root.exists() and (not made_by.is_file() or made_by.read_text(encoding="utf-8") != model):
        shutil.rmtree(root)
    root.mkdir(parents=True, exist_ok=True)
    made_by.write_text(model, encoding="utf-8")
    tasks = [(case, domain) for domain in DOMAINS for case in experiment.test]
    tasks = [task for task in tasks if not _prediction(experiment, scenario, *task).is_file()]
    if not tasks:
        return
    net = LesionNet(package, choose_device("auto").device)
    for case, domain in progress(tasks, len(tasks), f"{scenario}: test images"):
        image = sitk.ReadImage(str(experiment.cases / case / f"{domain}{SUFFIX}"))
        path = _prediction(experiment, scenario, case, domain)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, suffix=SUFFIX) as partial:
            # One image is the network's only input, whatever the phase is called in the package.
            sitk.WriteImage(net.segment({0: image, 1: image}), str(partial), useCompression=True)


def _prediction(experiment: Experiment, scenario: str, case: str, domain: str) -> Path:
    return experiment.predictions(scenario, domain) / f"{case}{SUFFIX}"


def sources_of(folders: Sequence[Path], masks: Path | None) -> list[SegmentationSource]:
    """Prepared cases with their tumor masks: their own, or those of the folder `masks` by case name."""
    if masks is None:
        return [SegmentationSource(folder) for folder in folders]
    maps = label_maps(masks)
    return [SegmentationSource(folder, maps.get(folder.name, masks / f"{folder.name}{SUFFIX}")) for folder in folders]


def _prepare_cases(
    sources: Sequence[SegmentationSource],
    test_sources: Sequence[SegmentationSource],
    folder: Path,
    phases: FirstPhases,
    scenarios: tuple[str, ...],
    folds: int,
) -> Experiment:
    """Write the cases and say which of them are in which fold and which are for testing."""
    train, test, excluded = _parts(sources, test_sources)
    failed: dict[str, str] = {}
    used: dict[str, list[str]] = {"train": [], "test": []}
    cut, crops, hashes = 0, 0, {}
    known = set().union(*published_folds())
    work = [("train", source) for source in train] + [("test", source) for source in test]
    for part, source in progress(work, len(work), "cases"):
        # The published folds are free of multifocal cases by the authors' own judgment.
        outcome = prepare_segmentation_case(
            source, folder / "cases", phases, allow_multifocal=part == "train" and source.case in known
        )
        if outcome.entry is not None:
            used[part].append(source.case)
            cut += float(outcome.entry["lesion_share_kept"]) < 1
            crops += outcome.entry["half"] is None
            hashes[source.case] = outcome.entry["sha256"]
        else:
            (excluded if outcome.state == "excluded" else failed)[source.case] = outcome.reason
    if not used["train"] or not used["test"]:
        part = "train" if not used["train"] else "test"
        reasons = [f"{case}: {reason}" for case, reason in {**failed, **excluded}.items()]
        raise InputError(f"No case to {part} on could be used; the first reason is {(reasons or ['none given'])[0]}")
    data = data_given(source.folder for _, source in work)
    return Experiment(
        folder,
        data=data,
        synthetic=phases.name,
        scenarios=scenarios,
        folds=folds_of(used["train"], folds),
        test=sorted(used["test"]),
        excluded=excluded,
        failed=failed,
        cut_lesions=cut,
        crops=crops,
        images=hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest(),
    )


def _parts(
    sources: Sequence[SegmentationSource], test_sources: Sequence[SegmentationSource]
) -> tuple[list[SegmentationSource], list[SegmentationSource], dict[str, str]]:
    """Cases to train on, to test on, and those that are in neither part, with the reason."""
    if test_sources:
        both = {source.case for source in sources} & {source.case for source in test_sources}
        if both:
            raise InputError(f"{min(both)} is both a training and a test case; separate them by patient.")
        return list(sources), list(test_sources), {}
    folds, test = set().union(*published_folds()), published_test_cases()
    known = folds | test
    if not any(source.case in known for source in sources):
        raise InputError("These are none of the published Duke cases: name the test cases with --test.")
    excluded = {s.case: "it is in none of the published folds, nor a test case" for s in sources if s.case not in known}
    return [s for s in sources if s.case in folds], [s for s in sources if s.case in test], excluded


def _kept_scenarios(experiment: Experiment, recipe: NNUNetRecipe) -> tuple[str, ...]:
    """Scenarios that were prepared before on the same folds, test cases and recipe; stale plans are removed.

    Raises InputError where networks of other folds or another recipe are there.
    """
    if not (experiment.folder / "experiment.json").is_file():
        return ()
    try:
        before = load_experiment(experiment.folder)
        same = [(e.folds, e.test, e.images) for e in (before, experiment)]
        if same[0] == same[1] and before.recipe() == recipe:
            return before.scenarios
    except InputError:
        pass  # damaged files are rewritten
    if any((experiment.folder / "scenarios").glob("*/nnunet/results/**/fold_*")):
        raise InputError(
            f"{experiment.folder} holds networks trained on other cases or by another recipe; choose another folder."
        )
    shutil.rmtree(experiment.folder / "scenarios", ignore_errors=True)
    return ()
