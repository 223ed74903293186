"""Preparing BIDS-like folders of dynamic series and pairs of mammograms."""

import dataclasses
import json

import numpy as np
import pytest
import SimpleITK as sitk
from duke_samples import main, phantom, stored
from VirtualContrastLib.events import InputError
from VirtualContrastLib.synthesis import registration
from VirtualContrastTrainingLib.data.cases import load_case
from VirtualContrastTrainingLib.data.dynamic_files import read_volume_files
from VirtualContrastTrainingLib.data.dynamic_series import read_dicom_dynamic
from VirtualContrastTrainingLib.data.mammograms import split_combined
from VirtualContrastTrainingLib.data.phantom.dicom import write_dicom_study


@pytest.fixture(scope="module")
def made():
    return phantom(5, (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0), (130.0, -80.0, 33.0))


def write_volumes(folder, made, names, sidecar=None):
    folder.mkdir(parents=True)
    for n, (image, name) in enumerate(zip(made.images, names, strict=True)):
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
        if sidecar:
            (folder / f"{name}.json").write_text(json.dumps(sidecar(n)))


def prepare(root, output, *more):
    return main(["prepare", "dynamic", str(root), "-o", str(output), *more])


def description(output, case):
    return json.loads((output / case / "case.json").read_text())


def assert_voxels(folder, made):
    for volume, truth in zip(stored(folder)[0], made.images, strict=True):
        assert np.array_equal(volume, sitk.GetArrayFromImage(truth))


def test_files_are_ordered_by_their_sidecars_and_not_by_name(made, tmp_path):
    clock = ["23:10:00.5", "23:11:30.5", "23:13:40.5", "23:15:50.5"]
    names = ["sub-01_run-4_dce", "sub-01_run-2_dce", "sub-01_run-3_dce", "sub-01_run-1_dce"]
    write_volumes(tmp_path / "in" / "sub-01" / "dce", made, names, lambda n: {"AcquisitionTime": clock[n]})
    assert prepare(tmp_path / "in", tmp_path / "out") == 0
    case = load_case(tmp_path / "out" / "sub-01")
    assert_voxels(tmp_path / "out" / "sub-01", made)
    assert case.times_s == pytest.approx((0.0, 90.0, 220.0, 350.0))
    assert description(tmp_path / "out", "sub-01")["ordered_by"] == "sidecar AcquisitionTime"


def test_files_without_times_go_by_number_with_a_warning_and_take_given_times(made, tmp_path):
    names = [f"DUKE_001_{n:04d}" for n in (0, 1, 2, 10)]
    write_volumes(tmp_path / "in" / "DUKE_001", made, names)
    (tmp_path / "labels").mkdir()
    sitk.WriteImage(made.labels, str(tmp_path / "labels" / "DUKE_001.nii.gz"))
    assert prepare(tmp_path / "in", tmp_path / "out", "--lesions", str(tmp_path / "labels")) == 0
    assert_voxels(tmp_path / "out" / "DUKE_001", made)
    assert load_case(tmp_path / "out" / "DUKE_001").times_s == (None,) * 4
    assert np.array_equal(stored(tmp_path / "out" / "DUKE_001")[1], sitk.GetArrayFromImage(made.labels))
    found = description(tmp_path / "out", "DUKE_001")
    assert found["lesion_source"] == "segmentation"
    assert "ordered by file name" in found["warnings"][0]
    (tmp_path / "times.csv").write_text("case,times\nDUKE_001,0,80,160,240\n")
    assert prepare(tmp_path / "in", tmp_path / "timed", "--times", str(tmp_path / "times.csv")) == 0
    assert load_case(tmp_path / "timed" / "DUKE_001").times_s == (0.0, 80.0, 160.0, 240.0)


def test_pre_comes_first_by_name_and_a_mask_beside_the_images_is_the_lesions(made, tmp_path):
    write_volumes(tmp_path / "in" / "a", made, ["zz_pre", "phase_1", "phase_2", "phase_3"])
    sitk.WriteImage(made.labels, str(tmp_path / "in" / "a" / "tumor_mask.nrrd"))
    assert prepare(tmp_path / "in", tmp_path / "out") == 0
    assert_voxels(tmp_path / "out" / "a", made)
    assert stored(tmp_path / "out" / "a")[1].any()


def test_a_four_dimensional_file_of_each_session_is_a_case(made, tmp_path):
    for session in ("ses-1", "ses-2"):
        folder = tmp_path / "in" / "sub-07" / session / "dce"
        folder.mkdir(parents=True)
        series = sitk.JoinSeries([sitk.Cast(image, sitk.sitkInt16) for image in made.images])
        sitk.WriteImage(series, str(folder / "sub-07_dce.nii.gz"))
        sitk.WriteImage(made.images[0], str(folder / "sub-07_T2w.nii.gz"))
    assert prepare(tmp_path / "in", tmp_path / "out", "--pattern", "*_dce*") == 0
    for name in ("sub-07_ses-1", "sub-07_ses-2"):
        assert_voxels(tmp_path / "out" / name, made)


