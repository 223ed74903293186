"""Speed and memory of the engine, as ratios from one run on this machine: `make benchmark`.

1. Synthesis on the CPU, for the network of the published size and the embedded one: the engine against the published
   way (`published_way.py`, a process of its own), same network, same slices, in turns. The published way loses
   precision on the way (8 bit, JPEG); the engine does not. The published size is measured with weights of a short
   training and with random ones (`published_size.py`), since weights decide what may be rounded.
2. Growth: seconds a slice from 20 to 640 slices and from 256 x 256 to 1024 x 1024 pixels, and the peak memory.
3. The whole job on a phantom study, stage by stage, and its peak memory. `--full`: also on the
   study named by `--study`.

Ratios are of processor seconds: other programs on the machine do not change them, and on an idle machine they are those
of the clock. Writes results/<date>-<machine>.json and results/README.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from results_page import write
from VirtualContrastLib.threads import set_up_threads

EMBEDDED, LESIONS = "phantom-joint-p1-p3", "phantom-lesion-nnunet"


@dataclass
class Clock:
    """Seconds of the processor and of the clock."""

    processor_s: float
    clock_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6, help="turns of both ways (default 6)")
    parser.add_argument("--full", action="store_true", help="more slices, more rounds and the study of --study")
    parser.add_argument("--study", type=Path, help="pre-contrast volume for the whole job under --full")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    args = parser.parse_args()
    set_up_threads()
    import torch
    from published_size import OPERATIONS, SIZE

    rounds, slices = (5, 4) if args.full else (args.rounds, 1)
    with tempfile.TemporaryDirectory(prefix="virtual-contrast-benchmark-") as folder:
        trained, untrained = published(slices, rounds, Path(folder), full=args.full)
        embedded = embedded_package()
        volume = breast_like_volume(4 * slices, SIZE, trained_pixel_mm(embedded))
        small = synthesis(embedded, volume, rounds, Path(folder) / "embedded", full=args.full)
    peak = peak_operations()
    for one in (trained, untrained):
        one["share_of_peak"] = OPERATIONS * one["slices_per_second"] / peak
    growing = growth(args.full)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        job = pool.apply(whole_job, [args.study if args.full else None])
    found = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "peak_float32_operations_per_s": peak,
        "synthesis_cpu": trained,
        "synthesis_cpu_random_weights": untrained,
        "synthesis_cpu_embedded": small,
        "growth": growing,
        "whole_job": job,
    }
    print(json.dumps(found, indent=2))
    if not args.dry:
        write(found)


def published(slices: int, rounds: int, folder: Path, *, full: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The published size: on a held-out phantom with trained weights, and with random ones on a breast-like picture."""
    import published_size
    from VirtualContrastLib.models.package import load_package

    phantom = [published_size.middle_slices(image, slices) for image in published_size.held_out_phantom().images]
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # of its own: the training takes much memory
        training_s = pool.apply(trained, [folder / "trained"])
    package = load_package(folder / "trained")
    known = synthesis(package, phantom[0], rounds, folder / "trained_work", full=full, phases=phantom[1:])
    known |= {"weights": f"{published_size.STEPS} steps on phantoms", "training_processor_s": training_s}
    package = published_size.random_package(folder / "random")
    volume = breast_like_volume(slices, published_size.SIZE, trained_pixel_mm(package))
    untrained = synthesis(package, volume, rounds, folder / "random_work", full=full)
    return known, untrained | {"weights": "random"}


def trained(folder: Path) -> float:
    """Write the trained package; processor seconds that it took."""
    set_up_threads()
    import published_size

    return timed(lambda: published_size.trained_package(folder)).processor_s


