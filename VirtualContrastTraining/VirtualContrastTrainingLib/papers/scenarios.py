"""The segmentation experiment of the papers: nnU-Nets trained on pre-contrast, post-contrast and synthetic images.

Folder of an experiment: `recipe.yaml` (size of the network, length of training), `experiment.json` (folds, test cases,
what was left out and why), `cases/`, `scenarios/NAME/nnunet` (nnU-Net's own folders), `scenarios/NAME/model` (package
of the trained folds), `predictions/NAME/DOMAIN/<case>.nii.gz` and `table/`. Every step keeps what is finished.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
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
    Scenario,
    folds_of,
    known_scenarios,
    nnunet_splits,
    published_folds,
    published_test_cases,
    scenario_named,
    write_nnunet_dataset,
)
from ..data.segmentation_cases import (
    SUFFIX,
    SegmentationSource,
    SyntheticPhases,
    prepare_segmentation_case,
    read_halves,
)
from ..data.segmentation_inputs import Inputs
from ..data.single_breast import BILATERAL, MULTIFOCAL, UNIFOCAL, joined
from ..systems.nnunet import folds as nnunet
from ..systems.nnunet.recipe import NNUNetRecipe
from ..systems.recipes import load_recipe
from ..training.recipe import write_recipe
from .phantom_cohort import data_given
from .segmentation import label_maps

_LONGEST_ID = 80
"""Characters of a model's id, see `MODEL_ID_PATTERN` of the engine."""


@dataclass(frozen=True)
class Experiment:
    """What `experiment.json` says.

    Attributes:
        folder: Folder of the experiment.
        data: What the cases are, in words.
        synthetic: What made the synthetic images.
        scenarios: Names of the scenarios.
        folds: Validation cases of each fold.
        test: Test cases, as published the unifocal ones.
        excluded: Cases that were left out, with the reason as a sentence.
        failed: Cases that could not be prepared, with the reason as a sentence.
        cut_lesions: Number of tumors that reach across the middle.
        crops: Number of cases that are crops around the tumor.
        images: A hash of all images and masks of the training cases.
        test_images: A hash of those of the test cases.
        apart: Multifocal and bilateral test cases, which are evaluated apart; None where they are left out.
        channels: Input channels of the networks; empty for the published phase 1.
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
    test_images: str = ""
    apart: dict[str, list[str]] | None = None
    channels: tuple[str, ...] = ()

    @property
    def inputs(self) -> Inputs:
        """What the networks read."""
        return Inputs(self.channels)

    @property
    def test_by_focality(self) -> dict[str, list[str]]:
        """Test cases by focality, those that are left out not among them; crops count as unifocal."""
        return {UNIFOCAL: self.test, **(self.apart or {})}

    @property
    def cases(self) -> Path:
        """Folder of the cases."""
        return self.folder / "cases"

    def place(self, scenario: str) -> Path:
        """Folder of a scenario; raises InputError for one that was not prepared."""
        if scenario not in self.scenarios:
            raise InputError(
                f"{self.folder} has no scenario {scenario}; prepared are {', '.join(self.scenarios)} "
                f"(known: {', '.join(known_scenarios(self.inputs))})."
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
        lists = {"scenarios": (), "channels": ()} | content
        tuples = {name: tuple(lists[name]) for name in ("scenarios", "channels")}
        return Experiment(folder, **{**content, **tuples})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is missing or damaged; run 'segment prepare' with -o {folder} first.") from error


def prepare_experiment(
    sources: Sequence[SegmentationSource],
    test_sources: Sequence[SegmentationSource],
    folder: Path,
    phases: SyntheticPhases,
    recipe: NNUNetRecipe,
    *,
    scenarios: Sequence[str] | None = None,
    folds: int = 5,
    inputs: Inputs | None = None,
    keep_multifocal: bool = False,
) -> Experiment:
    """Prepare all cases, deal the folds, and let nnU-Net plan and preprocess each scenario.

    Scenarios that were prepared before are kept beside the new ones.

    Args:
        sources: The training cases.
        test_sources: The test cases. Without them the cases must be Duke's: then folds and test cases are the published
            ones, and cases in neither are left out.
        folder: Folder of the experiment.
        phases: Where synthetic phases come from.
        recipe: Size and length of the training.
        scenarios: Names of the scenarios, as `scenario_named` knows them; None for all of `known_scenarios`.
        folds: The number of folds, of cases that are not Duke's.
        inputs: What the networks read; None for the published phase 1.
        keep_multifocal: Whether multifocal and bilateral test cases are kept, to be evaluated apart.

    Returns:
        The experiment.

    Raises:
        InputError: No fold or no test case remains, or `folder` holds training on other cases or by another recipe.
    """
    inputs = inputs or Inputs()
    named = [scenario_named(name, inputs) for name in (known_scenarios(inputs) if scenarios is None else scenarios)]
    # A network to go on from is trained as a scenario of its own.
    wanted = {s.name: s for s in (*(s.pretrained_on for s in named if s.pretrained_on is not None), *named)}
    experiment = _prepare_cases(sources, test_sources, folder, phases, inputs, folds, keep_multifocal)
    before = _kept_scenarios(experiment, recipe)
    everything = {name: scenario_named(name, inputs) for name in before} | wanted
    ordered = sorted(everything.values(), key=lambda scenario: _place_in_table(scenario, inputs))
    experiment = replace(experiment, scenarios=tuple(scenario.name for scenario in ordered))
    write_recipe(recipe, folder / "recipe.yaml")
    content = {key: value for key, value in asdict(experiment).items() if key != "folder"}
    (folder / "experiment.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for scenario in wanted.values():
        place = experiment.place(scenario.name) / "nnunet"
        splits = nnunet_splits(scenario, experiment.folds, recipe.seed)
        write_nnunet_dataset(inputs, splits, experiment.cases, nnunet.raw_folder(place))
        first = scenario.pretrained_on
        plans_of = None if first is None else experiment.place(first.name) / "nnunet"
        nnunet.plan_and_preprocess(recipe, place, splits, plans_of)
    return experiment


def _place_in_table(scenario: Scenario, inputs: Inputs) -> tuple[object, ...]:
    """Order of the rows: what is trained in one go, as in the paper and by ratio, before what is pretrained."""
    kinds = [known.train for known in known_scenarios(inputs).values()]
    before = scenario.pretrained_on
    first = -1 if before is None else kinds.index(before.train)
    return before is not None, kinds.index(scenario.train), first, scenario.synthetic_per_real, scenario.name


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
        InputError: A fold does not exist, or that of the scenario to be pretrained on is not trained.
    """
    place = experiment.place(scenario) / "nnunet"
    first = scenario_named(scenario, experiment.inputs).pretrained_on
    for fold in range(len(experiment.folds)) if folds is None else folds:
        if not 0 <= fold < len(experiment.folds):
            raise InputError(f"There is no fold {fold}; the folds are 0 to {len(experiment.folds) - 1}.")
        pretrained = None if first is None else _pretrained(experiment, first.name, fold)
        nnunet.train_fold(experiment.recipe(), place, fold, max_minutes=max_minutes, pretrained=pretrained)


