"""The published way of synthesis, in a process of its own with torch as it comes: one slice at a time.

A PNG is read, goes through the network in float32, eager, and each output channel is saved as JPEG, as the scripts of
the published pix2pixHD experiments do. Commands come on standard input, one a line: `run` answers with the seconds
that all slices took, by the clock and of the processor.

    python published_way.py PACKAGE FOLDER_OF_PNGS
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.networks.pix2pixhd import build_generator


def main() -> None:
    package = load_package(Path(sys.argv[1]))
    pictures = sorted(Path(sys.argv[2]).glob("slice_*.png"))
    generator = build_generator(package.card.architecture.config).eval()
    generator.load_state_dict(load_file(package.weights_path))
    synthesize(generator, pictures[0])
    print("ready", flush=True)
    for _ in sys.stdin:
        clock, processor = time.perf_counter(), time.process_time()
        for picture in pictures:
            synthesize(generator, picture)
        print(time.perf_counter() - clock, time.process_time() - processor, flush=True)


def synthesize(generator: torch.nn.Module, path: Path) -> None:
    """One picture to one JPEG an output channel."""
    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32)
    source = torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.no_grad():
        output = generator(source)[0].numpy()
    for number, channel in enumerate((output + 1) / 2 * 255):
        Image.fromarray(np.clip(channel, 0, 255).astype(np.uint8)).save(path.with_suffix(f".{number}.jpg"))


if __name__ == "__main__":
    main()
