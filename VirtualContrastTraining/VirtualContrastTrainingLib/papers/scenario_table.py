"""Table 3 of the JMI 2025 paper: Dice of each training scenario on pre-contrast, post-contrast and synthetic images.

Beyond the paper: scenarios with a ratio of synthetic images or with pretraining against the real images alone, and the
multifocal and bilateral cases that the paper leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from VirtualContrastLib.events import InputError
from VirtualContrastLib.metrics.measure import Measure
from VirtualContrastLib.models.package import load_package

from ..data.nnunet_datasets import SYNTHETIC, known_scenarios, scenario_named
from ..data.segmentation_cases import LESIONS, SUFFIX
from ..data.segmentation_inputs import Inputs
from ..data.single_breast import UNIFOCAL
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
        by_scenario: rows as in the paper, by column; none where networks have several channels.
        beyond: rows of scenarios that the paper does not have, each against the real images alone.
        by_focality: rows of unifocal, multifocal and bilateral cases; none where only unifocal ones are used.
        definitions: definition by measure.
        notes: sentences below the table.
        table: its name.
    """

    data: str
    synthetic: str
    scenarios: Results
    by_scenario: Sequence[Row]
    beyond: Sequence[Row]
    by_focality: Sequence[Row]
    definitions: Mapping[str, str]
    notes: Sequence[str]
    table: str = NAME


def write_scenario_table(experiment: Experiment, options: TableOptions) -> ScenarioTable:
    """Measure all predictions and write the table as CSV, JSON, PNG and HTML into `table/`.

    A scenario without predictions is left out and said in the notes. Raises InputError where none has any.
    """
    domains = experiment.inputs.domains
    results: dict[str, dict[str, ScenarioScores]] = {}
    dice: dict[str, dict[str, dict[str, float]]] = {}
    for scenario in experiment.scenarios:
        for domain in domains:
            if experiment.predictions(scenario, domain).is_dir():
                measured, by_case = _measured(experiment, scenario, domain, experiment.test, options)
                results.setdefault(scenario, {})[domain] = measured
                dice.setdefault(scenario, {})[domain] = by_case
    if not results:
        raise InputError(f"{experiment.folder} holds no predictions; run 'segment train' and 'segment predict' first.")
    notes = _notes(experiment, results)
    folder = experiment.folder / "table"
    by_scenario: list[dict[str, Any]] = []
    if not experiment.channels:
        by_scenario = papers_rows(results, dice, repeats=options.repeats, seed=options.seed)
    beyond = beyond_rows(experiment.inputs, dice, repeats=options.repeats, seed=options.seed)
    by_focality = _by_focality(experiment, results, options)
    parts = (
        ("by-scenario", "As in the paper", by_scenario),
        ("beyond", "Beyond the paper", beyond),
        ("by-focality", "By number and side of lesions", by_focality),
    )
    tables = []
    for name, heading, rows in parts:
        if rows:
            write_table(folder, f"{NAME}-{name}", list(rows[0]), rows)
            tables.append(f"<h2>{heading}</h2>{html_table(list(rows[0]), rows)}")
    panels = {
        f"Dice on {domain}": [_summary(found, "dice", domain) for found in results.values()] for domain in domains
    }
    by_measure = [_page_table(measure, results, domains) for measure in SEGMENTATION]
    report = ScenarioTable(
        experiment.data,
        experiment.synthetic,
        results,
        by_scenario,
        beyond,
        by_focality,
        DEFINITIONS,
        notes,
    )
    NamedTable(
        NAME,
        TITLE,
        _columns(domains),
        [_row(name, found) for name, found in results.items()],
        report,
        interval_figure(list(results), panels, experiment.data),
        "Dice with intervals by scenario and test images",
        [*notes, INTERVALS, *explained(SEGMENTATION, DEFINITIONS)],
        [*tables, by_measure[0]],
        after=by_measure[1:],
    ).write(folder)
    return report


