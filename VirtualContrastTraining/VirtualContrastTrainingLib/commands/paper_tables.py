"""What `evaluate --table NAME` does: each table and figure of the papers from the data that it is made of."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from VirtualContrastLib.events import InputError

from ..metrics.readers import load_reads, reader_report
from ..papers.compared_systems import write_systems
from ..papers.kinetics import write_figure
from ..papers.outputs import OUTPUTS, Output
from ..papers.phantom_cohort import FIRST_SEED, data_given, mammogram_cohort, phantom_cohort
from ..papers.readers import write_reads_table
from ..papers.tables import TableOptions, write_named_table
from . import kinetics, select
from .evaluate_options import feature_networks, find_lpips, named_paths, pairs_of

Made = tuple[dict[str, Any], list[str]]
"""What the JSON file holds, and a sentence for each case that could not be used."""


def write_output(args: argparse.Namespace) -> Made:
    """Make the table or figure `args.table` in `args.output`, on phantoms where it can be and no data was given."""
    output = OUTPUTS.get(args.table)
    if output is None:
        raise InputError(f"There is no table or figure called {args.table}; 'evaluate --table list' names them.")
    if args.output is None:
        raise InputError("--table writes files; name a folder with --output.")
    if output.kind in ("selection", "reads"):
        if args.source is None:
            raise InputError(f"{args.table} needs {output.source}.")
        return _selection(args) if output.kind == "selection" else _reads(args)
    if output.kind == "kinetics" and args.source is not None:
        return _figure(args, None)
    with _on_phantoms(args, output) as data:
        if output.kind == "kinetics":
            return _figure(args, data)
        if output.kind == "systems":
            return _systems(args, data)
        return _table(args, output, data)


@contextmanager
def _on_phantoms(args: argparse.Namespace, output: Output) -> Iterator[str | None]:
    """Put phantoms in the place of --real and --synthetic where neither was given; yields what they are, or None."""
    if args.real is not None:
        yield None
        return
    if args.synthetic is not None or args.scenario or args.system:
        raise InputError(f"{args.table} needs {output.source}; --real is missing.")
    make = mammogram_cohort if output.kind == "mammograms" else phantom_cohort
    with make(args.model, count=args.phantoms, seed=FIRST_SEED + args.seed) as cohort:
        args.real, args.synthetic = cohort.truth, cohort.runs
        yield cohort.data


def _table(args: argparse.Namespace, output: Output, data: str | None) -> Made:
    options = _options(args, data)
    source = args.real if output.kind == "segmentation" else pairs_of(args)
    return write_named_table(args.table, source, args.output, options), options.failures


def _systems(args: argparse.Namespace, data: str | None) -> Made:
    options = _options(args, data or data_given(path.parent for path in args.real.glob("*/case.json")))
    options.systems = named_paths(args.system, "--system", "iter-unet=results/iter-unet")
    if data is not None:
        options.systems = {"synthetic": args.synthetic}
    title = f"{args.table}: {OUTPUTS[args.table].title}"
    return write_systems(args.table, title, args.real, args.output, options), options.failures


def _options(args: argparse.Namespace, data: str | None) -> TableOptions:
    lpips, missing = find_lpips(args)
    return TableOptions(
        lpips=lpips,
        lpips_missing=missing,
        predicted_masks=args.predicted_masks,
        z_scored=args.z_scored,
        scenarios=named_paths(args.scenario, "--scenario", "real=predictions/real"),
        segmentation=args.segmentation,
        networks=feature_networks(args),
        radiomics=args.radiomics,
        classifier_scores=named_paths(args.classifier_scores, "--classifier-scores", "contrast=scores.csv"),
        repeats=args.bootstrap,
        seed=args.seed,
        data=data,
    )


def _figure(args: argparse.Namespace, data: str | None) -> Made:
    if args.source is not None and args.real is not None:
        raise InputError("Give either --source, or --real and --synthetic.")
    curves, said = kinetics.find_curves(args.source, args.real, args.synthetic, args.lesions, args.times)
    report = kinetics.report_of(curves, data or said, repeats=args.bootstrap, seed=args.seed)
    failures = [f"case {number}: {sentence}" for number, sentence in curves.failed]
    return write_figure(args.table, report, curves.pairs, args.output), failures


def _selection(args: argparse.Namespace) -> Made:
    own = select.defaults(args.source)
    own.output, own.fid, own.seed, own.phantoms = args.output, args.fid, args.seed, args.phantoms
    own.validation = args.real
    result, failures = select.select(own, args.table)
    return {"table": args.table, **result}, failures


def _reads(args: argparse.Namespace) -> Made:
    report = reader_report(load_reads(args.source), repeats=args.bootstrap, seed=args.seed)
    return write_reads_table(args.table, report, args.output), []
