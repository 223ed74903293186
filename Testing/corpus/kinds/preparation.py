"""Series prepared for training."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.io.volumes import SYNTHETIC_COMMENT, like, write
from VirtualContrastTrainingLib.cli import main as training_main

from .registry import IMAGE, LABELS, in_breast, kind


def prepared(name: str, wanted: str, change: Callable[[Path], object], *options: str) -> None:
    @kind("prepare", name, "prepare dynamic --check", wanted)
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
