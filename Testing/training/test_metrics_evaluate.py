"""The evaluate command and its parts: pairing, streaming, intervals by patient, both columns, reports."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from program import call
from skimage import metrics as skimage
from VirtualContrastLib.events import InputError
from VirtualContrastTrainingLib.metrics.bootstrap import PatientSums
from VirtualContrastTrainingLib.metrics.evaluation import Evaluation, Settings
from VirtualContrastTrainingLib.metrics.pairs import Pair, attach, find_pairs, patient_of
from VirtualContrastTrainingLib.metrics.slice_metrics import SliceMetrics


def run(capsys, *arguments):
    """Run the command and return the printed JSON object."""
    assert call("evaluate", *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def save_png(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def random_pixels(seed, shape=(24, 30)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save_volume(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


def test_case_378_prints_both_columns_on_the_values_as_they_are_in_the_files(
    shared_data, capsys, monkeypatch, tmp_path
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = shared_data / "duke" / "case378"
    paths = [folder / "post1.png", folder / "post1_published_synthetic.png"]
    result = run(capsys, "--real", paths[0], "--synthetic", paths[1])
    real, synthetic = (np.asarray(Image.open(path))[..., 0] for path in paths)
    a, b = real.astype(float), synthetic.astype(float)
    assert result["true"]["mse"] == pytest.approx(np.mean((a - b) ** 2))
    assert result["true"]["psnr"] == pytest.approx(skimage.peak_signal_noise_ratio(a, b, data_range=255))
    assert result["as_published"]["mse"] == pytest.approx(np.mean((b - a) ** 2 % 256))
    assert result["as_published"]["mae"] == pytest.approx(np.mean((b - a) % 256))
    assert set(result["true"]) == set(result["as_published"]) == {"mse", "mae", "psnr", "ssim", "ms_ssim", "lpips"}
    assert result["true"]["lpips"] is None
    assert "alexnet" in result["notes"]["lpips"]
    assert result["data_range"] == 255


def test_a_folder_gives_the_mean_over_images_and_an_interval_by_patient(tmp_path, capsys):
    expected = []
    for number in range(6):
        name = f"Breast_MRI_00{number // 2}_000{{}}_slice{number}.png"
        real, synthetic = random_pixels(number), random_pixels(number + 50)
        save_png(tmp_path / "real" / name.format(1), real)
        save_png(tmp_path / "synthetic" / name.format(0).replace(".png", "_synthesized_image.png"), synthetic)
        expected.append(np.mean((real.astype(float) - synthetic) ** 2))
    result = run(capsys, "--real", tmp_path / "real", "--synthetic", tmp_path / "synthetic", "-o", tmp_path / "out")
    assert result["true"]["mse"] == pytest.approx(np.mean(expected))
    statistics = result["statistics"]["true"]["mse"]
    assert statistics["std"] == pytest.approx(np.std(expected))
    assert (statistics["n"], statistics["patients"]) == (6, 3)
    low, high = statistics["ci95"]
    assert low <= np.mean(expected) <= high
    rows = list(csv.DictReader((tmp_path / "out" / "slices.csv").open()))
    assert [float(row["true.mse"]) for row in rows] == pytest.approx(expected)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Breast_MRI" not in page + json.dumps(result) + (tmp_path / "out" / "slices.csv").read_text()
    assert "as published" in page and (tmp_path / "out" / "metrics.png").stat().st_size > 1000


def test_one_slice_missing_is_an_error_and_never_shifts_the_pairs(tmp_path):
    for number in range(3):
        save_png(tmp_path / "real" / f"a_{number}.png", random_pixels(number))
        if number != 1:
            save_png(tmp_path / "synthetic" / f"a_{number}.png", random_pixels(number))
    with pytest.raises(InputError, match=r"1 of 3 names have no partner, the first is a_1\.png"):
        find_pairs(tmp_path / "real", tmp_path / "synthetic")


def test_tables_pair_by_row_and_carry_patients_and_masks(tmp_path, capsys):
    for name, seed in (("r0", 0), ("s0", 1), ("r1", 2), ("s1", 3)):
        save_png(tmp_path / "images" / f"{name}.png", random_pixels(seed))
    mask = np.zeros((24, 30), np.uint8)
    mask[3:9, 5:20] = 255
    save_png(tmp_path / "images" / "mask.png", mask)
    table = tmp_path / "pairs.csv"
    table.write_text(
        "real,synthetic,patient,lesion\nimages/r0.png,images/s0.png,A,images/mask.png\nimages/r1.png,images/s1.png,B,\n"
    )
    result = run(capsys, "--real", table, "--synthetic", table)
    assert (result["pairs"], result["patients"]) == (2, 2)
    inside = result["statistics"]["true_in_lesion"]["mse"]
    difference = random_pixels(0).astype(float) - random_pixels(1)
    assert inside["n"] == 1
    assert inside["mean"] == pytest.approx(np.mean(difference[mask > 0] ** 2))


def test_two_tables_of_paths_are_paired_by_case(tmp_path):
    for name in ("r0", "s0", "r1", "s1"):
        save_png(tmp_path / f"{name}.png", random_pixels(0))
    (tmp_path / "a.csv").write_text("case,path\nx,r0.png\ny,r1.png\n")
    (tmp_path / "b.csv").write_text("case,path\ny,s1.png\nx,s0.png\n")
    pairs = find_pairs(tmp_path / "a.csv", tmp_path / "b.csv")
    assert [(p.real.name, p.synthetic.name, p.patient) for p in pairs] == [
        ("r0.png", "s0.png", "x"),
        ("r1.png", "s1.png", "y"),
    ]


def test_subtraction_of_8_bit_images_is_signed_for_truth_and_saturating_as_published(tmp_path, capsys):
    real, synthetic, pre = (random_pixels(seed) for seed in (1, 2, 3))
    paths = [save_png(tmp_path / f"{n}.png", x) for n, x in (("real", real), ("synthetic", synthetic), ("pre", pre))]
    arguments = ("--real", paths[0], "--synthetic", paths[1], "--pre", paths[2])
    signed, clipped = run(capsys, *arguments), run(capsys, *arguments, "--subtraction", "clipped")
    r, s, p = (x.astype(float) for x in (real, synthetic, pre))
    assert signed["true"]["mse"] == pytest.approx(np.mean((s - r) ** 2))
    cut = np.maximum(s - p, 0) - np.maximum(r - p, 0)
    assert clipped["true"]["mse"] == pytest.approx(np.mean(cut**2))
    assert signed["as_published"]["mse"] == clipped["as_published"]["mse"] == pytest.approx(np.mean(cut**2 % 256))


def test_identical_images_have_no_finite_psnr_and_say_so(tmp_path, capsys):
    path = save_png(tmp_path / "a.png", random_pixels(0))
    result = run(capsys, "--real", path, "--synthetic", path)
    assert result["true"]["mse"] == 0 and result["true"]["ssim"] == pytest.approx(1)
    assert result["true"]["psnr"] is None and "infinite" in result["notes"]["psnr"]


def test_a_metric_that_came_to_no_number_is_told_by_its_own_name(tmp_path, monkeypatch):
    def broken(self, loaded, k):
        return {("true", "ssim"): float("nan") if k == 0 else 0.5}

    monkeypatch.setattr(SliceMetrics, "of_slice", broken)
    monkeypatch.setattr(SliceMetrics, "of_volume", lambda self, loaded: {})
    for name, seed in (("a.nrrd", 1), ("b.nrrd", 2)):
        save_volume(tmp_path / name, random_pixels(seed, (3, 24, 30)))
    evaluation = Evaluation(Settings())
    evaluation.add(Pair(tmp_path / "a.nrrd", tmp_path / "b.nrrd", "x"))
    report = evaluation.report()
    assert "NaN" in report.notes["ssim"]
    assert "psnr" not in report.notes


def test_sizes_that_differ_are_refused(tmp_path):
    a = save_png(tmp_path / "a.png", random_pixels(0))
    b = save_png(tmp_path / "b.png", random_pixels(0, (25, 30)))
    with pytest.raises(InputError, match="1 x 24 x 30"):
        Evaluation().add(Pair(a, b, "1"))


@pytest.mark.parametrize("flip", [False, True])
def test_volumes_at_different_places_are_refused(tmp_path, flip):
    pixels = random_pixels(0, (12, 20, 22))
    a = save_volume(tmp_path / "a.nrrd", pixels)
    moved = sitk.GetImageFromArray(pixels)
    if flip:
        moved.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, 1))
    else:
        moved.SetOrigin((0, 0, 0.5))
    sitk.WriteImage(moved, str(tmp_path / "b.nrrd"))
    with pytest.raises(InputError, match="lies elsewhere"):
        Evaluation().add(Pair(a, tmp_path / "b.nrrd", "1"))


def test_8_bit_volumes_keep_the_files_values_in_both_columns(tmp_path, capsys):
    real, synthetic = random_pixels(1, (3, 20, 22)), random_pixels(2, (3, 20, 22))
    paths = [save_volume(tmp_path / f"{n}.nii.gz", x) for n, x in (("real", real), ("synthetic", synthetic))]
    result = run(capsys, "--real", paths[0], "--synthetic", paths[1])
    difference = synthetic.astype(int) - real
    assert result["data_range"] == 255 and "as_published" not in result["notes"]
    assert result["true"]["mse"] == pytest.approx(np.mean(difference**2))
    assert result["as_published"]["mse"] == pytest.approx(np.mean(difference**2 % 256))
    assert result["as_published"]["mae"] == pytest.approx(np.mean(difference % 256))


def test_a_volume_is_measured_per_slice_and_as_a_whole(tmp_path, capsys):
    pytest.importorskip("VirtualContrastLib.io.read", reason="the engine's reader is not built yet")
    rng = np.random.default_rng(0)
    real = (rng.random((12, 20, 22)) * 900).astype(np.float32)
    synthetic = real + rng.normal(0, 30, real.shape).astype(np.float32)
    paths = [save_volume(tmp_path / f"{n}.nrrd", x) for n, x in (("real", real), ("synthetic", synthetic))]
    result = run(capsys, "--real", paths[0], "--synthetic", paths[1])
    data_range = float(np.ptp(real))
    assert result["data_range"] == pytest.approx(data_range)
    volume = result["statistics"]["true_per_volume"]
    assert volume["psnr"]["mean"] == pytest.approx(
        skimage.peak_signal_noise_ratio(real, synthetic, data_range=data_range)
    )
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": data_range}
    assert volume["ssim"]["mean"] == pytest.approx(skimage.structural_similarity(real, synthetic, **options), abs=1e-6)
    per_slice = [
        skimage.structural_similarity(r.astype(float), s.astype(float), **options)
        for r, s in zip(real, synthetic, strict=True)
    ]
    assert result["true"]["ssim"] == pytest.approx(np.mean(per_slice), abs=1e-6)
    assert set(result["as_published"].values()) == {None}
    assert "8-bit values as they are in the files" in result["notes"]["as_published"]
    scaled = run(capsys, "--real", paths[0], "--synthetic", paths[1], "--protocol", "spie2024")
    assert scaled["as_published"]["mse"] < 250 and "min-max" in scaled["notes"]["as_published"]


def test_prepared_cases_and_result_folders_are_paired_by_phase(tmp_path):
    for case in ("case_1", "case_2"):
        for name in ("pre.nrrd", "phase_1.nrrd", "phase_2.nrrd", "lesions.nrrd", "case.json"):
            path = tmp_path / "truth" / case / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        for name in (
            "manifest.json",
            "lesions.seg.nrrd",
            "phases/phase_1.nrrd",
            "phases/phase_2.nrrd",
            "subtraction/phase_1.nrrd",
        ):
            path = tmp_path / "runs" / case / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    for case in ("case_1", "case_2"):
        (tmp_path / "runs" / case / "manifest.json").write_text("{}")
    pairs = find_pairs(tmp_path / "truth", tmp_path / "runs")
    assert [(p.patient, p.real.name, p.synthetic.parent.name) for p in pairs] == [
        (case, f"phase_{n}.nrrd", "phases") for case in ("case_1", "case_2") for n in (1, 2)
    ]
    assert all(p.lesion is not None and p.pre is not None for p in pairs)


def test_phases_that_a_model_read_need_no_synthetic_partner_but_missing_ones_do(tmp_path):
    for case in ("case_1", "case_2"):
        for number in (1, 2, 3):
            save_volume(tmp_path / "truth" / case / f"phase_{number}.nrrd", random_pixels(number, (2, 12, 12)))
            if number > 1:
                save_volume(tmp_path / "runs" / case / "phases" / f"phase_{number}.nrrd", random_pixels(9, (2, 12, 12)))
        (tmp_path / "truth" / case / "case.json").write_text("{}")
    pairs = find_pairs(tmp_path / "truth", tmp_path / "runs")
    assert [pair.real.name for pair in pairs] == ["phase_2.nrrd", "phase_3.nrrd"] * 2
    (tmp_path / "runs" / "case_2" / "phases" / "phase_3.nrrd").unlink()
    with pytest.raises(InputError, match=r"1 of 4 names have no partner, the first is case_2/phase_3\.nrrd"):
        find_pairs(tmp_path / "truth", tmp_path / "runs")
    (tmp_path / "runs" / "case_1" / "phases" / "phase_3.nrrd").unlink()  # now no case has it: none was to be made
    pairs = find_pairs(tmp_path / "truth", tmp_path / "runs")
    assert [pair.real.name for pair in pairs] == ["phase_2.nrrd"] * 2


def test_linked_case_folders_are_followed_and_a_link_to_the_parent_ends(tmp_path):
    save_png(tmp_path / "elsewhere" / "a_1.png", random_pixels(0))
    for name in ("real", "synthetic"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "case").symlink_to(tmp_path / "elsewhere")
        (tmp_path / name / "again").symlink_to(tmp_path / name)
    assert len(find_pairs(tmp_path / "real", tmp_path / "synthetic")) == 1


def test_masks_are_attached_by_the_name_of_the_real_image(tmp_path):
    for folder in ("real", "synthetic", "masks"):
        for number in (0, 1) if folder != "masks" else (1,):
            save_png(tmp_path / folder / f"x_{number}.png", random_pixels(0))
    pairs = attach(find_pairs(tmp_path / "real", tmp_path / "synthetic"), "lesion", tmp_path / "masks")
    assert [p.lesion is not None for p in pairs] == [False, True]


def test_patients_without_a_tumor_do_not_count_among_those_of_tumor_slices(tmp_path):
    rng = np.random.default_rng(2)
    pairs = []
    for patient, shown in (("with", 2), ("without", 0)):
        real, synthetic = (save_volume(tmp_path / f"{patient}_{n}.nrrd", rng.random((6, 20, 24))) for n in "rs")
        lesion = np.zeros((6, 20, 24), np.uint8)
        lesion[1 : 1 + shown, 5:9, 5:9] = 1
        pairs.append(Pair(real, synthetic, patient, lesion=save_volume(tmp_path / f"{patient}_m.nrrd", lesion)))
    evaluation = Evaluation(Settings(slice_margin=0.0, repeats=5))
    assert all(map(evaluation.try_add, pairs))
    found = evaluation.report()
    assert (found.slices, found.patients) == (2, 1)
    alone = Evaluation(Settings(slice_margin=0.0, repeats=5))
    alone.add(pairs[1])
    with pytest.raises(InputError, match="Images whose lesion mask is empty have no slice with a tumor"):
        alone.report()


def test_interval_by_patient_is_wider_than_by_slice_when_slices_of_a_patient_agree():
    rng = np.random.default_rng(3)
    by_patient, by_slice = PatientSums(), PatientSums()
    for patient in range(12):
        level = rng.normal()
        for k in range(40):
            by_patient.add(patient, level + 0.01 * rng.normal())
            by_slice.add((patient, k), level)
    wide, narrow = by_patient.summary(), by_slice.summary()
    assert np.ptp(wide.ci95) > 3 * np.ptp(narrow.ci95)


def test_bootstrap_interval_covers_the_true_mean_about_as_often_as_it_claims():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        sums = PatientSums()
        for patient, value in enumerate(rng.normal(5, 2, 40)):
            sums.add(patient, value)
        summary = sums.summary(repeats=400)
        covered += summary.ci95[0] <= 5 <= summary.ci95[1]
    assert 0.88 <= covered / 200 <= 0.99


@pytest.mark.slow
def test_memory_of_an_evaluation_does_not_grow_with_slices(tmp_path):
    import gc
    import tracemalloc

    pair = Pair(save_png(tmp_path / "a.png", random_pixels(0)), save_png(tmp_path / "b.png", random_pixels(1)), "p")
    evaluation = Evaluation(Settings(repeats=10))
    tracemalloc.start()
    held = []
    for count in (100, 200, 200, 200):
        for _ in range(count):
            evaluation.add(pair)
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    # What other libraries keep comes in jumps, a leak in every round; 50 bytes a slice are less than two numbers.
    assert min(np.diff(held)) < 200 * 50


@pytest.mark.parametrize("suffix", [".png", ".nii.gz", ".nrrd"])
def test_published_errors_are_numpys_uint8_arithmetic_on_the_values_in_the_files(tmp_path, capsys, suffix):
    shape = (1, 24, 30) if suffix == ".png" else (5, 24, 30)
    real, synthetic = random_pixels(1, shape), random_pixels(2, shape)
    paths = []
    for name, pixels in (("real", real), ("synthetic", synthetic)):
        path = tmp_path / f"{name}{suffix}"
        paths.append(save_png(path, pixels[0]) if suffix == ".png" else save_volume(path, pixels))
    found = run(capsys, "--real", paths[0], "--synthetic", paths[1])["as_published"]
    wrapped = synthetic - real  # uint8, wraps
    assert wrapped.dtype == np.uint8
    assert found["mae"] == pytest.approx(wrapped.mean())
    assert found["mse"] == pytest.approx((wrapped * wrapped).mean())
    per_slice = [10 * np.log10(float(r.max()) ** 2 / (d * d).mean()) for r, d in zip(real, wrapped, strict=True)]
    assert found["psnr"] == pytest.approx(np.mean(per_slice))


def test_a_mixed_pair_of_8_bit_and_float_files_has_no_published_numbers(tmp_path, capsys):
    real = save_volume(tmp_path / "real.nrrd", random_pixels(1, (3, 24, 30)))
    synthetic = save_volume(tmp_path / "synthetic.nrrd", random_pixels(2, (3, 24, 30)) * np.float32(1.01))
    found = run(capsys, "--real", real, "--synthetic", synthetic)
    assert set(found["as_published"].values()) == {None} and found["true"]["mse"] > 0
    assert "8-bit values as they are in the files" in found["notes"]["as_published"]


def test_names_tell_patients_only_where_the_number_is_a_slices():
    names = {"case378.png": "case378", "case_378.png": "case_378", "P10_slice3.png": "P10", "P10_003.png": "P10"}
    names |= {"Breast_MRI_041_0001_slice88.png": "Breast_MRI_041", "x/3.png": "x", "7.png": "7"}
    assert {name: patient_of(Path(name)) for name in names} == names


def test_failures_name_files_by_their_part_and_a_single_error_is_said_once(tmp_path, capsys):
    for folder, size in (("ra", 24), ("rb", 20)):
        save_png(tmp_path / folder / "P1.png", random_pixels(1, (24, 24)))
        save_png(tmp_path / folder / "P2.png", random_pixels(2, (size, 24)))
    assert call("evaluate", "--real", tmp_path / "ra", "--synthetic", tmp_path / "rb", "--json") == 4
    failed = json.loads(capsys.readouterr().out)["failed"]
    assert failed[0]["reason"].startswith("[real] has 1 x 24 x 24 pixels") and "[synthetic] 1 x 20 x 24" in str(failed)
    capsys.readouterr()
    one = ("--real", tmp_path / "ra" / "P2.png", "--synthetic", tmp_path / "rb" / "P2.png")
    with pytest.raises(InputError, match="a pair must have one size"):
        call("evaluate", *one)
    assert capsys.readouterr().err == ""


def test_every_number_has_a_definition_with_its_range(tmp_path, capsys):
    paths = [save_png(tmp_path / f"{n}.png", random_pixels(n)) for n in (1, 2)]
    found = run(capsys, "--real", paths[0], "--synthetic", paths[1])
    for column, prefix in (("true", ""), ("as_published", "as_published.")):
        assert found[column]
        for metric in found[column]:
            said = found["definitions"][prefix + metric]
            assert any(word in said for word in ("0 and up", "higher is", " to ", "dB")), said


@pytest.mark.parametrize("radiomics", [(), ("--radiomics",)])
def test_an_evaluation_that_fails_leaves_nothing(tmp_path, radiomics):
    """No pair that fits, and (without masks) no lesions for the last measure: the pairs' rows are there by then."""
    shape = (24, 24) if radiomics else (20, 24)
    paths = [
        save_png(tmp_path / "a.png", random_pixels(1, (24, 24))),
        save_png(tmp_path / "b.png", random_pixels(2, shape)),
    ]
    out = tmp_path / "made" / "out"
    with pytest.raises(InputError):
        call("evaluate", "--real", paths[0], "--synthetic", paths[1], "-o", out, *radiomics)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
    out.mkdir(parents=True)
    (out / "slices.csv").write_text("of before")
    with pytest.raises(InputError):
        call("evaluate", "--real", paths[0], "--synthetic", paths[1], "-o", out, *radiomics)
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [("slices.csv", "of before")]