def synthesis(
    package: Any, volume: Any, rounds: int, folder: Path, *, full: bool, phases: list[Any] | None = None
) -> dict[str, Any]:
    """The engine against the published way on the slices of `volume`, 512 x 512 pixels, and what the trial chose.

    With `phases`, the true ones: how far the network is from them, too.
    Without `full` OpenVINO is not among what is tried: its compilation takes longer than all else.
    """
    from VirtualContrastLib.events import Events
    from VirtualContrastLib.synthesis import backends
    from VirtualContrastLib.synthesis.device import choose_device
    from VirtualContrastLib.synthesis.synthesizer import Synthesizer

    folder.mkdir()
    slices = write_pictures(volume, folder)
    if not full:
        backends._OPENVINO_SECONDS = float("inf")
    backends.cache_dir = lambda: folder / "cache"  # a trial, whatever an earlier run kept
    synthesizer = Synthesizer(package, choose_device("cpu", precision="auto"))
    network = synthesizer.network
    settle = network.settle
    trial = Clock(0.0, 0.0)

    def settle_once(sample: Any, passes: int, weights_sha256: str) -> None:
        network.settle = lambda *_: None
        trial.__dict__.update(asdict(timed(lambda: settle(sample, 160, weights_sha256))))

    network.settle = settle_once
    made = synthesizer.synthesize(volume, Events()).phases
    chosen = network.chosen
    command = [sys.executable, str(Path(__file__).with_name("published_way.py")), str(package.folder), str(folder)]
    ours, theirs = [], []
    plain = {
        name: value for name, value in os.environ.items() if name not in ("THP_MEM_ALLOC_ENABLE", "GOMP_SPINCOUNT")
    }
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=plain, **pipes) as published:
        assert published.stdout.readline() == "ready\n"
        for _ in range(rounds):
            ours.append(timed(lambda: synthesizer.synthesize(volume, Events())))
            published.stdin.write("run\n")
            published.stdin.flush()
            clock_s, processor_s = map(float, published.stdout.readline().split())
            theirs.append(Clock(processor_s, clock_s))
        published.stdin.close()
    engine, reference = (statistics.median(one.processor_s for one in many) for many in (ours, theirs))
    threads = _threads()
    return {
        "ratio": reference / engine,
        "ratio_by_the_clock": statistics.median(t.clock_s for t in theirs) / statistics.median(o.clock_s for o in ours),
        "way": chosen.name,
        "mean_abs_difference_255": chosen.mean_difference_255,
        "high_abs_difference_255": chosen.high_difference_255,
        "slices_per_second": slices * threads / engine,
        "published_way_slices_per_second": slices * threads / reference,
        "trial_processor_s": trial.processor_s,
        "slices": slices,
        "rounds": rounds,
    } | ({"held_out": held_out(volume, phases, made)} if phases else {})


def held_out(pre: Any, phases: list[Any], made: list[Any]) -> dict[str, float]:
    """Mean absolute error of the phases made, and of copies of `pre`, each scaled to 0..255 by itself; what varies."""
    import SimpleITK as sitk

    arrays = [sitk.GetArrayFromImage(image).astype(np.float32) for image in (pre, *phases)]
    copy, *true = (255 * (array - array.min()) / np.ptp(array) for array in arrays)
    output = np.stack([sitk.GetArrayFromImage(image) for image in made])
    return {
        "mean_abs_error_255": float(np.abs(output - true).mean()),
        "mean_abs_error_of_copies_255": float(np.abs(copy - np.stack(true)).mean()),
        "correlation": float(np.corrcoef(output.ravel(), np.ravel(true))[0, 1]),
        "standard_deviation_255": float(output.std()),
        "true_standard_deviation_255": float(np.std(true)),
    }


def growth(full: bool) -> dict[str, Any]:
    """Processor seconds a slice and peak memory for more slices and for larger ones, embedded network.

    Each size is measured in a process of its own: what a smaller one has warmed up or left in memory would be its gain.
    """
    found: dict[str, Any] = {"slices": [], "pixels": []}
    for kind, many, size in [
        *(("slices", count, 64) for count in (20, 160, 640)),
        *(("pixels", 1, size) for size in (256, 512, 1024)),
    ]:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found[kind].append(pool.apply(grown, [many, size, 3 if full else 1]))
    for kind in ("slices", "pixels"):
        first, last = found[kind][0], found[kind][-1]
        pixels = (last["size"] / first["size"]) ** 2
        found[f"{kind}_ratio"] = last["processor_s_a_slice"] / first["processor_s_a_slice"] / pixels
    return found


