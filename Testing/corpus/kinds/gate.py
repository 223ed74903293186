"""What the gate and the readers of files make of odd images."""

from __future__ import annotations

from pathlib import Path

import pydicom
from io_samples import MrSeries
from VirtualContrastLib.events import Events
from VirtualContrastLib.io.read import load, read_study

from .registry import IMAGE, kind, with_warnings


def gate(name: str, wanted: str, **tags: object) -> None:
    @kind("gate", name, "synthesize s", wanted)
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


@kind("gate", "contrast and body part in one slice alone", "synthesize s", r"2: .*body part BRAIN.*")
def _(folder: Path) -> str:
    MrSeries(IMAGE).write(folder / "s")
    path = sorted((folder / "s").iterdir())[-1]
    dataset = pydicom.dcmread(path)
    dataset.BodyPartExamined = "BRAIN"
    dataset.save_as(path)
    read_study(folder / "s", force=False)
    return "read"


for count in (1, 5, 9):

    @kind("gate", f"{count} of 9 slices without preamble", "synthesize s", r"\(20, 18, 9\)")
    def _(folder: Path, count=count) -> str:
        MrSeries(IMAGE).write(folder / "s")
        for path in sorted((folder / "s").iterdir())[:count]:
            path.write_bytes(path.read_bytes()[132:])
        return str(load(folder / "s").image.GetSize())


for title, size in (("an empty file", 0), ("a file cut off in its header", 60)):

    @kind("gate", f"{title} among the slices", "synthesize s", r"2: .*gap of 4\.20 mm.*")
    def _(folder: Path, size=size) -> str:
        MrSeries(IMAGE).write(folder / "s")
        path = sorted((folder / "s").iterdir())[3]
        path.write_bytes(path.read_bytes()[:size])
        return str(load(folder / "s").image.GetSize())


def nrrd(name: str, wanted: str, *lines: str) -> None:
    @kind("gate", f"NRRD with {name}", "synthesize x.nrrd", wanted)
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
