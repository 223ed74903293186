"""The measured gate: numbers of windows, distance from training studies, refusals, and real studies of many kinds."""

from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from scipy import ndimage
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.io.read import load
from VirtualContrastLib.models.catalog import load_catalog, resolve_model
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
    brighter = [[gate.study_features(crop(tissue(3 * n + 2, floor=1.2)))] for n in range(60)]
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


def test_the_direction_to_a_wrong_kind_is_that_of_a_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(3)
    studies = [rng.normal(0, 1, (3, 5)) for _ in range(80)]
    wrong = [[rng.normal((0.8, 0, 0, -0.5, 0), 1, (3, 5))] for _ in range(40)] + [[] for _ in range(40)]
    kind = gate.fit(studies, kept=0.9, data="made", wrong={"other": wrong}).kinds[0]
    inputs = np.array([one.mean(axis=0) for one in (*studies, *(made[0] for made in wrong if made))])
    spread = np.sqrt(np.diag(gate.fit(studies, kept=0.9, data="made").precision) ** -1.0)
    known = LogisticRegression(C=0.1, class_weight="balanced", tol=1e-8).fit(inputs / spread, [0] * 80 + [1] * 40)
    cosine = np.dot(kind.weights, known.coef_[0] / spread)
    cosine /= np.linalg.norm(kind.weights) * np.linalg.norm(known.coef_[0] / spread)
    assert cosine > 0.999
    projections = [study.mean(axis=0) @ kind.weights for study in studies]
    assert np.mean(np.array(projections) <= kind.limit) == pytest.approx(
        0.9, abs=0.08
    )  # the limit is of studies left out


def test_distance_and_directions_add_up_as_the_sides_of_a_right_angle(trained):
    picture = crop(tissue(1003, floor=1.2))
    kind = trained.kinds[0]
    without = gate.judge(picture, trained.model_copy(update={"kinds": []})).score
    found = gate.study_features(picture) - np.array(trained.mean)
    beyond = (found.mean(axis=0) @ kind.weights - kind.middle) / (kind.limit - kind.middle)
    assert gate.judge(picture, trained).score == pytest.approx(np.hypot(without, beyond))


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
    """By the gate of the default model, which was measured on the I-SPY studies: nothing below was among them."""
    import skimage.data

    shipped = resolve_model(load_catalog().default_id("synthesis"), "synthesis").card.gate

    def refused(image):
        return gate.judge(image, shipped).refused

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
