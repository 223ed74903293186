"""Motion correction on bodies with known motion: what is left of it, what must stay as it was, and what is told."""

import json

import numpy as np
import pytest
import run_samples
import SimpleITK as sitk
from scipy import ndimage
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.io.volumes import like, to_array
from VirtualContrastLib.run.compare import compare_existing
from VirtualContrastLib.run.pipeline import RunSettings, run
from VirtualContrastLib.study import Phase
from VirtualContrastLib.synthesis import registration
from VirtualContrastLib.synthesis.registration import mutual_information, register_phases

SIZE_KJI, SPACING = (16, 40, 40), (3.0, 3.0, 3.5)


def structure(seed=0):
    """Blobs of some centimeters and of some millimeters, 100 to 300."""
    rng = np.random.default_rng(seed)
    coarse, fine = (ndimage.gaussian_filter(rng.normal(size=SIZE_KJI), sigma) for sigma in (4, 1.5))
    values = coarse / coarse.std() + 0.7 * fine / fine.std()
    return 200 + 40 * np.clip(values, -2.5, 2.5)


def image_of(array):
    image = sitk.GetImageFromArray(np.asarray(array, np.float32))
    image.SetSpacing(SPACING)
    image.SetOrigin((30.0, -80.0, 12.0))
    return image


def enhanced(pre):
    """What contrast makes of it: another gray scale, and a lesion that is not there before."""
    post = 1.3 * pre + 0.002 * (pre - 150) ** 2
    k, j, i = np.indices(SIZE_KJI)
    post[(((k - 8) * 3.5) ** 2 + ((j - 22) * 3) ** 2 + ((i - 15) * 3) ** 2) < 9**2] *= 1.7
    return post


def moved(array, motion_mm):
    """`array` seen at x + motion; `motion_mm` [x, y, z; k, j, i]."""
    index = np.indices(array.shape) + np.stack([m / s for m, s in zip(motion_mm, SPACING, strict=True)])[::-1]
    return ndimage.map_coordinates(array, index, order=3, mode="nearest")


def noise(seed):
    return np.random.default_rng(seed).normal(0, 1.5, SIZE_KJI)


def shift():
    return np.broadcast_to(np.array([2.5, -2.0, 1.5])[:, None, None, None], (3, *SIZE_KJI))


def warp():
    _, j, i = np.indices(SIZE_KJI)
    waves = 3.0 * np.sin(np.pi * i / 40) * np.cos(np.pi * j / 60)
    return np.stack([0.5 * waves, waves, 0 * waves])


@pytest.fixture
def quick(monkeypatch):
    """Fewer samples and steps where the test is about something else than how exact it is."""
    monkeypatch.setattr(registration, "SAMPLES", 2000)
    monkeypatch.setattr(registration, "ITERATIONS", 6)


INNER = np.s_[3:-3, 5:-5, 5:-5]


@pytest.mark.parametrize("motion", [shift, warp])
def test_a_known_motion_is_taken_back(motion):
    pre, still = structure(), enhanced(structure())
    phase = Phase(1, image_of(moved(still, motion()) + noise(1)), 90.0, synthetic=False)
    before = image_of(pre + noise(2))
    untouched = sitk.Hash(before), sitk.Hash(phase.image)
    (corrected,), (found,) = register_phases(before, [phase])
    assert (sitk.Hash(before), sitk.Hash(phase.image)) == untouched, "neither image is changed in place"
    assert found.kept and found.similarity_after > found.similarity_before
    length = np.linalg.norm(motion(), axis=0)[INNER]
    assert found.median_mm == pytest.approx(np.median(length), abs=0.5)

    def error(image):
        return np.abs(to_array(image) - still)[INNER].mean()

    assert error(corrected.image) < 0.4 * error(phase.image)
    assert (corrected.index, corrected.time_s, corrected.synthetic) == (1, 90.0, False)
    for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(corrected.image, name)() == getattr(before, name)()


def test_a_phase_that_did_not_move_stays_as_it_is_and_that_is_told():
    pre = structure()
    phase = Phase(2, image_of(enhanced(pre) + noise(1)), 200.0, synthetic=False)
    events = Events()
    (corrected,), (found,) = register_phases(image_of(pre + noise(2)), [phase], events)
    assert not found.kept and found.median_mm < 0.6
    assert corrected.image is phase.image
    (warning,) = events.warnings
    assert warning.startswith("Motion of the real phase 2 was not corrected: it was left as it was")


