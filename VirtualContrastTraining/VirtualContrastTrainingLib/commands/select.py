"""`virtual-contrast-training select`: choose a checkpoint by SAMe over all its metrics."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import ExitCode, InputError

from ..experiments.selection import write_selection
from ..metrics.evaluation import METRICS
from ..metrics.same import rank


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser("select", help="choose a checkpoint by SAMe", description=__doc__)
    add = parser.add_argument
    add("source", type=Path, help="CSV (checkpoint and metrics as columns), or a folder of `evaluate -o` folders")
    add("--metrics", nargs="+", metavar="NAME", help="metrics to use (default: all that every checkpoint has)")
    add("--lower", nargs="+", default=[], metavar="NAME", help="further metrics of which low is better")
    add("--higher", nargs="+", default=[], metavar="NAME", help="further metrics of which high is better")
    add("--as-published", action="store_true", help="use the as-published column of `evaluate` folders")
    add("-o", "--output", type=Path, help="folder for same.csv, same.json, same.png and report.html")
    add("--json", action="store_true", help="print the result as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Rank the checkpoints, name the winner, write the table and the figure where --output is given."""
    column = "as_published" if args.as_published else "true"
    table = table_of_evaluations(args.source, column) if args.source.is_dir() else read_table(args.source)
    table = chosen_metrics(table, args.metrics)
    ranking = rank(table, lower=args.lower, higher=args.higher)
    result = {
        "winner": ranking.winners[0],
        "tied_with_winner": list(ranking.winners[1:]),
        "same": ranking.same,
        "scaled": ranking.scaled,
        "metrics": table,
        "left_out": list(ranking.left_out),
    }
    if args.output is not None:
        write_selection(table, ranking, args.output)
    print(json.dumps(result, indent=2, allow_nan=False) if args.json else as_text(result))
    return ExitCode.DONE


def as_text(result: Mapping[str, Any]) -> str:
    """SAMe of each checkpoint and the winner, for the terminal."""
    lines = [f"{name:30} SAMe {value:.4f}" for name, value in result["same"].items()]
    tied = f" (tied with {', '.join(result['tied_with_winner'])})" if result["tied_with_winner"] else ""
    lines.append(f"chosen: {result['winner']}{tied}")
    if result["left_out"]:
        lines.append(f"left out, equal for all checkpoints: {', '.join(result['left_out'])}")
    return "\n".join(lines)


def read_table(path: Path) -> dict[str, dict[str, float]]:
    """Checkpoint -> metric -> value from a CSV whose first column names the checkpoint; empty cells are missing."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a CSV table ({error}).") from error
    if len(rows) < 2:
        raise InputError(f"{path} needs a header and a row a checkpoint.")
    table: dict[str, dict[str, float]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not row or not row[0]:
            continue
        if row[0] in table:
            raise InputError(f"{path}, row {number}: checkpoint {row[0]} is there twice.")
        try:
            cells = zip(rows[0][1:], row[1:], strict=False)
            table[row[0]] = {name.strip(): float(cell) for name, cell in cells if cell.strip()}
        except ValueError as error:
            raise InputError(f"{path}, row {number}: a metric is not a number ({error}).") from error
    return table


def table_of_evaluations(folder: Path, column: str) -> dict[str, dict[str, float]]:
    """Checkpoint -> metric -> value from `<checkpoint>/metrics.json` as `evaluate -o` writes them, in name order.

    Besides the pairwise metrics of `column`, takes lesion-level true metrics, FID, KID and FRD where computed.
    """
    table = {}
    for path in sorted(folder.glob("*/metrics.json")):
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            row = {metric: report[column][metric] for metric in METRICS}
            row |= {f"lesion_{m}": s["mean"] for m, s in report["statistics"].get("true_in_lesion", {}).items()}
            for name, found in report.get("distances", {}).items():
                row |= {f"{kind}_{name}": found["synthetic_against_real"][kind] for kind in ("fid", "kid")}
            if report.get("radiomics"):
                row["frd"] = report["radiomics"]["frd_v0_as_published" if column == "as_published" else "frd_v0"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is not a result of `evaluate` ({type(error).__name__}).") from error
        table[path.parent.name] = {name: float(value) for name, value in row.items() if value is not None}
    if not table:
        raise InputError(f"{folder} holds no <checkpoint>/metrics.json; run `evaluate -o {folder}/<checkpoint>` first.")
    return table


def chosen_metrics(table: Mapping[str, Mapping[str, float]], wanted: list[str] | None) -> dict[str, dict[str, float]]:
    """The table with the wanted metrics, or with those that every checkpoint has."""
    common = [name for name in next(iter(table.values()), {}) if all(name in row for row in table.values())]
    unknown = [name for name in wanted or () if name not in common]
    if unknown:
        raise InputError(
            f"Not every checkpoint has {', '.join(unknown)}; all have {', '.join(common) or 'none in common'}."
        )
    return {checkpoint: {name: row[name] for name in wanted or common} for checkpoint, row in table.items()}
