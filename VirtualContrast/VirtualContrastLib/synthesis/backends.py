"""Ways to compute a 2-D generator, and a short trial that finds the fastest one on this machine for this network.

Every way but the reference (torch, float32, layer by layer as the network is written) rounds differently. So for each
study, what a way shows of one slice is compared with what the reference shows, and a way that differs by more than the
bounds below is not used. What a trial found is kept by machine, weights and order of size of the slices: the next run
of the same model starts with it and so gives the same bytes.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import json
import math
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from ..models.paths import cache_dir
from ..networks.cpu_forms import Bfloat16, in_channels_last, in_cpu_forms, transformed_bytes
from .device import DeviceChoice

Compute = Callable[[Tensor], Tensor]
"""Maps slices to the network's output, or that output to what is shown of it."""

REFERENCE, AUTOCAST = "reference", "torch bfloat16 autocast"
MEAN_BOUND_255 = 1.0
HIGH_BOUND_255 = 8.0  # at the 99.9th percentile of pixels
_HALF_RANGE_255 = 127.5  # network range -1..1 as 0..255
_LEAST_GAIN = 1.1  # a way that is hardly faster is not worth other rounding
_TRIAL_PASSES = 24  # fewer passes than this cost less than the trial itself
_OPENVINO_SECONDS = 60.0  # of reference work from which its compilation of some 10 s pays
_SHARE_OF_FREE_MEMORY = 0.3


@dataclass(frozen=True)
class Chosen:
    """A way to compute, and what the trial measured of it; differences are of 255 steps over the network's range.

    Attributes:
        name: What messages call it.
        compute: Runs the network.
        ratio: Speed over the reference on this machine, None where a kept decision was used.
        mean_difference_255: Mean difference from the reference on a slice of the study.
        high_difference_255: 99.9th percentile of that difference.
    """

    name: str
    compute: Compute
    ratio: float | None = None
    mean_difference_255: float = 0.0
    high_difference_255: float = 0.0

    @classmethod
    def reference(cls, network: nn.Module, choice: DeviceChoice) -> Self:
        """The network as it is written; in bfloat16 by torch's autocast where the user asked for that."""
        if choice.precision == "bf16":
            return cls(AUTOCAST, _within(network, choice, autocast=True))
        return cls(REFERENCE, _within(network, choice))

    @property
    def description(self) -> str:
        """One sentence for the manifest."""
        if self.name == REFERENCE:
            return "Computed in float32, layer by layer."
        if self.name == AUTOCAST:
            return "Computed in bfloat16 where torch's autocast does so, as asked for."
        faster = f", {self.ratio:.1f} times as fast as the reference in a trial" if self.ratio else ""
        return (
            f"Computed by {self.name}{faster}; differs from the reference by {self.mean_difference_255:.2g} of 255 on "
            f"average and {self.high_difference_255:.2g} at the 99.9th percentile on a slice of this study."
        )

    @property
    def within_bounds(self) -> bool:
        """True where the difference to the reference may be accepted."""
        return self.mean_difference_255 <= MEAN_BOUND_255 and self.high_difference_255 <= HIGH_BOUND_255


@dataclass(frozen=True)
class _Way:
    """A way to compute: how it is made and where it can be tried."""

    name: str
    make: Callable[[nn.Module, DeviceChoice], Compute]
    possible: Callable[[nn.Module, DeviceChoice, float], bool]


def choose(
    network: nn.Module,
    choice: DeviceChoice,
    sample: Tensor,
    passes: int,
    weights_sha256: str,
    shown: Compute = Tensor.float,
) -> Chosen:
    """The fastest way to compute `network` within the bounds, by the trial or as kept from an earlier one.

    Args:
        network: on the device of `choice`, in evaluation mode.
        choice: its `precision` is "fp32" for the reference, "bf16" for torch's autocast, "auto" for a trial.
        sample: one slice of the study as the network gets it, [1, channel, row, column].
        passes: slices still to compute; for a few the reference is used and nothing is tried.
        weights_sha256: distinguishes models.
        shown: what is shown of the network's output, 2 units of which are 255 gray levels; it decides what a way may
            differ in.

    Returns:
        The way with the fastest measured time, or the reference.
    """
    reference = Chosen.reference(network, choice)
    if choice.precision != "auto" or passes < _TRIAL_PASSES:
        return reference
    key = _key(choice, sample, weights_sha256)
    kept = _kept().get(key)
    if kept == REFERENCE:
        return reference
    ways = {way.name: way for way in _WAYS}
    if kept in ways:
        found = _Trial(network, choice, sample, reference, shown, runs=1).tried(ways[kept])
        if found is not None:
            return dataclasses.replace(found, ratio=None)
    best = _Trial(network, choice, sample, reference, shown, runs=2).best(passes)
    _keep(key, best.name)
    return best


