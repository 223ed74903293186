"""Study folders: order and times of phases, and which series are phases."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from io_samples import MrSeries, oblique_image
from pydicom.uid import generate_uid
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.io.read import load, read_study
from VirtualContrastLib.run.settings import RunSettings

from .registry import IMAGE, STORED, kind, with_warnings


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


def dynamic(group: str, name: str, wanted: str, **tags: list) -> None:
    """Two kinds: the phases in one series, and each in a series of its own."""
    count = len(next(iter(tags.values())))
    for separate in (False, True):
        title = f"{name}, {'a series a phase' if separate else 'one series'}"

        def outcome(folder: Path, separate: bool = separate) -> str:
            series_of(folder, separate=separate, **tags)
            return order(folder, count)

        kind(group, title, "synthesize s@0 --real s@1 ...", wanted)(outcome)


dynamic(
    "order",
    "midnight",
    "order 0 1 2 3, times 89.75 179.5 270.25",
    AcquisitionTime=["235759.5", "235929.25", "000059", "000229.75"],
)
dynamic(
    "order",
    "midnight, date of the series alone",
    "order 0 1 2, times 89 179",
    AcquisitionTime=["235759", "235928", "000058"],
    SeriesDate=["20240101"] * 3,
)
dynamic(
    "order",
    "contradicting tags",
    r"order .*contradict each other.*",
    AcquisitionTime=["100000", "100100", "100200"],
    TemporalPositionIdentifier=[2, 1, 3],
)
dynamic(
    "times",
    "a clock without its leading zero and minutes",
    "order 0 1 2, times 60 240",
    AcquisitionTime=["0900", "0901", "0904"],
)
dynamic(
    "times",
    "the injection is told",
    "order 0 1 2, times 60 150 since the injection",
    AcquisitionTime=["100000", "100300", "100430"],
    ContrastBolusStartTime=["100200"] * 3,
)
dynamic(
    "times",
    "an injection after the first phase",
    r"order 0 1 2, times 180 270 \| warned: .*ContrastBolusStartTime.*",
    AcquisitionTime=["100000", "100300", "100430"],
    ContrastBolusStartTime=["100330"] * 3,
)
dynamic(
    "times",
    "an injection before everything",
    r"order 0 1 2, times 180 270 \| warned: .*ContrastBolusStartTime.*",
    AcquisitionTime=["100000", "100300", "100430"],
    ContrastBolusStartTime=["093000"] * 3,
)
dynamic(
    "times",
    "trigger times in seconds, first one missing",
    "order 0 1 2, times 75 190",
    TriggerTime=[None, 75.0, 190.0],
    AcquisitionTime=["101010", "101125", "101320"],
)
dynamic("folders", "trigger times alone", "order 0 1 2, times 75 190", TriggerTime=[0.0, 75000.0, 190000.0])
dynamic(
    "folders", "trigger times alone, first one missing", "order 0 1 2, times 75 190", TriggerTime=[None, 75e3, 190e3]
)
dynamic(
    "times",
    "trigger times alone, of no known unit",
    r"order 0 1 2, times - - \| warned: .*its unit is unknown.*",
    TriggerTime=[0.0, 0.075, 0.19],
)
dynamic(
    "folders",
    "trigger times alone, against the numbers of series or images",
    r"order 2 1 0, times 75 190 \| warned: .*contradict each other: .*(InstanceNumber 2 1 0|22 21 20.* 20 21 22).*",
    TriggerTime=[190e3, 75e3, 0.0],
)


def one_series(group: str, name: str, wanted: str, **tags: list) -> None:
    def outcome(folder: Path) -> str:
        series_of(folder, separate=False, **tags)
        return order(folder, len(next(iter(tags.values()))))

    kind(group, name, "synthesize s@0 --real s@1 ...", wanted)(outcome)


one_series("times", "first trigger time missing", "order 0 1 2, times 75 190", TriggerTime=[None, 75000.0, 190000.0])
one_series(
    "times",
    "trigger times of no known unit",
    r"order 0 1 2, times - - \| warned: .*its unit is unknown.*",
    TriggerTime=[0.0, 75.0, 190.0],
)
one_series(
    "order", "midnight, content time alone", "order 0 1 2, times 90 180", ContentTime=["235800", "235930", "000100"]
)
one_series(
    "folders",
    "trigger times, random numbers",
    "order 0 1 2, times 75 190",
    TriggerTime=[0.0, 75e3, 190e3],
    InstanceNumber=[lambda k: 900 - 7 * k, lambda k: 3 + 50 * k, lambda k: 41 * k % 9 * 6 + 4],
)
one_series(
    "folders",
    "numbers against acquisition times",
    r"order 2 1 0, times 60 120 \| warned: .*AcquisitionTime orders .* and InstanceNumber 2 1 0.*",
    AcquisitionTime=["100200", "100100", "100000"],
)


@kind("folders", "a series a phase, random numbers and no time", "synthesize s@0", r"2: .*whose order no tag gives.*")
def _(folder: Path) -> str:
    numbers = np.random.default_rng(4).permutation(40)
    for n in range(3):
        series = MrSeries(IMAGE, SeriesNumber=int(numbers[n]), AcquisitionDate=None)
        series.write(folder / "s", phase=n, first_instance=int(numbers[10 + n]), name=f"{numbers[20 + n]}_{{k}}.dcm")
    return order(folder, 3)


one_series("order", "no time and no number", r"2: s holds 2 images at each place and no tag.*", InstanceNumber=["", ""])


@kind("order", "random instance numbers", "synthesize s@0", r"2: .*neither phase by phase nor place by place.*")
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
        "order",
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

    @kind("times", f"--times {' '.join(f'{time:g}' for time in times)}", "synthesize --times", wanted)
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
        "folders",
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
