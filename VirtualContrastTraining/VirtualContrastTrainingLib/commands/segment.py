"""`virtual-contrast-training segment`: does synthetic contrast help to segment tumors? Table 3 of the JMI 2025 paper.

nnU-Nets are trained on pre-contrast, acquired and synthetic phase-1 images and their unions, in folds, and tested on
each of the three; or on acquired and synthetic studies of several input channels (`--channels`). `run` does it all; the
other commands are its steps, each of which keeps what is finished, so that a killed one is simply started again.
Scenarios and folds may be trained by several processes at once.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VirtualContrastLib.errors import on_stderr
from VirtualContrastLib.events import ExitCode, InputError

from .options import Output, add_output, add_training_command, count, minutes

if TYPE_CHECKING:
    from ..data.segmentation_cases import SyntheticPhases
    from ..papers.scenarios import Experiment
    from ..systems.nnunet.recipe import NNUNetRecipe

_PUBLISHED = "osuala2025-segmentation-as-published-code"
_PHANTOMS = "phantom-lesion-nnunet"
_TEST_SHARE = 4


def add_parser(subparsers: Any) -> None:
    """Add the commands."""
    parser = subparsers.add_parser(
        "segment", help="train and compare tumor segmentation by scenario", description=__doc__
    )
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    prepare = add_training_command(steps, "prepare", run_prepare, "make cases, folds and nnU-Net data sets in FOLDER")
    _add_preparation(prepare)
    labels = add_training_command(
        steps, "labels", run_labels, "label the enhancing part of the boxes of prepared crops, for --masks"
    )
    labels.add_argument("cases", type=Path, help="prepared crops (`prepare crops`)")
    add_output(labels.add_argument, "folder of the label maps", required=True)
    train = add_training_command(steps, "train", run_train, "train scenarios")
    _add_experiment(train)
    train.add_argument("--fold", default="all", metavar="N|all", help="one fold, or all (default)")
    train.add_argument(
        "--max-minutes", type=minutes, metavar="M", help="end each fold after this time, with a checkpoint"
    )
    predict = add_training_command(
        steps, "predict", run_predict, "segment the test cases by the ensemble of the trained folds"
    )
    _add_experiment(predict)
    _add_prediction(predict)
    table = add_training_command(steps, "table", run_table, "measure the predictions; writes FOLDER/table")
    table.add_argument("folder", type=Path, help="folder of the experiment")
    _add_table(table)
    everything = add_training_command(steps, "run", run_all, "prepare, train, predict and table")
    _add_preparation(everything)
    _add_prediction(everything)
    _add_table(everything)


def _add_experiment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder of the experiment")
    parser.add_argument("scenario", nargs="*", help="scenarios (default: all prepared ones)")


def _add_preparation(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("cases", type=Path, nargs="?", help="prepared cases to train on, for Duke all cases (default: phantoms)")
    add_output(add, "folder of the experiment", required=True)
    add(
        "--test", type=Path, help="prepared cases to test on; left out, Duke's published folds and test cases are taken"
    )
    add("--masks", type=Path, help="tumor masks named by case, instead of the cases' own")
    add("--model", help="synthesis model, id or path (default: the catalog's)")
    add("--out-of-fold", action="store_true", help="each case by the member of the model that was trained without it")
    add("--synthetic", type=Path, help="folder of `virtual-contrast batch` results, instead of --model")
    add(
        "--scenarios",
        nargs="+",
        metavar="NAME",
        help="such as pre pre+synthetic pre+post+synthetic (default: all of the paper); pre+synthetic@0.5 takes "
        "synthetic images of half as many patients as real ones, synthetic-then-post pretrains on synthetic images and "
        "fine-tunes on acquired ones",
    )
    add(
        "--channels",
        nargs="+",
        metavar="NAME",
        default=(),
        help="input channels of the networks, pre, phase_N or subtraction_N, instead of one phase; the scenarios are "
        "then real, synthetic and real+synthetic",
    )
    add(
        "--keep-multifocal",
        action="store_true",
        help="keep multifocal and bilateral test cases, which the paper leaves out, and evaluate them apart",
    )
    add("--folds", type=count, default=5, metavar="N", help="folds of cases that are not Duke's (default 5)")
    add(
        "--recipe", help=f"nnU-Net recipe for size and length of training (default {_PUBLISHED}; phantoms: {_PHANTOMS})"
    )
    add(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        default=[],
        help="change one recipe value, as in training; may be repeated",
    )
    add("--phantoms", type=count, default=24, metavar="N", help="how many phantoms, without CASES (default 24)")


def _add_prediction(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-mirroring", action="store_true", help="predict each image once, not in all flips: up to 8 times as fast"
    )


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bootstrap", type=count, default=1000, metavar="N", help="bootstrap samples (default 1000)")


def run_prepare(args: argparse.Namespace, out: Output) -> ExitCode:
    """Prepare; exit code 4 where a case could not be used."""
    experiment = _prepare(args)
    sizes = [len(fold) for fold in experiment.folds]
    text = f"{len(sizes)} folds of {', '.join(map(str, sizes))} cases, {len(experiment.test)} test cases"
    values = {"folder": str(experiment.folder), "folds": sizes, "test": len(experiment.test)}
    if experiment.apart is not None:
        apart = {kind: len(cases) for kind, cases in experiment.apart.items()}
        text += f", apart from them {', '.join(f'{number} {kind}' for kind, number in apart.items())}"
        values |= apart
    out.result(f"{text} -> {experiment.folder}", values)
    return ExitCode.SOME_CASES_FAILED if experiment.failed else ExitCode.DONE


def run_labels(args: argparse.Namespace, out: Output) -> ExitCode:
    """Write one label map a patient and print how its areas agree with those of the table."""
    import SimpleITK as sitk

    from ..data.crops import load_patients
    from ..data.enhancing_labels import area_agreement, label_patient

    patients = load_patients(args.cases)
    args.output.mkdir(parents=True, exist_ok=True)
    areas: list[tuple[float, float]] = []
    for patient in patients:
        labeled = label_patient(patient)
        areas += labeled.areas_mm2
        image = sitk.GetImageFromArray(labeled.labels.astype("uint8"))
        image.CopyInformation(sitk.ReadImage(str(patient.folder / "pre.nrrd")))
        sitk.WriteImage(image, str(args.output / f"{patient.name}.nii.gz"), useCompression=True)
    agreement = area_agreement(areas)
    text = f"{len(patients)} label maps -> {args.output}"
    if agreement is not None:
        low, middle, high = agreement.ratio_quartiles
        text += (
            f"\nAreas of {agreement.slices} slices against the table: rank correlation {agreement.spearman:.2f}, "
            f"label over table {middle:.2f} (quartiles {low:.2f} to {high:.2f})"
        )
    found = None if agreement is None else dataclasses.asdict(agreement)
    out.result(text, {"folder": str(args.output), "patients": len(patients), "areas": found})
    return ExitCode.DONE


def run_train(args: argparse.Namespace, out: Output) -> ExitCode:
    """Train one fold or all."""
    from ..papers.scenarios import load_experiment, train_scenario

    experiment = load_experiment(args.folder)
    if args.fold != "all" and not args.fold.isdigit():
        raise InputError(f"--fold takes a number or 'all', not '{args.fold}'.")
    folds = None if args.fold == "all" else [int(args.fold)]
    for scenario in args.scenario or experiment.scenarios:
        train_scenario(experiment, scenario, folds, args.max_minutes)
    out.result(f"Trained in {experiment.folder}", {"folder": str(experiment.folder)})
    return ExitCode.DONE


def run_predict(args: argparse.Namespace, out: Output) -> ExitCode:
    """Predict all test cases."""
    from ..papers.scenarios import load_experiment, predict_scenario

    experiment = load_experiment(args.folder)
    for scenario in args.scenario or experiment.scenarios:
        predict_scenario(experiment, scenario, mirroring=not args.no_mirroring)
    out.result(f"Predicted in {experiment.folder}", {"folder": str(experiment.folder)})
    return ExitCode.DONE


def run_table(args: argparse.Namespace, out: Output) -> ExitCode:
    """Write and print the table; exit code 4 where a case could not be measured."""
    from ..papers.scenarios import load_experiment

    return _table(load_experiment(args.folder), args.bootstrap, out)


def run_all(args: argparse.Namespace, out: Output) -> ExitCode:
    """All steps one after the other; exit code 4 where a case could not be used."""
    from ..papers.scenarios import predict_scenario, train_scenario

    experiment = _prepare(args)
    for scenario in experiment.scenarios:
        train_scenario(experiment, scenario)
        predict_scenario(experiment, scenario, mirroring=not args.no_mirroring)
    code = _table(experiment, args.bootstrap, out)
    return ExitCode.SOME_CASES_FAILED if experiment.failed else code


def _prepare(args: argparse.Namespace) -> Experiment:
    from ..data.cases import case_folders
    from ..data.nnunet_datasets import scenario_named
    from ..data.segmentation_inputs import Inputs
    from ..papers.scenarios import prepare_experiment, sources_of

    recipe, inputs = _recipe(args), Inputs(tuple(args.channels))
    for name in args.scenarios or ():
        scenario_named(name, inputs)  # a wrong name is told before phantoms are made
    train, test = (args.cases, args.test) if args.cases else _phantoms(args)
    experiment = prepare_experiment(
        sources_of(case_folders(train), args.masks),
        sources_of(case_folders(test), args.masks) if test else [],
        args.output,
        _phases(args),
        recipe,
        scenarios=args.scenarios,
        folds=args.folds,
        inputs=inputs,
        keep_multifocal=args.keep_multifocal,
    )
    for state, reasons in (("failed", experiment.failed), ("excluded", experiment.excluded)):
        for case, reason in reasons.items():
            on_stderr(f"{state}: {case}: {reason}")
    return experiment


def _recipe(args: argparse.Namespace) -> NNUNetRecipe:
    from ..systems.nnunet.recipe import NNUNetRecipe
    from ..systems.recipes import load_recipe

    recipe = load_recipe(args.recipe or (_PUBLISHED if args.cases else _PHANTOMS), args.set)
    if not isinstance(recipe, NNUNetRecipe):
        raise InputError(f"The recipe {recipe.id} trains no nnU-Net; choose one of the system nnunet.")
    return recipe


def _phases(args: argparse.Namespace) -> SyntheticPhases:
    from ..data.segmentation_cases import FolderPhases, ModelPhases
    from ..papers.phantom_cohort import synthesis_model

    if args.synthetic is not None:
        return FolderPhases(args.synthetic)
    return ModelPhases(synthesis_model(args.model), unseen=args.out_of_fold)


def _phantoms(args: argparse.Namespace) -> tuple[Path, Path]:
    """Phantoms with one lesion each to train on, and a quarter as many more to test on; those there are kept."""
    from ..data.phantom import PhantomSettings, make_phantom
    from ..data.phantom.writing import write_phantom
    from ..papers.phantom_cohort import FIRST_SEED

    if args.phantoms < 2 or args.test is not None or args.synthetic is not None:
        raise InputError("Without CASES give --phantoms of at least 2, and neither --test nor --synthetic.")
    settings = dataclasses.replace(PhantomSettings(), lesion_count_weights=(0.0, 1.0))
    places = args.output / "phantoms" / "train", args.output / "phantoms" / "test"
    for number in range(args.phantoms + max(1, args.phantoms // _TEST_SHARE)):
        folder = places[number >= args.phantoms] / f"case_{FIRST_SEED + number:06d}"
        if not (folder / "case.json").is_file():
            write_phantom(make_phantom(FIRST_SEED + number, settings), folder)
    return places


def _table(experiment: Experiment, repeats: int, out: Output) -> ExitCode:
    from ..metrics.plain import plain
    from ..papers.scenario_table import as_text, write_scenario_table
    from ..papers.table_options import TableOptions

    options = TableOptions(repeats=repeats)
    report = write_scenario_table(experiment, options)
    code = out.left_out(options.failures)
    out.result(as_text(report), plain(report))
    return code
