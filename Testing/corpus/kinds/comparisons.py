"""What `compare` and `evaluate` make of images that do not fit together."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import SimpleITK as sitk
from io_samples import MrSeries
from VirtualContrastLib.events import Events
from VirtualContrastLib.io.volumes import SYNTHETIC_COMMENT, write
from VirtualContrastLib.run.compare import compare_existing
from VirtualContrastTrainingLib.cli import main as training_main

from .registry import in_breast, kind, with_warnings


def compared(name: str, wanted: str, factor: float, comment: str | None = None) -> None:
    @kind("order", name, "compare SYNTHETIC REAL --pre PRE", wanted)
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


def printed_by_evaluate(folder: Path, *arguments: str) -> str:
    """Exit code and the notes of an evaluation of `real` and `synthetic` that say that something is odd."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = training_main(["evaluate", *arguments, "-o", str(folder / "out")])
    notes = [line for line in out.getvalue().splitlines() if line.startswith(("scale", "identical", "belonging"))]
    return f"{code}: {' / '.join(notes)}"


def evaluated(
    name: str, wanted: str, synthetic: Callable[[sitk.Image], sitk.Image], comment: str | None = None
) -> None:
    @kind("prepare", name, "evaluate", wanted)
    def _(folder: Path) -> str:
        real = sitk.Cast(in_breast(60.0, 1.0), sitk.sitkFloat32)
        write(real, folder / "real.nrrd", comment=comment)
        sitk.WriteImage(synthetic(real), str(folder / "synthetic.nrrd"))
        given = ["--real", str(folder / "real.nrrd"), "--synthetic", str(folder / "synthetic.nrrd")]
        return printed_by_evaluate(folder, *given)


evaluated("images as they should be", "0: ", lambda real: real * 0.8 + 3.0)
evaluated("a synthetic image on another scale", r"0: scale: .*give both on one scale, or .*", lambda real: real * 0.2)
evaluated("the real image as the synthetic one", r"0: identical: .*right images.*", lambda real: real)
evaluated("a real image that is marked", r"0: belonging: .*synthetic.*", lambda real: real * 0.8, SYNTHETIC_COMMENT)


def evaluated_in_folders(name: str, wanted: str, **tags: dict) -> None:
    """DICOM folders `real`, `synthetic` and `pre` with what differs in the headers of each."""

    @kind("order", f"DICOM folders: {name}", "evaluate --real real --synthetic synthetic --pre pre", wanted)
    def _(folder: Path) -> str:
        for place, enhancement, time in (("pre", 0.0, "100000"), ("real", 1.0, "100130"), ("synthetic", 0.8, "100130")):
            own = {"AcquisitionTime": time, "RepetitionTime": 4.1} | tags.get(place, {})
            MrSeries(in_breast(60.0, enhancement)).write(folder / place, **own)
        files = {place: folder / place for place in ("pre", "real", "synthetic")}
        (folder / "pairs.csv").write_text(f"{','.join(files)}\n{','.join(map(str, files.values()))}\n")
        table = str(folder / "pairs.csv")
        return printed_by_evaluate(folder, "--real", table, "--synthetic", table, "--subtraction", "signed")


evaluated_in_folders("as they should be", "0: ")
evaluated_in_folders("another patient", "0: belonging: .*", synthetic={"PatientID": "4712"})
evaluated_in_folders("pre-contrast of another study", "0: belonging: .*", pre={"StudyInstanceUID": "1.2.9"})
evaluated_in_folders("pre-contrast after the phase", "0: belonging: .*", pre={"AcquisitionTime": "100300"})
evaluated_in_folders("another sequence", "0: belonging: .*", pre={"RepetitionTime": 9.0})
evaluated_in_folders("a subtraction", "0: belonging: .*", real={"ImageType": ["DERIVED", "PRIMARY", "SUB"]})
