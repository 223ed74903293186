"""The dense sliding window against a loop over windows: time ratio of the whole, and of all but the network.

    python Testing/benchmarks/sliding_window.py --side 256 --ngf 16 --batch 16 [--device cuda]

Windows of 128 every 16 pixels, as published. The loop runs one window at a time and adds it to an array. `network`
times a ResNet generator, `identity` only cuts and adds. Both results must agree.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor
from VirtualContrastLib.networks.cyclegan import build_generator
from VirtualContrastLib.synthesis.sliding_window import slide

WINDOW, STRIDE = 128, 16


def loop(network: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """One window after the other; the image's sides end with a window."""
    total, count = torch.zeros_like(image), torch.zeros_like(image)
    rows, columns = image.shape[1:]
    for top in range(0, rows - WINDOW + 1, STRIDE):
        for left in range(0, columns - WINDOW + 1, STRIDE):
            place = slice(None), slice(top, top + WINDOW), slice(left, left + WINDOW)
            total[place] += network(image[place][None])[0]
            count[place] += 1
    return total / count


def seconds(run: Callable[[], Tensor], repeats: int) -> tuple[float, Tensor]:
    """Best time of `repeats` runs after one to warm up, and the result."""
    result = run()
    best = float("inf")
    for _ in range(repeats):
        _wait(result)
        start = time.perf_counter()
        result = run()
        _wait(result)
        best = min(best, time.perf_counter() - start)
    return best, result


def _wait(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize()


def main() -> None:
    """Print one JSON object a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256, help="pixels a side; a multiple of 16, at least 128")
    parser.add_argument("--ngf", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.manual_seed(0)
    image = torch.randn(1, args.side, args.side, device=args.device)
    generator = build_generator({"ngf": args.ngf}).eval().to(args.device)
    with torch.inference_mode():
        for name, network in (("identity", torch.nn.Identity()), ("network", generator)):
            slow, expected = seconds(lambda network=network: loop(network, image), args.repeats)
            fast, found = seconds(
                lambda network=network: slide(network, image, window=WINDOW, stride=STRIDE, batch=args.batch),
                args.repeats,
            )
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
            windows = (1 + math.ceil((args.side - WINDOW) / STRIDE)) ** 2
            result = {"what": name, "device": args.device, "windows": windows, "loop_s": slow, "slide_s": fast}
            print(json.dumps({**result, "times_faster": slow / fast}), flush=True)


if __name__ == "__main__":
    main()