class _Trial:
    """Ways to compute one network, measured on one slice against the reference, each by the best of `runs`."""

    def __init__(
        self, network: nn.Module, choice: DeviceChoice, sample: Tensor, reference: Chosen, shown: Compute, *, runs: int
    ) -> None:
        self._network, self._choice, self._sample = network, choice, sample
        self._reference, self._shown, self._runs = reference, shown, runs
        self._seconds, output = _measured(reference.compute, sample, runs)
        self._expected = shown(output)

    def best(self, passes: int) -> Chosen:
        """The fastest way for so many slices, the reference where none is faster."""
        best, best_ratio = self._reference, _LEAST_GAIN
        for way in _WAYS:
            if not way.possible(self._network, self._choice, self._seconds * passes):
                continue
            found = self.tried(way)
            if found is not None and found.ratio is not None and found.ratio > best_ratio:
                best, best_ratio = found, found.ratio
        return best

    def tried(self, way: _Way) -> Chosen | None:
        """The way with what was measured; None where it fails on this machine or differs too much."""
        try:
            compute = way.make(self._network, self._choice)
            seconds, output = _measured(compute, self._sample, self._runs)
        except (RuntimeError, ImportError, MemoryError, NotImplementedError, TypeError):
            # What torch and OpenVINO raise; TypeError where a device (MPS) lacks the type of number.
            return None
        difference = (self._shown(output) - self._expected).abs().flatten() * _HALF_RANGE_255
        high = float(difference.kthvalue(max(1, int(0.999 * difference.numel()))).values)
        mean = float(difference.mean())
        found = Chosen(way.name, compute, self._seconds / seconds, mean, high if mean == mean else float("inf"))
        return found if found.within_bounds else None


def _measured(compute: Compute, sample: Tensor, runs: int = 2) -> tuple[float, Tensor]:
    """Seconds of the best of some runs, with the result brought to the CPU, and that result.

    On the CPU in processor seconds, so that another program that is busy does not decide.
    """
    clock = time.process_time if sample.device.type == "cpu" else time.perf_counter
    times = []
    for _ in range(runs):
        start = clock()
        output = compute(sample).cpu()
        times.append(clock() - start)
    return max(min(times), 1e-9), output