def test_what_cannot_be_registered_is_refused():
    pre = image_of(structure())
    other = image_of(structure())
    other.SetOrigin((0.0, 0.0, 0.0))
    with pytest.raises(InputError, match="does not lie on the pre-contrast grid"):
        register_phases(pre, [Phase(1, other, 90.0, synthetic=False)])
    with pytest.raises(InputError, match="4 slices or more"):
        register_phases(pre[:, :, :1], [Phase(1, pre[:, :, :1], 90.0, synthetic=False)])


def test_mutual_information_is_that_of_its_definition():
    """Of a value with itself the entropy of its bins, of independent values about none."""
    values = np.repeat(np.arange(8.0), 500)
    assert mutual_information(values, 3 * values + 1, bins=8) == pytest.approx(np.log(8))
    rng = np.random.default_rng(0)
    assert mutual_information(rng.random(200000), rng.random(200000), bins=8) < 0.001


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Pre-contrast, a phase that moved, and one that did not."""
    folder = tmp_path_factory.mktemp("moved")
    pre = structure()
    arrays = {"pre": pre + noise(2), "phase_1": moved(enhanced(pre), shift()) + noise(1), "phase_2": enhanced(pre)}
    for name, array in arrays.items():
        sitk.WriteImage(image_of(array), str(folder / f"{name}.nrrd"))
    lesion = np.zeros(SIZE_KJI, np.uint8)
    lesion[6:11, 19:25, 12:18] = 1
    sitk.WriteImage(like(lesion, image_of(pre)), str(folder / "mask.nrrd"))
    return folder


def test_a_run_compares_with_the_corrected_phase_and_tells_it(study, tmp_path, quick):
    model = run_samples.write_model(tmp_path / "tiny")
    settings = RunSettings(model=str(model), device="cpu", register=True, real_times_s=(90.0, 220.0))
    real = [study / f"phase_{n}.nrrd" for n in (1, 2)]
    done = run(study / "pre.nrrd", tmp_path / "out", settings, real=real, lesions=study / "mask.nrrd")
    told = {entry["role"]: entry.get("motion") for entry in done.manifest.inputs}
    assert told["pre"] is None and told["lesions"] is None
    assert told["real_1"]["kept"] is True and told["real_1"]["similarity_after"] > told["real_1"]["similarity_before"]
    assert told["real_2"]["kept"] is False
    assert [name for name in done.manifest.outputs if name.startswith("registered/")] == ["registered/phase_1.nrrd"]
    report = (done.folder / "report.html").read_text(encoding="utf-8")
    assert "Motion correction" in report and "median in the breasts" in report and "left as it was" in report
    assert any("real phase 2 was not corrected" in warning for warning in done.manifest.warnings)
    used = to_array(sitk.ReadImage(str(done.folder / "registered/phase_1.nrrd")))
    mask = to_array(sitk.ReadImage(str(study / "mask.nrrd"))) > 0
    rows = (done.folder / "curves_real.csv").read_text().splitlines()
    assert float(rows[2].split(",")[3]) == pytest.approx(used[mask].mean(), rel=1e-4)


def test_compare_needs_the_volume_that_stays(study, tmp_path, quick):
    words = (study / "phase_2.nrrd", [study / "phase_1.nrrd"])
    with pytest.raises(InputError, match="--pre"):
        compare_existing(*words, tmp_path / "none", register=True)
    plain, _ = compare_existing(*words, tmp_path / "plain", pre=study / "pre.nrrd")
    still, metrics = compare_existing(*words, tmp_path / "still", pre=study / "pre.nrrd", register=True)
    assert (
        "registered/phase_1.nrrd" in still.manifest.outputs and "registered/phase_1.nrrd" not in plain.manifest.outputs
    )
    (ours,) = [m for m in metrics if (m.compared, m.region) == ("synthetic", "whole image")]
    before = json.loads((tmp_path / "still" / "manifest.json").read_text())["inputs"][1]["motion"]
    assert before["kept"] and ours.values["mae"] < 15
