"""What breaks when things go wrong: the matrix of stages and faults, and seeded fuzzers. `make faults`.

Prints the matrix (a row a fault, a column a stage of the run) and the counts of the fuzzers, and ends with 1 where
anything did not survive. Everything runs in children forked from one process that has the engine loaded, so that the
whole takes minutes. A cell is repeated alone with `--only FAULT STAGE`, a fuzzer with `--fuzz NAME --seed N`.
"""

from __future__ import annotations

import argparse
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
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        place = Path(folder)
        if arguments.fuzz is None:
            cells = matrix.run(place, only=tuple(arguments.only) if arguments.only else None)
            print(matrix.table(cells))
            failures += [f"{fault} in {stage}: {problem}" for (fault, stage), problem in cells.items() if problem]
        if arguments.only is None:
            names = [arguments.fuzz] if arguments.fuzz else list(fuzzers.FUZZERS)
            print(f"\n{'fuzzer':<12}{'items':>7}{'used':>7}{'refused':>9}{'failed':>8}")
            for name in names:
                count = fuzzers.run(name, place / name, arguments.seed, arguments.items)
                print(
                    f"{name:<12}{count.items:>7}{count.used:>7}{count.refused:>9}{len(count.failures):>8}", flush=True
                )
                failures += [f"fuzzer {name}, seed {arguments.seed}: {failure}" for failure in count.failures]
    for failure in failures:
        print(f"FAILED {failure}")
    print(f"\n{'nothing broke' if not failures else f'{len(failures)} failures'} in {time.monotonic() - start:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
