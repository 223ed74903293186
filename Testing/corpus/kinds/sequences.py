"""Series of another sequence, and real phases that do not belong to the pre-contrast volume."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import SimpleITK as sitk
from io_samples import MrSeries
from VirtualContrastLib.events import Events
from VirtualContrastLib.io.read import load, read_study
from VirtualContrastLib.io.volumes import SYNTHETIC_COMMENT, write
from VirtualContrastLib.run.compare import compare_existing

from .phases import order
from .registry import IMAGE, in_breast, kind, with_warnings

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

    @kind("times", f"an earlier T1 without fat suppression, told {title}", "synthesize s@0 --real s@1 s@2", wanted)
    def _(folder: Path, options=options, tags=tags) -> str:
        write_dynamic(folder, **({"ScanOptions": [[options, "FS"]] * 3} if options else {}))
        series = MrSeries(in_breast(900.0), SeriesNumber=5, description="ax t1", **SCANNED | tags)
        series.write(folder / "s", AcquisitionTime="100000", name="t1_{k}.dcm")
        return times_of(folder)


@kind("times", "repetition times that vary by some percent", "synthesize s@0 --real s@1 s@2", "times 90 180")
def _(folder: Path) -> str:
    write_dynamic(folder, RepetitionTime=[4.1, 4.25, 4.0], FlipAngle=[12.0, 12.0, 12.5])
    return times_of(folder)


@kind(
    "times",
    "a pre-contrast series of another flip angle",
    "synthesize s@0 --real s@1",
    r"times 90 \| warned: .*flip angle is 20 degrees.*choose with --series if it is the phase before contrast.*",
)
def _(folder: Path) -> str:
    write_dynamic(folder, FlipAngle=[20.0, 12.0, 12.0])
    return times_of(folder, 1)


@kind(
    "times",
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


def seen_by_both(name: str, wanted: str, make: Callable[[Path], tuple[list[Path], tuple[float, ...] | None]]) -> None:
    """A pre-contrast image and real phases, with times or without, as `synthesize --real` and as `compare` see them."""

    @kind("order", f"real phases: {name}", "synthesize PRE --real REAL ...", wanted)
    def _(folder: Path) -> str:
        (pre, *real), times = make(folder)
        events = Events()
        study = read_study(pre, real, times_s=times, events=events)
        return with_warnings(_times(phase.time_s for phase in study.real), events)

    @kind("order", f"real phases: {name}", "compare SYNTHETIC REAL ... --pre PRE", wanted)
    def _(folder: Path) -> str:
        (pre, *real), times = make(folder)
        synthetic, events = folder / "synthetic.nrrd", Events()
        sitk.WriteImage(load(pre).image, str(synthetic))
        result, _ = compare_existing(synthetic, real, folder / "out", pre=pre, times_s=times, events=events)
        return with_warnings(_times(result.manifest.settings["times_s"]), events)


def _times(seconds: Iterable[float | None]) -> str:
    return f"times {' '.join(f'{time_s:g}' for time_s in seconds if time_s)}"


def given(name: str, wanted: str, *real: dict, times: tuple[float, ...] | None = None, pre: dict | None = None) -> None:
    """A pre-contrast series and real phases, each in a folder of its own, with what differs in their headers."""

    def make(folder: Path) -> tuple[list[Path], tuple[float, ...] | None]:
        places = [folder / place for place in ("pre", *"abc"[: len(real)])]
        for n, (place, tags) in enumerate(zip(places, (pre or {}, *real), strict=True)):
            tags = {"AcquisitionTime": f"10{3 * n // 2:02d}{30 * (n % 2):02d}"} | tags
            MrSeries(in_breast(60.0, n), **SCANNED).write(place, **tags)
        return places, times

    seen_by_both(f"in folders, {name}", wanted, make)


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

    def make(folder: Path) -> tuple[list[Path], None]:
        files = [folder / f"{place}.nrrd" for place in images]
        for file, image in zip(files, images.values(), strict=True):
            write(image(), file, comment=SYNTHETIC_COMMENT if file.stem == synthetic else None)
        return files, None

    seen_by_both(f"volumes, {name}", wanted, make)


volumes(
    "one phase twice",
    r"times  \| warned: b\.nrrd is the same image as a real phase before it.*",
    pre=lambda: in_breast(60.0),
    a=lambda: in_breast(60.0, 1.0),
    b=lambda: in_breast(60.0, 1.0),
)
for scale in (0.1, 10.0, 255.0):
    volumes(
        f"a real phase times {scale:g}",
        r"times  \| warned: .*one scale of gray values.*",
        pre=lambda: in_breast(60.0),
        a=lambda scale=scale: sitk.Cast(in_breast(60.0, 1.0), sitk.sitkFloat32) * scale,
    )
for place in ("pre", "a"):
    volumes(
        f"a synthetic one as {place}",
        rf"times  \| warned: {place}\.nrrd is marked as synthetic.*",
        synthetic=place,
        pre=lambda: in_breast(60.0),
        a=lambda: in_breast(60.0, 1.0),
    )

for separate in (False, True):
    for lacking in (1, 5, 8):

        @kind(
            "folders",
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
