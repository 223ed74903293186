"""The iterU-Net: layout of the published weights, its forward modes, time and state."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from VirtualContrastLib.networks.iter_unet import build_iter_unet, build_single_time_point_unets, time_embedding

TINY = {"features": (4, 4, 6, 8, 8, 4)}
TIMES = torch.tensor([[155.0, 225.0, 295.0, 365.0]])


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def volumes(*shape, phases=1):
    return torch.randn(1, phases, *(shape or (16, 32, 16)))


@pytest.mark.parametrize(
    ("features", "parameters"),
    [((32, 32, 64, 128, 256, 32), 6_120_161), ((28, 32, 64, 128, 256, 28), 6_041_169)],
)
def test_parameters_and_tensors_are_as_many_as_published(features, parameters):
    network = build_iter_unet({"features": features})
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(network.state_dict()) == 104


def test_the_names_and_shapes_are_those_of_the_published_weights():
    f = (28, 32, 64, 128, 256, 28)
    expected = {"final_conv.weight": (1, 28, 1, 1, 1), "final_conv.bias": (1,)}
    expected |= {"conv_lstm.conv.weight": (112, 56, 3, 3, 3), "conv_lstm.conv.bias": (112,)}
    for level in range(5):
        expected |= {f"mtp{level}.weight": (128, 128), f"mtp{level}.bias": (128,)}
        expected |= {f"time_projection{level}.weight": (f[level], 128), f"time_projection{level}.bias": (f[level],)}
    blocks = {"conv_0": (2, 28)} | {f"down_{n}.convs": (f[n - 1], f[n]) for n in range(1, 5)}
    blocks |= {"upcat_4.convs": (256, 128), "upcat_3.convs": (128, 64), "upcat_2.convs": (64, 32)}
    blocks |= {"upcat_1.convs": (60, 28)}
    for name, (inputs, outputs) in blocks.items():
        for conv, channels in (("conv_0", inputs), ("conv_1", outputs)):
            expected[f"{name}.{conv}.conv.weight"] = (outputs, channels, 3, 3, 3)
            expected |= {f"{name}.{conv}.{rest}": (outputs,) for rest in ("conv.bias", "adn.N.weight", "adn.N.bias")}
    for n, (inputs, outputs) in {4: (256, 128), 3: (128, 64), 2: (64, 32), 1: (32, 32)}.items():
        expected[f"upcat_{n}.upsample.deconv.weight"] = (inputs, outputs, 2, 2, 2)
        expected[f"upcat_{n}.upsample.deconv.bias"] = (outputs,)
    found = build_iter_unet({"features": f}).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == expected


def test_without_time_information_only_its_layers_are_missing():
    with_time = build_iter_unet(TINY).state_dict()
    without = build_iter_unet({**TINY, "time": "none"}).state_dict()
    assert set(with_time) - set(without) == {n for n in with_time if n.startswith(("mtp", "time_projection"))}
    assert set(without) < set(with_time)


def test_the_ablation_without_temporal_information_has_neither_embedding_nor_conv_lstm():
    network = build_iter_unet({**TINY, "time": "none", "memory": "none"}).eval()
    assert not any(name.startswith(("mtp", "time_projection", "conv_lstm")) for name in network.state_dict())
    pre, first = volumes(), volumes()
    with torch.no_grad():
        series = network(pre, first, TIMES)
        forced, state = network.teacher_forced(pre, torch.cat([first, series[:, :-1]], dim=1), TIMES)
        assert state is None and torch.equal(series, forced)
        # Without state a step depends on its two volumes alone: the later one, made anew from the earlier, is the same.
        assert torch.equal(network(pre, series[:, :1], TIMES[:, 1:]), series[:, 1:])
        assert network.optimization(pre, series, TIMES).shape[1] == 7
    with_memory = build_iter_unet({**TINY, "time": "none"}).eval()
    with torch.no_grad():
        whole = with_memory(pre, first, TIMES)
        assert not torch.allclose(with_memory(pre, whole[:, :1], TIMES[:, 1:]), whole[:, 1:])


@pytest.mark.parametrize("t", [0.0, 1.0, 3.0, -1.7, 12.25])
def test_the_time_embedding_is_sines_then_cosines(t):
    frequencies = [math.exp(-math.log(10000) * k / 63) for k in range(64)]
    expected = [math.sin(t * f) for f in frequencies] + [math.cos(t * f) for f in frequencies]
    np.testing.assert_allclose(time_embedding(torch.tensor([t]))[0], expected, atol=2e-6)


def test_inference_equals_teacher_forcing_fed_with_its_own_outputs():
    network = build_iter_unet(TINY).eval()
    pre, first = volumes(), volumes()
    with torch.no_grad():
        recursive = network(pre, first, TIMES)
        forced, _ = network.teacher_forced(pre, torch.cat([first, recursive[:, :-1]], dim=1), TIMES)
    assert recursive.shape == (1, 4, 16, 32, 16)
    torch.testing.assert_close(recursive, forced, rtol=0, atol=0)


def test_several_acquired_phases_are_steps_of_teacher_forcing_before_the_recursive_ones():
    network = build_iter_unet(TINY).eval()
    pre, real = volumes(), volumes(phases=3)
    with torch.no_grad():
        made = network(pre, real, TIMES)
        forced, state = network.teacher_forced(pre, real, TIMES[:, :3])
        last, _ = network.step(pre, forced[:, 2:], torch.tensor([3]), state)
        without_the_first_two = network(pre, real[:, 2:], TIMES[:, 2:])
    torch.testing.assert_close(made, torch.cat([forced[:, 2:], last], dim=1), rtol=0, atol=0)
    assert not torch.allclose(made, without_the_first_two)
    with pytest.raises(ValueError, match="at least one phase to make"):
        network(pre, real, TIMES[:, :2])


def test_without_memory_only_the_last_acquired_phase_counts():
    network = build_iter_unet({**TINY, "time": "none", "memory": "none"}).eval()
    pre, real = volumes(), volumes(phases=3)
    with torch.no_grad():
        torch.testing.assert_close(network(pre, real, TIMES), network(pre, real[:, 2:], TIMES[:, 2:]), rtol=0, atol=0)


def test_teacher_forcing_uses_the_real_phases():
    network = build_iter_unet(TINY).eval()
    pre, real = volumes(), volumes(phases=4)
    with torch.no_grad():
        forced, _ = network.teacher_forced(pre, real, TIMES)
        recursive = network(pre, real[:, :1], TIMES)
    torch.testing.assert_close(forced[:, :1], recursive[:, :1], rtol=0, atol=0)
    assert not torch.allclose(forced[:, 1:], recursive[:, 1:])


def test_the_optimization_stage_goes_on_from_the_first_output_with_the_last_state():
    network = build_iter_unet(TINY).eval()
    pre, real = volumes(), volumes(phases=4)
    with torch.no_grad():
        outputs = network.optimization(pre, real, TIMES)
        forced, state = network.teacher_forced(pre, real, TIMES)
        current, expected = forced[:, :1], []
        for counter in (1, 2, 3):
            current, state = network.step(pre, current, torch.tensor([counter]), state)
            expected.append(current)
    assert outputs.shape[1] == 7
    torch.testing.assert_close(outputs, torch.cat([forced, *expected], dim=1), rtol=0, atol=0)


def test_without_carried_state_the_recursive_part_is_inference_from_the_first_output():
    network = build_iter_unet({**TINY, "time": "seconds"}).eval()
    pre, real = volumes(), volumes(phases=4)
    with torch.no_grad():
        outputs = network.optimization(pre, real, TIMES, carry_state=False)
        expected = network(pre, outputs[:, :1], TIMES[:, 1:])
        carried = network.optimization(pre, real, TIMES)
    torch.testing.assert_close(outputs[:, 4:], expected, rtol=0, atol=0)
    assert not torch.allclose(carried[:, 4:], expected)


def test_seconds_at_the_published_times_are_the_step_counter_and_other_seconds_differ():
    counting, timed = (build_iter_unet({**TINY, "time": kind}).eval() for kind in ("step", "seconds"))
    timed.load_state_dict(counting.state_dict())
    pre, first = volumes(), volumes()
    with torch.no_grad():
        torch.testing.assert_close(timed(pre, first, TIMES), counting(pre, first, TIMES))
        torch.testing.assert_close(counting(pre, first, TIMES + 60), counting(pre, first, TIMES), rtol=0, atol=0)
        assert not torch.allclose(timed(pre, first, TIMES + 60), timed(pre, first, TIMES))


def test_the_network_gives_any_number_of_phases_and_earlier_ones_do_not_depend_on_later_ones():
    network = build_iter_unet({**TINY, "time": "seconds"}).eval()
    pre, first = volumes(), volumes()
    times = torch.arange(1, 8)[None] * 50.0
    with torch.no_grad():
        seven = network(pre, first, times)
        torch.testing.assert_close(seven[:, :2], network(pre, first, times[:, :2]), rtol=0, atol=0)
    assert seven.shape[1] == 7


def test_the_output_is_the_post_contrast_volume_plus_a_change():
    network = build_iter_unet(TINY).eval()
    nn.init.zeros_(network.final_conv.weight)
    nn.init.constant_(network.final_conv.bias, 0.5)
    pre, first = volumes(), volumes()
    with torch.no_grad():
        series = network(pre, first, TIMES)
    for n in range(4):
        torch.testing.assert_close(series[:, n : n + 1], first + 0.5 * (n + 1))


def test_the_convolutional_lstm_is_an_lstm_cell_at_every_voxel_where_its_kernel_has_only_a_center():
    cell = nn.LSTMCell(4, 4)
    network = build_iter_unet(TINY)
    with torch.no_grad():
        network.conv_lstm.conv.weight.zero_()
        network.conv_lstm.conv.weight[:, :, 1, 1, 1] = torch.cat([cell.weight_ih, cell.weight_hh], dim=1)
        network.conv_lstm.conv.bias.copy_(cell.bias_ih + cell.bias_hh)
        x, h, c = (torch.randn(1, 4, 2, 3, 2) for _ in range(3))
        rows = [v.permute(0, 2, 3, 4, 1).reshape(-1, 4) for v in (x, h, c)]
        for state, expected in ((None, cell(rows[0])), ((h, c), cell(rows[0], (rows[1], rows[2])))):
            for found, row in zip(network.conv_lstm(x, state), expected, strict=True):
                torch.testing.assert_close(found.permute(0, 2, 3, 4, 1).reshape(-1, 4), row)


def test_the_state_passed_on_does_not_hold_the_time_embedding():
    network = build_iter_unet(TINY).eval()
    pre, first = volumes(), volumes()
    with torch.no_grad():
        early, state_early = network.step(pre, first, torch.tensor([0]), None)
        late, state_late = network.step(pre, first, torch.tensor([3]), None)
    assert not torch.allclose(early, late)
    for a, b in zip(state_early, state_late, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_sides_need_not_be_multiples_of_16_but_must_be_long_enough():
    network = build_iter_unet(TINY).eval()
    with torch.no_grad():
        assert network(volumes(33, 40, 20), volumes(33, 40, 20), TIMES).shape == (1, 4, 33, 40, 20)
    for shape in ((16, 16, 16), (24, 24, 12)):
        with pytest.raises(ValueError, match="too small"):
            network(volumes(*shape), volumes(*shape), TIMES)


def test_an_odd_side_is_completed_by_repeating_the_edge():
    network = build_iter_unet(TINY).eval()
    up = network.upcat_1
    seen = []
    up.convs.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    up(torch.randn(1, 4, 4, 4, 4), torch.zeros(1, 4, 9, 8, 9))
    raised = seen[0][:, 4:]
    torch.testing.assert_close(raised[:, :, 8], raised[:, :, 7])
    torch.testing.assert_close(raised[..., 8], raised[..., 7])


def test_single_time_point_networks_are_independent_and_start_from_the_first_phase():
    networks = build_single_time_point_unets({**TINY, "time_points": 3}).eval()
    pre, first = volumes(), volumes()
    with torch.no_grad():
        series = networks(pre, first, TIMES[:, :3])
        before = series.clone()
        networks.networks["phase_1"].final_conv.bias.add_(1.0)
        after = networks(pre, first, TIMES[:, :3])
    assert series.shape == (1, 3, 16, 32, 16)
    torch.testing.assert_close(after[:, [0, 2]], before[:, [0, 2]], rtol=0, atol=0)
    torch.testing.assert_close(after[:, 1], before[:, 1] + 1)
    with pytest.raises(ValueError, match="not 4"):
        networks(pre, first, TIMES)


@pytest.mark.parametrize(
    ("build", "config", "message"),
    [
        (build_iter_unet, {"width": 3}, "width"),
        (build_iter_unet, {"features": (8, 8, 8, 8, 8)}, "six"),
        (build_iter_unet, {"features": (8, 8, 8, 8, 8, 4)}, "equal"),
        (build_iter_unet, {"time": "clock"}, "clock"),
        (build_iter_unet, {"time_unit_s": 0}, "time_unit_s"),
        (build_single_time_point_unets, {}, "time_points"),
    ],
)
def test_an_impossible_option_is_named(build, config, message):
    with pytest.raises(ValueError, match=message):
        build(config)
