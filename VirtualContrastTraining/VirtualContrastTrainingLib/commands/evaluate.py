"""`virtual-contrast-training evaluate`: real against synthetic, true metrics and the papers' artifacts.

Without --real and --synthetic it runs on phantoms, and every output says so. `--table NAME` makes a table or figure of
a paper; `--table list` names them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from VirtualContrastLib.cli.options import add_scheduler
from VirtualContrastLib.events import ExitCode, InputError

from ..metrics.as_published import PROTOCOLS
from ..metrics.evaluation import AS_PUBLISHED_MEANING, METRICS, Settings
from ..metrics.feature_networks import distance_names
from ..metrics.plain import plain
from ..metrics.radiomics_distance import ALL_GROUPS, TEXTURE
from ..papers.evaluation_report import EvaluationResult, set_rows
from ..papers.evaluation_run import EvaluationRequest, evaluate
from ..papers.inputs import Images, Networks
from ..papers.outputs import listing
from ..papers.phantom_cohort import FIRST_SEED, phantom_cohort
from ..papers.reports import shown
from ..papers.subgroup_report import as_lines
from ..papers.table_run import TableRequest, known_output, write_output
from .evaluate_options import FID_EXAMPLE, add_fid
from .options import Output, add_output, add_training_command, count, named_paths, whole


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_training_command(
        subparsers, "evaluate", run, "compare synthetic with real images", description=__doc__
    )
    _add_inputs(parser.add_argument_group("input"))
    _add_measures(parser.add_argument_group("what to compute"))
    _add_groups(parser.add_argument_group("subgroups of patients"))
    _add_table(parser.add_argument_group("tables and figures of the papers"))
    add = parser.add_argument
    add("--device", default="cpu", help="device for LPIPS and feature networks, as torch names it (default cpu)")
    add("--bootstrap", type=count, default=1000, metavar="N", help="bootstrap samples of patients (default 1000)")
    add("--seed", type=whole, default=0, help="seed of the bootstrap and of the phantoms (default 0)")
    add_scheduler(add, "pairs")
    add_output(add, "folder for metrics.json, metrics.csv, slices.csv, report.html, metrics.png")


def _add_inputs(group: argparse._ArgumentGroup) -> None:
    add, several = group.add_argument, "image, volume, folder, or table (CSV) of the"
    add("--real", type=Path, help=f"{several} real ones (label maps for a segmentation table)")
    add("--synthetic", type=Path, help=f"{several} synthetic ones")
    add("--lesions", type=Path, help="lesion mask or folder of masks named like the real images")
    add("--breasts", type=Path, help="breast mask or folder of masks named like the real images")
    add("--pre", type=Path, help="pre-contrast (or low-energy) image or folder; compares phase minus pre-contrast")
    add("--tissues", type=Path, help="label map or folder of label maps of mammograms: 1 adipose, 2 fibroglandular")
    add("--patient-pattern", metavar="REGEX", help="patient in the file name, for intervals by patient")
    add("--model", help="model for the phantoms, id or path (default: the catalog's)")
    add("--phantoms", type=count, default=6, metavar="N", help="how many phantoms, without input (default 6)")


def _add_groups(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--by",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="scores by the groups of these columns (cohort, scanner, field strength, subtype ...), and their gaps",
    )
    add(
        "--patients",
        type=Path,
        metavar="TABLE",
        help="CSV or .xlsx with a column patient (or case) and those of --by (default: case.json of prepared cases)",
    )


def _add_measures(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--subtraction", choices=("signed", "clipped"), help="which subtraction to compare (default signed with --pre)")
    add(
        "--protocol",
        choices=tuple(PROTOCOLS),
        default="files",
        help="what the as-published column repeats: the 8-bit values as they are in the files (default), or what a "
        "paper's scripts did to its images first",
    )
    add(
        "--alexnet",
        type=Path,
        metavar="PTH",
        help="torchvision's AlexNet weights for LPIPS, or 'download' (default: torch's hub folder)",
    )
    add_fid(add)
    add("--diversity", action="store_true", help="also how different the synthetic images are from each other")
    add(
        "--training",
        type=Path,
        metavar="FOLDER",
        help="also how near the synthetic images come to these training images: does the model repeat them?",
    )
    add("--radiomics", action="store_true", help="also the radiomics distance (FRD) of the lesions")
    add(
        "--radiomics-groups",
        nargs="+",
        choices=ALL_GROUPS,
        default=list(TEXTURE),
        metavar="GROUP",
        help=f"feature groups of FRD version 0, of {', '.join(ALL_GROUPS)} (default: the five of texture)",
    )


def _add_table(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--table", metavar="NAME", help="write a table or figure of a paper under its name (needs --out); or 'list'")
    add("--source", type=Path, help="training run, result folders, or CSV, for the tables that --table list says")
    add("--predicted-masks", type=Path, help="masks found on the synthetic images, for mama-synth")
    add("--z-scored", action="store_true", help="the images hold z-scores already, for mama-synth")
    add(
        "--classifier-scores",
        action="append",
        default=[],
        metavar="TASK=CSV",
        help="scores that the challenge's classifier gave the rows of mama-synth-features-TASK.csv, for mama-synth; "
        "TASK is contrast or tumor_roi, the column is score",
    )
    add(
        "--scenario",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="predicted label maps of one scenario, for the segmentation tables; may be repeated",
    )
    add("--segmentation", help="lesion model for the phantoms of the segmentation tables (default: by threshold)")
    add(
        "--system",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="what one system synthesized, one folder per case, for tables of systems; may be repeated",
    )
    add("--times", type=float, nargs="+", metavar="S", help="seconds after injection of phases 1, 2 ..., for curves")


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Evaluate all pairs, or make one table of a paper; exit code 4 where a pair could not be measured."""
    if args.patients is not None and not args.by:
        raise InputError("--patients is the table of --by; name the columns with --by.")
    if args.by and (args.table is not None or args.real is None):
        raise InputError("--by groups the patients of --real and --synthetic, and nothing else.")
    if args.table == "list":
        out.result(listing(), {"tables": listing().splitlines()})
        return ExitCode.DONE
    if args.scheduler is not None and (args.table is not None or args.real is None):
        raise InputError("--scheduler spreads the pairs of --real and --synthetic, and nothing else.")
    if args.table is not None:
        report, failures = write_output(_table_request(args))
        code = out.left_out(failures)
        out.result(f"{args.table} is in {args.output}. Data: {report.data}.", plain(report))
        return code
    request = EvaluationRequest(
        _images(args),
        Settings(
            args.protocol, args.subtraction or ("signed" if args.pre is not None else None), args.bootstrap, args.seed
        ),
        _networks(args),
        radiomics=args.radiomics_groups if args.radiomics else (),
        output=args.output,
        diversity=args.diversity,
        training=args.training,
        by=args.by,
        patients=args.patients,
        scheduler=args.scheduler,
    )
    if args.real is not None:
        return _evaluate(request, out)
    if args.synthetic is not None:
        raise InputError("--real and --synthetic go together; without both, phantoms are used.")
    with phantom_cohort(args.model, count=args.phantoms, seed=FIRST_SEED + args.seed) as cohort:
        images = replace(request.images, real=cohort.truth, synthetic=cohort.runs)
        return _evaluate(replace(request, images=images, data=cohort.data), out)


