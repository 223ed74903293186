"""What breaks when things go wrong: the matrix of stages and faults, and seeded fuzzers. `make faults`.

Prints each cell of the matrix and each fuzzer as it ends, then the matrix (one row per fault, one column per stage of
the run), and exits with 1 where anything did not survive or time ran out. Everything runs in children forked from
processes that have the engine loaded, one per core: about ten minutes on two cores, and never much longer than
`--minutes`. A cell is repeated alone with `--only FAULT STAGE`, a fuzzer with `--fuzz NAME --seed N`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import fuzzers
import matrix
from children import load_engine

ITEMS = 60
"""Mutations of each fuzzer in the bounded run."""
MINUTES = 30.0
"""After this time nothing new is started."""
OUT_OF_TIME = "not run: out of time"


@dataclass(frozen=True)
class Outcome:
    """What a cell (fault and stage) or a fuzzer (its name and "") came to."""

    task: tuple[str, str]
    failures: list[str]
    summary: str
    seconds: float


def run_task(task: tuple[str, str], place: Path, seed: int, items: int, end: float) -> Outcome:
    """Run one cell of the matrix or one fuzzer; nothing once the monotonic clock has passed `end`."""
    start = time.monotonic()
    name, stage = task
    if start > end:
        failures, summary = [OUT_OF_TIME], OUT_OF_TIME
    elif stage:
        problem = matrix.cell(name, stage, place)
        failures, summary = [problem] if problem else [], problem or "survived"
    else:
        count = fuzzers.run(name, place / name, seed, items)
        failures = count.failures
        summary = f"{count.items} items: {count.used} used, {count.refused} refused, {len(failures)} failed"
    return Outcome(task, failures, summary, time.monotonic() - start)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the fuzzers (default 1)")
    parser.add_argument("--items", type=int, default=ITEMS, help=f"mutations of each fuzzer (default {ITEMS})")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"start nothing later (default {MINUTES:g})")
    parser.add_argument("--only", nargs=2, metavar=("FAULT", "STAGE"), help="one cell of the matrix and nothing else")
    parser.add_argument("--fuzz", choices=fuzzers.FUZZERS, help="one fuzzer and nothing else")
    arguments = parser.parse_args()
    start = time.monotonic()
    load_engine()
    if arguments.only:
        tasks = [tuple(arguments.only)]
    elif arguments.fuzz:
        tasks = [(arguments.fuzz, "")]
    else:
        tasks = [*matrix.all_cells(), *((name, "") for name in fuzzers.FUZZERS)]
    outcomes: list[Outcome] = []
    with (
        tempfile.TemporaryDirectory(prefix="faults-") as folder,
        multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool,
    ):
        end = start + 60 * arguments.minutes
        work = partial(run_task, place=Path(folder), seed=arguments.seed, items=arguments.items, end=end)
        for outcome in pool.imap_unordered(work, tasks):
            outcomes.append(outcome)
            title = " in ".join(part for part in outcome.task if part)
            print(
                f"{len(outcomes):>3}/{len(tasks)} {title:<24}{outcome.seconds:>6.0f} s  {outcome.summary}", flush=True
            )
    cells = {one.task: "; ".join(one.failures) for one in outcomes if one.task[1]}
    if cells:
        print(f"\n{matrix.table(cells)}\n")
    failures = [(one, failure) for one in outcomes for failure in one.failures]
    for outcome, failure in failures:
        fault, stage = outcome.task
        print(f"FAILED {f'{fault} in {stage}' if stage else f'fuzzer {fault}, seed {arguments.seed}'}: {failure}")
    print(f"{f'{len(failures)} failures' if failures else 'nothing broke'} in {time.monotonic() - start:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
