"""Low-energy mammogram to iodine-enhanced (recombined) image: the steps around the CycleGAN generator.

A mammogram is shrunk to the network's pixels (1 mm, then by 4, in the paper), clipped to fixed windows of gray values
that become -1..1, and cut to the breast's bounding box; the network runs on dense windows; the way back ends on exactly
the input's grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..events import Events, InputError, Stage, VirtualContrastError
from ..io.volumes import like, to_array
from ..networks.options import MammogramOptions
from .geometry import resize_in_plane

if TYPE_CHECKING:
    from ..models.package import ModelPackage
    from .device import DeviceChoice

Float32 = NDArray[np.float32]
Window = tuple[float, float]

_LOG_GAIN = 20.0  # of the logarithm: fat at a tenth of the brightest tissue stands out from air


@dataclass(frozen=True)
class MammogramSpec:
    """How pictures become network input.

    Attributes:
        source_window: Gray values of the low-energy image that map to -1 and 1; values beyond are clipped.
        target_window: Gray values of the recombined image that map to -1 and 1; values beyond are clipped.
        spacing_mm: Side of a pixel in mm before shrinking; None leaves the pixels as they are.
        downsample: Factor by which rows and columns are then shrunk.
        margin: Pixels kept around the bounding box.
    """

    source_window: Window
    target_window: Window
    spacing_mm: float | None = 1.0
    downsample: int = 4
    margin: int = 0

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """From the `mammogram` part of a model card's configuration; raises InputError where it does not fit."""
        try:
            windows = {name: tuple(float(v) for v in config[name]) for name in ("source_window", "target_window")}
            rest = {name: config[name] for name in ("spacing_mm", "downsample", "margin") if name in config}
            spec = cls(**windows, **rest)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"The mammogram settings of the model do not fit: {error}.") from error
        if not (spec.source_window[0] < spec.source_window[1] and spec.target_window[0] < spec.target_window[1]):
            raise InputError("The gray-value windows of the model do not ascend.")
        if type(spec.downsample) is not int or spec.downsample < 1 or spec.margin < 0:
            raise InputError(
                "The mammogram settings of the model need downsample of at least 1 and margin of at least 0."
            )
        return spec

    def shrink(self, image: sitk.Image) -> Float32:
        """Pixels [row, column] of a single-slice image at the network's pixel size, in gray values."""
        array = to_array(image)
        if len(array) != 1:
            raise InputError(f"A mammogram is one image; this volume has {len(array)} slices.")
        rows, columns = array.shape[1:]
        if self.spacing_mm is not None:
            across, down = image.GetSpacing()[:2]
            rows, columns = (
                max(1, round(rows * down / self.spacing_mm)),
                max(1, round(columns * across / self.spacing_mm)),
            )
        shrunk = resize_in_plane(array, (rows, columns))
        return resize_in_plane(shrunk, (max(1, rows // self.downsample), max(1, columns // self.downsample)))[0]

    def check_gray_values(self, values: Float32) -> None:
        """Raise InputError where the breast's median lies outside the window that the network was trained on.

        Gray values of mammograms have no common scale: an 8-bit picture and a raw detector image differ tenfold, and
        the window would make either all black or all white.
        """
        median, (low, high) = float(np.median(values[breast_mask(values)])), self.source_window
        if not low <= median <= high:
            side = "above" if median > high else "below"
            raise InputError(
                f"Half of the breast's gray values are {side} {median:g}, and the model reads {low:g} to {high:g}; "
                "export the mammogram with the gray values of the model's training data."
            )

    def source_range(self, values: Float32) -> Float32:
        """Low-energy gray values as network input in -1..1."""
        return to_range(values, self.source_window)

    def target_range(self, values: Float32) -> Float32:
        """Recombined gray values in the network's -1..1."""
        return to_range(values, self.target_window)

    def target_values(self, output: Float32) -> Float32:
        """Network output in -1..1 as gray values of the recombined image."""
        low, high = self.target_window
        return ((output + 1) / 2 * (high - low) + low).astype(np.float32)

    def breast_box(self, values: Float32) -> tuple[slice, slice]:
        """Rows and columns of the breast, see `breast_box`, with the margin."""
        return breast_box(values, self.margin)


class MammogramSynthesizer:
    """A CycleGAN generator package with its weights loaded.

    Its options are `networks.options.MammogramOptions`.
    """

    def __init__(self, package: ModelPackage, choice: DeviceChoice) -> None:
        options = package.card.architecture.options
        if not isinstance(options, MammogramOptions):
            raise InputError(f"The model '{package.card.id}' does not read mammograms; choose another model.")
        self.card = package.card
        self.spec = MammogramSpec.of(options.mammogram)
        self._window, self._stride = options.window, options.stride
        self._network = package.load_network().to(choice.device)
        self._device = choice.device

    def synthesize(self, low_energy: sitk.Image, events: Events, *, batch: int = 64) -> sitk.Image:
        """The recombined image of a low-energy mammogram.

        Args:
            low_energy: Low-energy image, of size 1 along k.
            events: Receives progress and warnings, and carries the request to cancel.
            batch: Windows that go through the network at once.

        Returns:
            The image on exactly the input's grid, float32, in gray values of the training data's; outside the breast's
            bounding box it is the low end of the target window.

        Raises:
            InputError: The gray values are not those of a low-energy mammogram, or no breast is found.
            CancelledError: The user asked to stop.
            VirtualContrastError: The network gives values that are not finite.
        """
        import torch

        from .sliding_window import slide

        shrunk = self.spec.shrink(low_energy)
        self.spec.check_gray_values(shrunk)
        box = self.spec.breast_box(shrunk)
        source = torch.from_numpy(self.spec.source_range(shrunk)[box].copy(order="C"))[None].to(self._device)
        with torch.inference_mode():
            output = slide(
                self._network,
                source,
                window=self._window,
                stride=self._stride,
                batch=batch,
                progress=lambda done, total: events.progress(Stage.SYNTHESIZE, done, total),
            )
        made = np.full(shrunk.shape, -1.0, np.float32)
        made[box] = output[0].cpu().numpy()
        if not np.isfinite(made).all():
            raise VirtualContrastError(f"The model '{self.card.id}' gave numbers that are not finite.")
        rows, columns = low_energy.GetSize()[1], low_energy.GetSize()[0]
        return like(resize_in_plane(self.spec.target_values(made)[None], (rows, columns)), low_energy)


def to_range(values: Float32, window: Window) -> Float32:
    """Values clipped to a window of gray values, as -1..1."""
    low, high = window
    return (2 * (np.clip(values, low, high) - low) / (high - low) - 1).astype(np.float32)


def breast_mask(values: Float32) -> NDArray[np.bool_]:
    """The breast in [row, column] values: the largest connected region above a threshold.

    Otsu's threshold of the logarithm of the values: on the values themselves, as published, it separates muscle and
    gland from fat rather than breast from air in about one picture of three (4 of 13 of the CDD-CESM samples). Raises
    InputError where nearly all values are the same.
    """
    span = float(np.percentile(values, 99) - values.min())
    if not span > 0:
        raise InputError("The mammogram shows no breast: nearly all its pixels have the same value.")
    compressed = np.log1p(_LOG_GAIN * np.maximum(values - values.min(), 0) / span)
    bright = sitk.OtsuThreshold(sitk.GetImageFromArray(compressed.astype(np.float32)), 0, 1)
    regions = sitk.RelabelComponent(sitk.ConnectedComponent(bright), sortByObjectSize=True)
    return np.asarray(sitk.GetArrayFromImage(regions) == 1)


def breast_box(values: Float32, margin: int = 0) -> tuple[slice, slice]:
    """Rows and columns of the bounding box of `breast_mask`, with `margin` pixels around it."""
    inside = np.argwhere(breast_mask(values))
    (top, left), (bottom, right) = inside.min(axis=0), inside.max(axis=0)
    rows, columns = values.shape
    return (
        slice(max(0, int(top) - margin), min(rows, int(bottom) + 1 + margin)),
        slice(max(0, int(left) - margin), min(columns, int(right) + 1 + margin)),
    )