def test_dicom_subjects_are_read_by_their_tags(made, tmp_path):
    (tmp_path / "in" / "p1").mkdir(parents=True)
    write_dicom_study(made, ["d", "a", "c", "b"], tmp_path / "in" / "p1")
    assert prepare(tmp_path / "in", tmp_path / "out", "--hold-out", "0.0001") == 0
    assert_voxels(tmp_path / "out" / "train" / "p1", made)


def test_a_first_phase_long_after_the_pre_contrast_volume_is_warned_of(made, tmp_path):
    times = tuple(t + 1200 for t in made.settings.phase_times_s)
    late = dataclasses.replace(made, settings=dataclasses.replace(made.settings, phase_times_s=times))
    told = []
    for name, one in (("usual", made), ("late", late)):
        (tmp_path / name).mkdir()
        write_dicom_study(one, ["d", "a", "c", "b"], tmp_path / name)
        told.append([w for w in read_dicom_dynamic(tmp_path / name).warnings if "not from the injection" in w])
    assert [len(warnings) for warnings in told] == [0, 1]


@pytest.mark.parametrize(
    ("folder", "ordered_by", "times", "size"),
    [
        ("dicom-siemens-enh-vs-classic/enhanced", "acquisition time", [0.0, 1.5, 3.0, 4.5, 6.0], (86, 86, 63)),
        ("dicom-philips/fmri_magdeburg", "acquisition time", [0.0, 2.0, 4.0], (64, 64, 9)),
        # Its temporal position is 1 in all three volumes and no clock runs.
        ("dicom-philips/dti_vanderbilt_3vol", "instance number", [None] * 3, (80, 80, 40)),
    ],
)
def test_scanners_own_files_are_parted_into_phases(shared_data, folder, ordered_by, times, size):
    series = read_dicom_dynamic(shared_data / folder)
    assert series.ordered_by == ordered_by
    assert [phase.time_s for phase in series.phases] == pytest.approx(times)
    assert all(phase.image.GetSize() == size for phase in series.phases)
    arrays = [sitk.GetArrayFromImage(phase.image) for phase in series.phases]
    assert not np.array_equal(arrays[0], arrays[1])


def test_frame_times_of_a_multivolume_file_are_kept(shared_data):
    path = next((shared_data / "pkmodeling-multivolume").rglob("DRO3min3secinf.nrrd"))
    series = read_volume_files([path], None, "dro")
    assert [phase.time_s for phase in series.phases] == pytest.approx(np.arange(60) * 3.0)
    assert series.ordered_by == "frame times"


def test_unequal_grids_other_labels_and_single_volumes_are_listed(made, tmp_path):
    write_volumes(tmp_path / "in" / "ok", made, ["p0", "p1", "p2", "p3"])
    write_volumes(tmp_path / "in" / "moved", made, ["p0", "p1", "p2", "p3"])
    other = sitk.Image(made.images[2])
    other.SetOrigin((0.0, 0.0, 0.0))
    sitk.WriteImage(other, str(tmp_path / "in" / "moved" / "p2.nii.gz"))
    (tmp_path / "in" / "single").mkdir()
    sitk.WriteImage(made.images[0], str(tmp_path / "in" / "single" / "p0.nrrd"))
    (tmp_path / "in" / "empty").mkdir()
    assert prepare(tmp_path / "in", tmp_path / "out") == 4
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    reasons = {entry["case"]: entry["reason"] for entry in index["failed"]}
    assert "phase 2 does not lie on the voxels of phase 0" in reasons["moved"]
    assert "at least two phases" in reasons["single"]
    assert "neither DICOM nor a volume file" in reasons["empty"]


@pytest.mark.parametrize("name", ["a_sub_1", "a-SUB3", "x_subtraction", "a_MIP_2", "a_washout", "a_sub1_reg"])
def test_computed_images_beside_the_phases_are_left_out(made, tmp_path, capsys, name):
    write_volumes(tmp_path / "in" / "sub-01", made, ["sub-01_p0", "sub-01_p1", "sub-01_p2", "sub-01_p3"])
    sitk.WriteImage(made.images[1], str(tmp_path / "in" / "sub-01" / f"{name}.nii.gz"))
    assert prepare(tmp_path / "in", tmp_path / "out") == 0
    assert len(description(tmp_path / "out", "sub-01")["images"]) == 4
    assert f"noted: sub-01: {name}.nii.gz was left out: a subtraction or projection" in capsys.readouterr().out


