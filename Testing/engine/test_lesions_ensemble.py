"""The ensemble of an nnU-Net's folds against the networks run by hand on a volume of one tile."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from test_lesions_nnunet import SPACING_KJI, build_network, make_package, plans_of
from VirtualContrastLib.lesions.nnunet import LesionNet

pytest.importorskip("nnunetv2")
SHAPE = (8, 16, 16)


def by_hand(package, channels, flips):
    """Softmax of the mean output over folds and flips, for z-scored channels [c, k, j, i] of one tile."""
    plans = plans_of(SHAPE, SPACING_KJI)
    scaled = np.stack([(c - c.mean()) / c.std() for c in channels])[None].astype(np.float32)
    outputs = []
    for state in package.fold_states():
        network = build_network(plans, "3d_fullres").eval()
        network.load_state_dict(state)
        mean = 0
        for axes in flips:
            with torch.no_grad():
                out = network(torch.from_numpy(np.flip(scaled, axes).copy())).numpy()
            mean = mean + np.flip(out, axes)
        outputs.append(mean / len(flips))
    return torch.softmax(torch.from_numpy(np.mean(outputs, axis=0).copy()), 1)[0, 1].numpy(), outputs


@pytest.mark.parametrize("mirroring", [False, True])
def test_folds_are_averaged_before_the_softmax(tmp_path, mirroring):
    torch.set_num_threads(1)
    package = make_package(tmp_path, patch=SHAPE, folds=3, mirroring=mirroring, mirror_axes=[0, 1, 2])
    rng = np.random.default_rng(4)
    images = {}
    for index in (0, 1):
        images[index] = sitk.GetImageFromArray(rng.normal(50, 9, SHAPE).astype(np.float32))
        images[index].SetSpacing(SPACING_KJI[::-1])
    pre, post = (sitk.GetArrayFromImage(images[index]) for index in (0, 1))
    axes = [a for n in range(4) for a in itertools.combinations((2, 3, 4), n)] if mirroring else [()]
    probability, outputs = by_hand(package, np.stack([pre, post - pre]), axes)
    found = sitk.GetArrayFromImage(LesionNet(package).segment(images)) > 0
    # nnU-Net weighs a tile by a Gaussian and adds up in half precision, which is coarse at the tile's border.
    sure = np.abs(probability - 0.5) > 3e-3
    sure[[0, -1]] = sure[:, [0, -1]] = sure[:, :, [0, -1]] = False
    assert sure.mean() > 0.5
    np.testing.assert_array_equal(found[sure], probability[sure] > 0.5)
    single = outputs[0][0, 1] > outputs[0][0, 0]
    assert (single != found)[sure].any()  # one fold alone says something else
