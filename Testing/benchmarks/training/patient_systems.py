"""Train systems on I-SPY patients and measure all on patients held out, by the protocol of `patients table`.

    python Testing/benchmarks/training/patient_systems.py PREPARED --work WORK -o results
    python Testing/benchmarks/training/patient_systems.py PREPARED --work WORK -o results --recipes ispy-single-p1

PREPARED holds train, validation and test, as `prepare crops --split fold0.json` writes them: I-SPY patients of folds 1
and 2, those of fold 0, and those of the other site. WORK keeps runs and tables; what is finished there is kept. Writes
patient_systems.md and patient_systems.csv: numbers only, no pictures of patients.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from VirtualContrastLib.metrics.patients import PatientScores
from VirtualContrastTrainingLib.metrics.patient_table import METHODS, MODEL, Estimate, Row, summarize
from VirtualContrastTrainingLib.systems.recipes import load_recipe

RECIPES = ("ispy-single-p1", "ispy-subtraction-unet", "ispy-direct-unet", "ispy-time-conditioned")
BASELINES = "ispy-enhancement"
PHASES = ("early", "late")
MEASURES = {
    "mae": "MAE",
    "ssim": "SSIM",
    "worse": "made worse",
    "lesion_mae": "lesion MAE",
    "recovered": "recovered",
    "brightening": "brightening",
    "auroc": "AUROC",
}
SHARES = ("worse", "recovered", "brightening")


def main() -> int:
    """Train, measure and write; 1 where a command failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    args = parser.parse_args()
    held_out = _held_out(args.prepared, args.work / "held-out")
    for recipe in args.recipes:
        if not (_train(recipe, args.prepared, args.work) and _measure(recipe, held_out, args.work)):
            return 1
    write({recipe: args.work for recipe in args.recipes}, args.output)
    return 0


def _held_out(prepared: Path, folder: Path) -> Path:
    """One folder with the patients of validation and test."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("validation", "test"):
        for case in sorted((prepared / part).iterdir()):
            link = folder / case.name
            if case.is_dir() and not link.exists():
                link.symlink_to(case.resolve())
    return folder


def _train(recipe: str, prepared: Path, work: Path) -> bool:
    run, started = work / recipe, _cpu_s()
    if (run / "minutes.json").is_file():
        return True
    data = [f"data.{part}={prepared / part}" for part in ("train", "validation")]
    if not _call("train", recipe, "-o", run, "--set", data[0], "--set", data[1]):
        return False
    (run / "minutes.json").write_text(json.dumps((_cpu_s() - started) / 60), encoding="utf-8")
    return True


def _measure(recipe: str, held_out: Path, work: Path) -> bool:
    table = work / "tables" / recipe
    if (table / "patients.csv").is_file():
        return True
    return _call("patients", "table", work / recipe / "model", held_out, "--baselines", BASELINES, "-o", table)


def _cpu_s() -> float:
    """CPU seconds of the commands that have ended: wall time would tell how busy the machine was."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _call(*words: object) -> bool:
    line = [sys.executable, "-m", "VirtualContrastTrainingLib", *map(str, words)]
    return subprocess.run(line, check=False).returncode == 0


def read_rows(path: Path) -> list[Row]:
    """The rows of a patients.csv, with both I-SPY trials as one cohort."""
    rows = []
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            scores = PatientScores(**{name: float(row[name]) for name in PatientScores.__dataclass_fields__})
            cohort = "I-SPY, fold 0" if row["cohort"].startswith("ISPY") else "Duke, another site"
            rows.append(Row(row["patient"], cohort, PHASES.index(row["phase"]), row["method"], scores))
    return rows


def write(works: Mapping[str, Path], output: Path) -> None:
    """Write both files from the tables of all recipes."""
    rows = {recipe: read_rows(work / "tables" / recipe / "patients.csv") for recipe, work in works.items()}
    parts = [_head(), _runs(works)]
    csv_rows: list[dict[str, object]] = []
    for cohort in ("I-SPY, fold 0", "Duke, another site"):
        for phase, name in enumerate(PHASES):
            found = {
                recipe: summarize(own, phase, cohort)
                for recipe, own in rows.items()
                if any(row.phase == phase and row.cohort == cohort for row in own)
            }
            if not found:
                continue
            parts.append(_part(f"{cohort}, {name} phase", found))
            for recipe, summary in found.items():
                csv_rows += _csv_rows(cohort, name, recipe, summary)
    output.mkdir(parents=True, exist_ok=True)
    (output / "patient_systems.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    with (output / "patient_systems.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(csv_rows[0]))
        writer.writeheader()
        writer.writerows(csv_rows)