def grown(slices: int, size: int, rounds: int) -> dict[str, Any]:
    """One size of `growth`, after a first pass that builds the network and settles its way of computing."""
    set_up_threads()
    from VirtualContrastLib.events import Events
    from VirtualContrastLib.synthesis.device import choose_device
    from VirtualContrastLib.synthesis.synthesizer import Synthesizer

    package = embedded_package()
    synthesizer = Synthesizer(package, choose_device("cpu"))
    volume = breast_like_volume(slices, size, trained_pixel_mm(package))
    synthesizer.synthesize(breast_like_volume(1, size, trained_pixel_mm(package)), Events())
    times = [timed(lambda: synthesizer.synthesize(volume, Events())).processor_s for _ in range(rounds)]
    return {
        "slices": slices,
        "size": size,
        "processor_s_a_slice": min(times) / slices,
        "peak_mib": round(peak_memory_mib()),
    }


def whole_job(study: Path | None) -> dict[str, Any]:
    """Processor seconds a stage of a run, its peak memory; in a process of its own."""
    set_up_threads()
    from VirtualContrastLib.events import Events
    from VirtualContrastLib.run.pipeline import RunSettings, run
    from VirtualContrastTrainingLib.data.phantom import make_phantom
    from VirtualContrastTrainingLib.data.phantom.writing import write_phantom

    seconds: dict[str, float] = {}
    last: list[Any] = []

    class Stages:
        def progress(self, stage: Any, done: int, total: int) -> None:
            now = time.process_time()
            if last:
                seconds[last[0]] = seconds.get(last[0], 0.0) + now - last[1]
            last[:] = [stage.value, now]

        def warning(self, message: str) -> None:
            pass

    with tempfile.TemporaryDirectory() as folder:
        source = study or write_phantom(make_phantom(900003), Path(folder) / "case") / "pre.nrrd"
        started = time.process_time()
        result = run(
            source,
            Path(folder) / "result",
            RunSettings(model=EMBEDDED, segmentation=LESIONS, device="cpu"),
            events=Events([Stages()]),
        )
        together = time.process_time() - started
        size = result.manifest.inputs[0]["geometry"]["size"]
    return {
        "study": "phantom 900003" if study is None else study.name,
        "size": size,
        "processor_s": {name: round(value, 2) for name, value in seconds.items()},
        "together_processor_s": round(together, 2),
        "peak_mib": round(peak_memory_mib()),
        "input_mib": round(4 * float(np.prod(size)) / 2**20, 1),
    }


def timed(job: Callable[[], object]) -> Clock:
    clock, processor = time.perf_counter(), time.process_time()
    job()
    return Clock(time.process_time() - processor, time.perf_counter() - clock)


def peak_operations() -> float:
    """Float32 multiplications and additions a second that this machine does in a matrix product, all threads."""
    import torch

    side = 1536
    left = torch.rand(side, side)
    times = [timed(lambda: left @ left).processor_s for _ in range(4)]
    return 2 * side**3 * _threads() / min(times)


def _threads() -> int:
    import torch

    return int(torch.get_num_threads())


def trained_pixel_mm(package: Any) -> float:
    """The pixel size that a model was trained with: on it, its network gets every pixel of the image."""
    trained_mm = package.card.in_plane.trained_mm
    return float(trained_mm[0]) if trained_mm else 1.0


def breast_like_volume(slices: int, size: int, pixel_mm: float) -> Any:
    """Two bright half discs on a noisy background as an image of `slices` slices; values as a scanner gives them."""
    import SimpleITK as sitk

    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:size, 0:size] / size
    body = ((np.abs(x - 0.5) - 0.25) ** 2 + (y - 0.6) ** 2 < 0.04) | (y > 0.6)
    array = np.abs(rng.normal(0, 10, (slices, size, size)) + 300 * body).astype(np.float32)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((pixel_mm, pixel_mm, 3.0))
    return image


def write_pictures(volume: Any, folder: Path) -> int:
    """Each slice as an 8-bit PNG; returns how many."""
    import SimpleITK as sitk
    from PIL import Image

    array = sitk.GetArrayFromImage(volume)
    scaled = np.clip(255 * array / array.max(), 0, 255).astype(np.uint8)
    for k, pixels in enumerate(scaled):
        Image.fromarray(pixels).save(folder / f"slice_{k}.png")
    return len(scaled)


def peak_memory_mib() -> float:
    """Peak resident memory of this process in MiB (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def embedded_package() -> Any:
    from VirtualContrastLib.models.catalog import resolve_model

    return resolve_model(EMBEDDED, "synthesis")


def machine() -> str:
    """The processor and the number of cores."""
    name = platform.processor() or platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
