"""The figure of a mammogram: low-energy, synthetic recombined and, where there is one, the true recombined image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from .display import DPI, View, show
from .run_figures import FigureFile
from .slices import grid

Array = NDArray[np.float32]


def write_mammogram_figure(
    folder: Path,
    low_energy: sitk.Image,
    recombined: sitk.Image,
    truth: sitk.Image | None = None,
    region: NDArray[np.bool_] | None = None,
) -> list[FigureFile]:
    """Write `overview.png` of a mammogram.

    The picture is shown as it is stored: a mammogram has no patient axes, so there are no side letters. Each kind of
    image has its own gray window, from the breast; the real image, where given, sets that of both recombined ones.

    Args:
        folder: Folder of the figure.
        low_energy: Low-energy image, of one slice.
        recombined: Synthetic recombined image on the same grid.
        truth: Real recombined image on the same grid.
        region: The breast [k, j, i].

    Returns:
        The figure with its caption.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spacing = low_energy.GetSpacing()
    view = View("", "mammogram", (spacing[1], spacing[0]))
    inside = region[0] if region is not None and region.any() else np.ones(low_energy.GetSize()[1::-1], bool)
    low, made = _pixels(low_energy), _pixels(recombined)
    panels = [(low, _window(low, inside), False, "Low energy, real", "gray")]
    window = _window(made if truth is None else _pixels(truth), inside)
    panels.append((made, window, True, "Recombined, synthetic", "gray"))
    if truth is not None:
        real = _pixels(truth)
        reach = float(np.percentile(np.abs(made - real)[inside], 99.5)) or 1.0
        panels.append((real, window, False, "Recombined, real", "gray"))
        panels.append((made - real, (-reach, reach), True, "Synthetic minus real", "PuOr_r"))
    figure, axes = grid(1, len(panels), low.shape[0] * view.aspect / low.shape[1])
    for axis, (pixels, limits, synthetic, title, colors) in zip(axes[0], panels, strict=True):
        show(axis, pixels, view, limits, synthetic=synthetic, title=title, cmap=colors)
    path = folder / "overview.png"
    figure.savefig(path, dpi=DPI)
    compared = (
        " Both recombined images share one gray window, that of the real one; in the difference orange means that "
        "the synthetic image is brighter."
    )
    caption = "The images as they are stored; which side is the chest wall depends on the view."
    return [FigureFile(path, caption + (compared if truth is not None else ""))]


def _pixels(image: sitk.Image) -> Array:
    return sitk.GetArrayFromImage(image)[0].astype(np.float32)


def _window(pixels: Array, inside: NDArray[np.bool_]) -> tuple[float, float]:
    """Gray window from the 1st to the 99.8th percentile of the breast."""
    low, high = np.percentile(pixels[inside], (1.0, 99.8))
    return float(low), float(max(high, low + 1e-6))
