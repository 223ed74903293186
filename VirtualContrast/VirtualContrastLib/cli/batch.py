"""The command `batch`: many studies, weights loaded once."""

from __future__ import annotations

import argparse
from typing import Any

from ..events import Events, ExitCode
from ..run.settings import case_options
from .console import Reporter
from .options import add_command, add_output, add_scheduler, add_settings, settings_of


def add(commands: Any) -> None:
    """Add `batch`."""
    columns = "".join(f"[, {column}]" for column in case_options())
    parser = add_command(
        commands,
        "batch",
        _batch,
        "many studies, weights loaded once",
        description=f"Every row of a table (columns case, input[, real1, real2 ...][, lesions]{columns}) "
        "or every volume and subfolder of a folder becomes a result folder below OUT, with summary.csv, "
        "summary.json and batch.log.",
    )
    parser.add_argument("source", metavar="TABLE|FOLDER", help="CSV table, or folder of cases")
    add_output(parser, "folder of the result folders")
    add_scheduler(parser.add_argument, "cases")
    add_settings(parser, without=("real_times_s",))  # real phases, and so their times, are each case's own


def _batch(arguments: argparse.Namespace, reporter: Reporter, events: Events) -> ExitCode:
    settings = settings_of(arguments)
    from ..run.batch import SUMMARY_CSV, SUMMARY_JSON, Status, run_batch
    from ..run.batch_cases import read_cases

    cases, scheduler = read_cases(arguments.source), arguments.scheduler
    outcome = run_batch(cases, arguments.out, settings, events=events, listener=reporter, scheduler=scheduler)
    counts = {status.value: outcome.count(status) for status in Status}
    tables = [f"{arguments.out}/{name}" for name in (SUMMARY_CSV, SUMMARY_JSON)]
    ended = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    text = f"{len(outcome.cases)} cases: {ended}\n" + "\n".join(tables)
    reporter.done(text, out=arguments.out, outputs=tables, counts=counts, exit_code=int(outcome.exit_code))
    return outcome.exit_code
