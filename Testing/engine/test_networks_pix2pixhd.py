"""pix2pixHD: keys and shapes of NVIDIA's layout, arithmetic against a recomputation with functional torch."""

import pytest
import torch
import torch.nn.functional as F
from VirtualContrastLib.networks.pix2pixhd import build_discriminator, build_generator, init_weights, meta_shapes

TINY = {"input_nc": 3, "output_nc": 2, "ngf": 3, "n_downsample_global": 2, "n_blocks_global": 2}


@pytest.fixture(autouse=True)
def _seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def parameter_count(shapes):
    return sum(torch.Size(shape).numel() for shape in shapes.values())


# ---- independent recomputation, from the state dict alone ----


def normed(x):
    mean = x.mean(dim=(2, 3), keepdim=True)
    var = ((x - mean) ** 2).mean(dim=(2, 3), keepdim=True)
    return (x - mean) / torch.sqrt(var + 1e-5)


def conv(s, key, x, **kwargs):
    return F.conv2d(x, s[f"{key}.weight"], s[f"{key}.bias"], **kwargs)


def padded_conv(s, key, x, pad):
    return conv(s, key, F.pad(x, (pad,) * 4, mode="reflect"))


def res_block(s, key, x):
    hidden = normed(padded_conv(s, f"{key}.conv_block.1", x, 1)).clamp(min=0)
    return x + normed(padded_conv(s, f"{key}.conv_block.5", hidden, 1))


def up(s, key, x):
    y = F.conv_transpose2d(x, s[f"{key}.weight"], s[f"{key}.bias"], stride=2, padding=1, output_padding=1)
    return normed(y).clamp(min=0)


def global_trunk(s, x, downs, blocks):
    x = normed(padded_conv(s, "model.1", x, 3)).clamp(min=0)
    for d in range(downs):
        x = normed(conv(s, f"model.{4 + 3 * d}", x, stride=2, padding=1)).clamp(min=0)
    first = 4 + 3 * downs
    for b in range(blocks):
        x = res_block(s, f"model.{first + b}", x)
    for d in range(downs):
        x = up(s, f"model.{first + blocks + 3 * d}", x)
    return x


