"""Reads the curves of real and synthetic series: from result folders, or from volumes and lesions."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.events import InputError
from VirtualContrastLib.export.figures.display import acquisition_view, common_window
from VirtualContrastLib.io.read import load, read_volume
from VirtualContrastLib.io.suffixes import VOLUMES
from VirtualContrastLib.kinetics.curves import LesionCurve, lesion_curves
from VirtualContrastLib.kinetics.parameters import curve_parameters, percent_enhancement
from VirtualContrastLib.metrics.own_scale import image_on_own_scale
from VirtualContrastLib.results.manifest import MANIFEST, input_phase_times, load_result
from VirtualContrastLib.study import Phase

from ..metrics.kinetics import CurvePair
from ..metrics.lesion_picture import LesionPicture, lesion_picture
from ..metrics.pairs import has_own_scale
from ..metrics.published_kinetics import PublishedPair, published_curve

_DAMAGED = (OSError, ValueError, KeyError, TypeError, IndexError)


@dataclass
class Curves:
    """Lesions of all cases.

    Attributes:
        pairs: Real and synthetic curve of each lesion.
        failed: Number and sentence of each case that could not be measured.
        without_lesions: Number of cases that have none.
        outlined_by_runs: Whether the outlines are those of result folders.
    """

    pairs: list[CurvePair] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)
    without_lesions: int = 0
    outlined_by_runs: bool = False

    def add(
        self,
        number: int,
        name: str,
        synthetic: list[LesionCurve],
        real: list[LesionCurve],
        volumes: Mapping[int, tuple[PublishedPair, LesionPicture]] | None = None,
    ) -> None:
        """Pair the curves of one case by lesion, over the phases that both have.

        Args:
            number: of the case.
            name: of the patient.
            synthetic: a curve per lesion.
            real: the same of the real phases.
            volumes: by label, the curves as the paper's notebook takes them, and the lesion's picture.

        Raises:
            InputError: the curves are not of the same lesions.
        """
        by_label = {curve.label: curve for curve in real}
        self.without_lesions += not synthetic
        for curve in synthetic:
            if curve.label not in by_label:
                raise InputError(f"{name}: the real and the synthetic curves are not of the same lesions.")
            truth = by_label[curve.label]
            phases = min(len(curve.times_s), len(truth.times_s))
            published, picture = (volumes or {}).get(curve.label, (None, None))
            pair = CurvePair(name, number, _cut(curve, phases), _cut(truth, phases), published, picture)
            self.pairs.append(pair)


def curves_of_results(root: Path) -> Curves:
    """Curves of every result folder below `root`, as `virtual-contrast batch` makes them of cases with real phases."""
    folders = sorted(path.parent for path in root.glob(f"*/{MANIFEST}"))
    if not folders:
        raise InputError(f"{root} holds no result folders; make some with 'virtual-contrast batch' from real phases.")
    found = Curves(outlined_by_runs=True)
    for number, folder in enumerate(folders, start=1):
        try:
            if not load_result(folder).manifest.summary.get("lesions", True):
                found.without_lesions += 1
                continue
            if not (folder / "curves_real.csv").is_file():
                raise InputError(
                    f"{folder} has no curves of real phases; make it with --real, and --real-times if unknown."
                )
            found.add(number, folder.name, read_curves(folder / "curves.csv"), read_curves(folder / "curves_real.csv"))
        except InputError as error:
            found.failed.append((number, str(error)))
    return found


def curves_of_volumes(
    real: Path, synthetic: Path, lesions: Path | None = None, times_s: Sequence[float] | None = None
) -> Curves:
    """Curves of case folders `real/<case>` with pre, phase_1 ..., and `synthetic/<case>` with the same phases.

    A synthetic case is a result folder or holds phase_1 ... itself or in `phases`. Where its manifest says that the
    synthetic phases have a scale of their own, pre-contrast and real phases are brought to theirs; otherwise a `pre` in
    the synthetic case is the pre-contrast volume in its units.

    Args:
        real: Folder of the real cases.
        synthetic: Folder of the synthetic cases.
        lesions: Folder of label maps named like the cases; without it `lesions` in the real case, else those of the
            result folder.
        times_s: Seconds after injection of phases 1, 2 ...; None takes those of case.json, else of the result folder.

    Returns:
        The curves, with a sentence for each case that cannot be used.

    Raises:
        InputError: There is no case.
    """
    cases = sorted(path for path in real.iterdir() if path.is_dir()) if real.is_dir() else []
    cases = [case for case in cases if _volume(case, "pre") is not None]
    if not cases:
        raise InputError(f"{real} holds no case folders with a pre-contrast volume called pre (such as pre.nrrd).")
    found = Curves()
    for number, case in enumerate(cases, start=1):
        try:
            found.add(number, case.name, *_curves_of_case(case, synthetic / case.name, lesions, times_s))
        except InputError as error:
            found.failed.append((number, str(error)))
    return found


def read_curves(path: Path) -> list[LesionCurve]:
    """Curves of a result folder's curves.csv or curves_real.csv, parameters computed again from the mean signals.

    The file does not hold the voxel counts; they are 0. Raises InputError where the file is missing or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        labels = list(dict.fromkeys(int(row["lesion"]) for row in rows))
        return [_curve_of_rows(label, [row for row in rows if int(row["lesion"]) == label]) for label in labels]
    except _DAMAGED as error:
        raise InputError(f"{path} is not a readable table of curves ({type(error).__name__}).") from error


