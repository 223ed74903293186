"""Whether two volumes are phases of one sequence, by their gray values: on simulated and on real breasts."""

import csv

import numpy as np
import pytest
import SimpleITK as sitk
from VirtualContrastLib.events import Events
from VirtualContrastLib.io.one_sequence import MOST_DARKENED, changed_shares, doubt
from VirtualContrastLib.io.read import read_study


def breast(fat, glands=300.0, enhancement=0.0):
    """Glands in fat, a third of them enhancing; [k, j, i] with noise."""
    rng, values = np.random.default_rng(3), np.zeros((12, 64, 64))
    values[:, 10:, 6:58] = fat
    values[3:10, 24:54, 16:48] = glands
    values[4:9, 30:40, 20:40] *= 1 + enhancement
    return np.hypot(values + rng.normal(0, 5, values.shape), 5)


def test_the_share_is_that_of_the_fat_that_a_suppression_darkens():
    before, after = breast(900.0), breast(60.0)
    tissue = before > 150
    fat = tissue & (before > 600)
    middle = slice(1, 10)
    expected = fat[middle].sum() / tissue[middle].sum()
    assert changed_shares(before, after)[0] == pytest.approx(expected, abs=0.07)  # smoothing moves edges
    assert doubt(before, after, "a", "b").startswith(f"{changed_shares(before, after)[0]:.0%} of the tissue")


@pytest.mark.parametrize("enhancement", [0.0, 0.5, 3.0])
def test_contrast_raises_no_doubt_whatever_it_brightens(enhancement):
    assert doubt(breast(60.0), breast(60.0, enhancement=enhancement), "a", "b") == ""


def test_one_scale_for_both_is_needed():
    for scale in (0.3, 10.0, 255.0):
        assert "one scale" in doubt(breast(60.0), scale * breast(60.0, enhancement=1.0), "a", "b")


def test_air_is_no_tissue():
    air = np.random.default_rng(0).rayleigh(5, (10, 40, 40))
    assert changed_shares(np.zeros((10, 40, 40)), air) == (0.0, 0.0)


def test_the_phases_of_a_real_study_raise_no_doubt(shared_data):
    folder = shared_data / "duke-153" / "dicom"
    if not folder.is_dir():
        pytest.skip(f"the real study is not at {folder}")
    events = Events()
    read_study(f"{folder}@0", [f"{folder}@{n}" for n in range(1, 5)], events=events)
    assert not [text for text in events.warnings if "darker" in text or "left out" in text or "contradict" in text]


@pytest.mark.slow
def test_the_limit_was_measured_on_patients(shared_data):
    """The numbers of the docstring; crops around tumors are the hardest case, for they enhance most."""
    folder = shared_data / "breast-dce-crops"
    if not folder.is_dir():
        pytest.skip(f"the slices of patients are not at {folder}")
    slices = {}
    for row in csv.DictReader((folder / "slices.csv").open()):
        slices.setdefault(row["patient"], []).append(folder / row["file"])
    shares = []
    for files in slices.values():
        some = files[:: max(1, len(files) // 4)][:4]
        pre, early, late = np.stack([sitk.GetArrayFromImage(sitk.ReadImage(str(f)))[..., :3] for f in some], axis=1).T
        shares += [changed_shares(pre.T, phase.T) for phase in (early, late)]
    darkened, brightened = zip(*shares, strict=True)
    assert len(shares) == 710
    assert np.percentile(darkened, 99.5) < 0.06
    assert max(darkened) < MOST_DARKENED
    assert max(brightened) < 0.32
