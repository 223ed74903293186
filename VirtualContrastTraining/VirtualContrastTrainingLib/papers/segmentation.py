"""Tumor segmentation by scenario (Table 3 of the JMI paper): predicted against true label maps of the same cases."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk
from VirtualContrastLib.events import InputError
from VirtualContrastLib.kinetics.curves import early_phase
from VirtualContrastLib.lesions.nnunet import LesionNet
from VirtualContrastLib.lesions.threshold import segment_by_threshold
from VirtualContrastLib.metrics.measure import definitions
from VirtualContrastLib.models.catalog import resolve_model
from VirtualContrastLib.study import Phase
from VirtualContrastLib.synthesis.device import choose_device

from ..data.cases import case_folders
from ..metrics.bootstrap import PatientSums, Summary
from ..metrics.images import is_image, mask_of, read_labels
from ..metrics.measures import SEGMENTATION
from ..metrics.pairs import name_without_suffix, patient_of
from ..metrics.segmentation import dice, hd95, lesion_counts
from .named_table import INTERVALS, MeasuredRows, NamedTable, explained
from .phantom_cohort import data_given
from .table_options import TableOptions

DEFINITIONS = definitions(SEGMENTATION)


@dataclass(frozen=True)
class ScenarioScores:
    """One scenario over all cases.

    Attributes:
        cases: cases that were measured.
        failed: cases that could not be.
        summaries: summary by name of the measure, None where no case defines it.
    """

    cases: int
    failed: int
    summaries: Mapping[str, Summary | None]

    def as_json(self) -> dict[str, object]:
        """The summaries beside the counts."""
        return {"cases": self.cases, "failed": self.failed, **self.summaries}


@dataclass(frozen=True)
class SegmentationReport:
    """What a table of segmentation found.

    Attributes:
        table: its name.
        data: what was measured, in words.
        scenarios: scores by name.
        definitions: definition by measure.
        notes: sentences below the table.
    """

    table: str
    data: str
    scenarios: Mapping[str, ScenarioScores]
    definitions: Mapping[str, str]
    notes: Sequence[str]


def write_segmentation(name: str, title: str, truth: Path, folder: Path, options: TableOptions) -> SegmentationReport:
    """Write the table of segmentation as CSV, JSON, PNG and HTML.

    Args:
        name: Name of the table, which the files get.
        title: Title of the table.
        truth: Folder of label maps, or of prepared cases with lesions. Without `options.scenarios` it must hold
            phantoms, with what a model made of them beside it in `runs`; lesions are then found on the real and on the
            synthetic phases.
        folder: Folder of the files.
        options: Options of the table; cases that cannot be used go to its `failures`.

    Returns:
        What was found.

    Raises:
        InputError: No case can be used.
    """
    true_maps = label_maps(truth)
    notes = []
    with _scenarios(truth, options) as scenarios:
        if not options.scenarios:
            notes.append(
                "The paper's scenarios are nnU-Nets trained on real, pre-contrast and synthetic images, which the "
                "command segment does; here one way of finding lesions is used on real and on synthetic phases."
            )
        results = {
            label: measure_scenario(label, true_maps, label_maps(place), options)[0]
            for label, place in scenarios.items()
        }
    data = options.data or data_given(path.parent for path in true_maps.values())
    rows = MeasuredRows("scenario", results, SEGMENTATION)
    failed = {label: found.failed for label, found in results.items() if found.failed}
    said = [f"Data: {data}.", *notes, INTERVALS, *explained(SEGMENTATION, DEFINITIONS)]
    said += [f"{label}: {count} cases could not be used." for label, count in failed.items()]
    report = SegmentationReport(name, data, results, DEFINITIONS, notes)
    NamedTable(
        name,
        title,
        rows.columns,
        rows.rows,
        report,
        rows.figure(data),
        "measures with intervals by scenario",
        said,
        [rows.page_table],
    ).write(folder)
    return report


def label_maps(folder: Path) -> dict[str, Path]:
    """Label maps by case: files by name without suffix, `lesions` of prepared cases and of result folders."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; give a folder of label maps.")
    found = {name_without_suffix(path): path for path in sorted(folder.iterdir()) if path.is_file() and is_image(path)}
    for path in sorted(folder.glob("*/lesions*")):
        if path.is_file() and is_image(path) and name_without_suffix(path) == "lesions":
            found.setdefault(path.parent.name, path)
    if not found:
        raise InputError(f"{folder} holds no label maps: neither files named by case, nor case folders with lesions.")
    return found


