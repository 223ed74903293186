"""Evaluation throughput and memory: pairs a second, and peak resident memory over a growing number of slices.

    python Testing/benchmarks/evaluation.py --side 512 --slices 100 --memory 100 1000 10000 --memory-side 64

Random 8-bit PNG pairs, one thread, all metrics but LPIPS. Each memory
run is a process of its own over the same files read again and again, so its peak is that of the stream alone. Pairs a
second are given by the clock and by processor time, which a busy machine does not change.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from VirtualContrastLib.free_memory import keep_freed
from VirtualContrastTrainingLib.metrics.evaluation import Evaluation
from VirtualContrastTrainingLib.metrics.pairs import Pair


def write_pairs(folder: Path, side: int, count: int = 10) -> list[Pair]:
    """Write `count` pairs of random side x side PNGs."""
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(count):
        paths = [folder / f"{kind}_{number}.png" for kind in ("real", "synthetic")]
        for path in paths:
            Image.fromarray(rng.integers(0, 256, (side, side), dtype=np.uint8)).save(path)
        pairs.append(Pair(*paths, str(number)))
    return pairs


def measure(side: int, slices: int) -> dict[str, float]:
    """Evaluate `slices` pairs; pairs/s by clock and by processor time, peak resident memory of this process in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = write_pairs(Path(folder), side)
        keep_freed()  # as the command `evaluate` does
        evaluation = Evaluation()
        evaluation.add(pairs[0])
        start, busy = time.perf_counter(), time.process_time()
        for number in range(slices):
            evaluation.add(pairs[number % len(pairs)])
        seconds, processor_seconds = time.perf_counter() - start, time.process_time() - busy
        evaluation.report()
    return {
        "side": side,
        "slices": slices,
        "pairs_per_s": slices / seconds,
        "pairs_per_processor_s": slices / processor_seconds,
        "peak_mib": peak_mib(),
    }


def peak_mib() -> float:
    """Peak resident memory of this program (Linux). ru_maxrss will not do: a child starts with its parent's peak."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def main() -> None:
    """Print one JSON object a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--slices", type=int, default=100)
    parser.add_argument("--memory", type=int, nargs="*", default=[])
    parser.add_argument("--memory-side", type=int, default=64)
    args = parser.parse_args()
    print(json.dumps(measure(args.side, args.slices)), flush=True)
    for slices in args.memory:
        command = [sys.executable, __file__, "--side", str(args.memory_side), "--slices", str(slices)]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


if __name__ == "__main__":
    main()
