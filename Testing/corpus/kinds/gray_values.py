"""Gray values below zero, and padding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.events import Events
from VirtualContrastLib.io.read import read_study

from .registry import kind, with_warnings


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
        kind("gray values", f"border of {value}, {share:.0%}", "synthesize", CLEAN)(padded(value, share))


@kind("gray values", "one dead voxel of -20000", "synthesize", CLEAN)
def _(folder: Path) -> str:
    values = breast()
    values[4, 5, 6] = -20000
    return levels(folder, values, np.int16)


@kind("gray values", "round field of view, -2000 outside", "synthesize", CLEAN)
def _(folder: Path) -> str:
    values = breast()
    _, j, i = np.indices(values.shape)
    values[((j - 30) / 30) ** 2 + ((i - 25) / 25) ** 2 > 1] = -2000
    return levels(folder, values, np.int16)


def resampled(values: np.ndarray) -> np.ndarray:
    image = sitk.GetImageFromArray(values.astype(np.float32))
    spline = sitk.Resample(image, [67, 81, 27], sitk.Transform(), sitk.sitkBSpline, [0, 0, 0], [0.75, 0.75, 0.75])
    return sitk.GetArrayFromImage(spline)


@kind("gray values", "resampled by a spline", "synthesize", CLEAN.replace("3[0-4]0", "3[0-9]0"))
def _(folder: Path) -> str:
    return levels(folder, resampled(breast()))


@kind("gray values", "border of -1024, then resampled by a spline", "synthesize", CLEAN.replace("3[0-4]0", "3[0-9]0"))
def _(folder: Path) -> str:
    values = breast()
    values[:, :12] = -1024
    return levels(folder, resampled(values))


kind("gray values", "z-scored", "synthesize", r"values .*normalized \(mean 0.*")(
    lambda folder: levels(folder, (breast() - breast().mean()) / breast().std())
)
kind("gray values", "scaled to -1 ... 1", "synthesize", r"values .*taken as the level of air.*")(
    lambda folder: levels(folder, breast() / breast().max() * 2 - 1)
)
kind("gray values", "all below zero", "synthesize", r"2: v\.nrrd has no gray value above 0.*")(
    lambda folder: levels(folder, breast() - 2000)
)
kind("gray values", "NaN", "synthesize", r"2: v\.nrrd holds voxels that are NaN.*")(
    lambda folder: levels(folder, np.where(breast() > 310, np.nan, breast()))
)
