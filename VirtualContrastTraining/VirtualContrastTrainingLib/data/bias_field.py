"""Removes the slow shading of coil sensitivities with N4 (Tustison et al., IEEE TMI 29 (2010) 1310), as published."""

from __future__ import annotations

import SimpleITK as sitk

SHRINK = 4
_MINIMUM_VOXELS = 8


def correct_bias(image: sitk.Image) -> sitk.Image:
    """`image` divided by its own bias field, as published; float32, the geometry of `image`."""
    return divide_by(image, log_bias_field(image))


def log_bias_field(image: sitk.Image) -> sitk.Image:
    """Natural logarithm of the bias field of `image`, on its grid.

    As the papers' code: the field is fitted inside Otsu's foreground on voxels four times as large, with ITK's default
    settings, and evaluated at full resolution. An axis is shrunk less where fewer than 8 voxels would be left.
    """
    image = sitk.Cast(image, sitk.sitkFloat32)
    factors = [max(1, min(SHRINK, size // _MINIMUM_VOXELS)) for size in image.GetSize()]
    mask = sitk.OtsuThreshold(image, 0, 1, 200)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.Execute(sitk.Shrink(image, factors), sitk.Shrink(mask, factors))
    return n4.GetLogBiasFieldAsImage(image)


def divide_by(image: sitk.Image, log_field: sitk.Image) -> sitk.Image:
    """`image` divided by a bias field on its grid, which may be that of another phase; float32."""
    return sitk.Cast(sitk.Cast(image, sitk.sitkFloat32) / sitk.Exp(log_field), sitk.sitkFloat32)
