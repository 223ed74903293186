"""Arguments that the evaluation commands share, and what they stand for."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import InputError

from ..metrics.feature_networks import FeatureNetwork, load_feature_network
from ..metrics.lpips import Lpips, load_lpips
from ..metrics.pairs import Pair, attach, find_pairs
from ..metrics.weights import feature_weights


def add_fid(add: Callable[..., Any]) -> None:
    """Add --fid through a parser's or group's `add_argument`."""
    add(
        "--fid",
        action="append",
        default=[],
        metavar="NAME=WEIGHTS",
        help="also FID and KID on the features of a network: Inception-v3 or ResNet-50 weights of torchvision or "
        "RadImageNet, or imagenet=download; may be repeated",
    )


def named_paths(texts: Sequence[str], option: str, example: str) -> dict[str, Path]:
    """NAME=PATH arguments as a mapping; raises InputError for one of another form or a name given twice."""
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or not name or not path:
            raise InputError(f"{option} takes NAME=PATH, such as {example}, not '{text}'.")
        if name in found:
            raise InputError(f"{option} names {name} twice.")
        found[name] = Path(path)
    return found


def feature_networks(args: argparse.Namespace, device: str | None = None) -> dict[str, FeatureNetwork]:
    """The networks of --fid by name, on `device` or --device; raises InputError where weights cannot be had."""
    return {
        name: load_feature_network(feature_weights(name, path), device=device or args.device)
        for name, path in named_paths(args.fid, "--fid", "radimagenet=InceptionV3.pt").items()
    }


def find_lpips(args: argparse.Namespace) -> tuple[Lpips | None, str]:
    """LPIPS, or the reason why not; weights that were named and cannot be used are an error."""
    if args.alexnet is not None:
        return load_lpips(args.alexnet, device=args.device), ""
    try:
        return load_lpips(device=args.device), ""
    except InputError as error:
        return None, str(error)


def pairs_of(args: argparse.Namespace) -> list[Pair]:
    """The pairs of --real and --synthetic, with the masks and pre-contrast images given."""
    if args.synthetic is None:
        raise InputError("--real and --synthetic go together; without both, phantoms are used.")
    pairs = find_pairs(args.real, args.synthetic, patient_pattern=args.patient_pattern)
    for kind, source in (("lesion", args.lesions), ("breast", args.breasts), ("pre", args.pre)):
        if source is not None:
            pairs = attach(pairs, kind, source)
    return pairs
