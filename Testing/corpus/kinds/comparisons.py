"""What `compare` and `evaluate` make of images that do not fit together."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import SimpleITK as sitk
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


def evaluated(name: str, wanted: str, synthetic: Callable[[sitk.Image], sitk.Image]) -> None:
    @kind("prepare", name, "evaluate", wanted)
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
