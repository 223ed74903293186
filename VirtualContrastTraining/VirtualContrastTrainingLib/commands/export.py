"""`virtual-contrast-training export`: any training checkpoint becomes a model package that the engine runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from VirtualContrastLib.events import ExitCode, InputError

from ..systems.recipes import load_recipe
from ..systems.registry import packaging_of
from ..training.packaging import export_checkpoint

_RECIPE = "recipe.yaml"
_LEVELS = 3  # RUN/checkpoints/last.ckpt, and RUN/warm_up/checkpoints/last.ckpt


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser("export", help="make a model package of a training checkpoint", description=__doc__)
    add = parser.add_argument
    add("checkpoint", type=Path, help="RUN/checkpoints/last.ckpt or another one of a run of any system but nnU-Net")
    add("-o", "--output", type=Path, required=True, help="folder for the package")
    add("--recipe", help="name or path of the recipe (default: recipe.yaml of the run)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the package and say where."""
    if not args.checkpoint.is_file():
        raise InputError(f"The checkpoint {args.checkpoint} does not exist.")
    if args.output.is_file() or (args.output.is_dir() and any(args.output.iterdir())):
        raise InputError(f"{args.output} is a file or not empty; choose another folder.")
    recipe = load_recipe(args.recipe or str(_recipe_of(args.checkpoint)))
    package = export_checkpoint(packaging_of(recipe), recipe, args.checkpoint, args.output)
    print(f"Exported {recipe.id}: {package}")
    return ExitCode.DONE


def _recipe_of(checkpoint: Path) -> Path:
    """The recipe in the nearest folder above a checkpoint; raises InputError where there is none."""
    for folder in checkpoint.resolve().parents[:_LEVELS]:
        if (folder / _RECIPE).is_file():
            return folder / _RECIPE
    raise InputError(f"There is no {_RECIPE} of the run above {checkpoint}; name the recipe with --recipe.")
