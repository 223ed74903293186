"""`virtual-contrast-training train`: run a recipe and export the model package."""

from __future__ import annotations

import argparse
import time
from typing import Any

from VirtualContrastLib.events import ExitCode, InputError

from ..systems.recipes import load_recipe, recipe_names
from ..systems.registry import train
from .options import Output, add_output, add_training_command, count, minutes

_PRECISIONS = ("32-true", "bf16-mixed")


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_training_command(subparsers, "train", run, "train the model of a recipe and export it")
    add = parser.add_argument
    add("recipe", nargs="?", help="name of a recipe (see --list) or path of a YAML file")
    add_output(add, "folder of the run: checkpoints, logs, model package")
    add("--list", action="store_true", help="print the names of the recipes, one a line")
    add("--set", action="append", metavar="KEY=VALUE", default=[], help="change one recipe value; may be repeated")
    add("--smoke", action="store_true", help="trial run: a few steps on small phantoms, then export")
    add("--resume", action="store_true", help="continue from the run's last checkpoint")
    add("--max-minutes", type=minutes, help="stop after this time (checkpointed) and export")
    add("--devices", type=count, default=1, metavar="N", help="processes (GPUs) on this host (default 1)")
    add("--num-nodes", type=count, default=1, metavar="N", help="hosts, each started by torchrun or srun (default 1)")
    add("--precision", choices=_PRECISIONS, help="instead of the recipe's")


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Train, then write `<output>/model`."""
    if args.list:
        out.result("\n".join(recipe_names()), {"recipes": recipe_names()})
        return ExitCode.DONE
    if args.recipe is None or args.output is None:
        raise InputError("Give a recipe and an output folder: virtual-contrast-training train RECIPE -o DIR.")
    recipe = load_recipe(args.recipe, args.set)
    from ..training.launch import is_first, launch_ranks, needs_launch

    if needs_launch(args.devices, args.num_nodes):
        launch_ranks(_arguments(args), args.devices)
        return ExitCode.DONE
    from VirtualContrastLib.models.package import load_package

    from ..training.options import RunOptions

    options = RunOptions(args.resume, args.devices, args.num_nodes, args.precision, args.max_minutes)
    started = time.monotonic()
    package = train(recipe, args.output, options, smoke=args.smoke)
    passed = (time.monotonic() - started) / 60
    found = load_package(package).card.against_copying if is_first() else []  # which writes the package
    out.result(
        "\n".join([f"Trained {recipe.id} in {passed:.1f} min: {package}", *(one.sentence() for one in found)]),
        {
            "recipe": recipe.id,
            "minutes": passed,
            "model": str(package),
            "against_copying": [one.model_dump() for one in found],
        },
    )
    return ExitCode.DONE


def _arguments(args: argparse.Namespace) -> list[str]:
    """The command line that starts one of the processes of this one."""
    line = ["train", args.recipe, "--out", str(args.output), "--devices", str(args.devices)]
    line += [part for change in args.set for part in ("--set", change)]
    line += [f"--{flag}" for flag in ("smoke", "resume") if getattr(args, flag)]
    line += ["--precision", args.precision] if args.precision else []
    return line + (["--max-minutes", str(args.max_minutes)] if args.max_minutes else [])
