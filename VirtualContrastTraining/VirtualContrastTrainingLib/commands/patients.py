"""`virtual-contrast-training patients`: a model on real patients, beside what a model has to beat."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from VirtualContrastLib.events import ExitCode
from VirtualContrastLib.models.catalog import resolve_model
from VirtualContrastLib.models.package import ModelPackage, load_package
from VirtualContrastLib.networks.residual_enhancement import PHASES
from VirtualContrastLib.synthesis.device import choose_device

from ..console import progress
from ..data.crops import CropPatient, load_patients
from ..metrics.patient_table import MODEL, Row, as_text, as_values, score_all, summarize
from ..papers.patients import baselines_of, draw_patient, synthesize_all, synthesize_out_of_fold
from ..systems.residual_enhancement.ensemble import join_members
from .options import Output, add_output, add_training_command, count


def add_parser(subparsers: Any) -> None:
    """Add the commands."""
    parser = subparsers.add_parser("patients", help="measure and draw a model on real patients", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="WHAT")
    table = add_training_command(
        kinds, "table", run_table, "errors, harm, lesions and ranking beside identity, gain and intensity table"
    )
    _common(table)
    table.add_argument("--baselines", metavar="ID|PATH", help="model whose fitted baselines to use, where it has none")
    add_output(table.add_argument, "folder for patients.csv, table.md and table.json")
    draw = add_training_command(
        kinds, "draw", run_draw, "pre, real and synthetic early, both subtractions, as one picture per patient"
    )
    _common(draw)
    add_output(draw.add_argument, "folder for the pictures; they show patients", required=True)
    draw.add_argument("-n", "--count", type=count, default=12, help="patients, evenly from best to worst (default 12)")
    joined = add_training_command(
        kinds, "calibrate", run_calibrate, "join the members of a cross-validation into one calibrated package"
    )
    joined.add_argument("members", nargs="+", type=Path, metavar="PACKAGE", help="packages of folds 0, 1, ... in order")
    joined.add_argument("--prepared", type=Path, required=True, help="the prepared patients they were trained on")
    joined.add_argument("--id", required=True, help="id of the package")
    joined.add_argument("--title", required=True, help="its title")
    joined.add_argument(
        "--unseen",
        nargs="+",
        default=[],
        metavar="COHORT",
        help="cohorts never trained on that may not be harmed either",
    )
    add_output(joined.add_argument, "folder of the package", required=True)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="ID|PATH|default", help="synthesis model; default is the catalog's")
    parser.add_argument("prepared", type=Path, help="prepared patients (`prepare crops`)")
    parser.add_argument("--cohort", nargs="+", default=[], help="only these cohorts")
    parser.add_argument(
        "--out-of-fold", action="store_true", help="each patient by the member that was trained without it"
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="where to compute")


def run_table(args: argparse.Namespace, out: Output) -> ExitCode:
    """Print the table of all patients and of each cohort, for both phases."""
    package = resolve_model(args.model, "synthesis")
    patients = load_patients(args.prepared, cohorts=args.cohort)
    fitted = baselines_of(package, resolve_model(args.baselines, "synthesis") if args.baselines else None)
    scored = score_all(patients, _synthesize(args, package), fitted)
    rows = [row for rows in progress(scored, len(patients), "patients") for row in rows]
    cohorts = sorted({row.cohort for row in rows})
    parts = [None, *cohorts] if len(cohorts) > 1 else [None]
    summaries = {
        f"{cohort or 'all'}, {PHASES[phase]}": summarize(rows, phase, cohort)
        for phase in sorted({row.phase for row in rows})
        for cohort in parts
    }
    text = "\n\n".join(as_text(summary, title) for title, summary in summaries.items())
    values = {title: as_values(summary) for title, summary in summaries.items()}
    out.result(text, values)
    if args.output is not None:
        args.output.mkdir(parents=True, exist_ok=True)
        (args.output / "table.md").write_text(text + "\n", encoding="utf-8")
        (args.output / "table.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        _write_rows(rows, args.output / "patients.csv")
    return ExitCode.DONE


def run_draw(args: argparse.Namespace, out: Output) -> ExitCode:
    """Draw patients, evenly from the one that the model serves best to the one it serves worst."""
    package = resolve_model(args.model, "synthesis")
    patients = load_patients(args.prepared, cohorts=args.cohort)
    synthesize = _synthesize(args, package)
    made: dict[str, list[NDArray[np.float32]]] = {}

    def remember(patient: CropPatient) -> Sequence[NDArray[np.float32]]:
        made[patient.name] = synthesize(patient)
        return made[patient.name][:1]

    scored = score_all(patients, remember, baselines_of(package))
    harm = {
        row.patient: row.scores.harm
        for rows in progress(scored, len(patients), "patients")
        for row in rows
        if row.method == MODEL
    }
    order = sorted(patients, key=lambda patient: harm[patient.name])
    chosen = np.unique(np.linspace(0, len(order) - 1, min(args.count, len(order))).astype(int))
    args.output.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for rank in chosen:
        patient = order[rank]
        draw_patient(patient, made[patient.name], args.output / f"{rank:03d}_{patient.name}.png")
        drawn[patient.name] = harm[patient.name]
    text = "\n".join(f"{name}: error {100 * value:+.0f} % against doing nothing" for name, value in drawn.items())
    out.result(text, {"folder": str(args.output), "harm": drawn})
    return ExitCode.DONE


def run_calibrate(args: argparse.Namespace, out: Output) -> ExitCode:
    """Write the joined package and print its calibration."""
    members = [load_package(path) for path in args.members]
    package = join_members(members, args.prepared, args.output, model_id=args.id, title=args.title, unseen=args.unseen)
    calibration = package.card.model_dump(include={"calibration"})["calibration"]
    out.result(json.dumps(calibration, indent=1), calibration)
    return ExitCode.DONE


def _synthesize(args: argparse.Namespace, package: ModelPackage) -> Callable[[CropPatient], Any]:
    make = synthesize_out_of_fold if args.out_of_fold else synthesize_all
    return make(package, choose_device(args.device))


def _write_rows(rows: Sequence[Row], path: Path) -> None:
    """One line per patient, phase and method; ids are those of the data set."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        names = list(rows[0].scores.as_dict())
        writer = csv.writer(stream)
        writer.writerow(["patient", "cohort", "phase", "method", *names])
        for row in rows:
            values = [round(value, 5) for value in row.scores.as_dict().values()]
            writer.writerow([row.patient, row.cohort, PHASES[row.phase], row.method, *values])
