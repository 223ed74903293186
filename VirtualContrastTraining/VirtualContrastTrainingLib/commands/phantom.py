"""`virtual-contrast-training phantom`: make any number of phantom studies with known truth."""

from __future__ import annotations

import argparse
import multiprocessing
from functools import partial
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import ExitCode, InputError

from ..console import progress
from ..data.phantom import PhantomSettings, make_phantom, uneven_settings
from ..data.phantom.writing import FORMATS, write_phantom
from .options import Output, add_output, add_training_command, count, whole

MOST_LESIONS = 12
"""More do not find a place without touching, and the search for one takes minutes."""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_training_command(subparsers, "phantom", run, "make phantom studies with known truth")
    add = parser.add_argument
    add_output(add, "folder for the cases, one subfolder per case", required=True)
    add("-n", "--count", type=count, default=1, help="how many (default 1)")
    add("--seed", type=whole, default=1, help="seed of the first; the following ones count up (default 1)")
    add("--format", choices=FORMATS, default="nrrd", help="file format (default nrrd)")
    add("--noise-free", action="store_true", help="also write the noise-free truth of each volume")
    add("--lesions", type=whole, help=f"try to place exactly this many lesions in each, at most {MOST_LESIONS}")
    add("--uneven-phases", action="store_true", help="3 to 11 phases at times of its own for each case, 60 to 480 s")
    add("--workers", type=count, default=1, help="processes (default 1)")


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Write the phantoms that are not there yet; an existing case folder is left unchanged."""
    settings = PhantomSettings()
    if args.lesions is not None:
        if args.lesions > MOST_LESIONS:
            raise InputError(f"--lesions is {args.lesions}; a breast has room for {MOST_LESIONS} at most.")
        settings = PhantomSettings(lesion_count_weights=(0.0,) * args.lesions + (1.0,))
    new = make_phantoms(
        args.output,
        range(args.seed, args.seed + args.count),
        settings,
        uneven=args.uneven_phases,
        format=args.format,
        noise_free=args.noise_free,
        workers=args.workers,
    )
    text = f"{args.count} phantom {'study' if args.count == 1 else 'studies'} in {args.output} ({new} new)"
    out.result(text, {"folder": str(args.output), "studies": args.count, "new": new})
    return ExitCode.DONE


def make_phantoms(
    folder: Path,
    seeds: range,
    settings: PhantomSettings,
    *,
    uneven: bool = False,
    format: str = "nrrd",
    noise_free: bool = False,
    workers: int = 1,
) -> int:
    """Write the phantoms that are not there yet into `folder` and return how many those were.

    Args:
        folder: gets a subfolder `case_<seed>` for each.
        seeds: one for each phantom.
        settings: of all of them.
        uneven: each gets phases at times of its own.
        format: of the files, one of `writing.FORMATS`.
        noise_free: also write the noise-free truth.
        workers: processes.

    Returns:
        The number of new phantoms.

    Raises:
        InputError: the folder cannot be written.
    """
    folders = {seed: folder / f"case_{seed:06d}" for seed in seeds}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        missing = [seed for seed, place in folders.items() if not (place / "case.json").is_file()]
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be written: {error.strerror}; choose another one.") from error
    make = partial(_make, folders=folders, settings=settings, uneven=uneven, format=format, noise_free=noise_free)
    if workers == 1:
        for _ in progress(map(make, missing), len(missing), "phantoms"):
            pass
    else:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            for _ in progress(pool.imap_unordered(make, missing), len(missing), "phantoms"):
                pass
    return len(missing)


def _make(
    seed: int, *, folders: dict[int, Path], settings: PhantomSettings, uneven: bool, format: str, noise_free: bool
) -> None:
    own = uneven_settings(settings, seed) if uneven else settings
    try:
        write_phantom(make_phantom(seed, own), folders[seed], format=format, noise_free=noise_free)
    except OSError as error:
        raise InputError(f"The phantom {folders[seed]} cannot be written: {error.strerror}.") from error
