"""`virtual-contrast-training phantom-quality`: print how good the models are on held-out phantoms."""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import ExitCode

from ..console import progress
from .options import Output, add_output, add_training_command


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_training_command(
        subparsers, "phantom-quality", run, "measure the models on phantoms not used for training"
    )
    add = parser.add_argument
    add("cases", type=Path, help="folder of phantoms made with --noise-free")
    add("--model", default="phantom-joint-p1-p3", help="synthesis model, id or path")
    add("--segmentation", default="phantom-lesion-nnunet", help="lesion model, id or path")
    add_output(add, "also write one row per case to this CSV file")
    add("--record", action="store_true", help="write the table into the cards of both models")


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Measure every case and print one table."""
    from VirtualContrastLib.lesions.nnunet import LesionNet
    from VirtualContrastLib.models.catalog import resolve_model
    from VirtualContrastLib.synthesis.device import choose_device
    from VirtualContrastLib.synthesis.study_synthesizer import study_synthesizer

    from ..papers.model_cards import record_metrics
    from ..papers.phantom_quality import DEFINITIONS, as_metrics, as_rows, measure_case, quality_cases, summarize

    device = choose_device("auto")
    packages = resolve_model(args.model, "synthesis"), resolve_model(args.segmentation, "segmentation")
    synthesizer, net = study_synthesizer(packages[0], device), LesionNet(packages[1], device.device)
    folders = quality_cases(args.cases)
    cases = [measure_case(folder, synthesizer, net) for folder in progress(folders, len(folders), "phantoms")]
    summary = summarize(cases)
    if args.output:
        rows = as_rows(cases)
        with args.output.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    if args.record:
        data = f"{len(cases)} phantoms not used for training, {folders[0].name} to {folders[-1].name}"
        for package in packages:
            record_metrics(package.folder, as_metrics(summary, data))
    width = max(map(len, summary))
    defined = {name: value if math.isfinite(value) else None for name, value in summary.items()}
    text = "\n".join(f"{name:{width}s}  {value:10.3f}" for name, value in summary.items())
    out.result(text, defined | {"definitions": DEFINITIONS})
    return ExitCode.DONE
