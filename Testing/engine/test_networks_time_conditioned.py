"""The time-conditioned generator: the pre-contrast slice at 0 s, smooth in time, one encoder pass for all times."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from VirtualContrastLib.networks.time_conditioned import AtTimes, build_time_conditioned

CONFIG = {"input_nc": 3, "ngf": 4, "n_downsample": 2, "n_blocks": 1, "bases": 5, "time_range_s": [60, 480]}


def network(**changes):
    torch.manual_seed(0)
    made = build_time_conditioned({**CONFIG, **changes}).eval()
    with torch.no_grad():
        made.head[1].weight.mul_(20)  # the start is almost no change; here there shall be some
    return made


@pytest.fixture(scope="module")
def slices():
    torch.set_num_threads(1)
    return torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def at(net, slices, *times_s):
    return net(slices, torch.tensor([times_s] * len(slices), dtype=torch.float32))


def test_at_injection_the_phase_is_the_middle_slice_bit_by_bit_and_later_it_is_not(slices):
    phases = at(network(), slices, 0.0, 90.0)
    assert torch.equal(phases[:, 0], slices[:, 1])
    assert (phases[:, 1] - slices[:, 1]).abs().mean() > 0.01


@settings(max_examples=30, deadline=None)
@given(st.floats(1.0, 1000.0))
@torch.no_grad()
def test_phases_are_continuous_in_time(time_s):
    torch.set_num_threads(1)
    net = network()
    weights = [net.time(torch.tensor([[time_s + step]])) for step in (0.0, 0.5, 1.0)]
    there = max(1.0, float(weights[0].abs().max()))
    first, second = (float((b - a).abs().max()) for a, b in itertools.pairwise(weights))
    assert first < 0.1 * there
    assert abs(second - first) < 0.02 * there  # and so is the speed of the change


def test_a_phase_does_not_depend_on_the_other_times_or_their_order(slices):
    net, times = network(), [70.0, 133.0, 250.0, 480.0]
    together = at(net, slices, *times)
    for n, time_s in enumerate(times):
        assert torch.allclose(at(net, slices, time_s)[:, 0], together[:, n], atol=1e-6)
    order = [2, 0, 3, 1]
    assert torch.allclose(at(net, slices, *(times[n] for n in order)), together[:, order], atol=1e-6)


def test_the_items_of_a_batch_have_times_of_their_own(slices):
    net = network()
    times = torch.tensor([[60.0, 90.0], [200.0, 400.0]])
    with torch.no_grad():
        both = net(slices, times)
        alone = torch.cat([net(slices[n : n + 1], times[n : n + 1]) for n in range(2)])
    assert torch.allclose(both, alone, atol=1e-5)
    assert not torch.allclose(both, net(slices, times[:1].expand(2, -1)), atol=1e-3)


def test_any_number_of_times_runs_the_encoder_once(slices):
    net, calls = network(), []
    net.blocks.register_forward_hook(lambda *_: calls.append(1))
    assert at(net, slices, *np.linspace(60, 480, 40).tolist()).shape == (2, 40, 24, 32)
    assert len(calls) == 1


def test_the_phase_is_the_sum_that_the_module_states(slices):
    net, time_s = network(), 150.0
    with torch.no_grad():
        maps = net.maps(slices).numpy()
        s = math.log(1 + time_s / 20) / math.log(1 + 480 / 20)
        waves = [f(n * math.pi * s) for n in (1, 2, 3) for f in (math.sin, math.cos)]
        weights = net.time.out(net.time.layers(torch.tensor([s, *waves]))).numpy()
    expected = slices[:, 1].numpy() + (1 - math.exp(-time_s / 20)) * sum(w * maps[:, b] for b, w in enumerate(weights))
    assert np.allclose(at(net, slices, time_s)[:, 0].numpy(), expected, atol=1e-5)


def test_half_precision_keeps_times_and_the_sum_exact(slices):
    net = network()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        phases = at(net, slices, 0.0, 200.0, 200.5)
    assert phases.dtype == torch.float32
    assert torch.equal(phases[:, 0], slices[:, 1])
    step, exact = phases.diff(dim=1)[:, 1], at(net, slices, 200.0, 200.5).diff(dim=1)[:, 0]
    assert (step - exact).abs().max() < 0.1 * exact.abs().max()


def test_at_fixed_times_it_is_a_generator_in_the_network_range(slices):
    net = network()
    with torch.no_grad():
        made = AtTimes(net, [90, 220])(slices)
    assert torch.equal(made, at(net, slices, 90, 220).clamp(-1, 1))


@pytest.mark.parametrize(
    "changes", [{"input_nc": 0}, {"output_nc": 3}, {"rise_s": 0}, {"time_range_s": [300, 60]}, {"bases": 2.5}]
)
def test_impossible_options_are_refused(changes):
    with pytest.raises(ValueError, match="time-conditioned generator option"):
        build_time_conditioned({**CONFIG, **changes})
