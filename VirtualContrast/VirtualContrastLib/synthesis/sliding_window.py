"""A network on dense overlapping windows of an image, averaged: batches of windows, no Python step per window."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Progress = Callable[[int, int], None]


def slide(
    network: Callable[[Tensor], Tensor],
    image: Tensor,
    *,
    window: int = 128,
    stride: int = 16,
    batch: int = 64,
    progress: Progress | None = None,
) -> Tensor:
    """Mean over all windows that cover a pixel of what the network makes of them.

    The image is first grown at its far sides by repeating its edge, so that the windows end with it. Batches of windows
    are cut out as a strided view and added back by `fold`, so that memory grows with the batch and the image, not with
    the number of windows.

    Args:
        network: Maps windows [n, channel, window, window] to [n, output channel, window, window].
        image: The image [channel, row, column].
        window: Side of a window in pixels.
        stride: Pixels from one window to the next.
        batch: Most windows that go through the network at once.
        progress: Called with windows done and in total after each batch.

    Returns:
        [output channel, row, column] of the image's size, on its device.

    Raises:
        ValueError: The stride is not between 1 and the window, or the batch is below 1.
    """
    if not 1 <= stride <= window or batch < 1:
        raise ValueError(f"stride {stride} must be between 1 and the window {window}, and batch {batch} at least 1")
    rows, columns = image.shape[-2:]
    grown = _grow(image, _covered(rows, window, stride), _covered(columns, window, stride))
    views = grown.unfold(1, window, stride).unfold(2, window, stride).permute(1, 2, 0, 3, 4)
    down, across = views.shape[:2]
    result: Tensor | None = None
    step = max(1, batch // across)
    for top in range(0, down, step):
        some = views[top : top + step].flatten(0, 1)
        outputs = torch.cat([network(part) for part in some.split(batch)])
        height = window + (len(some) // across - 1) * stride
        band = functional.fold(
            outputs.float().flatten(1).T[None], (height, grown.shape[2]), kernel_size=window, stride=stride
        )[0]
        if result is None:
            result = torch.zeros((outputs.shape[1], *grown.shape[1:]), device=image.device)
        result[:, top * stride : top * stride + height] += band
        if progress is not None:
            progress(min(top + step, down) * across, down * across)
    if result is None:  # cannot be: an image has at least one window
        raise ValueError("the image is empty")
    counts = torch.outer(
        _coverage(grown.shape[1], window, stride, image.device), _coverage(grown.shape[2], window, stride, image.device)
    )
    return (result / counts)[:, :rows, :columns]


def _covered(side: int, window: int, stride: int) -> int:
    """The side that whole strides of windows cover: at least `side`, and at least one window."""
    return window + max(0, -(-(side - window) // stride)) * stride


def _grow(image: Tensor, rows: int, columns: int) -> Tensor:
    below, right = rows - image.shape[1], columns - image.shape[2]
    return functional.pad(image[None], (0, right, 0, below), mode="replicate")[0]


def _coverage(side: int, window: int, stride: int, device: torch.device) -> Tensor:
    """How many windows cover each pixel of a side."""
    pixels = torch.arange(side, device=device)
    last = (side - window) // stride
    first_window = torch.clamp((pixels - window) // stride + 1, min=0)
    last_window = torch.clamp(pixels // stride, max=last)
    return (last_window - first_window + 1).float()
