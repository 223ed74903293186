"""`virtual-contrast-training export`: any training checkpoint becomes a model package that the engine runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import ExitCode, InputError

from ..systems.recipes import load_recipe
from ..systems.registry import packaging_of
from ..training.packaging import LEVELS, export_checkpoint
from .options import Output, add_output, add_training_command

_RECIPE = "recipe.yaml"


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    help = "make a model package of a training checkpoint"
    parser = add_training_command(subparsers, "export", run, help, description=__doc__)
    add = parser.add_argument
    add("checkpoint", type=Path, help="RUN/checkpoints/last.ckpt or another one of a run of any system but nnU-Net")
    add_output(add, "folder for the package", required=True)
    add("--recipe", help="name or path of the recipe (default: recipe.yaml of the run)")


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Write the package and say where."""
    if not args.checkpoint.is_file():
        raise InputError(f"The checkpoint {args.checkpoint} does not exist.")
    if args.output.is_file() or (args.output.is_dir() and any(args.output.iterdir())):
        raise InputError(f"{args.output} is a file or not empty; choose another folder.")
    from ..training.copying import record_against_copying  # torch, which takes seconds

    recipe = load_recipe(args.recipe or str(_recipe_of(args.checkpoint)))
    package = export_checkpoint(packaging_of(recipe), recipe, args.checkpoint, args.output)
    record_against_copying(package, recipe.held_out_cases())
    out.result(f"Exported {recipe.id}: {package}", {"recipe": recipe.id, "model": str(package)})
    return ExitCode.DONE


def _recipe_of(checkpoint: Path) -> Path:
    """The recipe in the nearest folder above a checkpoint; raises InputError where there is none."""
    for folder in checkpoint.resolve().parents[:LEVELS]:
        if (folder / _RECIPE).is_file():
            return folder / _RECIPE
    raise InputError(f"There is no {_RECIPE} of the run above {checkpoint}; name the recipe with --recipe.")
