"""Options that `evaluate` and `select` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FID_EXAMPLE = "radimagenet=InceptionV3.pt"


def add_fid(add: Callable[..., Any]) -> None:
    """Add --fid through a parser's or group's `add_argument`."""
    add(
        "--fid",
        action="append",
        default=[],
        metavar="NAME=WEIGHTS",
        help="also FID and KID on the features of a network: Inception-v3 or ResNet-50 weights of torchvision or "
        "RadImageNet, or imagenet=download; alexnet=download and vgg16=download take those of LPIPS, whose distance is "
        "no FID and is not called so; may be repeated",
    )
