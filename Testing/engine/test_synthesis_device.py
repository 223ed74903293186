"""The device is chosen by computing, and a device that fails is never chosen silently."""

import pytest
import torch
from VirtualContrastLib.events import InputError
from VirtualContrastLib.synthesis import device
from VirtualContrastLib.synthesis.device import choose_device


def test_the_cpu_is_always_there_in_single_precision():
    choice = choose_device("cpu")
    assert (choice.device, choice.precision) == ("cpu", "fp32")
    assert choice.reason.startswith("CPU, ") and choice.reason.endswith(".")
    assert choice.free_bytes > 2**26


def test_bfloat16_is_used_only_where_asked_for():
    assert choose_device("auto").precision == "fp32"
    assert choose_device("cpu", precision="bf16").precision == "bf16"


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_missing_device_is_refused_and_auto_says_why_it_took_the_cpu():
    with pytest.raises(InputError, match="no CUDA device found; use --device cpu"):
        choose_device("cuda")
    if not torch.backends.mps.is_available():
        assert "no CUDA device found; no MPS device found" in choose_device("auto").reason


@pytest.mark.parametrize("wanted", ["gpu", "", "cuda:1"])
def test_an_unknown_device_is_refused_with_the_known_ones(wanted):
    with pytest.raises(InputError, match="auto, cpu, cuda, mps"):
        choose_device(wanted)


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match="fp32, bf16"):
        choose_device("cpu", precision="fp16")


def kernel_fails(found):
    raise RuntimeError("CUDA error: no kernel image is available\nmore lines")


@pytest.mark.parametrize(
    ("kernel", "free", "told"),
    [
        (kernel_fails, 2**33, r"failed a test computation \(CUDA error: no kernel image is available\)"),
        (lambda _: 0.5, 2**33, "computed a test convolution wrongly"),
        (lambda _: float("nan"), 2**33, "computed a test convolution wrongly"),
        (lambda _: 1e-6, 2**20, "only 1 MiB free"),
    ],
)
def test_a_gpu_that_fails_computes_wrongly_or_is_full_is_passed_over(monkeypatch, kernel, free, told):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    on_cpu = device._difference_from_cpu
    monkeypatch.setattr(device, "_difference_from_cpu", lambda d: kernel(d) if d.type == "cuda" else on_cpu(d))
    monkeypatch.setattr(device, "free_bytes", lambda name: free if name == "cuda" else 2**33)
    choice = choose_device("auto")
    assert choice.device == "cpu"
    with pytest.raises(InputError, match=told):
        choose_device("cuda")


def test_a_gpu_that_computes_rightly_is_taken_first(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Test GPU")
    monkeypatch.setattr(device, "_difference_from_cpu", lambda d: 1e-6)
    monkeypatch.setattr(device, "free_bytes", lambda name: 2**33)
    choice = choose_device("auto")
    assert choice.device == "cuda"
    assert choice.reason == "CUDA device Test GPU passed a test computation, 8192 MiB free."
    assert choice.free_bytes == 2**33


def test_the_test_computation_agrees_with_itself_on_the_cpu():
    assert device._difference_from_cpu(torch.device("cpu")) == 0.0
