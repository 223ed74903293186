"""`virtual-contrast-training train`: run a recipe and export the model package."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from VirtualContrastLib.events import ExitCode, InputError

from ..systems.recipes import load_recipe, recipe_names
from ..systems.registry import train

_PRECISIONS = ("32-true", "bf16-mixed")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser("train", help="train the model of a recipe and export it")
    add = parser.add_argument
    add("recipe", nargs="?", help="name of a recipe (see --list) or path of a YAML file")
    add("-o", "--output", type=Path, help="folder of the run: checkpoints, logs, model package")
    add("--list", action="store_true", help="print the names of the recipes, one a line")
    add("--set", action="append", metavar="KEY=VALUE", default=[], help="change one recipe value")
    add("--smoke", action="store_true", help="only try: a few steps on small phantoms, then export")
    add("--resume", action="store_true", help="go on from the run's last checkpoint")
    add("--max-minutes", type=float, help="stop after this time (checkpointed) and export")
    add("--devices", type=int, default=1, metavar="N", help="processes (GPUs) on this host (default 1)")
    add("--num-nodes", type=int, default=1, metavar="N", help="hosts, each started by torchrun or srun (default 1)")
    add("--precision", choices=_PRECISIONS, help="instead of the recipe's")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, then write `<output>/model`."""
    if args.list:
        print("\n".join(recipe_names()))
        return ExitCode.DONE
    if args.recipe is None or args.output is None:
        raise InputError("Give a recipe and an output folder: virtual-contrast-training train RECIPE -o DIR.")
    if args.devices < 1 or args.num_nodes < 1:
        raise InputError("--devices and --num-nodes must be at least 1.")
    recipe = load_recipe(args.recipe, args.set)
    from ..training.launch import launch_ranks, needs_launch

    if needs_launch(args.devices, args.num_nodes):
        launch_ranks(_arguments(args), args.devices)
        return ExitCode.DONE
    from ..training.system import RunOptions

    options = RunOptions(args.resume, args.devices, args.num_nodes, args.precision, args.max_minutes)
    started = time.monotonic()
    package = train(recipe, args.output, options, smoke=args.smoke)
    print(f"Trained {recipe.id} in {(time.monotonic() - started) / 60:.1f} min: {package}")
    return ExitCode.DONE


def _arguments(args: argparse.Namespace) -> list[str]:
    """The command line that starts one of the processes of this one."""
    line = ["train", args.recipe, "--output", str(args.output), "--devices", str(args.devices)]
    line += [part for change in args.set for part in ("--set", change)]
    line += [f"--{flag}" for flag in ("smoke", "resume") if getattr(args, flag)]
    line += ["--precision", args.precision] if args.precision else []
    return line + (["--max-minutes", str(args.max_minutes)] if args.max_minutes else [])
