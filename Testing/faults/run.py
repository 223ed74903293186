"""What breaks when things go wrong: the matrix of stages and faults, and seeded fuzzers. `make faults`.

Prints the matrix (one row per fault, one column per stage of the run) and the counts of the fuzzers, and ends with 1
where anything did not survive. Everything runs in children forked from processes that have the engine loaded, one a
core, so that the whole takes minutes. A cell is repeated alone with `--only FAULT STAGE`, a fuzzer with `--fuzz NAME
--seed N`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import fuzzers
import matrix
from children import load_engine

ITEMS = 60
"""Mutations of each fuzzer in the bounded run."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the fuzzers (default 1)")
    parser.add_argument("--items", type=int, default=ITEMS, help=f"mutations of each fuzzer (default {ITEMS})")
    parser.add_argument("--only", nargs=2, metavar=("FAULT", "STAGE"), help="one cell of the matrix and nothing else")
    parser.add_argument("--fuzz", choices=fuzzers.FUZZERS, help="one fuzzer and nothing else")
    arguments = parser.parse_args()
    start = time.monotonic()
    load_engine()
    cells = [tuple(arguments.only)] if arguments.only else [] if arguments.fuzz else matrix.all_cells()
    names = [arguments.fuzz] if arguments.fuzz else [] if arguments.only else list(fuzzers.FUZZERS)
    failures: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="faults-") as folder,
        multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool,
    ):
        place = Path(folder)
        ended = [pool.apply_async(matrix.cell, (*one, place)) for one in cells]
        counted = [
            pool.apply_async(fuzzers.run, (name, place / name, arguments.seed, arguments.items)) for name in names
        ]
        if cells:
            problems = dict(zip(cells, (one.get() for one in ended), strict=True))
            print(matrix.table(problems))
            failures += [f"{fault} in {stage}: {problem}" for (fault, stage), problem in problems.items() if problem]
        if names:
            print(f"\n{'fuzzer':<12}{'items':>7}{'used':>7}{'refused':>9}{'failed':>8}")
        for name, one in zip(names, counted, strict=True):
            count = one.get()
            print(f"{name:<12}{count.items:>7}{count.used:>7}{count.refused:>9}{len(count.failures):>8}", flush=True)
            failures += [f"fuzzer {name}, seed {arguments.seed}: {failure}" for failure in count.failures]
    for failure in failures:
        print(f"FAILED {failure}")
    print(f"\n{'nothing broke' if not failures else f'{len(failures)} failures'} in {time.monotonic() - start:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
