"""Every table and figure of the papers end to end on a small set, and how far each is the paper's: one table."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.models.catalog import load_catalog
from VirtualContrastLib.models.package import ModelPackage, save_package
from VirtualContrastLib.study import Study
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.study_synthesizer import study_synthesizer
from VirtualContrastLib.synthesis.synthesizer import Synthesis

from ..data.cases import case_folders
from ..data.mammogram_phantom import write_phantom_pair
from ..data.mammograms import LOW_ENERGY, RECOMBINED
from ..data.phantom import PhantomSettings, make_phantom
from ..data.phantom.writing import write_phantom
from ..paths import resources_dir
from .inputs import Images, Networks
from .main_results import is_perfect, main_result
from .named_table import NamedTable, Row
from .outputs import OUTPUTS, Kind
from .phantom_cohort import FIRST_SEED, phase_times, synthesis_model, write_synthesis
from .reports import interval_figure
from .segmentation import found_lesions
from .table_run import TableRequest, write_output

NAME = "coverage"
COLUMNS = ("item", "command", "rows and columns of the paper", "units", "on phantoms", "on the cases given")
SETTINGS = PhantomSettings(
    size_kji=(16, 120, 192),
    spacing_kji_mm=(7.5, 1.6, 1.6),
    lesion_count_weights=(0, 0.5, 0.5),
    lesion_radius_mm=(8, 12),
)
"""Phantoms of few slices, so that every table takes seconds; no measure of how good a model is."""
_IN_UNITS: tuple[Kind, ...] = ("quality", "phases", "systems", "kinetics", "mama_synth")
"""Tables of which `is_perfect` knows what a perfect synthesis scores."""


@dataclass(frozen=True)
class Coverage:
    """How far every table and figure is the paper's.

    Attributes:
        data: what they were made from, in words.
        rows: one per table or figure, by COLUMNS.
        failures: a sentence for each that could not be made; they may name files and are for the terminal only.
    """

    data: str
    rows: Sequence[Row]
    failures: Sequence[str]

    def as_json(self) -> dict[str, object]:
        """The rows, and how many sentences there are."""
        return {"data": self.data, "rows": self.rows, "failures": len(self.failures)}


@dataclass
class _Set:
    """What tables are made from.

    Attributes:
        real: folder of the real cases.
        synthetic: what a model made of them.
        perfect: their real phases in the place of synthetic ones.
        data: what this is, in words.
        place: folder for the tables.
        phantoms: whether all tables can be made.
    """

    real: Path
    synthetic: Path
    perfect: Path
    data: str
    place: Path
    phantoms: bool


def cover(folder: Path, *, names: Sequence[str], phantoms: int, cases: Path | None, networks: Networks) -> Coverage:
    """Make the tables and figures `names` below `folder` and compare them with the papers' labels.

    Args:
        folder: gets a folder for each set of data and `coverage.csv`, .json, .png and .html.
        names: of OUTPUTS.
        phantoms: how many.
        cases: prepared cases of patients, None for none.
        networks: for LPIPS and FID.

    Returns:
        The rows, and what could not be made.

    Raises:
        InputError: a name is unknown, `folder` is not empty, or the cases cannot be used.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is a file or not empty; choose another folder.")
    unknown = [name for name in names if name not in OUTPUTS]
    if unknown:
        raise InputError(f"There is no table or figure called {unknown[0]}; 'evaluate --table list' names them.")
    sets = [_phantom_set(folder / "phantoms", phantoms)]
    if cases is not None:
        sets.append(_case_set(folder / "cases", cases))
    rows: list[Row] = []
    failures: list[str] = []
    for name in names:
        found = [_made(name, one, networks, failures) for one in sets]
        rows.append(
            {
                "item": f"{name}: {OUTPUTS[name].title}",
                "command": _command(name),
                COLUMNS[2]: _labels(name, sets[0].place / name),
                "units": _units(name, sets[0], failures),
                "on phantoms": found[0],
                "on the cases given": found[1] if len(found) > 1 else "-",
            }
        )
    data = "; ".join(one.data for one in sets)
    notes = [f"Data: {data}.", "Units: whether a perfect synthesis on 0..255 scores perfectly in the table."]
    coverage = Coverage(data, rows, failures)
    NamedTable(
        NAME,
        "Tables and figures of the papers",
        COLUMNS,
        rows,
        coverage,
        interval_figure(["rows"], {}, data),
        "",
        notes,
    ).write(folder)
    return coverage


