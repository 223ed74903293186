"""Later phases from a pre-contrast volume and acquired early phases, by a 3-D network in sliding windows.

MONAI is not a dependency of this library, so the windows are its own: half overlapping by default, blended with a
Gaussian weight as MONAI's `sliding_window_inference(mode="gaussian")` does. A recursive network makes all phases of a
window before the next window starts; its state does not cross windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from ..events import Events, InputError, Stage, VirtualContrastError
from ..io.volumes import like, same_geometry, to_array
from ..networks.iter_unet import IterUNet
from ..networks.options import VolumetricOptions
from ..networks.unet_3d import check_sides
from .backends import exact_inference
from .geometry import AxialView
from .intensity import foreground_threshold
from .synthesizer import Synthesis
from .ti_norm import TINorm

if TYPE_CHECKING:
    from ..models.package import ModelPackage
    from ..study import Phase
    from .device import DeviceChoice

Float32 = NDArray[np.float32]
Window = tuple[slice, slice, slice]

_SIGMA_SHARE = 0.125  # of the window's side, MONAI's default
_LEAST_WEIGHT = 1e-3


class VolumetricSynthesizer:
    """A 3-D model with its weights loaded; call `synthesize` for as many studies as needed."""

    def __init__(self, package: ModelPackage, device_choice: DeviceChoice) -> None:
        """Raises InputError where the package is of another kind or its weights do not fit."""
        card = self.card = package.card
        if card.inputs.phases != [0, 1] or card.outputs is None:
            raise InputError(
                f"The model '{card.id}' does not make later phases from the pre-contrast volume and one early phase."
            )
        try:
            options = card.architecture.options
            if not isinstance(options, VolumetricOptions):
                raise ValueError("they are not those of a network over volumes")
            check_sides(options.window_kji)
        except ValueError as error:
            raise InputError(f"The model '{card.id}' has unusable options of its architecture: {error}.") from error
        self.settings = options
        self._trained_times_s = list(card.outputs.times_s)
        self.network = package.load_network().to(device_choice.device)
        self._choice = device_choice

    def synthesize(
        self, pre: sitk.Image, acquired: Sequence[Phase], events: Events, *, times_s: Sequence[float] | None = None
    ) -> Synthesis:
        """Make the later phases of a study from its pre-contrast volume and its first acquired phases.

        Windows without tissue keep the last acquired phase.

        Args:
            pre: Pre-contrast volume, a 3-D scalar image.
            acquired: The first post-contrast phase and, for a network with memory, more that follow it, on the same
                grid. A network that embeds seconds needs the times of those that follow.
            events: Gets the progress, in windows, and warnings; asked between windows whether the user wants to stop.
            times_s: Seconds after injection, increasing; None for those of the model after the last
                acquired phase.

        Returns:
            The phases after the acquired ones on exactly the input's grid, in its units.

        Raises:
            InputError: The geometries differ, or the phases or times cannot be used.
            CancelledError: The user asked to stop.
            VirtualContrastError: The network gives values that are not finite.
        """
        for phase in acquired:
            if difference := same_geometry(pre, phase.image):
                raise InputError(
                    f"The pre-contrast volume and the acquired phase {phase.index} do not fit: {difference}"
                )
        between = self._times_between(acquired)
        if times_s is None:
            times_s = [time_s for time_s in self._trained_times_s if time_s > (acquired[-1].time_s or 0.0)]
        times = self._checked_times(times_s, len(between), events)
        view = AxialView.of(pre)
        stored = [to_array(image) for image in (pre, *(phase.image for phase in acquired))]
        norm = TINorm.of(stored[1], self.settings.ti_norm_region)
        volumes = np.stack([norm.forward(view.from_stored(array)) for array in stored])
        tissue = view.from_stored(stored[1]) > foreground_threshold(stored[1])
        phases = norm.inverse(self._predict(volumes, tissue, [*between, *times], events))
        if not np.isfinite(phases).all():
            raise VirtualContrastError(
                f"The model '{self.card.id}' gave numbers that are not finite; its weights are unusable."
            )
        return Synthesis(
            phases=[like(view.to_stored(phase), pre) for phase in phases],
            times_s=times,
            uncertainty=None,
            arbitrary_units=False,
            pre=like(stored[0], pre),
        )

    def _times_between(self, acquired: Sequence[Phase]) -> list[float]:
        """Seconds of the acquired phases after the first; InputError where the network cannot read them."""
        later = acquired[1:]
        if later and not (isinstance(self.network, IterUNet) and self.network.conv_lstm is not None):
            raise InputError(
                f"The model '{self.card.id}' has no memory and reads one acquired phase, not {len(acquired)}."
            )
        times = [phase.time_s for phase in later]
        if None in times:
            raise InputError(f"The times of the acquired phases are unknown; the model '{self.card.id}' needs them.")
        return [time_s for time_s in times if time_s is not None]

    def _checked_times(self, times_s: Sequence[float], earlier: int, events: Events) -> list[float]:
        """Seconds of the phases to make, which follow the network's first `earlier` steps, of acquired phases."""
        trained, times = self._trained_times_s, list(times_s)
        if not times or not all(a < b for a, b in zip([0.0, *times], times, strict=False)):
            raise InputError("The times of the phases must be seconds after injection, above 0 and increasing.")
        if not isinstance(self.network, IterUNet):
            if len(times) != len(trained):
                raise InputError(f"The model '{self.card.id}' makes exactly {len(trained)} phases, not {len(times)}.")
        elif earlier + len(times) > len(trained):
            events.warn(f"The model was trained to make {len(trained)} later phases; those beyond are extrapolated.")
        if isinstance(self.network, IterUNet) and self.network.time == "seconds":
            if times[0] < trained[0] or times[-1] > trained[-1]:
                events.warn(f"The model was trained for {trained[0]:g} to {trained[-1]:g} s; other times are guesses.")
        elif times != trained[earlier : earlier + len(times)]:
            events.warn("The model counts phases and does not use seconds; the times given are only recorded.")
        return times

    def _predict(self, volumes: Float32, tissue: NDArray[np.bool_], times: list[float], events: Events) -> Float32:
        """Series [phase, k, j, i] of the normalized `volumes` (pre and acquired phases) [volume, k, j, i].

        `times` are those of all phases after the first acquired one.
        """
        made = len(times) - (len(volumes) - 2)
        shape, window = volumes.shape[1:], self.settings.window_kji
        pads = [(0, max(n - side, 0)) for n, side in zip(window, shape, strict=True)]
        padded = np.pad(volumes, [(0, 0), *pads], mode="edge")
        total = np.zeros((made, *padded.shape[1:]), np.float32)
        weight_sum = np.zeros(padded.shape[1:], np.float32)
        weight = gaussian_weight(window)
        tissue = np.pad(tissue, pads)
        windows = list(sliding_windows(padded.shape[1:], window, self.settings.overlap))
        events.progress(Stage.SYNTHESIZE, 0, len(windows))
        for number, place in enumerate(windows, start=1):
            patch = padded[(slice(None), *place)]
            series = self._run(patch, times) if tissue[place].any() else patch[-1:]
            total[(slice(None), *place)] += weight * series
            weight_sum[place] += weight
            events.progress(Stage.SYNTHESIZE, number, len(windows))
        np.divide(total, weight_sum, out=total)
        return total[:, : shape[0], : shape[1], : shape[2]]

    def _run(self, patch: Float32, times: list[float]) -> Float32:
        device = torch.device(self._choice.device)
        try:
            with exact_inference(device, autocast=self._choice.precision == "bf16"):
                volumes = torch.from_numpy(patch.copy(order="C")).to(device)[None]
                series = self.network(volumes[:, :1], volumes[:, 1:], torch.tensor([times], device=device))
                return np.asarray(series.float().cpu().numpy()[0])
        except torch.OutOfMemoryError as error:
            raise VirtualContrastError(
                f"The memory of {self._choice.device} is too small for this model; choose --device cpu or close other "
                "programs."
            ) from error