def _measured(
    experiment: Experiment, scenario: str, domain: str, cases: Sequence[str], options: TableOptions
) -> tuple[ScenarioScores, dict[str, float]]:
    """Scores of a scenario on images of a domain of these test cases, and the Dice of each."""
    truth = {case: experiment.cases / case / f"{LESIONS}{SUFFIX}" for case in cases}
    folder = experiment.predictions(scenario, domain)
    predicted = {path.name.removesuffix(SUFFIX): path for path in sorted(folder.glob(f"*{SUFFIX}"))}
    return measure_scenario(f"{scenario} on {domain}", truth, predicted, options)


def beyond_rows(inputs: Inputs, dice: DiceByCase, *, repeats: int = 1000, seed: int = 0) -> list[dict[str, Any]]:
    """Dice of scenarios that the paper does not have, on real test images, beside that of the real images alone.

    Args:
        inputs: What the networks read.
        dice: Dice of each case, by training and by test images.
        repeats: Bootstrap samples of cases.
        seed: Of the bootstrap.

    Returns:
        The rows. `gain` is the Dice beyond that of training on `against`, case by case, with its interval; None where
        that was not predicted.
    """
    rows = []
    for name, by_domain in dice.items():
        scenario = scenario_named(name, inputs)
        if not inputs.channels and name in known_scenarios(inputs):
            continue
        against = scenario.real or ("real" if inputs.channels else SYNTHETIC)
        for tested, own in by_domain.items():
            if tested == SYNTHETIC:
                continue
            reference = dice.get(against, {}).get(tested, {}) if against != name else {}
            found = _summary_of(own, repeats, seed)
            row = {"trained on": name, "tested on": tested, "cases": len(own), "against": against}
            row |= {"Dice": getattr(found, "mean", None), "Dice sd": getattr(found, "std", None)}
            rows.append(row | _gain(own, reference, repeats, seed))
    return rows


def _by_focality(experiment: Experiment, results: Results, options: TableOptions) -> list[dict[str, Any]]:
    """Scores of each scenario by images of the test and focality; a group without cases has a row that says 0."""
    rows = []
    for scenario, found in results.items() if experiment.apart is not None else ():
        for domain, unifocal in found.items():
            for kind, cases in experiment.test_by_focality.items():
                scores = unifocal if kind == UNIFOCAL else None
                if scores is None and cases:
                    scores, _ = _measured(experiment, scenario, domain, cases, options)
                row: dict[str, Any] = {"trained on": scenario, "tested on": domain, "lesions": kind}
                row["cases"] = 0 if scores is None else scores.cases
                for measure in SEGMENTATION:
                    row |= _values(measure.label, None if scores is None else scores.summaries[measure.name])
                rows.append(row)
    return rows


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


def scenario_label(row: Row) -> str:
    """A row of `papers_rows` as the file of labels names it."""
    return f"scenario {row['scenario']}: trained on {row['trained on']}, tested on {row['tested on']}"


def _gain(own: Mapping[str, float], reference: Mapping[str, float], repeats: int, seed: int) -> dict[str, float | None]:
    """Mean difference over the cases that both have, with its interval."""
    differences = {case: own[case] - reference[case] for case in own.keys() & reference.keys()}
    found = _summary_of(differences, repeats, seed)
    low, high = (found.ci95 if found else None) or (None, None)
    return dict(zip(_GAIN, (found.mean if found else None, low, high), strict=True))


def _summary_of(values: Mapping[str, float], repeats: int, seed: int) -> Summary | None:
    """Summary of one value a case."""
    sums = PatientSums()
    for case in sorted(values):  # the order decides what the seed draws
        sums.add(case, values[case])
    return sums.summary(repeats=repeats, seed=seed)


def as_text(report: ScenarioTable) -> str:
    """Dice as mean (standard deviation), scenarios by test images, for the terminal; below it Dice by focality."""
    domains = list(dict.fromkeys(domain for found in report.scenarios.values() for domain in found))
    width = max(16, *map(len, report.scenarios))
    lines = [f"{'Dice, trained on':{width}s}" + "".join(f"  {'on ' + d:>14s}" for d in domains)]
    for scenario, found in report.scenarios.items():
        lines.append(f"{scenario:{width}s}" + "".join(f"  {_shown(found, 'dice', d):>14s}" for d in domains))
    for row in report.by_focality:
        dice = "-" if row["Dice mean"] is None else f"{row['Dice mean']:.3g}"
        lines.append(f"{row['lesions']} (N = {row['cases']}): {row['trained on']} on {row['tested on']} {dice}")
    return "\n".join([*lines, *report.notes])


