"""Every table and figure of the papers end to end on a small set, and how far each is the paper's: one table."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from VirtualContrastLib.events import InputError

from ..data.cases import case_folders
from ..paths import resources_dir
from .coverage_sets import CaseSet, case_set, mammograms, models, phantom_set, reads
from .inputs import Images, Networks
from .main_results import is_perfect, made_result, main_result
from .named_table import NamedTable, Row
from .outputs import OUTPUTS, Kind
from .reports import interval_figure
from .scenario_table import papers_rows, scenario_label
from .segmentation import found_lesions
from .table_run import TableRequest, write_output

NAME = "coverage"
COLUMNS = ("item", "command", "rows and columns of the paper", "units", "on phantoms", "on the cases given")
_IN_UNITS: tuple[Kind, ...] = ("quality", "phases", "systems", "kinetics", "mama_synth")
"""Tables of which `is_perfect` knows what a perfect synthesis scores."""
_BESIDE_BASELINES: tuple[Kind, ...] = ("quality", "phases", "kinetics", "mama_synth")
"""Tables of one model's images, which are made of the baselines too; tables of systems have them as rows."""


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
    if cases is not None:
        case_folders(cases)  # a folder without any is told before anything is written
    sets = [phantom_set(folder / "phantoms", phantoms)]
    if cases is not None:
        sets.append(case_set(folder / "cases", cases))
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
    notes = [
        f"Data: {data}.",
        "Units: whether a perfect synthesis on 0..255 scores perfectly in the table.",
        "Columns are empty where weights were not given (FID, LPIPS) or images are too small (MS-SSIM), that of FRD "
        "without --radiomics, which evaluate has.",
        "Rows named by --system are missing where no such system was given, columns of phases that no case has.",
        "Networks of the segmentation tables are trained by the command segment, not here: lesions are found by "
        "threshold, and the rows are those that it writes.",
    ]
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


def _made(name: str, one: CaseSet, networks: Networks, failures: list[str]) -> str:
    """Make one table on one set and say its main result; a table that cannot be made is a failure."""
    request = _request(name, one, networks)
    if request is None:
        return "-"
    try:
        report, left_out = write_output(request)
        said = [main_result(report), *_of_baselines(request, one)]
    except InputError as error:
        failures.append(f"{name}: {error}")
        return f"not made: {error}"
    failures += [f"{name}: {sentence}" for sentence in left_out]
    return "; ".join(said)


def _of_baselines(request: TableRequest, one: CaseSet) -> list[str]:
    """What the same table says of the baselines in the place of the model."""
    said = []
    for name, folder in one.baselines.items() if OUTPUTS[request.table].kind in _BESIDE_BASELINES else ():
        place = one.place / "of baselines" / name / request.table
        images = replace(request.images, synthetic=folder)
        report, _ = write_output(replace(request, images=images, output=place))
        said.append(f"{name}: {made_result(report)}")
    return said


def _request(name: str, one: CaseSet, networks: Networks) -> TableRequest | None:
    """What to ask for; None where the set has nothing for it."""
    kind, output = OUTPUTS[name].kind, one.place / name
    images = Images(one.real, one.synthetic)
    if kind in ("quality", "phases", "views", "mama_synth", "kinetics"):
        return TableRequest(name, output, images, networks, repeats=100)
    if kind == "systems":
        systems = {**one.baselines, "model": one.synthetic}
        return TableRequest(name, output, Images(one.real), networks, systems=systems, repeats=100)
    if not one.phantoms:
        return None
    if kind == "segmentation":
        scenarios = found_lesions(one.real, one.synthetic, one.place / "lesions")
        return TableRequest(name, output, Images(one.real), scenarios=scenarios, repeats=100)
    if kind in ("selection", "epochs"):
        return TableRequest(name, output, Images(one.real), networks, source=models(one.place / "models"))
    if kind == "mammograms":
        truth, copies = mammograms(one.place / "mammograms")
        return TableRequest(name, output, Images(truth, copies), networks, repeats=100)
    return TableRequest(name, output, source=reads(one.place / "reads.csv"), repeats=100)


def _units(name: str, one: CaseSet, failures: list[str]) -> str:
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


@dataclass(frozen=True)
class _Written:
    """Labels of a table that was written, or of what a figure shows; `empty` are the columns without any value."""

    rows: Sequence[str]
    columns: Sequence[str]
    empty: Sequence[str] = ()


def _labels(name: str, place: Path) -> str:
    """How many of the paper's rows and columns the table has, which it lacks, and which have no value."""
    labels = json.loads((resources_dir() / "Papers" / "paper_labels.json").read_text(encoding="utf-8")).get(name)
    path = place / f"{name}.csv"
    if labels is None:
        return "a figure or list of its own" if path.is_file() else "-"
    if not path.is_file():
        return "not made"
    written = _scenarios() if OUTPUTS[name].kind == "segmentation" else _written(path, place / f"{name}.json")
    rows = _counted("rows", labels["rows"], written.rows, ())
    return ", ".join(filter(None, (rows, _counted("columns", labels["columns"], written.columns, written.empty))))


def _counted(what: str, wanted: Sequence[str], there: Sequence[str], empty: Sequence[str]) -> str:
    """How many of the paper's labels are there; "" where the paper has none of this kind."""
    lacking = [label for label in wanted if not any(_alike(label, one) for one in there)]
    remarks = [("missing:", lacking), ("empty here:", [label for label in wanted if label in empty])]
    said = [f" ({words} {'; '.join(names)})" for words, names in remarks if names]
    return f"{len(wanted) - len(lacking)} of {len(wanted)} {what}{''.join(said)}" if wanted else ""


def _written(path: Path, figure: Path) -> _Written:
    content = json.loads(figure.read_text(encoding="utf-8")) if figure.is_file() else {}
    panels = content.get("panels") if isinstance(content, dict) else None  # a table alone is a list
    if panels is not None:  # what a figure shows stands in its panels, not in its table of numbers
        return _Written(panels["rows"], panels["columns"])
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0]) if rows else []
    empty = [column for column in columns if not any(row[column] for row in rows)]
    return _Written([next(iter(row.values()), "") for row in rows], columns, empty)


def _scenarios() -> _Written:
    """Rows and columns that `segment table` writes, whatever was trained."""
    rows = papers_rows({}, {})
    return _Written([scenario_label(row) for row in rows], list(rows[0]))


def _alike(wanted: str, there: str) -> bool:
    return there == wanted or there.startswith(f"{wanted},")


def _command(name: str) -> str:
    if OUTPUTS[name].kind == "segmentation":
        return f"segment run; evaluate --table {name}"
    return f"evaluate --table {name}"