def _made(name: str, one: _Set, networks: Networks, failures: list[str]) -> str:
    """Make one table on one set and say its main result; a table that cannot be made is a failure."""
    request = _request(name, one, networks)
    if request is None:
        return "-"
    try:
        report, left_out = write_output(request)
    except InputError as error:
        failures.append(f"{name}: {error}")
        return f"not made: {error}"
    failures += [f"{name}: {sentence}" for sentence in left_out]
    return main_result(report)


def _request(name: str, one: _Set, networks: Networks) -> TableRequest | None:
    """What to ask for; None where the set has nothing for it."""
    kind, output = OUTPUTS[name].kind, one.place / name
    images = Images(one.real, one.synthetic)
    if kind in ("quality", "phases", "views", "mama_synth", "kinetics"):
        return TableRequest(name, output, images, networks, repeats=100)
    if kind == "systems":
        return TableRequest(name, output, Images(one.real), networks, systems={"model": one.synthetic}, repeats=100)
    if not one.phantoms:
        return None
    if kind == "segmentation":
        scenarios = found_lesions(one.real, one.synthetic, one.place / "lesions")
        return TableRequest(name, output, Images(one.real), scenarios=scenarios, repeats=100)
    if kind in ("selection", "epochs"):
        return TableRequest(name, output, Images(one.real), networks, source=_models(one.place / "models"))
    if kind == "mammograms":
        truth, copies = _mammograms(one.place / "mammograms")
        return TableRequest(name, output, Images(truth, copies), networks, repeats=100)
    return TableRequest(name, output, source=_reads(one.place / "reads.csv"), repeats=100)


def _units(name: str, one: _Set, failures: list[str]) -> str:
    """Whether a perfect synthesis in foreign units scores perfectly."""
    kind = OUTPUTS[name].kind
    if kind not in _IN_UNITS:
        return "-"
    place = one.place / "perfect" / name
    images, systems = Images(one.real, one.perfect), {}
    if kind == "systems":
        images, systems = Images(one.real), {"model": one.perfect}
    try:
        report, _ = write_output(TableRequest(name, place, images, systems=systems, repeats=20))
    except InputError as error:
        failures.append(f"{name}, units: {error}")
        return "not checked"
    return "perfect" if is_perfect(report) else "WRONG"


def _labels(name: str, place: Path) -> str:
    """How many of the paper's rows and columns the table has, or the panels of the figure."""
    labels = json.loads((resources_dir() / "Papers" / "paper_labels.json").read_text(encoding="utf-8")).get(name)
    path = place / f"{name}.csv"
    if labels is None:
        return "a figure or list of its own" if path.is_file() else "-"
    if not path.is_file():
        return "not made"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    have, columns = [next(iter(row.values()), "") for row in rows], list(rows[0]) if rows else []
    figure = place / f"{name}.json"
    content = json.loads(figure.read_text(encoding="utf-8")) if figure.is_file() else {}
    panels = content.get("panels") if isinstance(content, dict) else None  # a table alone is a list
    if panels is not None:  # what a figure shows stands in its panels, not in its table of numbers
        have, columns = panels["rows"], panels["columns"]
    parts = []
    for what, wanted, there in (("rows", labels["rows"], have), ("columns", labels["columns"], columns)):
        if wanted:
            parts.append(f"{sum(any(_alike(w, t) for t in there) for w in wanted)} of {len(wanted)} {what}")
    return ", ".join(parts)


def _alike(wanted: str, there: str) -> bool:
    return there == wanted or there.startswith(f"{wanted},")


