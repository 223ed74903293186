"""The MAMA-SYNTH 2026 protocol as one table; of prepared cases it takes the peak slice of each."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.volumes import like, to_array
from VirtualContrastLib.metrics.bootstrap import Interval
from VirtualContrastLib.metrics.measure import labels
from VirtualContrastLib.metrics.own_scale import in_units_of

from ..metrics.images import read_mask
from ..metrics.mamasynth import ChallengeReport, LesionCase, Score, gather, summarize
from ..metrics.mamasynth_classifiers import TASKS, write_rows
from ..metrics.measures import CHALLENGE
from ..metrics.pairs import Pair, attach
from .named_table import NamedTable, explained
from .reports import interval_figure
from .table_options import TableOptions

_SCORES = labels(CHALLENGE)
_WITH_SPREAD = ("mse", "lpips", "ssim_tumor", "dice", "hausdorff_95")


@dataclass(frozen=True)
class MamaSynthReport:
    """The challenge's scores with what they were measured on.

    Attributes:
        data: what was measured, in words.
        challenge: the scores.
        table: name of the table.
    """

    data: str
    challenge: ChallengeReport
    table: str = "mama-synth"

    def as_json(self) -> dict[str, object]:
        """The challenge's report with table and data in front."""
        return {"table": self.table, "data": self.data, **self.challenge.as_json()}


@dataclass(frozen=True)
class _Spread:
    """A score with one standard deviation on either side as its line; the challenge prints no intervals."""

    score: Score

    @property
    def mean(self) -> float:
        """The score."""
        return self.score.mean

    @property
    def ci95(self) -> Interval | None:
        """One standard deviation on either side, as the axis label says."""
        spread = self.score.std
        return None if spread is None else (self.mean - spread, self.mean + spread)


def write_mama_synth(title: str, pairs: Sequence[Pair], folder: Path, options: TableOptions) -> MamaSynthReport:
    """Write mama-synth.csv, .json, .png and .html, and mama-synth-features-TASK.csv of what the classifiers read.

    See `metrics.mamasynth`.

    Args:
        title: Title of the table.
        pairs: Pairs of slices.
        folder: Folder of the files.
        options: Options of the table.

    Returns:
        What was found.

    Raises:
        InputError: No case can be measured, or a table of scores does not fit.
    """
    unknown = [task for task in options.classifier_scores if task not in TASKS]
    if unknown:
        raise InputError(f"--classifier-scores is for {' and '.join(TASKS)}, not {unknown[0]}.")
    folder.mkdir(parents=True, exist_ok=True)
    with _slices(pairs) as slices:
        gathered = gather(_cases(slices, options), lpips=options.lpips, z_scored=options.z_scored)
    options.failures += gathered.sentences
    for task, own in gathered.rows.items():
        if own:
            write_rows(folder / f"mama-synth-features-{task}.csv", own)
    found = summarize(gathered, lpips_missing=options.lpips_missing, scores=options.classifier_scores)
    rows = [{"metric": label, **_cells(found.scores[name])} for name, label in _SCORES.items()]
    panels = {_SCORES[name]: [_Spread(score)] for name in _WITH_SPREAD if (score := found.scores[name]) is not None}
    report = MamaSynthReport(options.data or "", found)
    notes = [f"Data: {report.data}. {found.cases} cases, {found.failed} could not be measured."]
    notes += [f"{_SCORES.get(name, name)}: {note}" for name, note in found.notes.items()]
    NamedTable(
        report.table,
        title,
        ("metric", "mean", "std", "n"),
        rows,
        report,
        interval_figure(["synthetic"], panels, f"{report.data}; lines are one standard deviation"),
        "scores with standard deviations",
        [*notes, *explained(CHALLENGE, found.definitions)],
    ).write(folder)
    return report


def _cells(score: Score | None) -> dict[str, float | int]:
    return {} if score is None else score.as_json()


def _cases(pairs: Sequence[Pair], options: TableOptions) -> list[LesionCase]:
    """The pairs, each with the mask of --predicted-masks that has its name."""
    if options.predicted_masks is None:
        return [LesionCase(pair) for pair in pairs]
    bare = [replace(pair, breast=None) for pair in pairs]
    masks = [pair.breast for pair in attach(bare, "breast", options.predicted_masks)]
    return [LesionCase(pair, mask) for pair, mask in zip(pairs, masks, strict=True)]


@contextmanager
def _slices(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """The pairs; of prepared cases the slice of phase 1 in which the lesion is largest, as the challenge takes one."""
    if not all((pair.real.parent / "case.json").is_file() for pair in pairs):
        yield list(pairs)
        return
    with tempfile.TemporaryDirectory(prefix="virtual-contrast-slices-") as place:
        first = [pair for pair in pairs if pair.real.name.startswith("phase_1.") and pair.lesion is not None]
        yield [_peak_slice(pair, Path(place) / str(number)) for number, pair in enumerate(first)]


def _peak_slice(pair: Pair, folder: Path) -> Pair:
    assert pair.lesion is not None
    k = int(np.argmax(read_mask(pair.lesion).sum(axis=(1, 2))))
    folder.mkdir(parents=True)
    given = {name: getattr(pair, name) for name in ("real", "synthetic", "lesion", "pre")}
    images = {name: sitk.ReadImage(str(path)) for name, path in given.items() if path is not None}
    if pair.own_scale:  # by the range of the volume, of which the slice shows a part
        made = in_units_of(to_array(images["real"]), to_array(images["synthetic"]))
        images["synthetic"] = like(made, images["synthetic"])
    paths = {name: folder / f"{name}.mha" for name in images}
    for name, image in images.items():
        sitk.WriteImage(image[:, :, k : k + 1], str(paths[name]))
    return Pair(paths["real"], paths["synthetic"], pair.patient, lesion=paths["lesion"], pre=paths.get("pre"))
