"""`virtual-contrast-training phantom`: make any number of phantom studies with known truth."""

from __future__ import annotations

import argparse
import multiprocessing
from functools import partial
from pathlib import Path

from VirtualContrastLib.events import ExitCode, InputError

from ..console import progress
from ..data.phantom import PhantomSettings, make_phantom, uneven_settings
from ..data.phantom.writing import FORMATS, write_phantom


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser("phantom", help="make phantom studies with known truth")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the cases, a subfolder each")
    parser.add_argument("-n", "--count", type=int, default=1, help="how many (default 1)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first; the next one has the next (default 1)")
    parser.add_argument("--format", choices=FORMATS, default="nrrd", help="file format (default nrrd)")
    parser.add_argument("--noise-free", action="store_true", help="also write the noise-free truth of each volume")
    parser.add_argument("--lesions", type=int, help="try to place exactly this many lesions in each (default 0 to 3)")
    parser.add_argument(
        "--uneven-phases", action="store_true", help="3 to 11 phases at times of its own for each case, 60 to 480 s"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the phantoms that are not there yet; a case folder that exists is left as it is."""
    if args.count < 1 or args.workers < 1:
        raise InputError("--count and --workers must be at least 1.")
    settings = PhantomSettings()
    if args.lesions is not None:
        weights = (0.0,) * args.lesions + (1.0,)
        settings = PhantomSettings(lesion_count_weights=weights)
    folders = {seed: args.output / f"case_{seed:06d}" for seed in range(args.seed, args.seed + args.count)}
    missing = [seed for seed, folder in folders.items() if not (folder / "case.json").is_file()]
    make = partial(
        _make,
        folders=folders,
        settings=settings,
        uneven=args.uneven_phases,
        format=args.format,
        noise_free=args.noise_free,
    )
    if args.workers == 1:
        for _ in progress(map(make, missing), len(missing), "phantoms"):
            pass
    else:
        with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
            for _ in progress(pool.imap_unordered(make, missing), len(missing), "phantoms"):
                pass
    print(f"{args.count} phantom studies in {args.output} ({len(missing)} new)")
    return ExitCode.DONE


def _make(
    seed: int, *, folders: dict[int, Path], settings: PhantomSettings, uneven: bool, format: str, noise_free: bool
) -> None:
    own = uneven_settings(settings, seed) if uneven else settings
    write_phantom(make_phantom(seed, own), folders[seed], format=format, noise_free=noise_free)
