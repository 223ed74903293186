"""Training throughput: our loop against the published training loop's way, same networks, one run, ratios.

    python Testing/benchmarks/training/throughput.py
    python Testing/benchmarks/training/throughput.py --size 512 --ngf 64 --downsample 4 --blocks 9    (published size)

The published way (reference: pix2pixHD's train.py and aligned_dataset.py) reads a pair of RGB PNGs from disk for every
step, batch 1, no workers, flips, scales to -1..1, computes all losses, and steps generator and discriminator. Ours
reads prepared cases once, makes batches of the joint recipe's size, and runs under Lightning with its checkpoints and
logs. Both train the same generator and discriminator with the same losses. Rounds alternate; the median is printed.
For the iterU-Net, patches a second: reading whole volumes for every two crops as its notebooks do, against ours.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from training_cost import step_clock
from VirtualContrastLib.synthesis.ti_norm import TINorm
from VirtualContrastTrainingLib.data.batches import EpochBatches
from VirtualContrastTrainingLib.data.memmap import load_cases
from VirtualContrastTrainingLib.data.patches import PatchSettings, RandomPatches
from VirtualContrastTrainingLib.data.phantom import make_phantom
from VirtualContrastTrainingLib.data.phantom.writing import write_phantom
from VirtualContrastTrainingLib.systems.pix2pixhd.losses import step_losses
from VirtualContrastTrainingLib.systems.pix2pixhd.recipe import Pix2PixHDRecipe
from VirtualContrastTrainingLib.systems.pix2pixhd.trainer import Pix2PixHDTrainer
from VirtualContrastTrainingLib.systems.recipes import load_recipe
from VirtualContrastTrainingLib.training.base import FitPlan, RunOptions, fit
from VirtualContrastTrainingLib.training.slice_sets import slice_sets

CASES = 4
PATCH_KJI = (16, 48, 48)


def main() -> None:
    """Make phantoms, time all ways in turns, print slices a second and ratios."""
    args = _arguments()
    with tempfile.TemporaryDirectory(prefix="virtual-contrast-throughput-") as folder:
        cases, pairs = Path(folder) / "cases", Path(folder) / "pairs"
        for seed in range(CASES):
            write_phantom(make_phantom(seed), cases / f"case_{seed}")
        recipe = _recipe(args, cases)
        write_pairs(recipe, pairs)
        batches = max(2, args.steps // args.batch)
        print(_machine(args))
        _compare(
            "slices/s, training",
            {
                "published way, batch 1": lambda: published_training(recipe, pairs, args.steps),
                "ours, batch 1": lambda: our_training(recipe, 1, args.steps),
                f"ours, batch {args.batch}": lambda: our_training(recipe, args.batch, batches),
                f"ours, batch {args.batch}, bfloat16": lambda: our_training(recipe, args.batch, batches, "bf16-mixed"),
            },
            args.rounds,
        )
        _compare(
            "slices/s, data loading alone",
            {
                "published way": lambda: loading(DataLoader(PngPairs(pairs), batch_size=1, shuffle=True), args.loads),
                f"ours, batch {args.batch}": _our_loading(recipe, args),
            },
            args.rounds,
        )
        _compare(
            "iterU-Net patches/s, data loading alone",
            {
                "whole volumes from disk, 2 crops each": lambda: volumes_from_disk(cases),
                "ours": _our_patches(cases),
            },
            args.rounds,
        )


class PngPairs(Dataset[dict[str, Tensor]]):
    """Pairs of RGB pictures the way the published data set gives them: opened, converted and scaled for every item."""

    def __init__(self, root: Path) -> None:
        self._sources, self._targets = (sorted((root / part).glob("*.png")) for part in "AB")

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        pictures = [Image.open(paths[index]).convert("RGB") for paths in (self._sources, self._targets)]
        if np.random.random() < 0.5:
            pictures = [picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for picture in pictures]
        source, target = (
            (torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255 - 0.5) / 0.5 for picture in pictures
        )
        return {"source": source, "target": target}


def write_pairs(recipe: Pix2PixHDRecipe, root: Path) -> None:
    """Every training slice as an RGB PNG of the pre-contrast slice and one of the three phases."""
    slices, _ = slice_sets(recipe, None)
    for part in "AB":
        (root / part).mkdir(parents=True)
    for number in range(len(slices)):
        sample = slices[(0, number)]
        for part, name in (("A", "source"), ("B", "target")):
            gray = ((sample[name].numpy() + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
            Image.fromarray(gray.transpose(1, 2, 0)).save(root / part / f"{number:05d}.png")


def published_training(recipe: Pix2PixHDRecipe, pairs: Path, steps: int) -> float:
    """Slices a second of a plain loop over PNG pairs, one a step, after one step to warm up."""
    module = Pix2PixHDTrainer(recipe).to(_device())
    generator, discriminator = module.configure_optimizers()
    loader = iter(DataLoader(PngPairs(pairs), batch_size=1, shuffle=True))
    started = 0.0
    for number in range(steps + 1):
        if number == 1:
            started = _now()
        batch = {name: image.to(_device()) for name, image in next(loader).items()}
        losses = step_losses(module.generator, module.discriminator, batch["source"], batch["target"])
        averages = {name: torch.mean(value) for name, value in losses.items()}
        generator.zero_grad()
        (averages["G_GAN"] + averages["G_GAN_Feat"]).backward()
        generator.step()
        discriminator.zero_grad()
        ((averages["D_fake"] + averages["D_real"]) / 2).backward()
        discriminator.step()
    return steps / (_now() - started)


def our_training(recipe: Pix2PixHDRecipe, batch: int, steps: int, precision: str = "32-true") -> float:
    """Slices a second of our own loop, from its first step to its last."""
    train_set, validation_set = slice_sets(recipe, (steps + 1) * batch)
    plan = FitPlan(recipe.seed, 1, batch, recipe.precision, recipe.checkpoints, workers=recipe.data.workers)
    with tempfile.TemporaryDirectory() as folder, step_clock() as clock:
        fit(
            Pix2PixHDTrainer(recipe),
            train_set,
            _first(validation_set),
            Path(folder),
            plan,
            RunOptions(precision=precision),
        )
    (generator, *_) = clock.steps.values()
    return (len(generator) - 1) * batch / (generator[-1] - generator[0])


def loading(loader: Any, count: int) -> float:
    """Slices a second of a loader alone, over `count` slices or a little more."""
    done, started = 0, time.perf_counter()
    for batch in _again(loader):
        done += len(batch["source"])
        if done >= count:
            break
    return done / (time.perf_counter() - started)


def volumes_from_disk(cases: Path) -> float:
    """Patches a second of reading a whole series, normalizing it and cutting two crops."""
    rng, started, folders = np.random.default_rng(0), time.perf_counter(), sorted(cases.iterdir())
    for folder in folders:
        names = ["pre", "phase_1", "phase_2", "phase_3"]
        series = [sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{n}.nrrd"))).astype(np.float32) for n in names]
        norm = TINorm.of(series[1], "volume")
        normalized = np.stack([norm.forward(volume) for volume in series])
        for _ in range(2):
            corner = [rng.integers(side - n + 1) for side, n in zip(normalized.shape[1:], PATCH_KJI, strict=True)]
            window = tuple(slice(start, start + n) for start, n in zip(corner, PATCH_KJI, strict=True))
            torch.from_numpy(normalized[(slice(None), *window)].copy())
    return 2 * len(folders) / (time.perf_counter() - started)


def _our_loading(recipe: Pix2PixHDRecipe, args: argparse.Namespace) -> Callable[[], float]:
    slices, _ = slice_sets(recipe, None)
    batches = EpochBatches(len(slices), args.batch, shuffle_seed=1)
    return lambda: loading(DataLoader(slices, batch_sampler=batches, num_workers=args.workers), args.loads)


def _our_patches(cases: Path) -> Callable[[], float]:
    settings = PatchSettings(PATCH_KJI, phases=3, patches_per_case=16, augmentation="none")
    patches = RandomPatches(load_cases(cases), settings, seed=1)

    def timed() -> float:
        started = time.perf_counter()
        for number in range(len(patches)):
            patches[(0, number)]
        return len(patches) / (time.perf_counter() - started)

    return timed


def _compare(title: str, ways: dict[str, Callable[[], float]], rounds: int) -> None:
    """Run the ways in turns and print the medians, and ratios to the first way."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(way())
    medians = {name: statistics.median(values) for name, values in found.items()}
    base = next(iter(medians.values()))
    print(f"\n{title}")
    for name, value in medians.items():
        print(f"  {name:40s} {value:9.2f}   x {value / base:.2f}", flush=True)


