"""A small made-up study for the export tests: a bilateral breast volume with two lesions of known place."""

import datetime

import numpy as np
import SimpleITK as sitk
from VirtualContrastLib.export.content import ModelIdentity, RunIdentity
from VirtualContrastLib.study import Phase

TIMES_S = (90.0, 180.0, 420.0)
# Enhancement factors of phases 1..3: lesion 1 washes out, lesion 2 persists.
FACTORS = {1: (2.6, 2.3, 1.7), 2: (1.6, 1.9, 2.4)}
# World centers (LPS, mm) and radii (mm): lesion 1 in the patient's left breast, lesion 2 in the right.
CENTERS = {1: (70.0, -35.0, 10.0), 2: (-80.0, -20.0, -8.0)}
RADII = {1: 11.0, 2: 7.0}


def run_identity(**changes):
    """A run made by a model trained on phantoms."""
    model = ModelIdentity("pix2pixhd-phantom", "1.2.0", "ab" * 32, trained_on_phantoms=True)
    network = ModelIdentity("threshold", "0.1.0")
    given = {"run_id": "20261121T120000-abc123", "created": datetime.datetime(2026, 11, 21, 12, 0, 0)}
    return RunIdentity(**(given | {"engine_version": "0.1.0", "synthesis": model, "segmentation": network} | changes))


def grid(direction=None, size=(128, 80, 16), spacing=(2.5, 2.5, 4.0)):
    """An empty volume centered on the patient's origin."""
    image = sitk.Image(size, sitk.sitkFloat32)
    image.SetSpacing(spacing)
    if direction is not None:
        image.SetDirection(direction)
    middle = [(n - 1) / 2 for n in size]
    image.SetOrigin([-value for value in image.TransformContinuousIndexToPhysicalPoint(middle)])
    return image


def coordinates(image):
    """World coordinates (LPS, mm) of every voxel, [3, k, j, i]."""
    index = np.indices(image.GetSize()[::-1], dtype=float)[::-1].reshape(3, -1)
    steps = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    points = steps @ index + np.array(image.GetOrigin())[:, None]
    return points.reshape(3, *image.GetSize()[::-1])


def like(array, reference):
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.CopyInformation(reference)
    return image


def breast_study(direction=None, **options):
    """(pre, synthetic phases, real phases, labels, uncertainty maps) on one grid of any orientation."""
    reference = grid(direction, **options)
    x, y, z = coordinates(reference)
    rng = np.random.default_rng(3)
    noise = lambda: rng.normal(0.0, 6.0, x.shape)  # noqa: E731
    breasts = ((np.abs(np.abs(x) - 75) / 62) ** 2 + ((y - 20) / 105) ** 2 < 1) & (y < 20)
    chest = (y >= 20) & ((x / 140) ** 2 + ((y - 20) / 90) ** 2 < 1)
    tissue = 160.0 * breasts + 110.0 * chest + 60.0 * breasts * (np.sin(x / 7) * np.cos(y / 9) > 0.2)
    labels = np.zeros(x.shape, np.uint8)
    for label, (cx, cy, cz) in CENTERS.items():
        labels[(x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 < RADII[label] ** 2] = label
    pre = np.where(labels > 0, 150.0, tissue)

    def phases(synthetic, bias):
        volumes = []
        for number, time_s in enumerate(TIMES_S):
            factor = np.where(labels == 1, FACTORS[1][number], np.where(labels == 2, FACTORS[2][number], 1.1))
            volumes.append(
                Phase(
                    number + 1,
                    like((pre * factor * bias + noise()).astype(np.float32), reference),
                    time_s,
                    synthetic,
                )
            )
        return volumes

    uncertainty = [like((0.05 * pre * (n + 1)).astype(np.float32), reference) for n in range(3)]
    pre_phase = Phase(0, like((pre + noise()).astype(np.float32), reference), 0.0, False)
    return pre_phase, phases(True, 1.0), phases(False, 1.06), like(labels, reference), uncertainty
