"""Tables of contrast-enhanced mammography: tissues and contrast-to-noise ratio, and what synthesis adds.

Every table stands beside two baselines: a copy of the low-energy image, and a straight line from its gray values to
those of the recombined one, which knows nothing of contrast agent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import InputError
from VirtualContrastLib.metrics.measure import definitions

from ..metrics.bootstrap import PatientSums, Summary
from ..metrics.mammogram_pair import SIDES, LoadedMammogram, StraightLines, load_mammogram, measure_mammogram
from ..metrics.mammography import Correlation, correlation_of
from ..metrics.measures import CHANGE, MAMMOGRAM, OVER_IMAGES
from ..metrics.pairs import Pair
from .named_table import INTERVALS, NamedTable, explained
from .reports import interval_cells, interval_figure
from .table_options import TableOptions

_SIDE_LABELS = {"low_energy": "low-energy image", "real": "real", "synthetic": "synthetic"}
_OF_SIDES = {f"{m.name}_{side}": f"{m.label}, {_SIDE_LABELS[side]}" for m in MAMMOGRAM for side in SIDES}
_OF_CHANGE = {measure.name: measure.label for measure in CHANGE}
_NOT_SHOWN = ("mae_low_energy", "ssim_low_energy")
MEASURES = {key: label for key, label in (_OF_SIDES | _OF_CHANGE).items() if key not in _NOT_SHOWN}
"""Label by key; the low-energy image has no distance from itself."""
CORRELATIONS = {
    "mae_correlation": ("MAE from low energy, correlation over images", "mae_real", "mae_synthetic"),
    "ssim_correlation": ("SSIM with low energy, correlation over images", "ssim_real", "ssim_synthetic"),
}
DEFINITIONS = definitions((*MAMMOGRAM, *CHANGE, OVER_IMAGES))
SYNTHETIC, COPY, LINE = "synthetic", "copy of the low-energy image", "straight line"
_COLUMNS = ("measure", "mean", "std", "ci95 low", "ci95 high", COPY, LINE, "n", "patients")
_TISSUE_ROWS = ("adipose", "fibroglandular", "cnr")
TABLE_2 = "zormpas2026-table2"
NO_EVIDENCE = (
    "A high correlation over images is no evidence of synthesis: images that need a larger change get a larger one "
    "from any map of gray values. The baselines beside it and the SSIM and correlation of the change itself tell more."
)
NORMALIZATION = "The paper prints CNR after a normalization that it does not describe; here there is none."

Values = Mapping[str, float | None]


Found = Mapping[str, Summary | Correlation | None]
"""By key of MEASURES and CORRELATIONS; None where it is not defined."""


@dataclass(frozen=True)
class MammographyReport:
    """What a table of mammograms found.

    Attributes:
        table: its name.
        data: what was measured, in words.
        measures: of the synthetic images.
        baselines: the same of each baseline.
        definitions: definition by measure.
        notes: sentences below the table.
        failed: pairs that could not be measured.
    """

    table: str
    data: str
    measures: Found
    baselines: Mapping[str, Found]
    definitions: Mapping[str, str]
    notes: Sequence[str]
    failed: int


@dataclass(frozen=True)
class _Measured:
    """What was measured of one way of making the recombined image: the patient and the values of each pair."""

    patients: list[str]
    values: list[Values]

    def summaries(self, options: TableOptions) -> Found:
        """Every measure and correlation by key."""
        found: dict[str, Summary | Correlation | None] = {}
        for key in MEASURES:
            sums = PatientSums()
            for patient, values in zip(self.patients, self.values, strict=True):
                if (value := values[key]) is not None:
                    sums.add(patient, value)
            found[key] = sums.summary(repeats=options.repeats, seed=options.seed)
        return found | {key: self._correlation(key, options) for key in CORRELATIONS}

    def _correlation(self, key: str, options: TableOptions) -> Correlation | None:
        _, first, second = CORRELATIONS[key]
        own = zip(self.patients, self.values, strict=True)
        pairs = [(patient, values[first], values[second]) for patient, values in own]
        known = [(patient, a, b) for patient, a, b in pairs if a is not None and b is not None]
        patients = [patient for patient, _, _ in known]
        values = [a for _, a, _ in known], [b for _, _, b in known]
        return correlation_of(*values, patients, repeats=options.repeats, seed=options.seed)


def write_mammography(
    name: str, title: str, pairs: Sequence[Pair], folder: Path, options: TableOptions
) -> MammographyReport:
    """Write the table of mammograms as CSV, JSON, PNG and HTML.

    Args:
        name: Name of the table, which the files get.
        title: Title of the table.
        pairs: Pairs of recombined images; `pre` of each is its low-energy image.
        folder: Folder of the files.
        options: Options of the table; pairs that cannot be measured go to its `failures`.

    Returns:
        What was found.

    Raises:
        InputError: No pair can be measured.
    """
    loaded, failed = _loaded(pairs, options)
    measured = {way: own.summaries(options) for way, own in _measured(loaded, options).items()}
    report = MammographyReport(
        name,
        options.data or "",
        measured[SYNTHETIC],
        {way: measured[way] for way in (COPY, LINE)},
        DEFINITIONS,
        [NO_EVIDENCE, NORMALIZATION],
        failed,
    )
    notes = [f"Data: {report.data}.", INTERVALS, *report.notes]
    if failed:
        notes.append(f"{failed} of {len(pairs)} pairs could not be measured.")
    of_tissues = name == TABLE_2
    columns, rows = (_tissue_columns(), _tissue_rows(report)) if of_tissues else (_COLUMNS, _rows(report))
    NamedTable(
        name,
        title,
        columns,
        rows,
        report,
        interval_figure(list(_SIDE_LABELS.values()), _panels(report), report.data or "images given"),
        "measures with intervals",
        [*notes, *explained((*MAMMOGRAM, *CHANGE, OVER_IMAGES), DEFINITIONS)],
    ).write(folder)
    return report


def measure(pair: Pair) -> dict[str, float | None]:
    """All measures of one pair of mammograms; see `metrics.mammogram_pair`.

    Raises InputError where an image is missing, sizes differ, or a measure is not defined.
    """
    return measure_mammogram(load_mammogram(pair))


def _loaded(pairs: Sequence[Pair], options: TableOptions) -> tuple[list[LoadedMammogram], int]:
    """The pairs that can be measured, and how many cannot."""
    loaded, failed = [], 0
    for pair in pairs:
        try:
            one = load_mammogram(pair)
            measure_mammogram(one)
        except InputError as error:
            options.failures.append(str(error))
            failed += 1
            continue
        loaded.append(one)
    if not loaded:
        raise InputError(options.failures[-1] if options.failures else "There is no pair of mammograms.")
    return loaded, failed


def _measured(loaded: Sequence[LoadedMammogram], options: TableOptions) -> dict[str, _Measured]:
    """The synthetic images and both baselines, measured alike."""
    lines = StraightLines.of(loaded)
    ways = {SYNTHETIC: lambda one: one.synthetic, COPY: lambda one: one.low_energy, LINE: lines.image_of}
    patients = [one.patient for one in loaded]
    return {
        way: _Measured(patients, [measure_mammogram(one, make(one)) for one in loaded]) for way, make in ways.items()
    }


def _rows(report: MammographyReport) -> list[dict[str, Any]]:
    """A row per measure: the synthetic images with their interval, and the mean of each baseline."""
    rows = []
    for key, label in {**MEASURES, **{key: label for key, (label, *_) in CORRELATIONS.items()}}.items():
        found = report.measures[key]
        row: dict[str, Any] = {"measure": label, **interval_cells(None if found is None else found.ci95)}
        if found is not None:
            row |= {"mean": found.mean, "n": found.n, "patients": found.patients}
            row |= {"std": found.std} if isinstance(found, Summary) else {}
        if not key.endswith(("_real", "_low_energy")):
            row |= {way: getattr(baseline[key], "mean", None) for way, baseline in report.baselines.items()}
        rows.append(row)
    return rows


def _tissue_columns() -> list[str]:
    return ["tissue", *(f"{label}{part}" for label in _SIDE_LABELS.values() for part in ("", " sd"))]


def _tissue_rows(report: MammographyReport) -> list[dict[str, Any]]:
    """Rows of Table 2: each tissue's gray value and the contrast between them, by image."""
    labels = {measure.name: measure.label for measure in MAMMOGRAM}
    rows = []
    for name in _TISSUE_ROWS:
        row: dict[str, Any] = {"tissue": labels[name]}
        for side, label in _SIDE_LABELS.items():
            found = report.measures[f"{name}_{side}"]
            row |= {label: getattr(found, "mean", None), f"{label} sd": getattr(found, "std", None)}
        rows.append(row)
    return rows


def _panels(report: MammographyReport) -> dict[str, list[Summary | Correlation | None]]:
    """Of the figure: a panel per measure, a row per kind of image."""
    found = report.measures
    panels = {m.label: [found.get(f"{m.name}_{side}") for side in SIDES] for m in MAMMOGRAM}
    return panels | {
        measure.label: [None, None, found[measure.name]] for measure in CHANGE if measure.name != "change_mae"
    }
