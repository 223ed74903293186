"""Train every system for the same time on phantoms, measure all on phantoms held out, write one table.

    python Testing/benchmarks/training/systems.py --minutes 2 -o results
    python Testing/benchmarks/training/systems.py --systems joint iter_unet time_conditioned --minutes 10 -o results
    python Testing/benchmarks/training/systems.py --systems subtraction direct --units 8 -o results

Writes systems.csv (a row a system and baseline), systems.json (the same with all settings), cases.csv (every measure of
every case) and systems.md. Networks and phantoms are small enough for a CPU. Each training runs in a process of its
own, after a short probe in another, which tells how many epochs fit into the minutes: schedules end as they should.
The minutes count training and validation, not the loading of data and the export. Phantoms only: the table compares
systems after equally short trainings, not what they can reach, and says nothing of patients.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from system_report import markdown

PROBE_UNITS = 2
KEEP = "keep phantoms and runs in this folder, and go on there after a break (default: a temporary folder)"
UNEVEN = "train_uneven"
SEEDS = {"train": 1, "validation": 800_001, "test": 900_001}


@dataclass(frozen=True)
class System:
    """A recipe, the `--set` changes that make it `units` units long, and the folder of cases it is trained on."""

    title: str
    recipe: str
    kind: Literal["phases", "mammograms", "lesions"]
    changes: Callable[[int], list[str]]
    train: str = "train"


def _pix2pixhd(units: int) -> list[str]:
    half = units // 2
    return [
        "schedule.slices_per_epoch=240",
        f"losses.l1_only_epochs={half}",
        f"schedule.constant_epochs={half}",
        f"schedule.decay_epochs={units - half}",
    ]


def _time_conditioned(units: int) -> list[str]:
    half = units // 2
    return [
        "schedule.slices_per_epoch=240",
        f"schedule.constant_epochs={half}",
        f"schedule.decay_epochs={units - half}",
    ]


def _subtraction(units: int) -> list[str]:
    return ["slices_per_epoch=240", f"epochs={units}"]


# Less overlap of the windows than usual, as measuring would otherwise take longer than training.
_VOLUMES = ["data.patches_per_case=4", "window_overlap=0.25"]


def _one_stage(units: int) -> list[str]:
    return [*_VOLUMES, "schedule.warm_up_epochs=0", f"schedule.epochs={units}"]


def _two_stages(units: int) -> list[str]:
    half = units // 2
    return [*_VOLUMES, f"schedule.warm_up_epochs={half}", f"schedule.epochs={units - half}"]


def _without_time(units: int) -> list[str]:
    return [*_two_stages(units), "network.time=none"]


def _cyclegan(units: int) -> list[str]:
    return ["schedule.iterations_per_epoch=20", f"schedule.epochs={units}"]


def _nnunet(units: int) -> list[str]:
    return ["data.images=[real]", "iterations_per_epoch=20", f"epochs={units}"]


SYSTEMS = {
    "single": System("pix2pixHD, phase 1", "phantom-single-p1", "phases", _pix2pixhd),
    "joint": System("pix2pixHD, phases 1-3", "phantom-joint-p1-p3", "phases", _pix2pixhd),
    "time_conditioned": System("time-conditioned", "phantom-time-conditioned", "phases", _time_conditioned, UNEVEN),
    "subtraction": System("subtraction U-Net", "phantom-subtraction-unet", "phases", _subtraction),
    "direct": System("U-Net of phases", "phantom-direct-unet", "phases", _subtraction),
    "iter_unet": System("iterU-Net", "phantom-iter-unet", "phases", _two_stages),
    "iter_no_warm_up": System("iterU-Net without warm-up", "phantom-iter-unet", "phases", _one_stage),
    "iter_no_time": System("iterU-Net without time", "phantom-iter-unet", "phases", _without_time),
    "single_time_point": System("single-time-point 3-D U-Nets", "phantom-single-time-point-unet", "phases", _one_stage),
    "cyclegan": System("CycleGAN", "phantom-cem-cyclegan", "mammograms", _cyclegan),
    "nnunet": System("nnU-Net, real phases", "phantom-lesion-nnunet", "lesions", _nnunet),
}


def main() -> int:
    """Prepare phantoms, run the children one after the other, write the tables; 1 where a system failed."""
    args = _arguments()
    if args.child:
        return _child(args)
    with tempfile.TemporaryDirectory(prefix="virtual-contrast-systems-") as folder:
        work = args.work or Path(folder)
        make_data(work / "data", {"train": args.train, "validation": args.validation, "test": args.test})
        loads = [os.getloadavg()[0]]
        reports = {}
        for name in args.systems:
            reports[name] = run_system(name, work, args.minutes, args.units)
            print(f"{name}: {reports[name].get('failed') or 'done'}", flush=True)
            loads.append(os.getloadavg()[0])
        write(args.output, reports, {**describe(args), "load": loads})
    return int(any("failed" in report for report in reports.values()))


def make_data(root: Path, counts: dict[str, int]) -> None:
    """Phantom studies and mammogram pairs below `root`; those that are there stay."""
    from VirtualContrastTrainingLib.cli import main as training

    for part, count in counts.items():
        seed = SEEDS[part]
        study = ["phantom", "-o", str(root / part), "-n", str(count), "--seed", str(seed), "--lesions", "2"]
        training([*study, "--noise-free"] if part == "test" else study)
        if part == "train":  # the same patients, each with 3 to 11 phases at times of its own
            study[2] = str(root / UNEVEN)
            training([*study, "--uneven-phases"])
        pairs = str(root / "mammograms" / part)
        training(["prepare", "phantom-mammograms", "-o", pairs, "-n", str(count), "--seed", str(seed)])


def run_system(name: str, work: Path, minutes: float, units: int | None = None) -> dict[str, Any]:
    """Probe (without `units`), train and measure a system in processes of their own; `failed` says what went wrong."""
    report: dict[str, Any] = {"system": name, "title": SYSTEMS[name].title, "recipe": SYSTEMS[name].recipe}
    earlier = work / f"{name}_train.json"
    if earlier.is_file():
        return {**report, **json.loads(earlier.read_text(encoding="utf-8"))}
    if units is None:
        probe = _run_child("probe", name, work, PROBE_UNITS)
        if "failed" in probe:
            return {**report, **probe}
        units = max(PROBE_UNITS, int(PROBE_UNITS * 60 * minutes / probe["span_s"]))
    return {**report, **_run_child("train", name, work, units)}


def _run_child(job: str, name: str, work: Path, units: int) -> dict[str, Any]:
    line = [sys.executable, __file__, "--child", job, "--systems", name, "--units", str(units), "--work", str(work)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    (work / f"{name}_{job}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    result = work / f"{name}_{job}.json"
    if done.returncode != 0 or not result.is_file():
        return {"failed": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    return json.loads(result.read_text(encoding="utf-8"))


def _child(args: argparse.Namespace) -> int:
    """Train one system (for `units` units) and write its costs, and after `train` its measures, as JSON."""
    from training_cost import (
        parameter_count,
        peak_cuda_mib,
        peak_memory_mib,
        step_clock,
    )
    from VirtualContrastTrainingLib.systems.recipes import load_recipe
    from VirtualContrastTrainingLib.systems.registry import train

    (name,) = args.systems
    system, data = SYSTEMS[name], args.work / "data"
    cases = data / "mammograms" if system.kind == "mammograms" else data
    places = [f"data.train={cases / system.train}", f"data.validation={cases / 'validation'}"]
    recipe = load_recipe(system.recipe, [*places, *system.changes(args.units)])
    with step_clock() as clock:
        package = train(recipe, args.work / f"{name}_{args.child}")
    report: dict[str, Any] = {
        "units": args.units,
        "span_s": clock.span_s,
        "minutes": clock.span_s / 60,
        "steps": clock.count,
        "step_ms": clock.step_ms,
        "peak_mib": peak_memory_mib(),
        "cuda_peak_mib": peak_cuda_mib(),
        "parameters": parameter_count(package),
        "seed": recipe.seed,
    }
    if args.child == "train":
        report |= measure(system.kind, package, cases)
    (args.work / f"{name}_{args.child}.json").write_text(json.dumps(report), encoding="utf-8")
    return 0


def measure(kind: str, package: Path, cases: Path) -> dict[str, Any]:
    """Measures of the package on the held-out cases, through the engine: `averages` by method, and every `case`."""
    import system_table as table
    from VirtualContrastLib.models.package import load_package
    from VirtualContrastLib.run.model_cache import ModelCache

    models, model, folders = ModelCache(), load_package(package), sorted((cases / "test").iterdir())
    if kind == "lesions":
        net = models.lesion_net(model, "auto")
        found = [one for folder in folders for one in table.measure_lesions(folder, net)]
    elif kind == "mammograms":
        synthesizer = models.synthesizer(model, "auto")
        line = table.fit_line(sorted((cases / "train").iterdir()))
        found = [one for folder in folders for one in table.measure_mammogram(folder, synthesizer, line)]
    else:
        synthesizer = models.synthesizer(model, "auto")
        found = [one for folder in folders for one in table.measure_phases(folder, synthesizer, model.card)]
    device = models.device("auto")
    rows = [one.as_row() for one in found]
    return {"averages": table.averages(found), "cases": rows, "device": device.device, "device_reason": device.reason}


def describe(args: argparse.Namespace) -> dict[str, Any]:
    """What a reader must know of this run."""
    import torch

    return {
        "data": f"phantoms, no patients: {args.train} for training, {args.validation} for validation, {args.test} test",
        "length": f"About {args.minutes:g} min" if args.units is None else f"{args.units} epochs",
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}",
        "phantom_seeds": SEEDS,
    }


def write(folder: Path, reports: dict[str, dict[str, Any]], settings: dict[str, Any]) -> None:
    """Write systems.csv, systems.json, cases.csv and systems.md."""
    from system_table import DEFINITIONS, MODEL

    folder.mkdir(parents=True, exist_ok=True)
    rows, cases = [], []
    for name, report in reports.items():
        cost = {key: value for key, value in report.items() if key not in ("averages", "cases", "span_s")}
        cases += [{"system": name, **row} for row in report.get("cases", ())]
        for method, values in report.get("averages", {}).items():
            rows.append({**(cost if method == MODEL else {"system": name}), "method": method, **values})
        if "failed" in report:
            rows.append(cost)
    for file, content in (("systems.csv", rows), ("cases.csv", cases)):
        columns = list(dict.fromkeys(key for row in content for key in row))
        with (folder / file).open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(content)
    everything = {"settings": settings, "definitions": DEFINITIONS, "rows": rows}
    (folder / "systems.json").write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    text = markdown(rows, settings, DEFINITIONS)
    (folder / "systems.md").write_text(text, encoding="utf-8")
    print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("systems-results"), help="folder for the tables")
    parser.add_argument("--minutes", type=float, default=1.0, help="of training for each system (default 1)")
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS), help="default: all")
    parser.add_argument("--train", type=int, default=24, help="phantoms to train on (default 24)")
    parser.add_argument("--validation", type=int, default=4, help="phantoms to validate on (default 4)")
    parser.add_argument("--test", type=int, default=8, help="held-out phantoms to measure on (default 8)")
    parser.add_argument("--work", type=Path, help=KEEP)
    parser.add_argument("--child", choices=("probe", "train"), help=argparse.SUPPRESS)
    parser.add_argument("--units", type=int, help="epochs of each instead of minutes, for systems of one kind")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
