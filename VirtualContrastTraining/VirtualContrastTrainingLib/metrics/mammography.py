"""Contrast-enhanced mammography: contrast-to-noise ratio, and the change from the low-energy image.

The paper (Zormpas-Petridis et al. 2026) gives CNR as |mean_adipose - mean_fibroglandular| / (sd_adipose +
sd_fibroglandular). It asks how far the real and the synthetic image each are from the low-energy one (MAE, SSIM) and
correlates the two over images. Whether synthesis adds the right thing in the right place is measured here as well: the
agreement of the change itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from VirtualContrastLib.metrics.bootstrap import Interval, percentile_interval
from VirtualContrastLib.metrics.image_pairs import mae
from VirtualContrastLib.metrics.similarity import Similarity


@dataclass(frozen=True)
class ChangeAgreement:
    """Agreement of the synthetic with the real change from the low-energy image, inside the breast.

    Attributes:
        mae: mean absolute error, in units of the images.
        ssim: on the real change's range.
        pearson: correlation over pixels; None where a change is constant.
    """

    mae: float
    ssim: float
    pearson: float | None


@dataclass(frozen=True)
class Correlation:
    """Pearson's r over images.

    Attributes:
        mean: r of all images.
        ci95: its percentile interval over resampled patients; None for fewer than three patients, or where r is not
            defined in half of the samples.
        n: number of images.
        patients: number of patients.
    """

    mean: float
    ci95: Interval | None
    n: int
    patients: int


def contrast_to_noise(image: np.ndarray, adipose: np.ndarray, fibroglandular: np.ndarray) -> float:
    """CNR of one image between two tissues, with the paper's formula (population standard deviations).

    Args:
        image: The image [j, i].
        adipose: Mask of adipose tissue.
        fibroglandular: Mask of fibroglandular tissue.

    Returns:
        The ratio, without unit, at least 0.

    Raises:
        ValueError: A mask is empty, or both tissues are constant.
    """
    if not adipose.any() or not fibroglandular.any():
        raise ValueError("both tissue masks need pixels")
    fat, gland = image[adipose].astype(np.float64), image[fibroglandular].astype(np.float64)
    noise = fat.std() + gland.std()
    if noise == 0:
        raise ValueError("both tissues are constant, so CNR is not defined")
    return float(abs(fat.mean() - gland.mean()) / noise)


def halo(image: np.ndarray, breast: np.ndarray) -> float | None:
    """How far the rim of the breast is brighter (or darker, below 0) than the band behind it, in its SDs.

    The rim is a band along the skin as wide as 3 % of the square root of the breast's area, at least 2 pixels; the band
    behind it is twice as wide. The edge of the picture is no rim. None where a band is empty or the inner one constant.
    """
    from scipy.ndimage import distance_transform_edt

    width = max(2.0, 0.03 * float(np.sqrt(breast.sum())))
    depth = distance_transform_edt(breast)
    rim, behind = (depth > 0) & (depth <= width), (depth > width) & (depth <= 3 * width)
    if not rim.any() or not behind.any():
        return None
    outer, inner = image[rim].astype(np.float64), image[behind].astype(np.float64)
    return float((outer.mean() - inner.mean()) / inner.std()) if inner.std() > 0 else None


def tissue_masks(low_energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(adipose, fibroglandular) masks of a low-energy image [j, i]: Otsu for the breast, then Otsu within it.

    For images on which attenuating tissue is bright. Raises ValueError for a constant image.
    """
    from skimage.filters import threshold_otsu

    breast = low_energy > threshold_otsu(low_energy)
    bright = low_energy > threshold_otsu(low_energy[breast])
    return breast & ~bright, breast & bright


def change_agreement(
    low_energy: np.ndarray, real: np.ndarray, synthetic: np.ndarray, breast: np.ndarray | None = None
) -> ChangeAgreement:
    """Compare (synthetic - low energy) with (real - low energy).

    Args:
        low_energy: Low-energy slice [j, i].
        real: Real recombined slice of the same shape.
        synthetic: Synthetic recombined slice.
        breast: Mask of the pixels that count; None for all.

    Returns:
        MAE, SSIM and correlation of the change.

    Raises:
        ValueError: The real change is constant.
    """
    base = low_energy.astype(np.float64)
    wanted, made = real - base, synthetic - base
    data_range = float(np.ptp(wanted))
    if data_range == 0:
        raise ValueError("the real image does not differ from the low-energy image")
    region = np.ones(base.shape, bool) if breast is None else breast
    ssim = float(Similarity(wanted, made).ssim_map(data_range)[region].mean())
    a, b = wanted[region], made[region]
    pearson = float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else None
    return ChangeAgreement(mae(a, b), ssim, pearson)


def distance_from_low_energy(
    low_energy: np.ndarray, image: np.ndarray, data_range: float, breast: np.ndarray | None = None
) -> tuple[float, float]:
    """How much an image differs from the low-energy one.

    Args:
        low_energy: Low-energy slice [j, i].
        image: The image, of the same shape.
        data_range: SSIM's range, one for the real and the synthetic image of a pair.
        breast: Mask of the pixels that count; None for all.

    Returns:
        MAE, in units of the images, and SSIM.
    """
    region = np.ones(low_energy.shape, bool) if breast is None else breast
    similarity = Similarity(low_energy.astype(np.float64), image.astype(np.float64))
    return mae(low_energy[region], image[region]), float(similarity.ssim_map(data_range)[region].mean())


def correlation_of(
    first: Sequence[float], second: Sequence[float], patients: Sequence[str], *, repeats: int = 1000, seed: int = 0
) -> Correlation | None:
    """Pearson's r over images, with a percentile interval over resampled patients.

    Args:
        first: A value of each image.
        second: Another value of each image.
        patients: The patient of each image.
        repeats: Bootstrap samples.
        seed: Of the bootstrap.

    Returns:
        The correlation; None for fewer than three images or where one side does not vary.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    if len(a) < 3 or a.std() == 0 or b.std() == 0:
        return None
    groups = [np.flatnonzero(np.asarray(patients) == patient) for patient in sorted(set(patients))]
    drawn, rng = [], np.random.default_rng(seed)
    for _ in range(repeats if len(groups) > 2 else 0):
        rows = np.concatenate([groups[n] for n in rng.integers(0, len(groups), len(groups))])
        if a[rows].std() > 0 and b[rows].std() > 0:
            drawn.append(float(np.corrcoef(a[rows], b[rows])[0, 1]))
    return Correlation(float(np.corrcoef(a, b)[0, 1]), percentile_interval(drawn, repeats), len(a), len(groups))
