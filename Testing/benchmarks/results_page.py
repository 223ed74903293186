"""Writes what a benchmark found, and the page of all results: results/<date>-<machine>.json and results/README.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_PAGE = """# Speed of the engine

Written by `make benchmark`; one row a machine and day, the JSON files beside this page hold the rest.

- *published size*, *embedded*: processor seconds of the published way (one slice at a time, float32, PNG
  in, JPEG out) over those of the engine, same network, slices of 512 x 512 pixels, in turns in one run; how the
  engine computed, and how far that is from float32: of 255 steps over the output's range, mean over a slice.
- *trained*: weights after a short training on phantoms, on a phantom that it has not seen: what users run is trained.
  Its error beside that of copying is in the JSON file under `held_out`.
- *random*: random weights, in which rounding grows most; so less of the network is computed in bfloat16.
- *of peak*: operations that direct convolutions would take, over what a matrix product reaches here; trained weights
  where they were measured. Above 100 % is possible: Winograd's convolutions need fewer, and that product is in float32.
- *growth*: processor seconds a pixel, 640 slices over 20, and 1024 x 1024 pixels over 256 x 256.
- *whole job*: processor seconds a stage, and the peak memory of the process with all that it loads.

| date | machine | published size, trained | published size, random | of peak | embedded | growth | whole job |
|---|---|---|---|---|---|---|---|
"""


def write(found: dict[str, Any]) -> None:
    """The result as JSON, and the page anew."""
    RESULTS.mkdir(exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", found["machine"].lower()).strip("-")
    (RESULTS / f"{found['date']}-{name}.json").write_text(json.dumps(found, indent=2) + "\n")
    (RESULTS / "README.md").write_text(page(), encoding="utf-8")


def page() -> str:
    """A table of all results that lie there."""
    return _PAGE + "".join(_row(json.loads(path.read_text())) for path in sorted(RESULTS.glob("*.json"), reverse=True))


def _row(one: dict[str, Any]) -> str:
    big, job = one["synthesis_cpu"], one["whole_job"]
    # Results without a name of the weights are of random ones.
    trained, untrained = (big, one["synthesis_cpu_random_weights"]) if "weights" in big else (None, big)
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in job["processor_s"].items() if seconds >= 0.05)
    cells = [
        one["date"],
        one["machine"],
        _speed(trained) if trained else "not measured",
        _speed(untrained),
        f"{100 * big['share_of_peak']:.0f} %",
        _speed(one["synthesis_cpu_embedded"]),
        f"{one['growth']['slices_ratio']:.2f}, {one['growth']['pixels_ratio']:.2f}",
        f"{job['study']}: {stages}; {job['peak_mib']} MiB",
    ]
    return f"| {' | '.join(cells)} |\n"


def _speed(one: dict[str, Any]) -> str:
    return f"{one['ratio']:.2f} ({one['way']}; differs by {one['mean_abs_difference_255']:.2g})"
