"""Pictures of the held-out data during a run: what went in, what came out, what should have come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from VirtualContrastLib.events import VirtualContrastError
from VirtualContrastLib.files import atomic_file

from .run_files import SAMPLES, sample_name

_LEAST_SIDE = 192
_GAP = 4
_SEARCHED = 200


@dataclass(frozen=True)
class Sample:
    """Images [image, row, column] of one held-out item.

    Attributes:
        source: Input of the network.
        output: Output of the network.
        target: What the output should be.
        names: Names of the outputs, in order.
        same_scale: Whether the input is shown in the gray window of the target, which is right where both are
            intensities on one scale.
    """

    source: Tensor
    output: Tensor
    target: Tensor
    names: Sequence[str]
    same_scale: bool = True


@runtime_checkable
class ShowsSamples(Protocol):
    """A trainer that has images to show."""

    def sample(self, batch: dict[str, Tensor]) -> Sample:
        """The images of a batch of one held-out item. It must draw no random numbers."""


class SampleImages(L.Callback):
    """After each validation, writes `<folder>/samples/epoch_NNNN.png`: source, output and target side by side.

    It is always the same item, the first of `held_out` that crosses a lesion (the first of all where none of the first
    200 does, or lesions are not known). Nothing of the training changes: no random number is drawn, no mode is set.
    """

    def __init__(self, folder: Path, held_out: Dataset[Any]) -> None:
        self._folder = folder / SAMPLES
        self._held_out = held_out
        self._item: dict[str, Tensor] | None = None

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the picture of the epoch; the network is in evaluation mode here, without gradients."""
        if not trainer.is_global_zero or not isinstance(pl_module, ShowsSamples):
            return
        if self._item is None:
            self._item = _first_with_lesion(self._held_out)
        batch = {name: tensor[None].to(pl_module.device) for name, tensor in self._item.items()}
        with torch.autocast(pl_module.device.type, enabled=False):
            picture = picture_of(pl_module.sample(batch))
        path = self._folder / sample_name(trainer.current_epoch + 1)
        try:
            _write(picture, path)
        except OSError as error:
            raise VirtualContrastError(f"The picture {path} could not be written: {error.strerror}.") from error


def _first_with_lesion(items: Dataset[Any]) -> dict[str, Tensor]:
    count: int = len(items)  # type: ignore[arg-type]
    for number in range(min(count, _SEARCHED)):
        item: dict[str, Tensor] = items[number]
        if "lesions" in item and item["lesions"].any():
            return item
    first: dict[str, Tensor] = items[0]
    return first


def picture_of(sample: Sample) -> NDArray[np.uint8]:
    """Gray picture [row, column]: a row an output, columns source, output, target below a bar with their names.

    Output and target share the target's gray window (0.5th to 99.5th percentile), so that an output that is too bright
    or too dark is seen as such.
    """
    tensors = (sample.source, sample.output, sample.target)
    source, output, target = (tensor.detach().float().cpu().numpy() for tensor in tensors)
    window = _window(target)
    grays = [_gray(source, window if sample.same_scale else _window(source)), _gray(output, window)]
    grays.append(_gray(target, window))
    factor = max(1, -(-_LEAST_SIDE // max(target.shape[1:])))
    rows = []
    for number, name in enumerate(sample.names):
        titles = ["source" if number < len(source) else "", f"SYNTHETIC {name}", f"target {name}"]
        # With fewer inputs than outputs, the rest of their column stays black.
        images = [g[number] if number < len(g) else np.zeros_like(g[0]) for g in grays]
        rows.append(_row([image.repeat(factor, 0).repeat(factor, 1) for image in images], titles))
    return np.concatenate(rows)


def _window(images: NDArray[np.float32]) -> tuple[float, float]:
    low, high = np.percentile(images, [0.5, 99.5])
    return float(low), float(max(high, low + 1e-6))


def _gray(images: NDArray[np.float32], window: tuple[float, float]) -> NDArray[np.uint8]:
    low, high = window
    shares = np.nan_to_num(np.clip((images - low) / (high - low), 0.0, 1.0))
    return np.round(255 * shares).astype(np.uint8)


def _row(images: Sequence[NDArray[np.uint8]], titles: Sequence[str]) -> NDArray[np.uint8]:
    """Images side by side below a bar with their titles."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = images[0].shape
    bar = bar_height(width)
    row = np.full((bar + height + _GAP, len(images) * (width + _GAP) - _GAP), 40, np.uint8)
    for number, image in enumerate(images):
        row[bar : bar + height, number * (width + _GAP) : number * (width + _GAP) + width] = image
    picture = Image.fromarray(row)
    font = ImageFont.load_default(0.65 * bar)
    for number, title in enumerate(titles):
        ImageDraw.Draw(picture).text((number * (width + _GAP) + 4, bar / 2), title, fill=255, font=font, anchor="lm")
    return np.asarray(picture)


def bar_height(width: int) -> int:
    """Height in pixels of the bar above an image of `width`; its text is legible where the image is shown small."""
    return max(18, width // 8)


def _write(picture: NDArray[np.uint8], path: Path) -> None:
    """Write a PNG beside the place and rename, so that nobody sees half a picture."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        Image.fromarray(picture).save(partial, format="PNG")
