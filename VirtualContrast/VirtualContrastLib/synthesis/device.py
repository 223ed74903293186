"""Chooses where the network runs, by a tiny real computation and not by what the driver claims."""

from __future__ import annotations

import enum
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..events import InputError
from ..free_memory import free_memory

if TYPE_CHECKING:
    import torch

MIN_FREE_BYTES = 2**30


class Precision(enum.StrEnum):
    """How exactly a user wants networks computed; see `backends`."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


class Device(enum.StrEnum):
    """Where a user may want to compute; the one list of devices."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"

    @classmethod
    def real(cls) -> list[Device]:
        """Every device but `auto`, which leaves the choice open."""
        return [device for device in cls if device is not cls.AUTO]


@dataclass(frozen=True)
class DeviceChoice:
    """Where and how to compute.

    Attributes:
        device: A torch device name.
        precision: "fp32" is the reference, bit by bit the same on one machine, "bf16" torch's autocast, "auto" what a
            trial finds fastest within bounds (see `backends`).
        reason: One sentence on why.
        free_bytes: Free memory of the device; None where it is unknown.
    """

    device: str
    precision: str
    reason: str
    free_bytes: int | None = None


def choose_device(wanted: str = "auto", *, precision: str = "fp32") -> DeviceChoice:
    """The device to use: the one wanted, or for "auto" the first of cuda, mps, cpu that computes correctly.

    Raises InputError where the device wanted does not exist or fails the test computation; "auto" never
    fails.
    """
    if wanted not in list(Device):
        raise InputError(f"There is no device '{wanted}'; use one of {', '.join(Device)}.")
    if precision not in list(Precision):
        raise InputError(f"There is no precision '{precision}'; use one of {', '.join(Precision)}.")
    problems: list[str] = []
    for device in ("cuda", "mps", "cpu") if wanted == "auto" else (wanted,):
        problem = device_problem(device)
        if problem is None:
            because = f" ({'; '.join(problems)})" if problems else ""
            return DeviceChoice(device, precision, _describe(device) + because + ".", free_bytes(device))
        problems.append(problem)
    raise InputError(f"The device '{wanted}' cannot be used: {problems[0]}; use --device cpu or auto.")


def device_problem(device: str) -> str | None:
    """None where the device exists, has memory and computes as the CPU does, else why not."""
    import torch

    exists = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}[device]
    if not exists:
        return f"no {device.upper()} device found"
    try:
        difference = _difference_from_cpu(torch.device(device))
        free = free_bytes(device)
    except RuntimeError as error:  # what torch raises for a missing kernel, a driver problem or no memory
        return f"{device.upper()} failed a test computation ({str(error).splitlines()[0]})"
    if not difference < 1e-3:
        return f"{device.upper()} computed a test convolution wrongly (off by {difference:.2g})"
    if device == "cuda" and free is not None and free < MIN_FREE_BYTES:
        return f"CUDA has only {free >> 20} MiB free"
    return None


def free_bytes(device: str) -> int | None:
    """Free memory in bytes, of the GPU or for this process; None where it is unknown."""
    import torch

    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    free = free_memory()
    return None if math.isinf(free) else int(free)


def _difference_from_cpu(device: torch.device) -> float:
    """Largest difference of a small convolution, instance norm and transposed convolution from the CPU's."""
    import torch
    from torch.nn import functional

    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(shape, generator=generator) for shape in ((1, 4, 32, 32), (4, 4, 3, 3)))

    def compute(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        hidden = functional.instance_norm(functional.conv2d(x, weight, stride=2, padding=1)).relu()
        return functional.conv_transpose2d(hidden, weight, stride=2, padding=1, output_padding=1).tanh()

    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        found = compute(x.to(device), weight.to(device)).cpu()
        return float((found - compute(x, weight)).abs().max())


def _describe(device: str) -> str:
    import torch

    free = free_bytes(device)
    room = f", {free >> 20} MiB free" if free is not None else ""
    if device == "cuda":
        return f"CUDA device {torch.cuda.get_device_name()} passed a test computation{room}"
    if device == "mps":
        return f"Apple MPS device passed a test computation{room}"
    return f"CPU, {torch.get_num_threads()} of {os.cpu_count()} threads{room}"
