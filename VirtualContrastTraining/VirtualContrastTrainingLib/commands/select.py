"""`virtual-contrast-training select`: choose a checkpoint by SAMe over all its metrics.

Takes a training run, whose checkpoints it measures on validation cases, or metrics that were computed before.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import ExitCode

from ..metrics.plain import plain
from ..papers.selection_run import SelectionReport, SelectionRequest, select
from .evaluate_options import FID_EXAMPLE, add_fid
from .options import Output, add_output, add_training_command, count, named_paths, whole


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_training_command(subparsers, "select", run, "choose a checkpoint by SAMe", description=__doc__)
    add = parser.add_argument
    add(
        "source",
        type=Path,
        help="folder of a training run, CSV (checkpoint and metrics as columns), or folder of `evaluate -o` folders",
    )
    add("--validation", type=Path, help="prepared cases to measure a run's checkpoints on (default: phantoms)")
    add("--phantoms", type=count, default=4, metavar="N", help="how many phantoms, without --validation (default 4)")
    add("--seed", type=whole, default=0, help="seed of the phantoms (default 0)")
    add("--recipe", help="recipe of the run, name or path (default: its package's card, or the run's recipe.yaml)")
    add(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        default=[],
        help="change one recipe value, as in training; may be repeated",
    )
    add_fid(add)
    add("--lesion-terms", action="store_true", help="let SSIM, MAE and enhancement error of the lesions count too")
    add("--metrics", nargs="+", metavar="NAME", help="metrics that count (default: the papers', or all of a table)")
    add("--lower", nargs="+", default=[], metavar="NAME", help="further metrics of which low is better")
    add("--higher", nargs="+", default=[], metavar="NAME", help="further metrics of which high is better")
    add("--as-published", action="store_true", help="use the as-published column of `evaluate` folders")
    add_output(add, "folder for same.csv, same.json, same.png, report.html and the winner's model")


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Rank the checkpoints and print the winner; exit code 4 where a checkpoint or a case could not be measured."""
    report, failures = select(
        SelectionRequest(
            args.source,
            validation=args.validation,
            phantoms=args.phantoms,
            seed=args.seed,
            recipe=args.recipe,
            changes=args.set,
            fid=named_paths(args.fid, "--fid", FID_EXAMPLE),
            lesion_terms=args.lesion_terms,
            metrics=args.metrics,
            lower=args.lower,
            higher=args.higher,
            as_published=args.as_published,
            output=args.output,
        )
    )
    code = out.left_out(failures)
    out.result(as_text(report), plain(report))
    return code


def as_text(report: SelectionReport) -> str:
    """SAMe of each checkpoint and the winner, for the terminal."""
    ranking, of_run = report.ranking, report.of_run
    lines = [f"{name:30} SAMe {value:.4f}" for name, value in ranking.same.items()]
    tied = f" (tied with {', '.join(ranking.winners[1:])})" if len(ranking.winners) > 1 else ""
    lines.append(f"chosen: {report.winner}{tied}")
    if ranking.left_out:
        lines.append(f"left out, equal for all checkpoints: {', '.join(ranking.left_out)}")
    if of_run is not None:
        lines += [f"{name} has the weights of {other}" for name, other in of_run.same_weights.items()]
        if of_run.model:
            lines.append(f"model package: {of_run.model}")
        lines += of_run.notes
    return "\n".join([*lines, f"Data: {report.data}."])