def halved(x):
    ones = torch.ones_like(x)
    kwargs = {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": True}
    return F.avg_pool2d(x, **kwargs) / F.avg_pool2d(ones, **kwargs)


# ---- layout ----


def test_the_published_global_generator_has_56_tensors_and_182443267_parameters():
    shapes = meta_shapes({"input_nc": 3, "output_nc": 3})
    assert len(shapes) == 56
    assert parameter_count(shapes) == 182_443_267
    expected = {
        "model.1.weight": (64, 3, 7, 7),
        "model.4.weight": (128, 64, 3, 3),
        "model.7.weight": (256, 128, 3, 3),
        "model.10.weight": (512, 256, 3, 3),
        "model.13.weight": (1024, 512, 3, 3),
        "model.25.weight": (1024, 512, 3, 3),
        "model.28.weight": (512, 256, 3, 3),
        "model.31.weight": (256, 128, 3, 3),
        "model.34.weight": (128, 64, 3, 3),
        "model.38.weight": (3, 64, 7, 7),
    }
    for block in range(16, 25):
        for layer in (1, 5):
            expected[f"model.{block}.conv_block.{layer}.weight"] = (1024, 1024, 3, 3)
    assert {k: v for k, v in shapes.items() if k.endswith("weight")} == expected
    assert {k[: -len("bias")] for k in shapes if k.endswith("bias")} == {k[: -len("weight")] for k in expected}
    assert shapes["model.25.bias"] == (512,)


@pytest.mark.parametrize(("ngf", "parameters"), [(32, 182_701_827), (64, 730_725_891)])
def test_the_local_enhancer_has_74_tensors_and_the_known_parameter_count(ngf, parameters):
    shapes = meta_shapes({"input_nc": 3, "output_nc": 3, "netG": "local", "ngf": ngf})
    assert len(shapes) == 74
    assert parameter_count(shapes) == parameters
    assert shapes["model1_1.1.weight"] == (ngf, 3, 7, 7)
    assert shapes["model1_1.4.weight"] == (2 * ngf, ngf, 3, 3)
    for block in range(3):
        for layer in (1, 5):
            assert shapes[f"model1_2.{block}.conv_block.{layer}.weight"] == (2 * ngf, 2 * ngf, 3, 3)
    assert shapes["model1_2.3.weight"] == (2 * ngf, ngf, 3, 3)
    assert shapes["model1_2.7.weight"] == (3, ngf, 7, 7)
    assert "model.34.weight" in shapes
    assert "model.38.weight" not in shapes


def test_the_coarse_part_of_a_32_channel_local_enhancer_equals_the_64_channel_global_generator():
    whole = meta_shapes({"input_nc": 3, "output_nc": 3})
    local = meta_shapes({"input_nc": 3, "output_nc": 3, "netG": "local", "ngf": 32})
    coarse = {k: v for k, v in local.items() if k.startswith("model.")}
    assert coarse == {k: v for k, v in whole.items() if not k.startswith("model.38.")}


def test_the_published_discriminator_has_20_tensors_5535618_parameters_and_the_known_map_sizes():
    with torch.device("meta"):
        net = build_discriminator({"input_nc": 6})
        result = net(torch.zeros(1, 6, 512, 512))
    shapes = {k: tuple(v.shape) for k, v in net.state_dict().items()}
    assert set(shapes) == {
        f"scale{i}_layer{j}.0.{part}" for i in range(2) for j in range(5) for part in ("weight", "bias")
    }
    assert parameter_count(shapes) == 5_535_618
    assert [shapes[f"scale0_layer{j}.0.weight"] for j in range(5)] == [
        (64, 6, 4, 4),
        (128, 64, 4, 4),
        (256, 128, 4, 4),
        (512, 256, 4, 4),
        (1, 512, 4, 4),
    ]
    assert [[m.shape[-1] for m in maps] for maps in result] == [[257, 129, 65, 66, 67], [129, 65, 33, 34, 35]]


def test_without_feature_maps_each_discriminator_is_one_sequential_and_returns_only_logits():
    net = build_discriminator({"input_nc": 4, "ndf": 4, "getIntermFeat": False})
    expected = {f"layer{i}.{j}.{p}" for i in range(2) for j in (0, 2, 5, 8, 11) for p in ("weight", "bias")}
    assert set(net.state_dict()) == expected
    assert [len(maps) for maps in net(torch.randn(1, 4, 64, 64))] == [1, 1]


# ---- arithmetic ----


def test_the_global_generator_equals_a_recomputation_from_its_state_dict():
    net = build_generator(TINY).double()
    s = net.state_dict()
    x = torch.randn(2, 3, 16, 24, dtype=torch.float64)
    expected = torch.tanh(padded_conv(s, "model.19", global_trunk(s, x, 2, 2), 3))
    assert net(x).shape == (2, 2, 16, 24)
    torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("enhancers", [1, 2])
def test_the_local_enhancer_equals_a_recomputation_from_its_state_dict(enhancers):
    config = {**TINY, "netG": "local", "n_local_enhancers": enhancers, "n_blocks_local": 2}
    net = build_generator(config).double()
    s = net.state_dict()
    x = torch.randn(1, 3, 32, 48, dtype=torch.float64)
    inputs = [x]
    for _ in range(enhancers):
        inputs.append(halved(inputs[-1]))
    y = global_trunk(s, inputs[-1], 2, 2)
    for n in range(1, enhancers + 1):
        own = normed(padded_conv(s, f"model{n}_1.1", inputs[enhancers - n], 3)).clamp(min=0)
        own = normed(conv(s, f"model{n}_1.4", own, stride=2, padding=1)).clamp(min=0)
        y = own + y
        for block in range(2):
            y = res_block(s, f"model{n}_2.{block}", y)
        y = up(s, f"model{n}_2.2", y)
    expected = torch.tanh(padded_conv(s, f"model{enhancers}_2.6", y, 3))
    assert net(x).shape == (1, 2, 32, 48)
    torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scales", [2, 3])
def test_the_discriminator_equals_a_recomputation_with_full_resolution_first_in_the_result(scales):
    net = build_discriminator({"input_nc": 4, "ndf": 3, "num_D": scales}).double()
    s = net.state_dict()
    x = torch.randn(2, 4, 64, 48, dtype=torch.float64)
    result = net(x)
    assert len(result) == scales
    for i, maps in enumerate(result):
        y = x
        for _ in range(i):
            y = halved(y)
        assert len(maps) == 5
        for j, found in enumerate(maps):
            y = conv(s, f"scale{scales - 1 - i}_layer{j}.0", y, stride=2 if j < 3 else 1, padding=2)
            if 0 < j < 4:
                y = normed(y)
            if j < 4:
                y = torch.where(y > 0, y, 0.2 * y)
            torch.testing.assert_close(found, y, rtol=0, atol=1e-12)


def test_discriminator_channels_are_capped_at_512():
    with torch.device("meta"):
        net = build_discriminator({"input_nc": 6, "ndf": 64, "n_layers_D": 5})
    assert [net.state_dict()[f"scale0_layer{j}.0.weight"].shape[0] for j in range(7)] == [
        64, 128, 256, 512, 512, 512, 1,
    ]  # fmt: skip


def test_the_sigmoid_option_maps_the_logits_only():
    plain = build_discriminator({"input_nc": 4, "ndf": 3})
    bounded = build_discriminator({"input_nc": 4, "ndf": 3, "use_sigmoid": True})
    bounded.load_state_dict(plain.state_dict())
    x = torch.randn(1, 4, 32, 32)
    assert plain(x)
    for raw, squashed in zip(plain(x), bounded(x), strict=True):
        torch.testing.assert_close(squashed[-1], 1 / (1 + torch.exp(-raw[-1])))
        torch.testing.assert_close(squashed[-2], raw[-2])


def test_a_side_of_360_pixels_comes_out_as_368_with_four_down_samplings():
    net = build_generator({"input_nc": 1, "output_nc": 1, "ngf": 1, "n_blocks_global": 1})
    with torch.inference_mode():
        assert net(torch.randn(1, 1, 64, 360)).shape == (1, 1, 64, 368)


# ---- initialization and options ----


def test_initialization_draws_weights_with_standard_deviation_0_02_and_leaves_biases():
    net = build_generator({**TINY, "ngf": 16})
    biases = {k: v.clone() for k, v in net.state_dict().items() if k.endswith("bias")}
    init_weights(net)
    state = net.state_dict()
    weights = torch.cat([v.flatten() for k, v in state.items() if k.endswith("weight")])
    assert abs(weights.mean().item()) < 1e-3
    assert abs(weights.std().item() - 0.02) < 5e-4
    assert state["model.12.weight"].std().item() == pytest.approx(0.02, rel=0.05)  # a transposed convolution
    assert all(torch.equal(state[k], v) for k, v in biases.items())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"netG": "encoder"}, "netG"),
        ({"norm": "batch"}, "norm"),
        ({"ngf": 0}, "ngf"),
        ({"ngf": 2.5}, "ngf"),
        ({"n_block": 3}, "n_block"),
        ({"input_nc": None}, "input_nc"),
    ],
)
def test_an_unusable_generator_option_is_refused_by_name(change, named):
    with pytest.raises(ValueError, match=named):
        build_generator({**TINY, **change})


def test_a_missing_channel_count_is_refused_by_name():
    with pytest.raises(ValueError, match="output_nc"):
        build_generator({"input_nc": 3})
    with pytest.raises(ValueError, match="input_nc"):
        build_discriminator({})