def _notes(experiment: Experiment, results: Results) -> list[str]:
    recipe = experiment.recipe()
    folds = [len(fold) for fold in experiment.folds]
    apart = {kind: len(cases) for kind, cases in (experiment.apart or {}).items() if cases}
    notes = [
        f"Data: {experiment.data}; {experiment.synthetic}.",
        f"Trained on {sum(folds)} cases in {len(folds)} folds, tested on {len(experiment.test)} by the ensemble of "
        "the folds, without post-processing.",
        *_fewer_folds(experiment, results),
        f"Training: {recipe.configuration}, {recipe.epochs} epochs of {recipe.iterations_per_epoch} steps "
        f"({recipe.id}).",
        *([f"Input channels: {', '.join(experiment.channels)}."] if experiment.channels else []),
        *_pretraining(experiment, results),
        _extent(experiment),
        *([f"Evaluated apart: {', '.join(f'{n} {kind}' for kind, n in apart.items())} cases."] if apart else []),
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


def _pretraining(experiment: Experiment, results: Results) -> list[str]:
    """A sentence on the length of training where it is not the same in all rows."""
    twice = [name for name in results if scenario_named(name, experiment.inputs).pretrained_on is not None]
    return [f"Twice as many steps, those of pretraining and its own: {', '.join(twice)}."] if twice else []


def _extent(experiment: Experiment) -> str:
    if experiment.crops:
        return "Crops around the tumor as they are: neither N4 nor halves of the volume."
    return "Half of the volume with the tumor, chosen by the true mask as published, in the test cases too."


def _has_flips(experiment: Experiment, scenario: str) -> bool:
    folder = experiment.place(scenario) / "model"
    return not folder.is_dir() or bool(load_package(folder).card.architecture.config["mirroring"])


def _columns(domains: Sequence[str]) -> list[str]:
    parts = ("mean", "sd", "low", "high")
    return ["scenario", *(f"{m.label} on {d} {p}" for d in domains for m in SEGMENTATION for p in parts), "cases"]


def _row(scenario: str, found: Mapping[str, ScenarioScores]) -> dict[str, Any]:
    row: dict[str, Any] = {"scenario": scenario, "cases": max(measured.cases for measured in found.values())}
    for domain, measured in found.items():
        for measure in SEGMENTATION:
            row |= _values(f"{measure.label} on {domain}", measured.summaries[measure.name])
    return row


def _values(label: str, summary: Summary | None) -> dict[str, float | None]:
    """Mean, standard deviation and interval under the names of their columns."""
    low, high = (summary.ci95 if summary else None) or (None, None)
    values = {"mean": getattr(summary, "mean", None), "sd": getattr(summary, "std", None), "low": low, "high": high}
    return {f"{label} {part}": value for part, value in values.items()}


def _summary(found: Mapping[str, ScenarioScores], key: str, domain: str) -> Summary | None:
    return found[domain].summaries[key] if domain in found else None


def _shown(found: Mapping[str, ScenarioScores], key: str, domain: str) -> str:
    """Mean (standard deviation), as papers print it."""
    value = _summary(found, key, domain)
    return "-" if value is None else f"{value.mean:.3g} ({value.std:.2g})"


def _page_table(measure: Measure, results: Results, domains: Sequence[str]) -> str:
    rows = [
        {"trained on": name, **{f"on {domain}": _shown(found, measure.name, domain) for domain in domains}}
        for name, found in results.items()
    ]
    heading = f"<h2>{measure.label}, mean (standard deviation)</h2>"
    return heading + html_table(["trained on", *(f"on {domain}" for domain in domains)], rows)
