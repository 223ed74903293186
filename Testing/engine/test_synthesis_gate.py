"""The measured gate: numbers of windows, distance from training studies, refusals, and real studies of many kinds."""

from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from scipy import ndimage
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.io.read import load
from VirtualContrastLib.run import plan
from VirtualContrastLib.synthesis import gate

SPACING = (0.714, 0.714, 2.0)


def tissue(seed, blur=2.0, floor=0.3):
    """A crop of made tissue with a dark corner of air: blobs of one scale, and noise."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=(112, 112)), blur * rng.uniform(0.9, 1.1))
    picture = floor + np.clip(blobs / blobs.std() * 0.15 + 0.4, 0, 1)
    picture[:30] = 0.02
    return (picture + rng.normal(0, 0.02, picture.shape)).astype(np.float32)


def crop(*slices):
    image = sitk.GetImageFromArray(np.stack(slices))
    image.SetSpacing(SPACING)
    return image


@pytest.fixture(scope="module")
def trained():
    studies = [gate.study_features(crop(tissue(3 * n), tissue(3 * n + 1))) for n in range(60)]
    brighter = [gate.study_features(crop(tissue(3 * n + 2, floor=1.2))) for n in range(60)]
    return gate.fit(studies, kept=0.98, data="made", wrong={"a brighter image": brighter})


def test_numbers_do_not_depend_on_the_unit_of_the_intensities():
    picture = tissue(1)
    np.testing.assert_allclose(gate.window_features(picture), gate.window_features(1000 * picture), atol=1e-4)
    assert len(gate.window_features(picture)) == len(gate.FEATURES)
    assert gate.window_features(np.zeros((50, 50), np.float32)) is None


def test_a_study_like_those_of_training_passes_and_others_do_not(trained):
    same = gate.judge(crop(tissue(1001), tissue(1002)), trained)
    assert not same.refused
    assert gate.judge(crop(tissue(1001, blur=9.0)), trained).score > 5
    bright = gate.judge(crop(tissue(1003, floor=1.2)), trained)
    assert bright.refused and bright.reason == "it looks like a brighter image"
    nothing = gate.judge(crop(np.zeros((112, 112), np.float32)), trained)
    assert nothing.refused and "no breast tissue" in nothing.reason


def test_an_unlike_study_is_refused_and_synthesized_with_force(trained):
    def planned(picture, *, force):
        card = SimpleNamespace(id="model", gate=trained)
        study = SimpleNamespace(pre=SimpleNamespace(image=crop(picture)))
        return SimpleNamespace(card=card, study=study, settings=SimpleNamespace(force=force))

    with pytest.raises(InputError, match=r"unlike the images that the model 'model' was trained on.*--force"):
        plan.check_likeness(planned(tissue(5, blur=9.0), force=False), Events())
    events = Events()
    plan.check_likeness(planned(tissue(5, blur=9.0), force=True), events)
    assert "unlike" in events.warnings[0]


@pytest.mark.slow
def test_real_breasts_pass_and_heads_organs_and_photographs_do_not(shared_data):
    """Trained here on crops of 60 patients of the I-SPY studies; nothing below was among them."""
    import csv

    import skimage.data

    folder = shared_data / "breast-dce-crops"
    rows = {
        row["patient"]: row["file"]
        for row in csv.DictReader((folder / "slices.csv").open())
        if row["split"] == "a" and row["cohort"] != "Duke-Breast-Cancer-MRI"
    }
    pictures = [np.array(Image.open(folder / file))[..., 0] for file in list(rows.values())[::2]]
    studies = [gate.study_features(crop(picture.astype(np.float32))) for picture in pictures]
    trained = gate.fit(studies, kept=0.99, data="crops")

    def refused(image):
        return gate.judge(image, trained).refused

    def picture(array, mm):
        image = sitk.GetImageFromArray(np.asarray(array, np.float32)[None])
        image.SetSpacing((mm, mm, 1.0))
        return image

    assert not refused(sitk.ReadImage(shared_data / "duke-153" / "pre_half.nrrd")[:, :, 40:130:10])
    for case in ("041", "378", "886"):
        slice_ = np.array(Image.open(shared_data / "duke" / f"case{case}" / "pre.png"))[..., 0]
        assert not refused(picture(slice_, 0.7))
    assert not refused(sitk.ReadImage(shared_data / "pyradiomics-breast1" / "breast1_image.nrrd"))
    assert refused(load(shared_data / "dicom-siemens-prone" / "HFP").image)
    for name in ("example_ct_sm.nii.gz", "example_mr_sm.nii.gz"):
        assert refused(load(shared_data / "tiny-nifti" / name).image)
    assert refused(picture(skimage.data.camera(), 0.5))