def _pretrained(experiment: Experiment, scenario: str, fold: int) -> Path:
    """The network of the same fold, which has not seen the fold's cases either."""
    checkpoint = nnunet.trained_fold(experiment.recipe(), experiment.place(scenario) / "nnunet", fold)
    if checkpoint is None:
        raise InputError(
            f"Fold {fold} of {scenario}, to be pretrained on, is not trained; run "
            f"'segment train {experiment.folder} {scenario} --fold {fold}' first."
        )
    return checkpoint


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
    channels = experiment.channels
    if not channels:
        # All networks have one input; which phase it is in the engine follows from what the network knows.
        channels = ("pre",) if scenario_named(scenario).train == ("pre",) else ("phase_1",)
    return nnunet.export_folds(
        recipe,
        place / "nnunet",
        place / "model",
        model_id=_model_id(recipe.id, scenario),
        title=f"Tumor segmentation trained on {_in_words(scenario, experiment.inputs)}, {len(finished)} folds",
        channels=channels,
        # As published, nothing is removed afterwards.
        options={"mirroring": mirroring, "minimum_volume_mm3": 0.0, "tile_step_size": recipe.tile_step_size},
        training={"scenario": scenario, "data": experiment.data, "synthetic": experiment.synthetic},
        trained_on_phantoms="phantoms" in experiment.data,
    )


