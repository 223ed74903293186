"""`virtual-contrast-training train`: run a recipe and export the model package."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from VirtualContrastLib.events import ExitCode, InputError

from ..recipe import load_recipe, recipe_names


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser("train", help="train the model of a recipe and export it")
    parser.add_argument("recipe", nargs="?", help="name of a recipe (see --list) or path of a YAML file")
    parser.add_argument("-o", "--output", type=Path, help="folder of the run: checkpoints, logs, model package")
    parser.add_argument("--list", action="store_true", help="print the names of the recipes, one a line")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", default=[], help="change one recipe value")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last checkpoint")
    parser.add_argument("--max-minutes", type=float, help="stop after this time (checkpointed) and export")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, then write `<output>/model`."""
    if args.list:
        print("\n".join(recipe_names()))
        return ExitCode.DONE
    if args.recipe is None or args.output is None:
        raise InputError("Give a recipe and an output folder: virtual-contrast-training train RECIPE -o DIR.")
    recipe = load_recipe(args.recipe, args.set)
    started = time.monotonic()
    if recipe.system == "nnunet":
        from ..trainers.nnunet import train_lesion_net

        package = train_lesion_net(recipe, args.output)
    else:
        from ..trainers.run import train

        package = train(recipe, args.output, resume=args.resume, max_minutes=args.max_minutes)
    print(f"Trained {recipe.id} in {(time.monotonic() - started) / 60:.1f} min: {package}")
    return ExitCode.DONE
