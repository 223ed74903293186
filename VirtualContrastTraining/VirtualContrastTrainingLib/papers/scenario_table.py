"""Table 3 of the JMI 2025 paper: Dice of each training scenario on pre-contrast, post-contrast and synthetic images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from VirtualContrastLib.events import InputError
from VirtualContrastLib.metrics.measure import Measure
from VirtualContrastLib.models.package import load_package

from ..data.segmentation_cases import DOMAINS, LESIONS, SUFFIX
from ..metrics.bootstrap import PatientSums, Summary
from ..metrics.measures import SEGMENTATION
from .named_table import INTERVALS, NamedTable, Row, explained
from .reports import html_table, interval_figure, write_table
from .scenarios import Experiment
from .segmentation import DEFINITIONS, ScenarioScores, measure_scenario
from .table_options import TableOptions

NAME = "osuala2025-table3"
TITLE = f"{NAME}: Tumor segmentation by training scenario (rows) and test images (columns)"

PAPERS_ROWS = (
    *((1, trained, "pre") for trained in ("pre", "pre+synthetic", "synthetic")),
    *((2, trained, "post") for trained in ("pre", "pre+synthetic", "synthetic")),
    *((3, trained, "post") for trained in ("post", "synthetic", "post+synthetic", "pre+post", "pre+post+synthetic")),
    *((4, trained, "pre") for trained in ("post", "post+synthetic", "synthetic")),
)
"""Scenario of the paper, what was trained on, and the real images of the test."""

_GAIN = ("gain", "gain low", "gain high")
DiceByCase = Mapping[str, Mapping[str, Mapping[str, float]]]
Results = Mapping[str, Mapping[str, ScenarioScores]]
"""Scores by scenario and images of the test."""


@dataclass(frozen=True)
class ScenarioTable:
    """What the table of training scenarios found.

    Attributes:
        data: what was measured, in words.
        synthetic: how the synthetic images were made, in words.
        scenarios: scores by scenario and images of the test.
        by_scenario: rows as in the paper, by column.
        definitions: definition by measure.
        notes: sentences below the table.
        table: its name.
    """

    data: str
    synthetic: str
    scenarios: Results
    by_scenario: Sequence[Row]
    definitions: Mapping[str, str]
    notes: Sequence[str]
    table: str = NAME


def write_scenario_table(experiment: Experiment, options: TableOptions) -> ScenarioTable:
    """Measure all predictions and write the table as CSV, JSON, PNG and HTML into `table/`.

    A scenario without predictions is left out and said in the notes. Raises InputError where none has any.
    """
    truth = {case: experiment.cases / case / f"{LESIONS}{SUFFIX}" for case in experiment.test}
    results: dict[str, dict[str, ScenarioScores]] = {}
    dice: dict[str, dict[str, dict[str, float]]] = {}
    for scenario in experiment.scenarios:
        for domain in DOMAINS:
            folder = experiment.predictions(scenario, domain)
            if folder.is_dir():
                predicted = {path.name.removesuffix(SUFFIX): path for path in sorted(folder.glob(f"*{SUFFIX}"))}
                measured, by_case = measure_scenario(f"{scenario} on {domain}", truth, predicted, options)
                results.setdefault(scenario, {})[domain] = measured
                dice.setdefault(scenario, {})[domain] = by_case
    if not results:
        raise InputError(f"{experiment.folder} holds no predictions; run 'segment train' and 'segment predict' first.")
    notes = _notes(experiment, results)
    folder = experiment.folder / "table"
    by_scenario = papers_rows(results, dice, repeats=options.repeats, seed=options.seed)
    write_table(folder, f"{NAME}-by-scenario", list(by_scenario[0]), by_scenario)
    panels = {
        f"Dice on {domain}": [_summary(found, "dice", domain) for found in results.values()] for domain in DOMAINS
    }
    tables = [f"<h2>As in the paper</h2>{html_table(list(by_scenario[0]), by_scenario)}"]
    tables += [_page_table(measure, results) for measure in SEGMENTATION]
    report = ScenarioTable(experiment.data, experiment.synthetic, results, by_scenario, DEFINITIONS, notes)
    NamedTable(
        NAME,
        TITLE,
        _columns(),
        [_row(name, found) for name, found in results.items()],
        report,
        interval_figure(list(results), panels, experiment.data),
        "Dice with intervals by scenario and test images",
        [*notes, INTERVALS, *explained(SEGMENTATION, DEFINITIONS)],
        tables[:2],
        after=tables[2:],
    ).write(folder)
    return report


def papers_rows(results: Results, dice: DiceByCase, *, repeats: int = 1000, seed: int = 0) -> list[dict[str, Any]]:
    """Every row of the paper's four scenarios with its Dice; None where the scenario was not predicted.

    Args:
        results: What was measured, by training and by test images.
        dice: Dice of each case, by the same.
        repeats: Bootstrap samples of cases.
        seed: Of the bootstrap.

    Returns:
        The rows. `gain` is the Dice beyond that of the first row of the same scenario, case by case, with its interval.
    """
    rows = []
    for scenario, trained, tested in PAPERS_ROWS:
        first = next(name for number, name, _ in PAPERS_ROWS if number == scenario)
        own, reference = (dice.get(name, {}).get(tested, {}) for name in (trained, first))
        found = _summary(results.get(trained, {}), "dice", tested)
        row = {"scenario": scenario, "trained on": trained, "tested on": tested}
        row |= {"Dice": getattr(found, "mean", None), "Dice sd": getattr(found, "std", None)}
        rows.append(row | (_gain(own, reference, repeats, seed) if trained != first else dict.fromkeys(_GAIN)))
    return rows


def _gain(own: Mapping[str, float], reference: Mapping[str, float], repeats: int, seed: int) -> dict[str, float | None]:
    """Mean difference over the cases that both have, with its interval."""
    differences = PatientSums()
    for case in sorted(own.keys() & reference.keys()):  # the order decides what the seed draws
        differences.add(case, own[case] - reference[case])
    found = differences.summary(repeats=repeats, seed=seed)
    low, high = (found.ci95 if found else None) or (None, None)
    return dict(zip(_GAIN, (found.mean if found else None, low, high), strict=True))


def as_text(report: ScenarioTable) -> str:
    """Dice as mean (standard deviation), scenarios by test images, for the terminal."""
    width = max(map(len, report.scenarios))
    lines = [f"{'Dice, trained on':{max(width, 16)}s}" + "".join(f"  {'on ' + d:>14s}" for d in DOMAINS)]
    for scenario, found in report.scenarios.items():
        lines.append(f"{scenario:{max(width, 16)}s}" + "".join(f"  {_shown(found, 'dice', d):>14s}" for d in DOMAINS))
    return "\n".join([*lines, *report.notes])


def _notes(experiment: Experiment, results: Results) -> list[str]:
    recipe = experiment.recipe()
    folds = [len(fold) for fold in experiment.folds]
    notes = [
        f"Data: {experiment.data}; {experiment.synthetic}.",
        f"Trained on {sum(folds)} cases in {len(folds)} folds, tested on {len(experiment.test)} by the ensemble of "
        "the folds, without post-processing.",
        *_fewer_folds(experiment, results),
        f"Training: {recipe.configuration}, {recipe.epochs} epochs of {recipe.iterations_per_epoch} steps "
        f"({recipe.id}).",
        _extent(experiment),
        f"Left out: {len(experiment.excluded)} cases by rule, {len(experiment.failed)} that could not be used.",
    ]
    if experiment.cut_lesions:
        notes.append(f"In {experiment.cut_lesions} cases the tumor reaches into the half that was cut off.")
    once = [name for name in results if not _has_flips(experiment, name)]
    if once:
        notes.append(f"Predicted without the flips of the published way: {', '.join(once)}.")
    missing = [name for name in experiment.scenarios if name not in results]
    return notes + ([f"Not predicted yet: {', '.join(missing)}."] if missing else [])


def _fewer_folds(experiment: Experiment, results: Results) -> list[str]:
    """A sentence where scenarios were predicted by some of the folds only."""
    packages = {name: experiment.place(name) / "model" for name in results}
    folds = {
        name: len(load_package(folder).card.architecture.config["folds"])
        for name, folder in packages.items()
        if folder.is_dir()
    }
    fewer = [f"{name} {count}" for name, count in folds.items() if count < len(experiment.folds)]
    return [f"Folds trained so far: {', '.join(fewer)}."] if fewer else []


def _extent(experiment: Experiment) -> str:
    if experiment.crops:
        return "Crops around the tumor as they are: neither N4 nor halves of the volume."
    return "Half of the volume with the tumor, chosen by the true mask as published, in the test cases too."


def _has_flips(experiment: Experiment, scenario: str) -> bool:
    folder = experiment.place(scenario) / "model"
    return not folder.is_dir() or bool(load_package(folder).card.architecture.config["mirroring"])


def _columns() -> list[str]:
    parts = ("mean", "sd", "low", "high")
    return ["scenario", *(f"{m.label} on {d} {p}" for d in DOMAINS for m in SEGMENTATION for p in parts), "cases"]


def _row(scenario: str, found: Mapping[str, ScenarioScores]) -> dict[str, Any]:
    row: dict[str, Any] = {"scenario": scenario, "cases": max(measured.cases for measured in found.values())}
    for domain, measured in found.items():
        for measure in SEGMENTATION:
            summary = measured.summaries[measure.name]
            if summary is not None:
                low, high = summary.ci95 or (None, None)
                values = {"mean": summary.mean, "sd": summary.std, "low": low, "high": high}
                row |= {f"{measure.label} on {domain} {part}": value for part, value in values.items()}
    return row


def _summary(found: Mapping[str, ScenarioScores], key: str, domain: str) -> Summary | None:
    return found[domain].summaries[key] if domain in found else None


def _shown(found: Mapping[str, ScenarioScores], key: str, domain: str) -> str:
    """Mean (standard deviation), as papers print it."""
    value = _summary(found, key, domain)
    return "-" if value is None else f"{value.mean:.3g} ({value.std:.2g})"


def _page_table(measure: Measure, results: Results) -> str:
    rows = [
        {"trained on": name, **{f"on {domain}": _shown(found, measure.name, domain) for domain in DOMAINS}}
        for name, found in results.items()
    ]
    heading = f"<h2>{measure.label}, mean (standard deviation)</h2>"
    return heading + html_table(["trained on", *(f"on {domain}" for domain in DOMAINS)], rows)
