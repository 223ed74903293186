"""`virtual-contrast-training export`: any training checkpoint becomes a model package that the engine runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from VirtualContrastLib.events import ExitCode, InputError

from ..recipe import Pix2PixHDRecipe, SubtractionUNetRecipe, load_recipe


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser("export", help="make a model package of a training checkpoint", description=__doc__)
    add = parser.add_argument
    add("checkpoint", type=Path, help="RUN/checkpoints/last.ckpt or another one of a pix2pixHD or U-Net run")
    add("-o", "--output", type=Path, required=True, help="folder for the package")
    add("--recipe", help="name or path of the recipe (default: recipe.yaml of the run)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the package and say where."""
    if not args.checkpoint.is_file():
        raise InputError(f"The checkpoint {args.checkpoint} does not exist.")
    name = args.recipe or str(args.checkpoint.resolve().parent.parent / "recipe.yaml")
    recipe = load_recipe(name)
    if not isinstance(recipe, Pix2PixHDRecipe | SubtractionUNetRecipe):
        raise InputError(f"Checkpoints of {recipe.system} are exported at the end of their training only.")
    if args.output.exists() and any(args.output.iterdir()):
        raise InputError(f"{args.output} is not empty; choose another folder.")
    from ..trainers.export import export_checkpoint

    print(f"Exported {recipe.id}: {export_checkpoint(recipe, args.checkpoint, args.output)}")
    return ExitCode.DONE