def measure_scenario(
    label: str, truth: Mapping[str, Path], predicted: Mapping[str, Path], options: TableOptions
) -> tuple[ScenarioScores, dict[str, float]]:
    """Statistics of one scenario over all cases; a case without prediction counts as failed.

    Args:
        label: Name of the scenario.
        truth: True label maps by case.
        predicted: Predicted label maps by case.
        options: Options of the table.

    Returns:
        Its scores, and the Dice of each case, which reports do not name.

    Raises:
        InputError: No case can be used.
    """
    sums = {measure.name: PatientSums() for measure in SEGMENTATION}
    failed = 0
    dice_by_case: dict[str, float] = {}
    for case, path in truth.items():
        try:
            if case not in predicted:
                raise InputError(f"{label}: there is no predicted label map for {path}.")
            values = _measure(path, predicted[case])
        except InputError as error:
            options.failures.append(str(error))
            failed += 1
            continue
        dice_by_case[case] = values["dice"][0]
        patient = patient_of(Path(case) / path.name)
        for key, own in values.items():
            for value in own:
                sums[key].add(patient, value)
    if not dice_by_case:
        raise InputError(options.failures[-1])
    summaries = {key: found.summary(repeats=options.repeats, seed=options.seed) for key, found in sums.items()}
    return ScenarioScores(len(dice_by_case), failed, summaries), dice_by_case


def _measure(truth: Path, predicted: Path) -> dict[str, list[float]]:
    """Samples of one case: one a measure, one a lesion for the sensitivity."""
    a, b = read_labels(predicted), read_labels(truth)
    if a.pixels.shape != b.pixels.shape or not a.lies_on(b):
        raise InputError(f"{predicted} does not lie on the grid of {truth}; resample it first.")
    made, true = mask_of(a), mask_of(b)
    counts = lesion_counts(made, true)
    distance = hd95(made, true, b.spacing_mm) if made.any() and true.any() else math.inf
    return {
        "dice": [dice(made, true)],
        "hd95": [distance] if math.isfinite(distance) else [],
        "sensitivity": [1.0] * counts.found + [0.0] * (counts.lesions - counts.found),
        "false_positives": [float(counts.false_positives)],
    }


@contextmanager
def _scenarios(truth: Path, options: TableOptions) -> Iterator[Mapping[str, Path]]:
    if options.scenarios:
        yield options.scenarios
        return
    runs = truth.parent / "runs"
    if options.data is None or not runs.is_dir():
        raise InputError("Name the predicted label maps of each scenario with --scenario NAME=FOLDER.")
    net = None
    if options.segmentation is not None:
        net = LesionNet(resolve_model(options.segmentation, "segmentation"), choose_device("auto").device)
    with tempfile.TemporaryDirectory(prefix="virtual-contrast-lesions-") as place:
        found = found_lesions(truth, runs, Path(place))
        yield found if net is None else found | found_lesions(truth, runs, Path(place), net)


def found_lesions(truth: Path, runs: Path, folder: Path, net: LesionNet | None = None) -> dict[str, Path]:
    """Find lesions on the real and on the synthetic phases of prepared cases.

    Args:
        truth: the cases.
        runs: what a model made of them, `runs/<case>/phases`.
        folder: gets a folder of label maps for each.
        net: a network that finds them; None for the threshold.

    Returns:
        The folders by name.
    """
    found = {}
    for kind in ("real", "synthetic"):
        label = f"{kind} phases, {'by threshold' if net is None else 'by network'}"
        found[label] = folder / label.replace(" ", "-").replace(",", "")
        found[label].mkdir(parents=True, exist_ok=True)
        for case in case_folders(truth):
            phases = case if kind == "real" else runs / case.name / "phases"
            labels = _find_lesions(case, phases, net)
            sitk.WriteImage(labels, str(found[label] / f"{case.name}.nrrd"), useCompression=True)
    return found


def _find_lesions(case: Path, folder: Path, net: LesionNet | None) -> sitk.Image:
    """Lesions from the pre-contrast volume of a phantom case and the phases in `folder`."""
    times = json.loads((case / "case.json").read_text(encoding="utf-8"))["times_s"]
    pre = sitk.ReadImage(str(case / "pre.nrrd"))
    phases = [
        Phase(n, sitk.ReadImage(str(folder / f"phase_{n}.nrrd")), times[n], folder != case)
        for n in range(1, len(times))
    ]
    if net is None:
        return segment_by_threshold(pre, early_phase([Phase(0, pre, 0.0, synthetic=False), *phases]).image)
    return net.segment({0: pre, **{phase.index: phase.image for phase in phases}})
