"""What a training item looks like: a window of a real slice, changed the way other scanners and sites would change it.

Images are [channel, row, column] over the study's scale q. Geometry, shading, gain and blur act on all phases alike.
Gamma, bright patches (as of fat that is not suppressed) and noise change the pre-contrast image alone and leave the
enhancement as it was: they teach that bright is not the same as enhancing.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ...data.crops import CropPatient

LOWEST, HIGHEST = -1.5, 5.0
"""Enhancement over q is cut to this range in training: beyond it lies motion."""

_PLAIN_SHARE = 0.4
_LEAST_STRIP = 24
"""Pixels of tissue beside a lesion that are worth a window."""
_SHIFT = 0.36
"""Largest shift of the window's center, in halves of the window: no lesion stays in the middle."""


def draw_item(
    patient: CropPatient, size: int, rng: np.random.Generator, negatives: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a changed crop of a slice of a patient.

    Args:
        patient: The patient.
        size: Side of the crop in pixels.
        rng: Draws slice, crop and changes.
        negatives: Share of the crops that show tissue beside the lesion's box alone, where there is enough.

    Returns:
        Pre-contrast [1, size, size], change of early and late [2, size, size], both over the scale, and tissue [1,
        size, size] (0 or 1).
    """
    k = int(rng.integers(len(patient.pre)))
    image = np.concatenate([patient.phases[:, k] / patient.scale, patient.tissue[None, k].astype(np.float32)])
    if rng.random() < negatives:
        image = beside_lesion(image, patient.box[k])
    image = np.rot90(image, int(rng.integers(4)), (1, 2))
    if rng.random() < 0.5:
        image = image[:, :, ::-1]
    window = _window(torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)), size, rng)
    phases = _all_phases_alike(window[:3], rng)
    tissue = (window[3:] > 0.5).float()
    pre, change = phases[:1], (phases[1:] - phases[:1]).clamp(LOWEST, HIGHEST)
    return _input_alone(pre, tissue, rng), change, tissue


def beside_lesion(image: NDArray[np.float32], box: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The widest strip of `image` [channel, row, column] beside `box`, mirrored to its size; `image` where thin."""
    rows, columns = np.flatnonzero(box.any(axis=1)), np.flatnonzero(box.any(axis=0))
    if not len(rows):
        return image
    height, width = box.shape
    strips = {
        int(rows[0]): np.s_[:, : rows[0]],
        height - 1 - int(rows[-1]): np.s_[:, rows[-1] + 1 :],
        int(columns[0]): np.s_[:, :, : columns[0]],
        width - 1 - int(columns[-1]): np.s_[:, :, columns[-1] + 1 :],
    }
    if max(strips) < _LEAST_STRIP:
        return image
    strip = image[strips[max(strips)]]
    return np.pad(strip, [(0, 0), (0, height - strip.shape[1]), (0, width - strip.shape[2])], mode="reflect")


def _window(image: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """A window of `size` pixels: part of them as they are, the others turned, zoomed and shifted."""
    if rng.random() < _PLAIN_SHARE:
        pad = max(10, (size - image.shape[1] + 1) // 2)
        padded = functional.pad(image[None], (pad,) * 4, mode="reflect")[0]
        top, left = rng.integers(0, padded.shape[1] - size + 1), rng.integers(0, padded.shape[2] - size + 1)
        return padded[:, top : top + size, left : left + size]
    angle = rng.uniform(-math.pi / 4, math.pi / 4)
    zoom = math.exp(float(np.clip(rng.normal(0, 0.18), -0.4, 0.4))) * size / image.shape[1]
    cosine, sine = math.cos(angle) * zoom, math.sin(angle) * zoom
    down, right = rng.uniform(-_SHIFT, _SHIFT, 2)
    matrix = torch.tensor([[[cosine, -sine, right], [sine, cosine, down]]], dtype=torch.float32)
    grid = functional.affine_grid(matrix, [1, len(image), size, size], align_corners=False)
    sampled = functional.grid_sample(image[None], grid, padding_mode="reflection", align_corners=False)
    return sampled[0]


def _all_phases_alike(phases: Tensor, rng: np.random.Generator) -> Tensor:
    shading = _smooth(rng, 4, phases.shape[-1]) * (0.18 if rng.random() < 0.6 else 0.0)
    phases = phases * torch.exp(shading + 0.1 * float(rng.normal()))
    if rng.random() < 0.25:
        side = math.exp(-0.5 / rng.uniform(0.4, 1.0) ** 2)
        kernel = torch.tensor([side, 1.0, side]) / (1 + 2 * side)
        padded = functional.pad(phases[:, None], (1,) * 4, mode="replicate")
        phases = functional.conv2d(padded, torch.outer(kernel, kernel)[None, None])[:, 0]
    return phases


def _input_alone(pre: Tensor, tissue: Tensor, rng: np.random.Generator) -> Tensor:
    if rng.random() < 0.5:
        pre = pre.clamp(min=0) ** math.exp(0.12 * float(rng.normal()))
    if rng.random() < 0.25:
        patches = torch.sigmoid(4 * (_smooth(rng, 6, pre.shape[-1]) - 0.8))
        pre = pre + patches * tissue * float(rng.uniform(0, 0.8))
    if rng.random() < 0.5:
        noise: NDArray[np.float32] = rng.standard_normal(tuple(pre.shape), dtype=np.float32)
        pre = pre + torch.from_numpy(noise) * float(rng.uniform(0, 0.04))
    return pre.clamp(min=0)


def _smooth(rng: np.random.Generator, knots: int, size: int) -> Tensor:
    """A smooth random field [1, size, size] of unit variance at its `knots` x `knots` knots."""
    values = torch.from_numpy(rng.standard_normal((1, 1, knots, knots), dtype=np.float32))
    return functional.interpolate(values, size=(size, size), mode="bicubic", align_corners=False)[0]