def test_check_reports_every_case_and_writes_nothing(made, tmp_path, capsys):
    write_volumes(tmp_path / "in" / "good", made, ["p0", "p1", "p2", "p3"])
    write_volumes(tmp_path / "in" / "flat", made, ["p0", "p1", "p2", "p3"])
    sitk.WriteImage(made.images[1] * 0 + 7, str(tmp_path / "in" / "flat" / "p1.nii.gz"))
    (tmp_path / "labels").mkdir()
    assert prepare(tmp_path / "in", tmp_path / "out", "--lesions", str(tmp_path / "labels"), "--check") == 4
    told = capsys.readouterr().out
    assert "failed: flat: phase 1 has one value in every voxel" in told
    assert "noted: good: it has no label file in the folder of lesions" in told
    assert "1 usable, 1 failed, nothing was written" in told
    assert not (tmp_path / "out").exists()


def test_given_times_must_fit(made, tmp_path, capsys):
    write_volumes(tmp_path / "in" / "a", made, ["p0", "p1", "p2", "p3"])
    (tmp_path / "times.csv").write_text("a,0,80,60,240\n")
    assert prepare(tmp_path / "in", tmp_path / "out", "--times", str(tmp_path / "times.csv")) == 2
    assert "do not increase" in capsys.readouterr().err


def test_real_combined_pictures_become_pairs(shared_data, tmp_path):
    root = shared_data / "cem-pairs" / "public"
    assert main(["prepare", "mammograms", str(root), "-o", str(tmp_path), "--workers", "1"]) == 0
    folder = tmp_path / "P6_R_CC"
    low, high = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(folder / n))) for n in ("low_energy.nrrd", "recombined.nrrd")
    )
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(root / "P6_R_CC.png")))
    assert np.array_equal(low[0], picture[:, :256, 0])
    assert np.array_equal(high[0], picture[:, 256:, 1])
    found = json.loads((folder / "case.json").read_text())
    assert found["has_geometry"] is False
    assert len(json.loads((tmp_path / "index.json").read_text())["cases"]) == 4


def test_names_with_dm_and_cm_are_paired_and_one_alone_is_listed(tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    rng = np.random.default_rng(0)
    pixels = {name: rng.integers(0, 255, (40, 30), dtype=np.uint8) for name in ("DM", "CM")}
    for name, array in pixels.items():
        sitk.WriteImage(sitk.GetImageFromArray(array), str(root / f"P1_L_{name}_MLO.png"))
    sitk.WriteImage(sitk.GetImageFromArray(pixels["DM"]), str(root / "P2_R_DM_CC.jpg"))
    command = ["prepare", "mammograms", str(root), "-o", str(tmp_path / "out"), "--pixel-spacing", "0.1"]
    assert main(command) == 4
    image = sitk.ReadImage(str(tmp_path / "out" / "P1_L_MLO" / "recombined.nrrd"))
    assert np.array_equal(sitk.GetArrayFromImage(image)[0], pixels["CM"])
    assert image.GetSpacing() == (0.1, 0.1, 1.0)
    failed = json.loads((tmp_path / "out" / "index.json").read_text())["failed"]
    assert failed == [{"case": "P2_R_CC", "reason": "P2_R_CC has no recombined (CM) image."}]


def test_a_picture_of_other_colors_is_no_pair(tmp_path):
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20, 1] = 200
    sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=True), str(tmp_path / "x.png"))
    with pytest.raises(InputError, match="not a low-energy image in red"):
        split_combined(tmp_path / "x.png")


def test_register_brings_phases_onto_the_first_and_tells_what_was_found(made, tmp_path, monkeypatch):
    monkeypatch.setattr(registration, "SAMPLES", 2000)
    monkeypatch.setattr(registration, "ITERATIONS", 6)
    pre, phase = made.images[:2]
    away = sitk.Resample(phase, phase, sitk.TranslationTransform(3, (4.0, 3.0, 0.0)))
    folder = tmp_path / "in" / "p"
    folder.mkdir(parents=True)
    for number, image in enumerate((pre, away)):
        sitk.WriteImage(image, str(folder / f"p{number}.nii.gz"))
    assert prepare(tmp_path / "in", tmp_path / "still", "--register") == 0
    assert prepare(tmp_path / "in", tmp_path / "plain") == 0
    (found,) = description(tmp_path / "still", "p")["motion"]
    assert found["kept"] and found["similarity_after"] > found["similarity_before"]
    assert "motion" not in description(tmp_path / "plain", "p")
    still, plain = (stored(tmp_path / name / "p")[0] for name in ("still", "plain"))
    assert np.array_equal(still[0], plain[0]), "the pre-contrast volume never moves"
    truth = sitk.GetArrayFromImage(phase).astype(float)
    inner = np.s_[2:-2, 8:-8, 8:-8]
    assert np.abs(still[1] - truth)[inner].mean() < 0.8 * np.abs(plain[1] - truth)[inner].mean()
    assert prepare(tmp_path / "in", tmp_path / "still") == 0
    assert "motion" not in description(tmp_path / "still", "p"), "another setting makes the case anew"
