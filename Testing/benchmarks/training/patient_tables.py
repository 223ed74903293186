"""Tables 2 and 4 of the JMI paper on real patients held out: trained systems beside identity, gain and intensity table.

    python Testing/benchmarks/training/patient_tables.py PREPARED --work WORK -o results

PREPARED and WORK are those of patient_systems.py, whose trained models are taken. Each method's phases go to
WORK/synthetic, each table to WORK/paper-tables by `evaluate --table`; what is finished there is kept. Writes
patient_tables.md and patient_tables.csv: numbers only, no pictures of patients.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import SimpleITK as sitk
import torch
from patient_systems import BASELINES, RECIPES
from VirtualContrastLib.io.volumes import like, to_array
from VirtualContrastLib.metrics.baselines import GAIN, TABLE
from VirtualContrastLib.models.catalog import resolve_model
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.study_synthesizer import study_synthesizer
from VirtualContrastTrainingLib.data.cases import case_folders
from VirtualContrastTrainingLib.papers.patients import baselines_of
from VirtualContrastTrainingLib.papers.phantom_cohort import write_synthesis
from VirtualContrastTrainingLib.systems.recipes import load_recipe

COHORTS = {"I-SPY, fold 0": "validation", "Duke, another site": "test"}
FITTED = (GAIN, TABLE)
NETWORK = "alexnet"
DISTANCE = f"Frechet distance {NETWORK}"
COLUMNS = ("row", "MAE", "PSNR (dB)", "SSIM", "LPIPS", DISTANCE)
BASELINE_OF_TABLE_4 = "ispy-subtraction-unet"
"""Its phases have the rows of Table 4; the subtractions of the gain and of the other recipes stand beside its own."""


def main() -> int:
    """Synthesize, measure and write; 1 where a command failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--parts", nargs="+", default=list(COHORTS.values()), choices=list(COHORTS.values()))
    parser.add_argument("--every", type=int, default=1, help="only every Nth patient of a cohort, by name")
    args = parser.parse_args()
    methods = (*FITTED, *args.recipes)
    rows: list[dict[str, str]] = []
    for cohort, part in ((cohort, part) for cohort, part in COHORTS.items() if part in args.parts):
        real = _subset(args.prepared / part, args.work / "cohorts" / f"{part}-{args.every}", args.every)
        made = {method: args.work / "synthetic" / real.name / method for method in methods}
        for method, folder in made.items():
            _synthesize(method, real, folder, args.work)
        asked = [("osuala2025-table2", method) for method in methods] + [("osuala2025-table4", BASELINE_OF_TABLE_4)]
        for table, method in asked:
            others = () if table == "osuala2025-table2" else (GAIN, *(name for name in args.recipes if name != method))
            systems = {name: made[name] for name in others}
            folder = args.work / "paper-tables" / real.name / method
            if not (folder / f"{table}.csv").is_file() and not _evaluate(table, real, made[method], systems, folder):
                return 1
            rows += _rows(folder / f"{table}.csv", {"table": table, "cohort": cohort, "method": method})
    taken = "All patients." if args.every == 1 else f"One patient of {args.every}, by name."
    write(rows, args.recipes, args.work, args.output, taken)
    return 0


def _subset(cohort: Path, folder: Path, every: int) -> Path:
    """A folder with links to every Nth case of a cohort."""
    folder.mkdir(parents=True, exist_ok=True)
    for case in case_folders(cohort)[::every]:
        link = folder / case.name
        if not link.exists():
            link.symlink_to(case.resolve())
    return folder


def _synthesize(method: str, real: Path, made: Path, work: Path) -> None:
    """Write the phases of a method for every case that lacks them."""
    missing = [case for case in case_folders(real) if not (made / case.name).is_dir()]
    if not missing:
        return
    if method in FITTED:
        fitted = baselines_of(resolve_model(BASELINES, "synthesis"))
        for case in missing:
            pre = sitk.ReadImage(str(case / "pre.nrrd"))
            folder = made / case.name / "phases"
            folder.mkdir(parents=True)
            for phase, baselines in enumerate(fitted, start=1):
                image = like(baselines.apply(method, to_array(pre)).astype("float32"), pre)
                sitk.WriteImage(image, str(folder / f"phase_{phase}.nrrd"))
        return
    package = load_package(work / method / "model")
    synthesizer = study_synthesizer(package, choose_device("cpu"))
    for case in missing:
        write_synthesis(synthesizer, package.card, case, made / case.name)