def _command(name: str) -> str:
    if OUTPUTS[name].kind == "segmentation":
        return f"segment run; evaluate --table {name}"
    return f"evaluate --table {name}"


def _phantom_set(folder: Path, count: int) -> _Set:
    """Phantoms, and what the catalog's model of phantoms makes of them."""
    package = synthesis_model(None)
    settings = replace(SETTINGS, phase_times_s=phase_times(package.card))
    real = folder / "truth"
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        write_phantom(make_phantom(seed, settings), real / f"case_{seed}")
    data = f"{count} phantoms of {SETTINGS.size_kji[0]} slices, synthesis by {package.card.id}"
    return _synthesized(folder, real, package, data, phantoms=True)


def _case_set(folder: Path, cases: Path) -> _Set:
    """Prepared cases of patients, and what the catalog's default model makes of them."""
    name = load_catalog().default_id("synthesis")
    package = synthesis_model(name)
    data = f"{len(case_folders(cases))} cases given, synthesis by {package.card.id}"
    return _synthesized(folder, cases, package, data, phantoms=False)


def _synthesized(folder: Path, real: Path, package: ModelPackage, data: str, *, phantoms: bool) -> _Set:
    synthetic, perfect = folder / "runs", folder / "perfect-synthesis"
    synthesizer = study_synthesizer(package, choose_device("auto"))
    for case in case_folders(real):
        write_synthesis(synthesizer, package.card, case, synthetic / case.name)
        write_synthesis(_Perfect(), package.card, case, perfect / case.name)
    return _Set(real, synthetic, perfect, data, folder, phantoms)


class _Perfect:
    """The real phases on 0..255, each by its own minimum and maximum: what an as-published model is trained to make."""

    def synthesize_study(
        self, study: Study, events: Events, *, times_s: Sequence[float] | None, perturbations: int, seed: int
    ) -> Synthesis:
        """The phases of `study`; nothing is synthesized."""
        phases = [_eight_bit_range(phase.image) for phase in study.real]
        times = [phase.time_s or 0.0 for phase in study.real]
        return Synthesis(phases, times, None, arbitrary_units=True, pre=_eight_bit_range(study.pre.image))


def _eight_bit_range(image: sitk.Image) -> sitk.Image:
    """By SimpleITK and not by the function that is checked."""
    return sitk.RescaleIntensity(sitk.Cast(image, sitk.sitkFloat32), 0.0, 255.0)


def _models(folder: Path) -> Path:
    """The catalog's model of phantoms, and the same with noise in its weights, as the checkpoints of a run."""
    if not folder.is_dir():
        package = synthesis_model(None)
        shutil.copytree(package.folder, folder / "model")
        rng = np.random.default_rng(0)
        state = {
            name: tensor + 0.05 * float(tensor.float().std()) * tensor.new_tensor(rng.normal(size=tuple(tensor.shape)))
            if tensor.is_floating_point() and tensor.numel() > 1
            else tensor
            for name, tensor in package.load_state().items()
        }
        save_package(folder / "noisy", package.card, state, model_card_md="# With noise\n")
    return folder


def _mammograms(folder: Path) -> tuple[Path, Path]:
    """Simulated pairs, and copies of their low-energy images."""
    truth, copies = folder / "truth", folder / "copies"
    for seed in range(FIRST_SEED, FIRST_SEED + 4):
        case = write_phantom_pair(seed, truth / f"P{seed}_L_CC")
        (copies / case.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(case / LOW_ENERGY, copies / case.name / RECOMBINED)
    return truth, copies


def _reads(path: Path) -> Path:
    """Two readers, two conditions, answers by chance."""
    rng = np.random.default_rng(0)
    lines = ["reader,case,condition,truth,lesion,bpe,score,hallucination"]
    for reader in ("R1", "R2"):
        for case in range(16):
            for condition in ("real", "synthetic"):
                lesion, bpe, score, invented = rng.integers(0, 2), "abcd"[rng.integers(0, 4)], rng.integers(1, 6), "no"
                lines.append(f"{reader},{case},{condition},{case % 2},{lesion},{bpe},{score},{invented}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
