"""Kinds of input that hospitals and researchers have, small and made anew, each with what must become of it.

A kind writes its files into an empty folder and gives the outcome as text: what was read, or the sentence and exit code
of a refusal, and after `| warned:` the warnings. `wanted` is a regular expression of the whole outcome.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from io_samples import MrSeries, oblique_image
from pydicom.uid import generate_uid
from VirtualContrastLib.cli.main import main
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.io.lesion_mask import read_lesions
from VirtualContrastLib.io.read import load, read_study
from VirtualContrastLib.io.volumes import SYNTHETIC_COMMENT, like, write
from VirtualContrastLib.run.batch_cases import read_cases
from VirtualContrastLib.run.compare import compare_existing
from VirtualContrastLib.run.settings import RunSettings
from VirtualContrastTrainingLib.cli import main as training_main

IMAGE = oblique_image()
STORED = sitk.GetArrayFromImage(IMAGE)
LABELS = np.zeros(STORED.shape, np.uint8)
LABELS[2:5, 3:8, 4:9], LABELS[5:8, 10:14, 12:17] = 1, 2
MASK = like(LABELS, IMAGE)


@dataclass(frozen=True)
class Kind:
    """One kind of input: the point of the issue on hospitals that it belongs to, and what is done with it."""

    point: str
    name: str
    command: str
    outcome: Callable[[Path], str]
    wanted: str


KINDS: list[Kind] = []


def kind(point: str, name: str, command: str, wanted: str) -> Callable[[Callable[[Path], str]], None]:
    """Decorator: registers a function as a kind."""

    def register(outcome: Callable[[Path], str]) -> None:
        KINDS.append(Kind(point, name, command, outcome, wanted))

    return register


def told(outcome: Callable[[Path], str], folder: Path) -> str:
    """The outcome of a kind; a refusal is its sentence with exit code 2."""
    try:
        return outcome(folder)
    except InputError as error:
        return f"2: {str(error).replace(str(folder) + '/', '')}"


def fits(one: Kind, outcome: str) -> bool:
    return re.fullmatch(one.wanted, outcome, re.DOTALL) is not None


def with_warnings(text: str, events: Events) -> str:
    warnings = [text for text in events.warnings if not ("modality" in text and "file format" in text)]
    return f"{text} | warned: {' / '.join(warnings)}" if warnings else text


# ---- 1: gray values below zero, padding ------------------------------------------------------------------------------


def breast() -> np.ndarray:
    """A magnitude image of 20 x 60 x 50 voxels: Rician air, fat 120, tissue 300."""
    rng, signal = np.random.default_rng(11), np.zeros((20, 60, 50))
    signal[:, 15:, 10:40], signal[5:15, 25:50, 15:35] = 120, 300
    return np.hypot(signal + rng.normal(0, 6, signal.shape), rng.normal(0, 6, signal.shape))


def levels(folder: Path, values: np.ndarray, dtype: type = np.float32) -> str:
    """Least and greatest gray value of a volume as a run uses it, rounded to tens."""
    image = sitk.GetImageFromArray(values.astype(dtype))
    image.SetSpacing((1.2, 1.2, 2.5))
    sitk.WriteImage(image, str(folder / "v.nrrd"))
    events = Events()
    used = sitk.GetArrayFromImage(read_study(folder / "v.nrrd", events=events).pre.image)
    return with_warnings(f"values {round(float(used.min()), -1):g} to {round(float(used.max()), -1):g}", events)


CLEAN = r"values 0 to 3[0-4]0 \| warned: v\.nrrd has \d+ voxels .* below 0.*"


def padded(value: float, share: float) -> Callable[[Path], str]:
    def outcome(folder: Path) -> str:
        values = breast()
        values[:, : int(60 * share)] = value
        return levels(folder, values)

    return outcome


for value in (-1, -77, -1024, -3000):
    for share in (0.05, 0.3, 0.6):
        kind("1", f"border of {value}, {share:.0%}", "synthesize", CLEAN)(padded(value, share))


@kind("1", "one dead voxel of -20000", "synthesize", CLEAN)
def _(folder: Path) -> str:
    values = breast()
    values[4, 5, 6] = -20000
    return levels(folder, values, np.int16)


@kind("1", "round field of view, -2000 outside", "synthesize", CLEAN)
def _(folder: Path) -> str:
    values = breast()
    _, j, i = np.indices(values.shape)
    values[((j - 30) / 30) ** 2 + ((i - 25) / 25) ** 2 > 1] = -2000
    return levels(folder, values, np.int16)


def resampled(values: np.ndarray) -> np.ndarray:
    image = sitk.GetImageFromArray(values.astype(np.float32))
    spline = sitk.Resample(image, [67, 81, 27], sitk.Transform(), sitk.sitkBSpline, [0, 0, 0], [0.75, 0.75, 0.75])
    return sitk.GetArrayFromImage(spline)


@kind("1", "resampled by a spline", "synthesize", CLEAN.replace("3[0-4]0", "3[0-9]0"))
def _(folder: Path) -> str:
    return levels(folder, resampled(breast()))


@kind("1", "border of -1024, then resampled by a spline", "synthesize", CLEAN.replace("3[0-4]0", "3[0-9]0"))
def _(folder: Path) -> str:
    values = breast()
    values[:, :12] = -1024
    return levels(folder, resampled(values))


kind("1", "z-scored", "synthesize", r"values .*normalized \(mean 0.*")(
    lambda folder: levels(folder, (breast() - breast().mean()) / breast().std())
)
kind("1", "scaled to -1 ... 1", "synthesize", r"values .*taken as the level of air.*")(
    lambda folder: levels(folder, breast() / breast().max() * 2 - 1)
)
kind("1", "all below zero", "synthesize", r"2: v\.nrrd has no gray value above 0.*")(
    lambda folder: levels(folder, breast() - 2000)
)
kind("1", "NaN", "synthesize", r"2: v\.nrrd holds voxels that are NaN.*")(
    lambda folder: levels(folder, np.where(breast() > 310, np.nan, breast()))
)

# ---- 2 to 4: order, times, study folders -----------------------------------------------------------------------------


def series_of(folder: Path, *, separate: bool, **tags: Iterable) -> None:
    """A dynamic examination into `folder/s`: each tag has a value a phase, None where it is missing."""
    count = len(list(next(iter(tags.values()))))
    one = MrSeries(IMAGE, AcquisitionDate=None)
    for n in reversed(range(count)):
        series = MrSeries(IMAGE, SeriesNumber=20 + n, AcquisitionDate=None) if separate else one
        own = {key: values[n] for key, values in tags.items() if values[n] is not None}
        series.write(folder / "s", phase=n, first_instance=1 + 9 * n, name=f"p{count - n}_{{k}}.dcm", **own)


def phase_of(image: sitk.Image) -> str:
    """Which phase an image is: MrSeries adds the number of the phase to every voxel."""
    difference = sitk.GetArrayFromImage(image) - STORED
    return str(int(difference.min())) if difference.min() == difference.max() else "mixed"


def order(folder: Path, count: int) -> str:
    """Order and times of the phases of `folder/s` as the command reads FOLDER@0, FOLDER@1 ..."""
    place, events = folder / "s", Events()
    study = read_study(f"{place}@0", [f"{place}@{n}" for n in range(1, count)], events=events)
    phases = " ".join(phase_of(phase.image) for phase in (study.pre, *study.real))
    times = " ".join("-" if phase.time_s is None else f"{phase.time_s:g}" for phase in study.real)
    since = " since the injection" if "injection" in study.time_zero else ""
    return with_warnings(f"order {phases}, times {times}{since}", events)


def dynamic(point: str, name: str, wanted: str, **tags: list) -> None:
    """Two kinds: the phases in one series, and each in a series of its own."""
    count = len(next(iter(tags.values())))
    for separate in (False, True):
        title = f"{name}, {'a series a phase' if separate else 'one series'}"

        def outcome(folder: Path, separate: bool = separate) -> str:
            series_of(folder, separate=separate, **tags)
            return order(folder, count)

        kind(point, title, "synthesize s@0 --real s@1 ...", wanted)(outcome)


dynamic(
    "2",
    "midnight",
    "order 0 1 2 3, times 89.75 179.5 270.25",
    AcquisitionTime=["235759.5", "235929.25", "000059", "000229.75"],
)
dynamic(
    "2",
    "midnight, date of the series alone",
    "order 0 1 2, times 89 179",
    AcquisitionTime=["235759", "235928", "000058"],
    SeriesDate=["20240101"] * 3,
)
dynamic(
    "2",
    "contradicting tags",
    r"order .*contradict each other.*",
    AcquisitionTime=["100000", "100100", "100200"],
    TemporalPositionIdentifier=[2, 1, 3],
)
dynamic(
    "3",
    "a clock without its leading zero and minutes",
    "order 0 1 2, times 60 240",
    AcquisitionTime=["0900", "0901", "0904"],
)
dynamic(
    "3",
    "the injection is told",
    "order 0 1 2, times 60 150 since the injection",
    AcquisitionTime=["100000", "100300", "100430"],
    ContrastBolusStartTime=["100200"] * 3,
)
dynamic(
    "3",
    "an injection after the first phase",
    r"order 0 1 2, times 180 270 \| warned: .*ContrastBolusStartTime.*",
    AcquisitionTime=["100000", "100300", "100430"],
    ContrastBolusStartTime=["100330"] * 3,
)
dynamic(
    "3",
    "an injection before everything",
    r"order 0 1 2, times 180 270 \| warned: .*ContrastBolusStartTime.*",
    AcquisitionTime=["100000", "100300", "100430"],
    ContrastBolusStartTime=["093000"] * 3,
)
dynamic(
    "3",
    "trigger times in seconds, first one missing",
    "order 0 1 2, times 75 190",
    TriggerTime=[None, 75.0, 190.0],
    AcquisitionTime=["101010", "101125", "101320"],
)
dynamic("4", "trigger times alone", "order 0 1 2, times 75 190", TriggerTime=[0.0, 75000.0, 190000.0])
dynamic("4", "trigger times alone, first one missing", "order 0 1 2, times 75 190", TriggerTime=[None, 75e3, 190e3])
dynamic(
    "3",
    "trigger times alone, of no known unit",
    r"order 0 1 2, times - - \| warned: .*its unit is unknown.*",
    TriggerTime=[0.0, 0.075, 0.19],
)
dynamic(
    "4",
    "trigger times alone, against the numbers of series or images",
    r"order 2 1 0, times 75 190 \| warned: .*contradict each other: .*(InstanceNumber 2 1 0|22 21 20.* 20 21 22).*",
    TriggerTime=[190e3, 75e3, 0.0],
)


def one_series(point: str, name: str, wanted: str, **tags: list) -> None:
    def outcome(folder: Path) -> str:
        series_of(folder, separate=False, **tags)
        return order(folder, len(next(iter(tags.values()))))

    kind(point, name, "synthesize s@0 --real s@1 ...", wanted)(outcome)


one_series("3", "first trigger time missing", "order 0 1 2, times 75 190", TriggerTime=[None, 75000.0, 190000.0])
one_series(
    "3",
    "trigger times of no known unit",
    r"order 0 1 2, times - - \| warned: .*its unit is unknown.*",
    TriggerTime=[0.0, 75.0, 190.0],
)
one_series("2", "midnight, content time alone", "order 0 1 2, times 90 180", ContentTime=["235800", "235930", "000100"])
one_series(
    "4",
    "trigger times, random numbers",
    "order 0 1 2, times 75 190",
    TriggerTime=[0.0, 75e3, 190e3],
    InstanceNumber=[lambda k: 900 - 7 * k, lambda k: 3 + 50 * k, lambda k: 41 * k % 9 * 6 + 4],
)
one_series(
    "4",
    "numbers against acquisition times",
    r"order 2 1 0, times 60 120 \| warned: .*AcquisitionTime orders .* and InstanceNumber 2 1 0.*",
    AcquisitionTime=["100200", "100100", "100000"],
)


@kind("4", "a series a phase, random numbers and no time", "synthesize s@0", r"2: .*whose order no tag gives.*")
def _(folder: Path) -> str:
    numbers = np.random.default_rng(4).permutation(40)
    for n in range(3):
        series = MrSeries(IMAGE, SeriesNumber=int(numbers[n]), AcquisitionDate=None)
        series.write(folder / "s", phase=n, first_instance=int(numbers[10 + n]), name=f"{numbers[20 + n]}_{{k}}.dcm")
    return order(folder, 3)


one_series("2", "no time and no number", r"2: s holds 2 images at each place and no tag.*", InstanceNumber=["", ""])


@kind("2", "random instance numbers", "synthesize s@0", r"2: .*neither phase by phase nor place by place.*")
def _(folder: Path) -> str:
    numbers = iter(np.random.default_rng(11).permutation(18) + 300)
    series = MrSeries(IMAGE)
    for n in range(2):
        series.write(folder / "s", phase=n, InstanceNumber=lambda k: int(next(numbers)))
    return order(folder, 2)


for shift, count, thickness, dimensions in (
    (0.5, 2, 2.1, ""),
    (1 / 3, 3, 2.1, ""),
    (0.5, 2, 4.2, ""),
    (0.5, 2, 1.05, "3D"),
):

    @kind(
        "2",
        f"{count} phases shifted by {shift:.2f} slices, {thickness} mm thick",
        "synthesize s",
        r"2: .*interleave.*",
    )
    def _(folder: Path, shift=shift, count=count, thickness=thickness, dimensions=dimensions) -> str:
        uid = generate_uid()
        for n in range(count):
            place = IMAGE.TransformContinuousIndexToPhysicalPoint((0, 0, shift * n))
            tags = {"SliceThickness": thickness, "MRAcquisitionType": dimensions, "AcquisitionTime": f"10{n:02d}00"}
            MrSeries(oblique_image(origin=place), series_uid=uid).write(folder / "s", phase=n, **tags)
        return str(load(folder / "s").image.GetSize())


for times, wanted in (
    ((1.5, 3.7, 5.8), "2: .*look like minutes.*"), ((90000.0, 220000.0), "2: .*look like milliseconds.*"),
    ((90.0, 60.0), "2: .*rising.*"), ((90.0, 220.0), "taken"),
):  # fmt: skip

    @kind("3", f"--times {' '.join(f'{time:g}' for time in times)}", "synthesize --times", wanted)
    def _(folder: Path, times=times) -> str:
        RunSettings(times_s=times)
        return "taken"


OTHERS = {
    "subtraction by its description": {"description": "Ph1/Ax Subtraction", "ImageType": ["DERIVED", "SECONDARY"]},
    "subtraction by its type": {"description": "x", "ImageType": ["DERIVED", "PRIMARY", "M", "SUB"]},
    "difference": {"description": "dyn2 minus dyn1", "ImageType": ["DERIVED", "SECONDARY", "OTHER"]},
    "wash-in map": {"description": "WI", "ImageType": ["DERIVED", "PRIMARY", "WI"]},
    "projection": {"description": "MIP ax", "ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE"]},
    "diffusion": {"description": "DWI b800", "DiffusionBValue": 800.0, "EchoTime": 70.0},
    "report as DOC": {"description": "report", "Modality": "DOC"},
    "localizer": {"description": "3-plane loc scout"},
    "fat image": {"description": "x", "ImageType": ["DERIVED", "PRIMARY", "DIXON", "F"]},
}
for title, tags in OTHERS.items():

    @kind(
        "4",
        f"study folder with a {title}",
        "synthesize s@0 --real s@1 ...",
        r"order 0 1 2, times 120 240 \| warned: .*series 99 .*was left out.*",
    )
    def _(folder: Path, tags=tags) -> str:
        for n in range(3):
            series = MrSeries(IMAGE, SeriesNumber=10 + n, description=f"Ax VIBRANT {n}")
            series.write(folder / "s", phase=n, AcquisitionTime=f"10{2 * n:02d}00", name=f"p{n}_{{k}}.dcm")
        MrSeries(IMAGE, SeriesNumber=99, **tags).write(
            folder / "s", phase=9, AcquisitionTime="101500", name="o_{k}.dcm"
        )
        with contextlib.suppress(InputError):
            return f"a fourth phase: {phase_of(load(f'{folder}/s@3').image)}"
        return order(folder, 3)


SCANNED = {"RepetitionTime": 4.1, "FlipAngle": 12.0, "EchoTime": 1.4}
"""Sequence of the dynamic series below; each T1 without fat suppression before it tells itself apart, or does not."""
EARLIER = {
    "by its scan options": ("PFP", {"ScanOptions": ["PFP"]}, r"times 90 180 \| warned: .*fat is not suppressed.*"),
    "by its flip angle": ("", {"FlipAngle": 25.0}, r"times 90 180 \| warned: .*flip angle is 25 degrees.*"),
    "by its repetition time": ("", {"RepetitionTime": 6.0}, r"times 90 180 \| warned: .*repetition time is 6 ms.*"),
    "by its echo time": ("", {"EchoTime": 2.4}, r"times 90 180 \| warned: .*echo time is 2\.4 ms.*"),
    "by its description": ("", {"SeriesDescription": "Ax T1 w/o FS"}, r"times 90 180 \| warned: .*not suppressed.*"),
    "by nothing but its pixels": ("", {}, r"times 300 390 \| warned: .*much darker in s@1 than in s@0.*--series.*"),
}


def in_breast(fat: float, enhancement: float = 0.0) -> sitk.Image:
    """A breast of glands in fat: its glands have 300, and 120 more times the enhancement."""
    rng, values = np.random.default_rng(5), np.zeros((9, 60, 50))
    values[:, 12:, 8:42], values[2:7, 25:50, 15:35] = fat, 300 + 120 * enhancement
    values[4:6, 30:36, 20:26] += 300 * enhancement
    image = sitk.GetImageFromArray(np.hypot(values + rng.normal(0, 6, values.shape), 5).astype(np.int16))
    image.SetSpacing((1.2, 1.2, 2.5))
    return image


def write_dynamic(folder: Path, **tags: list) -> None:
    """Three phases with fat suppression from 10:05 on, a series each, into `folder/s`."""
    for n in range(3):
        own = {key: values[n] for key, values in tags.items()}
        series = MrSeries(in_breast(60.0, n), SeriesNumber=10 + n, description=f"ax dyn {n}", **SCANNED | own)
        series.write(folder / "s", AcquisitionTime=f"10{5 + 3 * n // 2:02d}{30 * (n % 2):02d}", name=f"p{n}_{{k}}.dcm")


def times_of(folder: Path, count: int = 2) -> str:
    """Seconds of the first `count` real phases of `folder/s` as the command reads them."""
    events = Events()
    study = read_study(f"{folder}/s@0", [f"{folder}/s@{n}" for n in range(1, count + 1)], events=events)
    return with_warnings(f"times {' '.join(f'{phase.time_s:g}' for phase in study.real)}", events)


for title, (options, tags, wanted) in EARLIER.items():

    @kind("3", f"an earlier T1 without fat suppression, told {title}", "synthesize s@0 --real s@1 s@2", wanted)
    def _(folder: Path, options=options, tags=tags) -> str:
        write_dynamic(folder, **({"ScanOptions": [[options, "FS"]] * 3} if options else {}))
        series = MrSeries(in_breast(900.0), SeriesNumber=5, description="ax t1", **SCANNED | tags)
        series.write(folder / "s", AcquisitionTime="100000", name="t1_{k}.dcm")
        return times_of(folder)


@kind("3", "repetition times that vary by some percent", "synthesize s@0 --real s@1 s@2", "times 90 180")
def _(folder: Path) -> str:
    write_dynamic(folder, RepetitionTime=[4.1, 4.25, 4.0], FlipAngle=[12.0, 12.0, 12.5])
    return times_of(folder)


@kind(
    "3",
    "a pre-contrast series of another flip angle",
    "synthesize s@0 --real s@1",
    r"times 90 \| warned: .*flip angle is 20 degrees.*choose with --series if it is the phase before contrast.*",
)
def _(folder: Path) -> str:
    write_dynamic(folder, FlipAngle=[20.0, 12.0, 12.0])
    return times_of(folder, 1)


@kind(
    "3",
    "volumes of which the first has bright fat",
    "synthesize a.nrrd --real b.nrrd",
    r"read \| warned: .*b\.nrrd than in a\.nrrd.*",
)
def _(folder: Path) -> str:
    for name, image in (("a", in_breast(900.0)), ("b", in_breast(60.0, 1.0))):
        sitk.WriteImage(image, str(folder / f"{name}.nrrd"))
    events = Events()
    read_study(folder / "a.nrrd", [folder / "b.nrrd"], events=events)
    return with_warnings("read", events)


def given(name: str, wanted: str, *real: dict, times: tuple[float, ...] | None = None, pre: dict | None = None) -> None:
    """A pre-contrast series and real phases, each in a folder of its own, with what differs in their headers."""

    @kind("2", f"real phases in folders: {name}", "synthesize pre --real a b", wanted)
    def _(folder: Path) -> str:
        places = ["pre", *"abc"[: len(real)]]
        for n, (place, tags) in enumerate(zip(places, (pre or {}, *real), strict=True)):
            tags = {"AcquisitionTime": f"10{3 * n // 2:02d}{30 * (n % 2):02d}"} | tags
            MrSeries(in_breast(60.0, n), **SCANNED).write(folder / place, **tags)
        events = Events()
        study = read_study(folder / "pre", [folder / place for place in places[1:]], times_s=times, events=events)
        return with_warnings(f"times {' '.join(f'{p.time_s:g}' for p in study.real if p.time_s)}", events)


given("as they should be", "times 90 180", {}, {})
given("of another patient", r"times 90 \| warned: a is of another patient.*", {"PatientID": "4712"})
given("of another study", r"times 90 \| warned: a is of another study.*", {"StudyInstanceUID": "1.2.9"})
given("of another day", r"times  \| warned: a was acquired more than an hour.*", {"AcquisitionDate": "20240601"})
given(
    "before the pre-contrast series",
    r"times  \| warned: a was acquired 60 s before.*",
    {},
    pre={"AcquisitionTime": "100230"},
)
given("in the wrong order", r"2: .*acquired in the order b, a.*", {"AcquisitionTime": "100400"}, {})
given(
    "in the wrong order, with times",
    r"times 90 240 \| warned: .*order b, a .*times that you gave were used.*",
    {"AcquisitionTime": "100400"},
    {},
    times=(90.0, 240.0),
)
given(
    "over midnight",
    "times 90 180",
    {"AcquisitionTime": "000015"},
    {"AcquisitionTime": "000145"},
    pre={"AcquisitionTime": "235845"},
)
given("of another flip angle", r"times 90 \| warned: .*flip angle is 30 degrees and not 12.*", {"FlipAngle": 30.0})
given("a subtraction", r"times 90 \| warned: .*is a subtraction.*", {"ImageType": ["DERIVED", "PRIMARY", "SUB"]})
given("not T1-weighted", r"times 90 \| warned: .*not T1-weighted.*", {"EchoTime": 80.0})


def volumes(name: str, wanted: str, *, synthetic: str = "", **images: Callable[[], sitk.Image]) -> None:
    """`pre.nrrd` with `a.nrrd` and `b.nrrd` as real phases; the one of `synthetic` is marked so."""

    @kind("2", f"volumes: {name}", "synthesize pre.nrrd --real a.nrrd b.nrrd", wanted)
    def _(folder: Path) -> str:
        for place, make in images.items():
            write(make(), folder / f"{place}.nrrd", comment=SYNTHETIC_COMMENT if place == synthetic else None)
        events = Events()
        read_study(folder / "pre.nrrd", [folder / f"{place}.nrrd" for place in list(images)[1:]], events=events)
        return with_warnings("read", events)


volumes(
    "one phase twice",
    r"read \| warned: b\.nrrd is the same image as a real phase before it.*",
    pre=lambda: in_breast(60.0),
    a=lambda: in_breast(60.0, 1.0),
    b=lambda: in_breast(60.0, 1.0),
)
for scale in (0.1, 10.0, 255.0):
    volumes(
        f"a real phase times {scale:g}",
        r"read \| warned: .*one scale of gray values.*",
        pre=lambda: in_breast(60.0),
        a=lambda scale=scale: sitk.Cast(in_breast(60.0, 1.0), sitk.sitkFloat32) * scale,
    )
for place in ("pre", "a"):
    volumes(
        f"a synthetic one as {place}",
        rf"read \| warned: {place}\.nrrd is marked as synthetic.*",
        synthetic=place,
        pre=lambda: in_breast(60.0),
        a=lambda: in_breast(60.0, 1.0),
    )

for separate in (False, True):
    for lacking in (1, 5, 8):

        @kind(
            "4",
            f"last phase lacks {lacking} of 9 slices, {'a series a phase' if separate else 'one series'}",
            "synthesize s@0 --real s@1 ...",
            r"order 0 1 2, times 60 120 \| warned: .*left out.*",
        )
        def _(folder: Path, separate=separate, lacking=lacking) -> str:
            one = MrSeries(IMAGE)
            for n in range(4):
                series = MrSeries(IMAGE, SeriesNumber=10 + n) if separate else one
                skip = tuple(range(9 - lacking, 9)) if n == 3 else ()
                series.write(folder / "s", phase=n, skip=skip, AcquisitionTime=f"10{n:02d}00", name=f"p{n}_{{k}}.dcm")
            return order(folder, 3)


# ---- 5: masks --------------------------------------------------------------------------------------------------------


def mask(name: str, wanted: str, make: Callable[[], sitk.Image]) -> None:
    @kind("5", name, "synthesize --lesions", wanted)
    def _(folder: Path) -> str:
        sitk.WriteImage(make(), str(folder / "m.nii.gz"))
        events = Events()
        found = sitk.GetArrayFromImage(read_lesions(folder / "m.nii.gz", IMAGE, events)[0])
        return with_warnings(" ".join(str(int((found == label).sum())) for label in range(1, found.max() + 1)), events)


def moved(voxels: float) -> sitk.Image:
    image = like(LABELS, IMAGE)
    image.SetOrigin(IMAGE.TransformContinuousIndexToPhysicalPoint((voxels, voxels / 2, 0)))
    return image


RESAMPLED = r" \| warned: The lesion mask was resampled.*"
for axes in ("RAS", "PIR", "SLA"):
    mask(f"axes {axes}", "75 60" + RESAMPLED, lambda axes=axes: sitk.DICOMOrient(MASK, axes))
mask("shifted by 0.3 voxels", "75 60" + RESAMPLED, lambda: moved(0.3))
mask("cropped", "75 60" + RESAMPLED, lambda: MASK[2:18, 1:16, 1:9])
mask("elsewhere", r"2: .*would be left.*", lambda: moved(300))
mask("255 in a lesion", "135", lambda: like((LABELS > 0).astype(np.uint8) * 255, IMAGE))
mask("labels 1 and 5", "75 60", lambda: like(np.where(LABELS == 2, 5, LABELS).astype(np.uint8), IMAGE))
mask("float labels", "75 60", lambda: like(LABELS.astype(np.float64), IMAGE))
mask("soft, 0.9", "75", lambda: like((0.9 * (LABELS == 1)).astype(np.float32), IMAGE))
mask("soft, 0.3", r"2: .*is empty.*", lambda: like((0.3 * (LABELS == 1)).astype(np.float32), IMAGE))
mask("0 to 100 percent", r"2: .*labels.*", lambda: like((87.5 * (LABELS > 0)).astype(np.float32), IMAGE))
mask("empty", r"2: .*is empty.*", lambda: like(LABELS * 0, IMAGE))
marks = r" \| warned: .* marks \d\d% of the volume.*"
mask("inverted", r"\d+" + marks, lambda: like((LABELS == 0).astype(np.uint8), IMAGE))
mask("negative", r"2: .*labels.*", lambda: like(LABELS.astype(np.int16) * -1, IMAGE))

# ---- 6: tables -------------------------------------------------------------------------------------------------------


def table(name: str, text: str, wanted: str, encoding: str = "utf-8") -> None:
    @kind("6", name, "batch TABLE", wanted)
    def _(folder: Path) -> str:
        (folder / "t.csv").write_bytes(text.encode(encoding))
        cases = read_cases(folder / "t.csv")
        return "; ".join(f"{case.name}: {Path(case.input).name} {dict(case.settings) or ''}".strip() for case in cases)


table(
    "quoted, semicolons, upper case",
    '"CASE";"INPUT";"REAL1";"TIMES"\r\n"A 1";"a.nrrd";"b.nrrd";"1:30"\r\n;;;\r\n',
    r"A 1: a\.nrrd \{'times_s': \(90\.0,\)\}",
)
table("UTF-16, tabs", "\ufeffcase\tinput\r\nÄ\ta.nrrd\r\n", r"Ä: a\.nrrd", "utf-16-be")
table("Windows-1252", "case,input\nMüller,a.nrrd\n", r"Müller: a\.nrrd", "cp1252")
table("empty columns at the end", "case;input;;\na;b.nrrd;;\n", r"a: b\.nrrd")
table(
    "decimal comma", "case;input;real1;real_times\na;b.nrrd;c.nrrd;90,5\n", r"a: b\.nrrd \{'real_times_s': \(90\.5,\)\}"
)
table("no header", "a,b.nrrd\n", r"2: .*needed are case and input.*")
table("a case twice", "case,input\na,b.nrrd\nA,c.nrrd\n", r"2: .*occurs twice.*")
table("a case named summary.csv", "case,input\nSummary.CSV,b.nrrd\n", r"2: .*that of a file of the batch.*")
table(
    "~nobody",
    "case,input\na,~nobody-there/b.nrrd\n",
    r"2: t\.csv line 2 names ~nobody-there/b\.nrrd, but there is no such user.*",
)
table("a row without its input", "case,input\na,\n", r"2: t\.csv line 2 lacks.*")

# ---- 7: prepare dynamic ----------------------------------------------------------------------------------------------


def prepared(name: str, wanted: str, change: Callable[[Path], object], *options: str) -> None:
    @kind("7", name, "prepare dynamic --check", wanted)
    def _(folder: Path) -> str:
        place = folder / "in" / "sub-01"
        place.mkdir(parents=True)
        (folder / "labels").mkdir()
        for n in range(3):
            sitk.WriteImage(sitk.Cast(IMAGE, sitk.sitkFloat32) + 50.0 * n, str(place / f"sub-01_p{n}.nii.gz"))
        change(place)
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            given = [option.format(folder=folder) for option in options]
            code = training_main(
                ["prepare", "dynamic", str(folder / "in"), "-o", str(folder / "out"), "--check", *given]
            )
        assert not (folder / "out").exists()
        return f"{code}: {' / '.join(out.getvalue().replace(str(folder) + '/', '').split(chr(10)))}"


def spoiled(value: float) -> Callable[[Path], object]:
    def change(place: Path) -> None:
        image = sitk.ReadImage(str(place / "sub-01_p1.nii.gz"))
        image[3, 3, 3] = value
        sitk.WriteImage(image, str(place / "sub-01_p1.nii.gz"))

    return change


def label(values: np.ndarray) -> Callable[[Path], object]:
    return lambda place: sitk.WriteImage(like(values, IMAGE), str(place.parents[1] / "labels" / "sub-01.nii.gz"))


prepared("as it should be", r"0: .*1 usable, nothing was written.*", lambda place: None)
prepared("a NaN voxel", r"2: .*NaN or infinite.*", spoiled(np.nan))
prepared("an infinite voxel", r"2: .*NaN or infinite.*", spoiled(np.inf))
prepared(
    "a subtraction beside",
    r"0: noted: .*sub-01_p1_sub_2\.nii\.gz was left out.*",
    lambda place: sitk.WriteImage(IMAGE, str(place / "sub-01_p1_sub_2.nii.gz")),
)
prepared(
    "a synthetic phase",
    r"0: noted: .*sub-01_p2\.nii\.gz is marked as synthetic.*",
    lambda place: write(
        sitk.Cast(IMAGE, sitk.sitkFloat32) + 100.0, place / "sub-01_p2.nii.gz", comment=SYNTHETIC_COMMENT
    ),
)
prepared(
    "one phase twice",
    r"0: noted: .*phase 2 is phase 1, voxel by voxel.*",
    lambda place: shutil.copyfile(place / "sub-01_p1.nii.gz", place / "sub-01_p2.nii.gz"),
)
prepared(
    "a first phase with bright fat",
    r"0: noted: .*much darker in phase 1 than in phase 0.*",
    lambda place: [
        sitk.WriteImage(in_breast(fat, n), str(place / f"sub-01_p{n}.nii.gz"))
        for n, fat in enumerate((900.0, 60.0, 60.0))
    ],
)
prepared("no label file", r"0: noted: .*no label file.*", lambda place: None, "--lesions", "{folder}/labels")
prepared(
    "a soft label of 0.9",
    r"0: .*1 usable.*",
    label((0.9 * (LABELS == 1)).astype(np.float32)),
    "--lesions",
    "{folder}/labels",
)
prepared("an empty label", r"0: noted: .*marks no voxel.*", label(LABELS * 0), "--lesions", "{folder}/labels")
prepared(
    "a soft label of 0.3",
    r"2: .*is empty.*",
    label((0.3 * (LABELS == 1)).astype(np.float32)),
    "--lesions",
    "{folder}/labels",
)

# ---- 8: the gate, files ----------------------------------------------------------------------------------------------


def gate(name: str, wanted: str, **tags: object) -> None:
    @kind("8", name, "synthesize s", wanted)
    def _(folder: Path) -> str:
        MrSeries(IMAGE, **tags).write(folder / "s")
        events = Events()
        read_study(folder / "s", events=events, force=False)
        return with_warnings("read", events)


for part in ("HEAD", "PROSTATE", "KNEE"):
    gate(f"body part {part}", f"2: .*body part {part}.*", BodyPartExamined=part)
gate("body part MAMMA", "read", BodyPartExamined="MAMMA")
gate("T1 MPRAGE", r"read \| warned: .*not a dynamic T1.*", description="Sag T1 MPRAGE")
gate("contrast agent", r"read \| warned: .*contrast agent.*", ContrastBolusAgent="Dotarem")
gate("echo time of 80 ms", r"2: .*not T1-weighted.*", EchoTime=80.0)
gate("spin echo", r"read \| warned: .*gradient-echo.*", ScanningSequence=["SE", "IR"])
gate("CT", r"2: .*modality CT.*", Modality="CT")


@kind("8", "contrast and body part in one slice alone", "synthesize s", r"2: .*body part BRAIN.*")
def _(folder: Path) -> str:
    MrSeries(IMAGE).write(folder / "s")
    path = sorted((folder / "s").iterdir())[-1]
    dataset = pydicom.dcmread(path)
    dataset.BodyPartExamined = "BRAIN"
    dataset.save_as(path)
    read_study(folder / "s", force=False)
    return "read"


for count in (1, 5, 9):

    @kind("8", f"{count} of 9 slices without preamble", "synthesize s", r"\(20, 18, 9\)")
    def _(folder: Path, count=count) -> str:
        MrSeries(IMAGE).write(folder / "s")
        for path in sorted((folder / "s").iterdir())[:count]:
            path.write_bytes(path.read_bytes()[132:])
        return str(load(folder / "s").image.GetSize())


for title, size in (("an empty file", 0), ("a file cut off in its header", 60)):

    @kind("8", f"{title} among the slices", "synthesize s", r"2: .*gap of 4\.20 mm.*")
    def _(folder: Path, size=size) -> str:
        MrSeries(IMAGE).write(folder / "s")
        path = sorted((folder / "s").iterdir())[3]
        path.write_bytes(path.read_bytes()[:size])
        return str(load(folder / "s").image.GetSize())


def nrrd(name: str, wanted: str, *lines: str) -> None:
    @kind("8", f"NRRD with {name}", "synthesize x.nrrd", wanted)
    def _(folder: Path) -> str:
        header = ["NRRD0005", "type: short", "dimension: 3", "sizes: 6 5 4", "encoding: raw", "endian: little", *lines]
        (folder / "x.nrrd").write_bytes("\n".join([*header, "", ""]).encode() + bytes(240))
        loaded = load(folder / "x.nrrd")
        spacing = " ".join(f"{value:g}" for value in loaded.image.GetSpacing())
        return f"{spacing} mm{' | warned: ' + loaded.warnings[0] if loaded.warnings else ''}"


nrrd(
    "space units cm",
    "0.7 0.7 2 mm",
    "space: LPS",
    "space directions: (0.07,0,0) (0,0.07,0) (0,0,0.2)",
    'space units: "cm" "cm" "cm"',
)
nrrd("units um", "0.7 0.7 2 mm", "spacings: 700 700 2000", 'units: "um" "um" "um"')
nrrd("axis mins and maxs", r"2: .*axis mins and maxs.*", "axis mins: 0 0 0", "axis maxs: 6 5 12")
nrrd("no voxel size", r"1 1 1 mm \| warned: .*no voxel size.*")

# ---- exit codes and leftovers ----------------------------------------------------------------------------------------


def command(name: str, wanted: str, *line: str, training: bool = False) -> None:
    @kind("exit", name, " ".join(("virtual-contrast-training" if training else "virtual-contrast", line[0])), wanted)
    def _(folder: Path) -> str:
        sitk.WriteImage(sitk.Cast(IMAGE, sitk.sitkFloat32), str(folder / "pre.nrrd"))
        before = sorted(folder.rglob("*"))
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = (training_main if training else main)([part.format(folder=folder) for part in line])
        assert sorted(folder.rglob("*")) == before, "something was left"
        sentences = [text for text in out.getvalue().splitlines() if text.startswith("Error")]
        assert len(sentences) == 1, out.getvalue()
        return f"{code}: {sentences[0].replace(str(folder) + '/', '')}"


PRE, OUT = "{folder}/pre.nrrd", ("-o", "{folder}/out")
command("empty input", r"2: .*argument is empty.*", "synthesize", "", *OUT)
command("input of 300 characters", r"2: .*", "synthesize", "x" * 300, *OUT)
command("-o of 300 characters", r"2: .*too long.*", "synthesize", PRE, "-o", "{folder}/" + "x" * 300)
command("--seed -1", r"2: .*seed.*", "synthesize", PRE, *OUT, "--seed", "-1", "--uncertainty", "2")
command("a model that is not there", r"2: .*no-such-model.*", "synthesize", PRE, *OUT, "--model", "no-such-model")
command("a table that is not there", r"2: .*does not exist.*", "batch", "{folder}/t.csv", *OUT)
command("batch into 300 characters", r"2: .*too long.*", "batch", "{folder}", "-o", "{folder}/" + "x" * 300)
command("send of what is no result", r"2: .*", "send", "{folder}", "--to", "A@127.0.0.1:104")
command("models verify of what is no package", r"2: .*", "models", "verify", "{folder}")
command(
    "evaluate of an empty folder",
    r"2: .*",
    "evaluate",
    "--real",
    "{folder}/none",
    "--synthetic",
    PRE,
    *OUT,
    training=True,
)


def compared(name: str, wanted: str, factor: float, comment: str | None = None) -> None:
    @kind("2", name, "compare SYNTHETIC REAL --pre PRE", wanted)
    def _(folder: Path) -> str:
        real = sitk.Cast(in_breast(60.0, 1.0), sitk.sitkFloat32) * factor
        for place, image in (("pre", in_breast(60.0)), ("synthetic", in_breast(60.0, 0.8)), ("real", real)):
            write(image, folder / f"{place}.nrrd", comment=comment if place == "real" else None)
        pre, synthetic, truth = (folder / f"{place}.nrrd" for place in ("pre", "synthetic", "real"))
        events = Events()
        compare_existing(synthetic, [truth], folder / "out", pre=pre, times_s=(90.0,), events=events)
        return with_warnings("compared", events)


compared("a comparison as it should be", "compared", 1.0)
compared("a comparison with another scale", r"compared \| warned: .*one scale of gray values.*", 10.0)
compared("a comparison with a synthetic one", r"compared \| warned: real.nrrd is marked as.*", 1.0, SYNTHETIC_COMMENT)


def evaluated(name: str, wanted: str, synthetic: Callable[[sitk.Image], sitk.Image]) -> None:
    @kind("7", name, "evaluate", wanted)
    def _(folder: Path) -> str:
        real = sitk.Cast(in_breast(60.0, 1.0), sitk.sitkFloat32)
        for place, image in (("real", real), ("synthetic", synthetic(real))):
            sitk.WriteImage(image, str(folder / f"{place}.nrrd"))
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            given = ["--real", str(folder / "real.nrrd"), "--synthetic", str(folder / "synthetic.nrrd")]
            code = training_main(["evaluate", *given, "-o", str(folder / "out")])
        return f"{code}: {' / '.join(line for line in out.getvalue().splitlines() if line[:5] in ('scale', 'ident'))}"


evaluated("images as they should be", "0: ", lambda real: real * 0.8 + 3.0)
evaluated("a synthetic image on another scale", r"0: scale: .*one scale\.", lambda real: real * 0.2)
evaluated("the real image as the synthetic one", r"0: identical: .*right images.*", lambda real: real)
command(
    "evaluate of sizes that differ", r"2: .*", "evaluate", "--real", PRE, "--synthetic", "{folder}", *OUT, training=True
)