def _head() -> str:
    return (
        "# Systems on real patients\n\n"
        "`python Testing/benchmarks/training/patient_systems.py`: small networks and short trainings on a CPU, on "
        "147 I-SPY patients (crops of 80 mm around the tumor, eight slices each); measured on the 73 I-SPY patients of "
        "fold 0 and on the 135 of Duke, which no system saw. Definitions: `VirtualContrastLib/metrics/patients.py`. "
        "Gain and intensity table are those in the default model's card; they were fitted on all I-SPY patients, those "
        f"of fold 0 among them. One thread on {os.cpu_count()} busy cores ({platform.machine()}, "
        f"torch {torch.__version__})."
    )


def _runs(works: Mapping[str, Path]) -> str:
    lines = ["| recipe | seed | CPU minutes |", "|---|---|---|"]
    for recipe, work in works.items():
        minutes = json.loads((work / recipe / "minutes.json").read_text(encoding="utf-8"))
        lines.append(f"| {recipe} | {load_recipe(str(work / recipe / 'recipe.yaml'), []).seed} | {minutes:.0f} |")
    return "\n".join(lines)


def _part(title: str, found: Mapping[str, Mapping[str, object]]) -> str:
    """The baselines once, then every system, with what it gains over copying and over the gain."""
    first = next(iter(found.values()))
    lines = [f"## {title}: {first['patients']} patients", "", "| | " + " | ".join(MEASURES.values()) + " |"]
    lines.append("|" + "---|" * (len(MEASURES) + 1))
    lines += [_line(name, first["methods"][name]) for name in METHODS[:-1]]  # type: ignore[index]
    lines += [_line(recipe, summary["methods"][MODEL]) for recipe, summary in found.items()]  # type: ignore[index]
    return "\n".join([*lines, "", *(f"* {recipe}: {_verdict(summary)}" for recipe, summary in found.items())])


def _line(name: str, measures: Mapping[str, Estimate]) -> str:
    cells = [
        f"{100 * measures[m].value:.1f} %" if m in SHARES else f"{measures[m].value:.3g} {_interval(measures[m])}"
        for m in MEASURES
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def _interval(estimate: Estimate) -> str:
    return f"[{estimate.low:.3g}, {estimate.high:.3g}]"


def _verdict(summary: Mapping[str, object]) -> str:
    """Whether the system beats the baselines: the interval of the paired difference does not reach 0."""
    paired: Mapping[str, Mapping[str, Estimate]] = summary["paired"]  # type: ignore[assignment]
    said = []
    for baseline, measure, text in (
        ("identity", "mae", "copying in MAE"),
        ("gain", "mae", "the gain in MAE"),
        ("identity", "lesion_mae", "copying in lesion MAE"),
        ("gain", "auroc", "the gain in AUROC"),
    ):
        found = paired[baseline][measure]
        better = found.low > 0 if measure == "auroc" else found.high < 0
        worse = found.high < 0 if measure == "auroc" else found.low > 0
        word = "beats" if better else "is worse than" if worse else "is level with"
        said.append(f"{word} {text} ({found.value:+.3g} {_interval(found)})")
    return "; ".join(said) + "."


def _csv_rows(cohort: str, phase: str, recipe: str, summary: Mapping[str, object]) -> Sequence[dict[str, object]]:
    methods: Mapping[str, Mapping[str, Estimate]] = summary["methods"]  # type: ignore[assignment]
    rows = []
    for method, measures in methods.items():
        row: dict[str, object] = {"cohort": cohort, "phase": phase, "recipe": recipe, "method": method}
        for name in MEASURES:
            row |= {name: measures[name].value, f"{name} low": measures[name].low, f"{name} high": measures[name].high}
        rows.append(row)
    return rows


if __name__ == "__main__":
    sys.exit(main())