def _curve_of_rows(label: int, rows: Sequence[dict[str, str]]) -> LesionCurve:
    def column(name: str) -> np.ndarray:
        return np.array([float(row[name]) if row[name] else np.nan for row in rows])

    times, signal, hot = column("time_s"), column("signal_mean"), column("hot_spot_signal_mean")
    return LesionCurve(
        label=label,
        synthetic=any(row["synthetic"] == "true" for row in rows),
        voxel_count=0,
        times_s=times,
        signal_mean=signal,
        signal_sd=column("signal_sd"),
        uncertainty_sd=column("signal_uncertainty_sd"),
        pe_percent=percent_enhancement(signal),
        pe_uncertainty_percent=column("pe_uncertainty_sd_percent"),
        parameters=curve_parameters(signal, times),
        hot_spot_signal=hot,
        hot_spot_parameters=curve_parameters(hot, times),
    )


def _cut(curve: LesionCurve, phases: int) -> LesionCurve:
    """The curve over its first `phases` time points."""
    if phases == len(curve.times_s):
        return curve
    arrays = ("times_s", "signal_mean", "signal_sd", "uncertainty_sd", "pe_percent", "pe_uncertainty_percent")
    cut = {name: getattr(curve, name)[:phases] for name in arrays}
    hot = curve.hot_spot_signal[:phases]
    return LesionCurve(
        label=curve.label,
        synthetic=curve.synthetic,
        voxel_count=curve.voxel_count,
        **cut,
        parameters=curve_parameters(cut["signal_mean"], cut["times_s"]),
        hot_spot_signal=hot,
        hot_spot_parameters=curve_parameters(hot, cut["times_s"]),
    )


def _curves_of_case(
    case: Path, made: Path, lesions: Path | None, times_s: Sequence[float] | None
) -> tuple[list[LesionCurve], list[LesionCurve], dict[int, tuple[PublishedPair, LesionPicture]]]:
    pre = _read(case, "pre")
    folder = made / "phases" if (made / "phases").is_dir() else made
    real = _phases(case)
    if has_own_scale(made / MANIFEST):
        pre, *real = map(image_on_own_scale, (pre, *real))
    synthetic = _phases(folder, given=real)
    count = min(len(synthetic), len(real))
    if count == 0:
        raise InputError(
            f"{case if not real else made} holds no phases called phase_1, phase_2 ...; nothing to compare."
        )
    known = (_times(case, times_s) or _times_of_result(made))[:count]
    times = [time for time in known if time is not None]
    if len(times) < count:
        raise InputError(f"The phase times of {case} are not known; give seconds after injection with --times.")
    labels = _labels(case, made, lesions)
    before = _read(made, "pre") if _volume(made, "pre") is not None else pre
    made_curves = lesion_curves(_series(before, synthetic[:count], times, True), labels)
    real_curves = lesion_curves(_series(pre, real[:count], times, False), labels)
    return made_curves, real_curves, _of_volumes([before, *synthetic[:count]], [pre, *real[:count]], labels)