@contextlib.contextmanager
def exact_inference(device: torch.device, *, autocast: bool = False) -> Iterator[None]:
    """Deterministic kernels, no gradients and no TF32; bfloat16 only where asked for."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        stack.enter_context(
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        )
        if autocast:
            stack.enter_context(torch.autocast(device.type, dtype=torch.bfloat16))
        yield


def _within(network: nn.Module, choice: DeviceChoice, *, autocast: bool = False) -> Compute:
    device = torch.device(choice.device)

    def compute(x: Tensor) -> Tensor:
        with exact_inference(device, autocast=autocast):
            return network(x)

    return compute


def _cpu_forms(bfloat16: Bfloat16) -> Callable[[nn.Module, DeviceChoice], Compute]:
    maps = torch.bfloat16 if bfloat16 == Bfloat16.ALL else torch.float32

    def make(network: nn.Module, choice: DeviceChoice) -> Compute:
        with torch.inference_mode():
            inner = _within(in_cpu_forms(network, bfloat16), choice)
        return lambda x: inner(x.to(dtype=maps, memory_format=torch.channels_last)).float()

    return make


def _cpu_forms_fit(network: nn.Module, choice: DeviceChoice, bfloat16: Bfloat16) -> bool:
    added, free = transformed_bytes(network, bfloat16), choice.free_bytes
    return choice.device == "cpu" and (free is None or added < _SHARE_OF_FREE_MEMORY * free)


def _cpu_forms_in_half(bfloat16: Bfloat16) -> Callable[[nn.Module, DeviceChoice, float], bool]:
    def possible(network: nn.Module, choice: DeviceChoice, work_s: float) -> bool:
        return _cpu_forms_fit(network, choice, bfloat16) and _half_is_fast(network, choice, work_s)

    return possible


def _only_a_copy_fits(network: nn.Module, choice: DeviceChoice, work_s: float) -> bool:
    """Where there is memory for the CPU forms of a type, they are never slower than its order of memory alone."""
    free, copied = choice.free_bytes, sum(weight.numel() * weight.element_size() for weight in network.parameters())
    fits = choice.device == "cpu" and (free is None or copied < _SHARE_OF_FREE_MEMORY * free)
    return fits and not _cpu_forms_fit(network, choice, Bfloat16.NOTHING)


def _channels_last(dtype: torch.dtype) -> Callable[[nn.Module, DeviceChoice], Compute]:
    """Weights and activations of `dtype`, channels last; what leaves the network is float32."""

    def make(network: nn.Module, choice: DeviceChoice) -> Compute:
        if choice.device == "cpu":
            other = in_channels_last(network, dtype)
        else:
            other = copy.deepcopy(network).to(dtype)
            other.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        inner = _within(other, choice)
        return lambda x: inner(x.to(dtype=dtype, memory_format=torch.channels_last)).float()

    return make


def _half_is_fast(network: nn.Module, choice: DeviceChoice, work_s: float) -> bool:
    """A GPU, or a CPU with bfloat16 instructions, as a small product shows: without them it is many times slower."""
    if choice.device != "cpu":
        return True
    left = torch.ones(512, 512)
    return _measured(lambda x: x @ x, left.bfloat16())[0] < _measured(lambda x: x @ x, left)[0]


def _openvino(precision: str) -> Callable[[nn.Module, DeviceChoice], Compute]:
    def make(network: nn.Module, choice: DeviceChoice) -> Compute:
        return OpenVINO(network, precision)

    return make


def _openvino_pays(network: nn.Module, choice: DeviceChoice, work_s: float) -> bool:
    return choice.device == "cpu" and work_s >= _OPENVINO_SECONDS and find_spec("openvino") is not None


class OpenVINO:
    """The network compiled by OpenVINO for the CPU, once for each size of input."""

    def __init__(self, network: nn.Module, precision: str) -> None:
        self._network = network
        self._options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        self._compiled: dict[tuple[int, ...], Callable[..., object]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """What the network makes of [n, channel, row, column]."""
        shape = tuple(x.shape)
        if shape not in self._compiled:
            import openvino

            with torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # tracing warns of every shape that it takes for a constant
                model = openvino.convert_model(self._network, example_input=x.clone(), input=[shape])
            self._compiled[shape] = openvino.Core().compile_model(model, "CPU", self._options)
        return torch.from_numpy(next(iter(self._compiled[shape]([x.numpy()]).values())))  # type: ignore[attr-defined]


_WAYS = (
    _Way(
        "torch float32 in CPU forms",
        _cpu_forms(Bfloat16.NOTHING),
        lambda n, choice, s: _cpu_forms_fit(n, choice, Bfloat16.NOTHING),
    ),
    _Way(
        "torch float32 in CPU forms with bfloat16 products",
        _cpu_forms(Bfloat16.LATER_PRODUCTS),
        _cpu_forms_in_half(Bfloat16.LATER_PRODUCTS),
    ),
    _Way("torch bfloat16 in CPU forms", _cpu_forms(Bfloat16.ALL), _cpu_forms_in_half(Bfloat16.ALL)),
    _Way("torch float32 channels last", _channels_last(torch.float32), _only_a_copy_fits),
    _Way(
        "torch bfloat16 channels last",
        _channels_last(torch.bfloat16),
        lambda n, choice, s: not _cpu_forms_fit(n, choice, Bfloat16.ALL) and _half_is_fast(n, choice, s),
    ),
    _Way("torch float16 channels last", _channels_last(torch.float16), lambda n, choice, s: choice.device == "cuda"),
    _Way("OpenVINO float32", _openvino("f32"), _openvino_pays),
    _Way(
        "OpenVINO bfloat16",
        _openvino("bf16"),
        lambda n, choice, s: _openvino_pays(n, choice, s) and _half_is_fast(n, choice, s),
    ),
)


def _key(choice: DeviceChoice, sample: Tensor, weights_sha256: str) -> str:
    """Machine, software, weights and order of size of the slices (powers of two of pixels) as one hash."""
    machine = [platform.node(), platform.machine(), torch.get_num_threads(), torch.__version__, _processor()]
    if choice.device == "cuda":
        machine.append(torch.cuda.get_device_name())
    size = [*sample.shape[:-2], round(math.log2(sample.shape[-2] * sample.shape[-1]))]
    parts = [*machine, [way.name for way in _WAYS], find_spec("openvino") is not None]
    parts += [choice.device, weights_sha256, size]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _file() -> Path:
    return cache_dir() / "backends.json"


def _kept() -> dict[str, str]:
    """Names of the ways by key; empty where nothing was kept or the file is damaged."""
    try:
        kept = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _keep(key: str, name: str) -> None:
    """Remember a decision; where the folder cannot be written it is made again next time."""
    with contextlib.suppress(OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        _file().write_text(json.dumps({**_kept(), key: name}, indent=1), encoding="utf-8")
