"""3x3 convolutions by Winograd's minimal filtering: fewer products, equal up to rounding.

F(m, 3) gives m output pixels of the correlation of m + 2 values d with 3 weights g (Lavin and Gray, CVPR 2016):
y = A^T [(G g) * (B^T d)], here along rows and columns alike: F(4, 3) takes 36 products for 16 pixels instead of 144,
F(3, 3) 25 for 9 instead of 81, F(2, 3) 16 for 4 instead of 36. The matrices follow from the m + 2 points at which the
polynomials of d and g are multiplied. The last one is infinity; the others decide what rounding does:
with products in bfloat16 the usual 0, 1, -1, 2, -2 of F(4, 3) differ by 2.9 % of the standard deviation of the result,
those below by 1.3 %. F(3, 3) differs by 0.7 %, F(2, 3) by 0.4 %, the convolution itself in bfloat16 by 0.3 %.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

_POINTS = {2: (0.0, 1.0, -1.0), 3: (0.4, -0.4, 1.25, -1.25), 4: (0.0, 0.65, -0.65, 1.55, -1.55)}


class WinogradConv(nn.Module):
    """A 3x3 convolution of stride 1 without padding as matrix products over tiles; all but they is in float32."""

    def __init__(self, conv: nn.Conv2d, products: torch.dtype, tile: int) -> None:
        """Transform the weights of `conv`.

        Args:
            conv: 3x3, stride 1, no padding.
            products: the type of the transformed weights and tiles.
            tile: output pixels a side of a tile: 2, 3 or 4.
        """
        super().__init__()
        self.tile = tile
        weight = conv.weight.detach()
        to_tile, to_weight, to_pixels = (torch.from_numpy(np.kron(one, one)).to(weight) for one in matrices(tile))
        flat = weight.permute(2, 3, 0, 1).reshape(9, -1)
        self.weight = (to_weight @ flat).to(products).view(-1, *weight.shape[:2])
        self.to_tile, self.to_pixels = to_tile, to_pixels
        self.bias = None if conv.bias is None else conv.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, c, row, column] to [n, output, row - 2, column - 2], channels last, of the type of `x`."""
        count, channels, rows, columns = x.shape
        tile, side = self.tile, self.tile + 2
        down, across = -(-(rows - 2) // tile), -(-(columns - 2) // tile)
        x = functional.pad(x, (0, across * tile + 2 - columns, 0, down * tile + 2 - rows))
        tiles = x.unfold(2, side, tile).unfold(3, side, tile).permute(4, 5, 0, 2, 3, 1).reshape(side**2, -1)
        tiles = (self.to_tile @ tiles.float()).view(side**2, -1, channels).to(self.weight.dtype)
        # The right factor is brought into another order first: the tiles, which are fewer than the weights.
        products = torch.bmm(self.weight, tiles.mT).float()
        pixels = (self.to_pixels @ products.view(side**2, -1)).view(tile, tile, -1, count, down, across)
        y = pixels.permute(3, 4, 0, 5, 1, 2).reshape(count, down * tile, across * tile, -1)
        y = y[:, : rows - 2, : columns - 2]
        return (y if self.bias is None else y + self.bias).permute(0, 3, 1, 2).to(x.dtype)


def matrices(tile: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """B^T [m + 2, m + 2], G [m + 2, 3] and A^T [m, m + 2] of F(m, 3) for m = `tile`."""
    points = _POINTS[tile]
    others = [[other for other in points if other != point] for point in points]
    to_tile = np.zeros((tile + 2, tile + 2))
    to_tile[:-1, :-1] = [np.poly(roots)[::-1] for roots in others]  # vanishes at all points but its own
    to_tile[-1] = np.poly(points)[::-1]
    scale = [np.prod([point - other for other in rest]) for point, rest in zip(points, others, strict=True)]
    to_weight = np.vstack([np.vander(points, 3, increasing=True) / np.array(scale)[:, None], [0.0, 0.0, 1.0]])
    to_pixels = np.vstack([np.vander(points, tile, increasing=True), np.eye(tile)[-1]]).T
    return to_tile, to_weight, to_pixels