def _evaluate(request: EvaluationRequest, out: Output) -> ExitCode:
    found = evaluate(request)
    code = out.left_out(f"pair {failure.pair}: {failure.sentence}" for failure in found.report.failed)
    out.result(as_text(found), plain(found))
    return code


def _images(args: argparse.Namespace) -> Images:
    return Images(args.real, args.synthetic, args.lesions, args.breasts, args.pre, args.patient_pattern, args.tissues)


def _networks(args: argparse.Namespace) -> Networks:
    return Networks(args.alexnet, named_paths(args.fid, "--fid", FID_EXAMPLE), args.device)


def _table_request(args: argparse.Namespace) -> TableRequest:
    known_output(args.table)
    if args.output is None:
        raise InputError("--table writes files; name a folder with --out.")
    return TableRequest(
        args.table,
        args.output,
        _images(args),
        _networks(args),
        source=args.source,
        model=args.model,
        phantoms=args.phantoms,
        predicted_masks=args.predicted_masks,
        z_scored=args.z_scored,
        classifier_scores=named_paths(args.classifier_scores, "--classifier-scores", "contrast=scores.csv"),
        scenarios=named_paths(args.scenario, "--scenario", "real=predictions/real"),
        segmentation=args.segmentation,
        systems=named_paths(args.system, "--system", "iter-unet=results/iter-unet"),
        times_s=args.times,
        radiomics=args.radiomics,
        repeats=args.bootstrap,
        seed=args.seed,
    )


def as_text(result: EvaluationResult) -> str:
    """The two columns as a small table for the terminal."""
    report = result.report
    lines = [f"Data: {result.data}.", f"{'':10}{'true':>14}{'as published':>16}"]
    for metric in METRICS:
        values = (report.mean(column, metric) for column in ("true", "as_published"))
        lines.append(f"{metric:10}" + "{:>14}{:>16}".format(*("-" if v is None else f"{v:.4f}" for v in values)))
    lines.append(f"{report.slices} slices, {report.pairs} pairs, {report.patients} patients")
    for name, found in result.distances.items():
        both = found.synthetic_against_real
        baseline = f", real halves {found.baseline.fid:.4f}" if found.baseline else ""
        frechet, kernel = distance_names(found.network)
        lines.append(f"{frechet} {name} {both.fid:.4f}{baseline}; {kernel} {both.kid:.6f}. {both.note}")
    if result.radiomics is not None:
        lines += [f"{name}: {value}" for name, value in plain(result.radiomics).items() if name != "definitions"]
    for row in set_rows(result.sets):
        lines.append(f"{', '.join(filter(None, (row['what'], row['images'])))}: {shown(row['value'])}")
    lines += as_lines(result.by)
    lines += [f"{name}: {note}" for name, note in report.notes.items()]
    lines.append(f"As published: {AS_PUBLISHED_MEANING}.")
    return "\n".join(lines)
