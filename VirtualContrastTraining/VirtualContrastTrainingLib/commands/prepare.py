"""`virtual-contrast-training prepare`: downloaded data into prepared cases, and checks of what was prepared."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import ExitCode, InputError

from ..console import progress
from ..data.crops import find_crops
from ..data.duke import find_duke_cases
from ..data.duke_tables import read_boxes, read_clinical, read_mapping
from ..data.dynamic_files import find_dynamic_folders, read_times
from ..data.mammogram_phantom import write_phantom_pair
from ..data.mammograms import find_pairs
from ..data.motion import WithoutMotion
from ..data.prepare import CaseSource, Outcome, prepare, verify
from ..data.splits import HoldOut, Split, leak_warning, leak_warnings, load_split, split_names
from .options import Command, Output, add_output, add_training_command, count, whole

_LISTED = 20


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("prepare", help="turn downloaded data into prepared cases", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    duke = _kind(kinds, "duke", "Duke-Breast-Cancer-MRI as downloaded from TCIA", run_duke)
    for name, what in (
        ("boxes", "Annotation_Boxes"),
        ("clinical", "Clinical_and_Other_Features"),
        ("mapping", "Breast-Cancer-MRI-filepath_filename-mapping"),
    ):
        text = f"{what} (.xlsx or .csv; default: looked for in the input folder)"
        duke.add_argument(f"--{name}", type=Path, metavar="TABLE", help=text)
    dynamic = _kind(
        kinds, "dynamic", "one folder per subject: DICOM, one 4-D file, or one 3-D file per phase", run_dynamic
    )
    dynamic.add_argument("--pattern", default="*", metavar="GLOB", help="volume files to take, as *_dce*")
    dynamic.add_argument("--times", type=Path, metavar="TABLE", help="rows of a case and the seconds of its phases")
    dynamic.add_argument("--lesions", type=Path, metavar="DIR", help="folder with a label file CASE.nii.gz a case")
    for one in (duke, dynamic):
        one.add_argument(
            "--register",
            action="store_true",
            help="correct the motion of each phase against the pre-contrast volume, where that makes it more similar",
        )
    pairs = _kind(kinds, "mammograms", "pairs of low-energy and recombined mammograms", run_mammograms)
    pairs.add_argument("--pixel-spacing", type=float, metavar="MM", help="of pictures, whose files do not give it")
    _kind(kinds, "crops", "a table of slices of several phases (CSV), as of BreastDCEDL crops", run_crops)
    text = "simulate pairs of mammograms as prepared cases"
    simulated = add_training_command(kinds, "phantom-mammograms", run_phantom_mammograms, text)
    add_output(simulated.add_argument, "folder for the pairs", required=True)
    simulated.add_argument("-n", "--count", type=count, default=1, help="how many (default 1)")
    simulated.add_argument(
        "--seed", type=whole, default=1, help="seed of the first; the following ones count up (default 1)"
    )
    check = add_training_command(kinds, "verify", run_verify, "check prepared cases against their SHA-256")
    check.add_argument("folder", type=Path)
    add_training_command(kinds, "splits", run_splits, "list the published splits and the leaks between them")


def _kind(kinds: Any, name: str, text: str, run: Command) -> argparse.ArgumentParser:
    parser = add_training_command(kinds, name, run, text)
    parser.add_argument("input", type=Path)
    add_output(parser.add_argument, "folder for the cases and index.json", required=True)
    division = parser.add_mutually_exclusive_group()
    division.add_argument("--split", metavar="NAME|FILE", help="cases into train, validation and test (see `splits`)")
    division.add_argument("--hold-out", type=float, metavar="SHARE", help="this share of the patients into validation")
    parser.add_argument("--workers", type=count, default=1, help="processes (default 1)")
    parser.add_argument("--check", action="store_true", help="read and judge every case, and write nothing")
    return parser


def run_duke(args: argparse.Namespace, out: Output) -> ExitCode:
    """Prepare Duke-Breast-Cancer-MRI."""
    boxes = _table(args.boxes, args.input, "Annotation_Boxes")
    clinical = _table(args.clinical, args.input, "Clinical_and_Other_Features")
    mapping = _table(args.mapping, args.input, "Breast-Cancer-MRI-filepath_filename-mapping")
    if boxes is None:
        out.warn("no table Annotation_Boxes was found: the cases get no lesion boxes.")
    cases = find_duke_cases(
        args.input,
        boxes=read_boxes(boxes) if boxes else {},
        mapping=read_mapping(mapping) if mapping else {},
        clinical=read_clinical(clinical) if clinical else {},
    )
    return _prepare(_still(cases, args), args, out)


def run_dynamic(args: argparse.Namespace, out: Output) -> ExitCode:
    """Prepare a BIDS-like folder."""
    times = read_times(args.times) if args.times else None
    if args.lesions is not None and not args.lesions.is_dir():
        raise InputError(f"{args.lesions} is not a folder.")
    cases = find_dynamic_folders(args.input, pattern=args.pattern, times=times, lesions=args.lesions)
    return _prepare(_still(cases, args), args, out)


def run_crops(args: argparse.Namespace, out: Output) -> ExitCode:
    """Prepare the slices of a table, one case per patient."""
    return _prepare(find_crops(args.input), args, out)


def run_mammograms(args: argparse.Namespace, out: Output) -> ExitCode:
    """Prepare pairs of mammograms."""
    if args.pixel_spacing is not None and not 0.01 <= args.pixel_spacing <= 10:
        raise InputError("--pixel-spacing must be millimeters between 0.01 and 10.")
    return _prepare(find_pairs(args.input, args.pixel_spacing), args, out)


def run_phantom_mammograms(args: argparse.Namespace, out: Output) -> ExitCode:
    """Write simulated pairs of mammograms."""
    seeds = range(args.seed, args.seed + args.count)
    for seed in progress(seeds, args.count, "pairs"):
        write_phantom_pair(seed, args.output / f"pair_{seed:06d}")
    text = f"{args.count} simulated pairs in {args.output}"
    out.result(text, {"folder": str(args.output), "pairs": args.count})
    return ExitCode.DONE


def run_verify(args: argparse.Namespace, out: Output) -> ExitCode:
    """Check every prepared case below a folder against its hashes."""
    cases = sorted(args.folder.rglob("case.json"))
    if not cases:
        raise InputError(f"{args.folder} holds no prepared cases (folders with a case.json).")
    damaged = verify(args.folder)
    lines = [f"damaged: {folder}: {', '.join(files)}" for folder, files in damaged.items()]
    lines.append(f"{len(cases) - len(damaged)} of {len(cases)} cases are whole")
    values = {"cases": len(cases), "damaged": {str(folder): list(files) for folder, files in damaged.items()}}
    out.result("\n".join(lines), values)
    if not damaged:
        return ExitCode.DONE
    return ExitCode.SOME_CASES_FAILED if len(damaged) < len(cases) else ExitCode.UNUSABLE


def run_splits(args: argparse.Namespace, out: Output) -> ExitCode:
    """List the shipped splits, and which model must not be evaluated on which."""
    splits = [load_split(name) for name in split_names()]
    leaks = leak_warnings(splits)
    sizes = {
        s.name: {
            "train": None if s.train is None else len(s.train),
            "validation": len(s.validation),
            "test": len(s.test),
        }
        for s in splits
    }
    lines = []
    for name, size in sizes.items():
        train = "the rest" if size["train"] is None else size["train"]
        lines.append(f"{name}: train {train}, validation {size['validation']}, test {size['test']}")
    out.result("\n".join([*lines, *(f"leak: {leak}" for leak in leaks)]), {"splits": sizes, "leaks": leaks})
    return ExitCode.DONE


def _prepare(sources: Sequence[CaseSource], args: argparse.Namespace, out: Output) -> ExitCode:
    split = _split(args)
    warnings = _leaks(split)
    for warning in warnings:
        out.warn(warning)
    work = prepare(sources, args.output, split=split, workers=args.workers, write=not args.check)
    outcomes = list(progress(work, len(sources), "cases"))
    outcomes.sort(key=lambda outcome: outcome.case)
    counts = Counter(outcome.state for outcome in outcomes)
    out.result(_as_text(outcomes, counts, args.output), _report(outcomes, counts, warnings))
    usable = counts["prepared"] + counts["kept"] + counts["usable"]
    if usable == 0:
        raise InputError(f"None of the {len(outcomes)} cases could be used: {_first_reason(outcomes)}")
    return ExitCode.SOME_CASES_FAILED if counts["failed"] else ExitCode.DONE


def _still(cases: Sequence[CaseSource], args: argparse.Namespace) -> Sequence[CaseSource]:
    return [WithoutMotion(case) for case in cases] if args.register else cases


def _split(args: argparse.Namespace) -> Split | HoldOut | None:
    if args.hold_out is not None:
        if not 0 < args.hold_out < 1:
            raise InputError("--hold-out must be a share between 0 and 1.")
        return HoldOut(args.hold_out)
    return load_split(args.split) if args.split else None


def _leaks(split: Split | HoldOut | None) -> list[str]:
    """Leaks between the chosen split and the other published ones (folds of a cross-validation left out)."""
    if not isinstance(split, Split):
        return []
    others = [load_split(name) for name in split_names() if ":" not in name and name != split.name]
    found = [leak_warning(*pair) for other in others for pair in ((other, split), (split, other))]
    return [warning for warning in found if warning]


def _table(given: Path | None, root: Path, name: str) -> Path | None:
    """The table given, or one of its published name in the input folder."""
    if given is not None:
        if not given.is_file():
            raise InputError(f"The table {given} does not exist.")
        return given
    return next((path for suffix in (".xlsx", ".csv") if (path := root / (name + suffix)).is_file()), None)


def _report(outcomes: Iterable[Outcome], counts: Counter[str], warnings: list[str]) -> dict[str, object]:
    listed = [{"case": o.case, "state": o.state, "reason": o.reason, "warnings": list(o.warnings)} for o in outcomes]
    return {"counts": dict(counts), "cases": listed, "warnings": warnings}


def _as_text(outcomes: Sequence[Outcome], counts: Counter[str], output: Path) -> str:
    lines = []
    for state in ("failed", "excluded"):
        found = [outcome for outcome in outcomes if outcome.state == state]
        lines += [f"{state}: {outcome.case}: {outcome.reason}" for outcome in found[:_LISTED]]
        if len(found) > _LISTED:
            lines.append(f"{state}: ... and {len(found) - _LISTED} more, see {output / 'index.json'}")
    noted = [f"noted: {outcome.case}: {warning}" for outcome in outcomes for warning in outcome.warnings]
    lines += noted[:_LISTED]
    if len(noted) > _LISTED:
        lines.append(f"noted: ... and {len(noted) - _LISTED} more, in the JSON of --json")
    states = ("prepared", "usable", "kept", "excluded", "failed")
    done = ", ".join(f"{counts[state]} {state}" for state in states if counts[state])
    return "\n".join([*lines, f"{done}, nothing was written" if counts["usable"] else f"{done} -> {output}"])


def _first_reason(outcomes: Sequence[Outcome]) -> str:
    reasons = [f"{outcome.case}: {outcome.reason}" for outcome in outcomes if outcome.reason]
    return reasons[0] if reasons else "there was none."
