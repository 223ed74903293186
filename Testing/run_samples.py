"""A small study and a small model for the tests of the main road and of the command line."""

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).parent / "engine"))
import tiny_models

SIZE = (32, 28, 6)
REAL_TIMES_S = (90.0, 220.0, 350.0)
"""Seconds after injection of the real phases."""


def make_image(array, *, direction=None):
    """An image of `array` [k, j, i] with uneven spacing and an origin that is not zero."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing((1.5, 1.25, 3.0))
    image.SetOrigin((-24.0, -60.5, 11.0))
    if direction is not None:
        image.SetDirection(direction)
    return image


def make_pre(seed=0):
    """A bright body in a dark background with a brighter spot, float32 [k, j, i]."""
    rng = np.random.default_rng(seed)
    _, j, i = np.indices(SIZE[::-1])
    array = rng.normal(20.0, 4.0, SIZE[::-1])
    array[((i - 16) / 12.0) ** 2 + ((j - 15) / 11.0) ** 2 < 1] += 200.0
    array[make_mask() > 0] += 60.0
    return array.astype(np.float32)


def make_mask():
    """Lesion 1 of 2 x 4 x 5 and lesion 2 of 2 x 3 x 3 voxels, uint8 [k, j, i]."""
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[1:3, 8:12, 10:15] = 1
    mask[3:5, 17:20, 18:21] = 2
    return mask


def make_real(phase):
    """A real post-contrast phase: the lesions of `make_mask` take up contrast, float32 [k, j, i]."""
    real = make_pre() * 1.05
    real[make_mask() > 0] *= (1.9, 2.1, 1.8)[phase - 1]
    return real.astype(np.float32)


def write_study(folder, *, phases=0):
    """Write pre.nrrd, mask.nrrd and `phases` real phases; returns folder."""
    folder.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(make_image(make_pre()), str(folder / "pre.nrrd"))
    sitk.WriteImage(make_image(make_mask()), str(folder / "mask.nrrd"))
    for phase in range(1, phases + 1):
        sitk.WriteImage(make_image(make_real(phase)), str(folder / f"phase_{phase}.nrrd"))
    return folder


def write_model(folder, **changes):
    """A pix2pixHD package with random weights."""
    return tiny_models.tiny_package(folder, **changes).folder


class Recorder:
    """Listens to a run and keeps what it tells; it can cancel the run at a stage."""

    def __init__(self, cancel_at=None, events=None):
        self.seen, self.cancel_at = [], cancel_at

    def progress(self, stage, done, total):
        self.seen.append((stage, done, total))
        if stage is self.cancel_at:
            self.events.cancel()

    def warning(self, message):
        self.seen.append(message)
