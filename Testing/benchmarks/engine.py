"""Speed and memory of the engine: ratios from one run, on this machine.

1. Slices per second: the engine against the plain reference way of the published tools (one PNG slice at a time,
   float32, eager, JPEG out), same network, same slices, in turns. The reference loses precision on the way (8 bit,
   JPEG); the engine does not.
2. The whole job on a phantom study, stage by stage, cold and with weights resident, and its peak memory.

Run with `make benchmark`; `--full` adds the network of the published size (182 million parameters).
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

EMBEDDED = "phantom-joint-p1-p3"
PUBLISHED = {"input_nc": 3, "output_nc": 3, "ngf": 64, "n_downsample_global": 4, "n_blocks_global": 9}
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="also the network of the published size (minutes)")
    parser.add_argument("--size", type=int, default=512, help="rows and columns of the slices (default 512)")
    args = parser.parse_args()
    import torch

    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, median of {ROUNDS} rounds in turns\n")
    print(f"{'network':38s} {'engine':>12s} {'reference':>12s} {'ratio':>7s}")
    with tempfile.TemporaryDirectory() as folder:
        compare(f"embedded, {args.size}x{args.size}", embedded_package(), 12, args.size, Path(folder))
        if args.full:
            package = published_size_package(Path(folder) / "package")
            compare(f"published size, {args.size}x{args.size}", package, 2, args.size, Path(folder))
    print("\nwhole job: phantom study 192 x 120 x 40, embedded models, uncertainty off, real phases compared")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for line in pool.apply(whole_job):
            print(line)


def compare(name: str, package: object, slices: int, size: int, folder: Path) -> None:
    """Print slices per second of both ways for `slices` slices of size x size pixels."""
    from VirtualContrastLib.events import Events
    from VirtualContrastLib.networks.pix2pixhd import build_generator
    from VirtualContrastLib.synthesis.device import choose_device
    from VirtualContrastLib.synthesis.synthesizer import Synthesizer

    volume = breast_like_volume(slices, size)
    pictures = write_pictures(volume, folder)
    synthesizer = Synthesizer(package, choose_device("cpu"))
    generator = build_generator(package.card.architecture.config).eval()
    generator.load_state_dict(package.load_state())
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(seconds(lambda: synthesizer.synthesize(volume, Events())))
        theirs.append(seconds(lambda: reference_way(generator, pictures)))
    engine, reference = slices / statistics.median(ours), slices / statistics.median(theirs)
    print(f"{name:38s} {engine:8.2f} /s  {reference:8.2f} /s  {engine / reference:6.2f}x")


def reference_way(generator: object, pictures: list[Path]) -> None:
    """One PNG at a time through the network, in float32, to one JPEG a phase, as the published scripts do."""
    import torch
    from PIL import Image

    for path in pictures:
        pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32)
        source = torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)[None]
        with torch.no_grad():
            output = generator(source)[0].numpy()
        for number, channel in enumerate((output + 1) / 2 * 255):
            Image.fromarray(np.clip(channel, 0, 255).astype(np.uint8)).save(path.with_suffix(f".{number}.jpg"))


def breast_like_volume(slices: int, size: int) -> object:
    """Two bright half discs on a noisy background as an image of `slices` slices; values as a scanner gives them."""
    import SimpleITK as sitk

    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:size, 0:size] / size
    body = ((np.abs(x - 0.5) - 0.25) ** 2 + (y - 0.6) ** 2 < 0.04) | (y > 0.6)
    array = np.abs(rng.normal(0, 10, (slices, size, size)) + 300 * body).astype(np.float32)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((320 / size, 320 / size, 3.0))
    return image


def write_pictures(volume: object, folder: Path) -> list[Path]:
    """Each slice as an 8-bit PNG."""
    import SimpleITK as sitk
    from PIL import Image

    array = sitk.GetArrayFromImage(volume)
    scaled = np.clip(255 * array / array.max(), 0, 255).astype(np.uint8)
    paths = [folder / f"slice_{k}.png" for k in range(len(scaled))]
    for path, pixels in zip(paths, scaled, strict=True):
        Image.fromarray(pixels).save(path)
    return paths


def whole_job() -> list[str]:
    """Timing table of a cold and a warm run, and the peak memory; runs in a process of its own."""
    from VirtualContrastLib.run.pipeline import ModelCache, RunSettings, run
    from VirtualContrastTrainingLib.data.phantom import make_phantom
    from VirtualContrastTrainingLib.data.phantom.writing import write_phantom

    with tempfile.TemporaryDirectory() as folder:
        case = write_phantom(make_phantom(900003), Path(folder) / "case")
        real = [case / f"phase_{n}.nrrd" for n in (1, 2, 3)]
        models = ModelCache()
        runs = [
            run(case / "pre.nrrd", Path(folder) / name, RunSettings(), real=real, models=models)
            for name in ("cold", "warm")
        ]
    cold, warm = (result.manifest.timing_s for result in runs)
    lines = [f"  {'stage':12s} {'cold':>8s} {'warm':>8s}"]
    lines += [f"  {stage:12s} {cold[stage]:7.2f}s {warm[stage]:7.2f}s" for stage in cold]
    lines.append(f"  {'together':12s} {sum(cold.values()):7.2f}s {sum(warm.values()):7.2f}s")
    return [*lines, f"  peak memory  {peak_memory_mib():7.0f} MiB"]


def peak_memory_mib() -> float:
    """Peak resident memory of this process in MiB (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def embedded_package() -> object:
    from VirtualContrastLib.models.catalog import resolve_model

    return resolve_model(EMBEDDED, "synthesis")


def published_size_package(folder: Path) -> object:
    """A package of the published generator's size with random weights: only its speed matters here."""
    import torch
    from VirtualContrastLib.models.package import ModelCard, save_package
    from VirtualContrastLib.networks.pix2pixhd import build_generator, init_weights

    torch.manual_seed(0)
    generator = build_generator(PUBLISHED)
    init_weights(generator)
    card = ModelCard.model_validate(
        {
            "id": "published-size",
            "version": "0",
            "title": "random weights of the published size",
            "architecture": {"name": "pix2pixhd", "config": PUBLISHED},
            "inputs": {"phases": [0], "channel_offsets": [0, 0, 0]},
            "outputs": {"channel_phases": [3, 2, 1], "times_s": [90, 220, 350]},
            "intensity": {"recipe": "minmax_8bit"},
            "in_plane": {"pad_multiple": 16},
            "trained_on_phantoms": False,
            "license": "none",
        }
    )
    return save_package(folder, card, generator.state_dict(), model_card_md="random")


def seconds(job: object) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