def _of_volumes(
    synthetic: Sequence[sitk.Image], real: Sequence[sitk.Image], labels: sitk.Image
) -> dict[int, tuple[PublishedPair, LesionPicture]]:
    """By label the curves as the paper's notebook takes them, and a picture in radiological orientation."""
    map_ = sitk.GetArrayFromImage(labels)
    series = [[sitk.GetArrayFromImage(image) for image in images] for images in (real, synthetic)]
    view = acquisition_view(real[0])
    shown_real, shown_made = ([view.slices(image) for image in images] for images in (real, synthetic))
    shown_map, window = view.slices(labels), common_window(series[0][0])
    return {
        int(label): (
            PublishedPair(*(published_curve(phases, map_ == label) for phases in series)),
            lesion_picture(shown_real, shown_made, shown_map == label, window),
        )
        for label in np.unique(map_[map_ > 0])
    }


def _series(pre: sitk.Image, phases: Iterable[sitk.Image], times_s: Sequence[float], synthetic: bool) -> list[Phase]:
    later = [
        Phase(n, image, time, synthetic) for n, (image, time) in enumerate(zip(phases, times_s, strict=False), start=1)
    ]
    return [Phase(0, pre, 0.0, False), *later]


def _times(case: Path, times_s: Sequence[float] | None) -> list[float | None]:
    """Times of the post-contrast phases from the arguments or from case.json; [] where it does not know them."""
    if times_s is not None:
        return list(times_s)
    if not (case / "case.json").is_file():
        return []
    try:
        description = json.loads((case / "case.json").read_text(encoding="utf-8"))
        times = [None if time is None else float(time) for time in description.get("times_s") or ()]
    except (*_DAMAGED, AttributeError) as error:
        raise InputError(f"{case / 'case.json'} is damaged ({type(error).__name__}).") from error
    return [] if None in times[1:] else times[1:]


def _times_of_result(made: Path) -> list[float | None]:
    """Times of phases 1, 2 ... by the manifest of a result folder: those that the model read and those that it made."""
    if not (made / MANIFEST).is_file():
        return []
    manifest = load_result(made).manifest
    known = input_phase_times(manifest.inputs) | {int(one["index"]): one["time_s"] for one in manifest.phases}
    return [known.get(number) for number in range(1, max(known, default=0) + 1)]


def _labels(case: Path, made: Path, lesions: Path | None) -> sitk.Image:
    places = [(lesions, case.name)] if lesions is not None else [(case, "lesions"), (made, "lesions.seg")]
    for folder, name in places:
        path = _volume(folder, name)
        if path is not None:
            return sitk.Cast(load(path).image, sitk.sitkUInt8)
    raise InputError(
        f"There are no lesions for {case}; give a folder of label maps named like the cases with --lesions."
    )


def _phases(folder: Path, given: Sequence[sitk.Image] = ()) -> list[sitk.Image]:
    """phase_1, phase_2 ... of a folder; where it begins later, the first ones are `given`: the model read them."""
    numbers = range(1, len(given) + 2)
    first = next((number for number in numbers if _volume(folder, f"phase_{number}") is not None), None)
    if first is None:
        return []
    phases = list(given[: first - 1])
    while _volume(folder, f"phase_{len(phases) + 1}") is not None:
        phases.append(_read(folder, f"phase_{len(phases) + 1}"))
    return phases


def _read(folder: Path, name: str) -> sitk.Image:
    path = _volume(folder, name)
    if path is None:
        raise InputError(f"{folder} has no volume called {name}.")
    return read_volume(path)[0]


def _volume(folder: Path, name: str) -> Path | None:
    return next((folder / f"{name}{suffix}" for suffix in VOLUMES if (folder / f"{name}{suffix}").is_file()), None)