def _evaluate(table: str, real: Path, made: Path, systems: Mapping[str, Path], folder: Path) -> bool:
    line = [sys.executable, "-m", "VirtualContrastTrainingLib", "evaluate", "--table", table, "--real", str(real)]
    line += ["--synthetic", str(made), "--fid", f"{NETWORK}=download", "--bootstrap", "200", "-o", str(folder)]
    line += [word for name, place in systems.items() for word in ("--system", f"{name}={place}")]
    return subprocess.run(line, check=False).returncode == 0


def _rows(path: Path, of: dict[str, str]) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return [{**of, **row} for row in csv.DictReader(stream)]


def write(rows: Sequence[dict[str, str]], recipes: Sequence[str], work: Path, output: Path, every: str) -> None:
    """Write both files from the rows of all tables; `every` says which patients were taken."""
    parts = [_head(every), _runs(recipes, work)]
    for table, title in (("osuala2025-table2", "Table 2"), ("osuala2025-table4", "Table 4")):
        for cohort in dict.fromkeys(row["cohort"] for row in rows):
            own = [row for row in rows if row["table"] == table and row["cohort"] == cohort]
            parts.append(_part(f"{title}, {cohort}: {own[0]['patients']} patients, {own[0]['slices']} slices", own))
    output.mkdir(parents=True, exist_ok=True)
    (output / "patient_tables.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    columns = list(dict.fromkeys(column for row in rows for column in row))
    kept = [column for column in columns if any(row.get(column) for row in rows)]
    with (output / "patient_tables.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, kept, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _head(every: str) -> str:
    return (
        "# Tables 2 and 4 on real patients\n\n"
        "`python Testing/benchmarks/training/patient_tables.py`: what `evaluate --table osuala2025-table2` and "
        "`osuala2025-table4` say of the models of `patient_systems.py` (small networks, short trainings on a CPU), on "
        "patients that none of them saw: 80 mm crops, eight slices each, gray levels of 255, whole crops with air. "
        "Identity is the pre-contrast image; gain and intensity table are those in the default model's card, fitted on "
        "all I-SPY patients. P1 is the early and P2 the late phase. All slices hold tumor, so that Table 4 leaves none "
        f"out.\n\n*{DISTANCE}* is the Frechet distance on the last layer of AlexNet (256 features, the network of "
        "LPIPS). It is **not FID**, whose weights could not be had, and no number of a paper compares with it; the row "
        "of the halves tells the distance of two samples of real images. Slices fewer than features bias it: compare "
        "it within one table alone.\n\n"
        f"{every} One thread on {os.cpu_count()} busy cores ({platform.machine()}, torch {torch.__version__})."
    )


def _runs(recipes: Sequence[str], work: Path) -> str:
    lines = ["| recipe | seed | CPU minutes of training |", "|---|---|---|"]
    for recipe in recipes:
        minutes = float((work / recipe / "minutes.json").read_text(encoding="utf-8"))
        lines.append(f"| {recipe} | {load_recipe(str(work / recipe / 'recipe.yaml'), []).seed} | {minutes:.1f} |")
    return "\n".join(lines)


def _part(title: str, rows: Sequence[dict[str, str]]) -> str:
    """One table: rows of acquired images once, then those of every method, in the order of the paper's rows."""
    named: dict[str, dict[str, str]] = {}
    for place in dict.fromkeys(row["row"] for row in rows):
        for row in (row for row in rows if row["row"] == place):
            real = "synthetic" not in place
            named.setdefault(place if real else place.replace("synthetic", row["method"]), row)
    lines = [f"## {title}", "", "| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for label, row in named.items():
        lines.append(f"| {label} | " + " | ".join(_number(row.get(column)) for column in COLUMNS[1:]) + " |")
    return "\n".join(lines)


def _number(text: str | None) -> str:
    return f"{float(text):.3g}" if text else ""


if __name__ == "__main__":
    sys.exit(main())
