"""A chest built by formula, in LPS order: two breasts with gland, chest wall, heart, noise."""

import numpy as np
import SimpleITK as sitk

SPACING = (2.0, 2.0, 3.0)
SIZE_KJI = (24, 100, 160)
FAT, GLAND, MUSCLE, HEART, NOISE = 50.0, 200.0, 150.0, 160.0, 3.0


def axes():
    x = (np.arange(SIZE_KJI[2]) - 79.5) * SPACING[0]
    y = (np.arange(SIZE_KJI[1]) + 0.5) * SPACING[1]
    z = (np.arange(SIZE_KJI[0]) - 11.5) * SPACING[2]
    return x[None, None, :], y[None, :, None], z[:, None, None]


def ball(center_xyz, radius):
    x, y, z = axes()
    cx, cy, cz = center_xyz
    return (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 <= radius**2


class Chest:
    """Pre-contrast and early volumes in LPS order; `post` starts with an enhancing heart and no lesion."""

    def __init__(self, seed=0):
        x, y, z = axes()
        wall = 100 + 95 * (1 - np.sqrt(np.clip(1 - (x / 165) ** 2, 0, 1)))
        self.thorax = np.broadcast_to((y > wall) & (np.abs(x) < 150), SIZE_KJI)
        breasts = np.zeros(SIZE_KJI, dtype=bool)
        for side in (-1, 1):
            breasts |= ((x - side * 70) / 55) ** 2 + ((y - 105) / 85) ** 2 + (z / 90) ** 2 < 1
        self.breasts = breasts & ~self.thorax
        self.heart = ((x - 20) / 45) ** 2 + ((y - 165) / 38) ** 2 + (z / 80) ** 2 < 1
        gland = ball((-70, 80, 0), 26) | ball((70, 80, 0), 26)
        pre = np.zeros(SIZE_KJI)
        pre[self.breasts], pre[self.thorax] = FAT, MUSCLE
        pre[gland], pre[self.heart] = GLAND, HEART
        self.pre, self.post = pre, pre.copy()
        self.post[self.heart] *= 4
        self.rng = np.random.default_rng(seed)

    def enhance(self, mask, factor=2.5):
        self.post[mask] = factor * np.maximum(self.pre[mask], GLAND)
        self.pre[mask] = np.maximum(self.pre[mask], GLAND)

    def images(self):
        """Both volumes with Rician noise."""
        return [
            image(np.hypot(v + self.rng.normal(0, NOISE, SIZE_KJI), self.rng.normal(0, NOISE, SIZE_KJI)))
            for v in (self.pre, self.post)
        ]


def image(array, spacing=SPACING):
    out = sitk.GetImageFromArray(np.asarray(array, dtype=np.float32))
    out.SetSpacing(spacing)
    return out


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())