def sliding_windows(shape: Sequence[int], window: Sequence[int], overlap: float) -> Iterator[Window]:
    """Windows that cover a volume; the last window of an axis ends with the volume.

    Args:
        shape: Shape [k, j, i] of the volume, no side shorter than the window's.
        window: Shape [k, j, i] of a window.
        overlap: Part of a side that neighbors share at least, 0 to below 1.

    Yields:
        The slices [k, j, i] of each window.
    """
    starts = []
    for side, n in zip(shape, window, strict=True):
        step = max(1, int(n * (1 - overlap)))
        starts.append([*range(0, side - n, step), side - n])
    for corner in product(*starts):
        k, j, i = (slice(s, s + n) for s, n in zip(corner, window, strict=True))
        yield k, j, i


def gaussian_weight(window: Sequence[int]) -> Float32:
    """Weight [k, j, i] of a window's voxels: a Gaussian with an eighth of each side as sigma, 1e-3 at least."""
    axes = [np.arange(n) - (n - 1) / 2 for n in window]
    squares = [(axis / (_SIGMA_SHARE * n)) ** 2 for axis, n in zip(axes, window, strict=True)]
    distance = squares[0][:, None, None] + squares[1][:, None] + squares[2]
    return np.maximum(np.exp(-distance / 2), _LEAST_WEIGHT).astype(np.float32)