def _model_id(recipe: str, scenario: str) -> str:
    """Id of a scenario's package; of a long name the end remains, which tells the scenario."""
    name = f"{recipe}-{scenario.replace('+', '-').replace('@', '-')}"
    return name[-_LONGEST_ID:].lstrip("-._")


def _in_words(name: str, inputs: Inputs) -> str:
    scenario = scenario_named(name, inputs)
    words = " and ".join(scenario.train) + " images"
    if scenario.synthetic_per_real != 1:
        words += f" 1:{scenario.synthetic_per_real:g}"
    before = scenario.pretrained_on
    return words if before is None else f"{words} after {_in_words(before.name, inputs)}"


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
    made_by = root / "made_by.json"
    model = json.dumps([package.card.weights_sha256, mirroring, experiment.test_images])
    if root.exists() and (not made_by.is_file() or made_by.read_text(encoding="utf-8") != model):
        shutil.rmtree(root)
    root.mkdir(parents=True, exist_ok=True)
    made_by.write_text(model, encoding="utf-8")
    cases = [case for group in experiment.test_by_focality.values() for case in group]
    tasks = [(case, domain) for domain in experiment.inputs.domains for case in cases]
    tasks = [task for task in tasks if not _prediction(experiment, scenario, *task).is_file()]
    if not tasks:
        return
    net = LesionNet(package, choose_device("auto").device)
    for case, domain in progress(tasks, len(tasks), f"{scenario}: test images"):
        found = _segment_case(net, experiment.cases / case, experiment.inputs.phase_files(domain))
        path = _prediction(experiment, scenario, case, domain)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, suffix=SUFFIX) as partial:
            sitk.WriteImage(found, str(partial), useCompression=True)


def _segment_case(net: LesionNet, case: Path, files: Mapping[int, str]) -> sitk.Image:
    """Lesions of a test case from the files of its phases; both breasts of a bilateral case one after the other."""
    phases = {number: sitk.ReadImage(str(case / f"{name}{SUFFIX}")) for number, name in files.items()}
    halves = read_halves(case)
    if len(halves) < 2:
        return net.segment(phases)
    found = [net.segment({number: half.crop(image) for number, image in phases.items()}) for half in halves]
    return joined(halves, found, phases[0])


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
    phases: SyntheticPhases,
    inputs: Inputs,
    folds: int,
    keep_multifocal: bool,
) -> Experiment:
    """Write the cases and say which of them are in which fold and which are for testing."""
    train, test, excluded = _parts(sources, test_sources)
    failed: dict[str, str] = {}
    used: dict[str, list[str]] = {"train": [], "test": []}
    apart: dict[str, list[str]] = {MULTIFOCAL: [], BILATERAL: []}
    cut, crops = 0, 0
    hashes: dict[str, dict[str, object]] = {"train": {}, "test": {}}
    known = set().union(*published_folds())
    work = [("train", source) for source in train] + [("test", source) for source in test]
    for part, source in progress(work, len(work), "cases"):
        # The published folds are free of multifocal cases by the authors' own judgment.
        outcome = prepare_segmentation_case(
            source,
            folder / "cases",
            phases,
            inputs=inputs,
            allow_multifocal=keep_multifocal if part == "test" else source.case in known,
            both_breasts=keep_multifocal and part == "test",
        )
        if outcome.entry is not None:
            group = apart.get(outcome.entry["focality"]) if part == "test" else None
            (used[part] if group is None else group).append(source.case)
            cut += float(outcome.entry["lesion_share_kept"]) < 1
            crops += not outcome.entry["halves"]
            hashes[part][source.case] = outcome.entry["sha256"]
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
        scenarios=(),
        folds=folds_of(used["train"], folds),
        test=sorted(used["test"]),
        excluded=excluded,
        failed=failed,
        cut_lesions=cut,
        crops=crops,
        images=_hash_of(hashes["train"]),
        test_images=_hash_of(hashes["test"]),
        apart={kind: sorted(cases) for kind, cases in apart.items()} if keep_multifocal else None,
        channels=inputs.channels,
    )


def _hash_of(hashes: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


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
    """Scenarios that were prepared before on the same folds, channels and recipe; stale plans are removed.

    Raises InputError where networks of other folds or another recipe are there.
    """
    if not (experiment.folder / "experiment.json").is_file():
        return ()
    try:
        before = load_experiment(experiment.folder)
        same = [(e.folds, e.channels, e.images) for e in (before, experiment)]
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