def _recipe(args: argparse.Namespace, cases: Path) -> Pix2PixHDRecipe:
    size = [f"in_plane.size={args.size}", "in_plane.policy=square"] if args.size else []
    recipe = load_recipe(
        "phantom-joint-p1-p3",
        [
            f"data.train={cases}",
            f"data.validation={cases}",
            f"data.workers={args.workers}",
            f"generator.ngf={args.ngf}",
            f"generator.n_downsample_global={args.downsample}",
            f"generator.n_blocks_global={args.blocks}",
            f"in_plane.pad_multiple={2**args.downsample}",
            f"discriminator.ndf={args.ngf}",
            "losses={lambda_feat: 10.0}",
            "inputs.channel_offsets=[0,0,0]",
            "precision=32-true",
            *size,
        ],
    )
    assert isinstance(recipe, Pix2PixHDRecipe)
    return recipe


def _first(slices: Any) -> Any:
    return torch.utils.data.Subset(slices, [0])


def _again(loader: Any) -> Iterator[dict[str, Tensor]]:
    while True:
        yield from loader


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _machine(args: argparse.Namespace) -> str:
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    size = f"{args.size} x {args.size}" if args.size else "192 x 120"
    return (
        f"torch {torch.__version__} on {where}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} cores; {size} pixels, ngf {args.ngf}; median of {args.rounds} rounds in turns"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, help="rows and columns (default: the phantom's own 192 x 120)")
    parser.add_argument("--ngf", type=int, default=16, help="width of generator and discriminator (default 16)")
    parser.add_argument("--downsample", type=int, default=2, help="halvings of the generator (default 2)")
    parser.add_argument("--blocks", type=int, default=6, help="residual blocks of the generator (default 6)")
    parser.add_argument("--batch", type=int, default=8, help="of our loop (default 8, the published joint recipe's)")
    parser.add_argument("--steps", type=int, default=32, help="slices a round of training (default 32)")
    parser.add_argument("--loads", type=int, default=320, help="slices a round of loading alone (default 320)")
    parser.add_argument("--workers", type=int, default=0, help="of our loader (default 0, as the published way here)")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
