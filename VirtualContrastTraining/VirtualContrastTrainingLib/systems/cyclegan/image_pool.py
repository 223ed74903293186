"""The history of generated images that a discriminator is shown (Shrivastava et al., CVPR 2017)."""

from __future__ import annotations

import torch
from torch import Tensor


class ImagePool:
    """Keeps up to `size` generated images; size 0, the published setting, gives every image back as it came.

    Once full, an image is, with probability 1/2, swapped for a random one of the pool, as the original does. Random
    numbers are torch's.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def __call__(self, batch: Tensor) -> Tensor:
        """A batch of the shape of `batch` [image, ...], made of its images and of earlier ones."""
        if self.size == 0:
            return batch
        return torch.stack([self._exchanged(image) for image in batch.detach()])

    def _exchanged(self, image: Tensor) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(image.clone())
            return image
        if torch.rand(()) < 0.5:
            return image
        place = int(torch.randint(self.size, ()))
        earlier, self.images[place] = self.images[place], image.clone()
        return earlier.to(image.device)
