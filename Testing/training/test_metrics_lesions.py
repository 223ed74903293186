"""Segmentation, mammography and MAMA-SYNTH metrics, and the tables by name."""

import csv
import json
import math

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from program import call
from scipy.spatial.distance import cdist
from skimage import metrics as skimage
from sklearn.metrics import roc_auc_score
from VirtualContrastLib.events import InputError
from VirtualContrastTrainingLib.metrics import mamasynth, mamasynth_classifiers, mammography, radiomics_distance
from VirtualContrastTrainingLib.metrics.images import read_mask
from VirtualContrastTrainingLib.metrics.pairs import Pair
from VirtualContrastTrainingLib.metrics.segmentation import LesionCounts, dice, hd95, hd95_of_challenge, lesion_counts

MASK = arrays(bool, (4, 6, 5))


def disk(center, radius, shape=(40, 44)):
    j, i = np.mgrid[: shape[0], : shape[1]]
    return (j - center[0]) ** 2 + (i - center[1]) ** 2 <= radius**2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_damaged_mask_is_refused_and_no_empty_one(tmp_path, value):
    mask = np.zeros((3, 20, 20), np.float32)
    mask[1, 4:9, 4:9] = value
    sitk.WriteImage(sitk.GetImageFromArray(mask), str(tmp_path / "mask.nrrd"))
    with pytest.raises(InputError, match="not numbers"):
        read_mask(tmp_path / "mask.nrrd")


@given(MASK, MASK)
@settings(max_examples=50, deadline=None)
def test_dice_equals_simpleitk(a, b):
    if not a.any() and not b.any():
        assert dice(a, b) == 1
        return
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*(sitk.GetImageFromArray(x.astype(np.uint8)) for x in (a, b)))
    assert dice(a, b) == pytest.approx(overlap.GetDiceCoefficient())


def surface_points(mask, spacing):
    """Voxels with a face neighbor outside, by looking at each neighbor."""
    padded = np.pad(mask, 1)
    inside = np.ones(mask.shape, bool)
    for axis in range(mask.ndim):
        for step in (-1, 1):
            inside &= np.roll(padded, step, axis)[(slice(1, -1),) * mask.ndim]
    return np.argwhere(mask & ~inside) * spacing


@given(MASK, MASK)
@settings(max_examples=50, deadline=None)
def test_hd95_equals_brute_force_over_surface_points(a, b):
    spacing = np.array([2.0, 0.7, 1.1])
    if not a.any() or not b.any():
        assert hd95(a, b, spacing) == (0 if a.any() == b.any() else math.inf)
        return
    distances = cdist(surface_points(a, spacing), surface_points(b, spacing))
    directed = [np.percentile(distances.min(axis=axis), 95) for axis in (0, 1)]
    assert hd95(a, b, spacing) == pytest.approx(max(directed))


@given(MASK, MASK)
@settings(max_examples=50, deadline=None)
def test_hd95_of_the_challenge_goes_from_surfaces_to_whole_masks_in_both_directions_together(a, b):
    if not a.any() or not b.any():
        assert hd95_of_challenge(a, b) == (0 if a.any() == b.any() else math.inf)
        return
    ones = np.ones(3)
    to_b = cdist(surface_points(a, ones), np.argwhere(b)).min(axis=1)
    to_a = cdist(surface_points(b, ones), np.argwhere(a)).min(axis=1)
    assert hd95_of_challenge(a, b) == pytest.approx(np.percentile(np.concatenate([to_a, to_b]), 95))


def test_hd95_of_a_shifted_square_is_the_shift():
    a = np.zeros((30, 30), bool)
    a[5:15, 5:15] = True
    assert hd95(a, np.roll(a, 4, axis=1), (1.0, 0.5)) == pytest.approx(2.0)


def test_lesions_are_counted_one_by_one():
    truth = disk((8, 8), 3) | disk((30, 30), 4) | disk((30, 8), 2)
    predicted = disk((8, 10), 3) | disk((30, 33), 2) | disk((8, 36), 2)
    assert lesion_counts(predicted, truth) == LesionCounts(lesions=3, found=2, false_positives=1)
    assert lesion_counts(predicted, truth, overlap=0.5).found == 1
    total = lesion_counts(predicted, truth) + lesion_counts(np.zeros_like(truth), truth)
    assert total.sensitivity == pytest.approx(2 / 6)
    assert lesion_counts(truth, np.zeros_like(truth)) == LesionCounts(0, 0, 3)


def test_voxels_that_touch_by_a_corner_are_one_lesion():
    mask = np.zeros((4, 4, 4), bool)
    mask[1, 1, 1] = mask[2, 2, 2] = True
    assert lesion_counts(mask, mask).lesions == 1


def test_cnr_is_the_papers_formula_on_known_tissue():
    image = np.zeros((2, 4))
    image[0], image[1] = [1, 3, 1, 3], [10, 14, 10, 14]
    fat = np.array([[True] * 4, [False] * 4])
    assert mammography.contrast_to_noise(image, fat, ~fat) == pytest.approx(10 / (1 + 2))
    with pytest.raises(ValueError, match="pixels"):
        mammography.contrast_to_noise(image, fat, fat & ~fat)


@pytest.mark.parametrize("name", ["P10_L_CC", "P6_L_MLO"])
def test_change_of_real_mammograms_is_perfect_for_the_real_image_and_poor_for_no_contrast(shared_data, name):
    both = np.asarray(Image.open(shared_data / "cem-pairs" / "public" / f"{name}.png"))
    low, real = both[:, :256].max(axis=2), both[:, 256:].max(axis=2)
    perfect = mammography.change_agreement(low, real, real)
    assert (perfect.mae, perfect.ssim, perfect.pearson) == (0, pytest.approx(1), pytest.approx(1))
    none = mammography.change_agreement(low, real, low)
    assert none.mae == pytest.approx(np.abs(real.astype(float) - low).mean()) and none.pearson is None
    noisy = mammography.change_agreement(low, real, real + np.random.default_rng(0).normal(0, 20, real.shape))
    assert none.ssim < noisy.ssim < 1 and 0.5 < noisy.pearson < 1
    fat, gland = mammography.tissue_masks(low)
    assert not (fat & gland).any() and 0.02 < (fat | gland).mean() < 0.9
    assert mammography.contrast_to_noise(low, fat, gland) > 1


def test_distances_from_the_low_energy_image_and_their_correlation_over_images(shared_data):
    picture = np.asarray(Image.open(next((shared_data / "cem-pairs" / "public").glob("*.png"))))
    low = picture[..., 0][:, : picture.shape[1] // 2].astype(float)
    assert mammography.distance_from_low_energy(low, low, 255.0) == (0, pytest.approx(1))
    error, similarity = mammography.distance_from_low_energy(low, low + 20, 255.0)
    expected = skimage.structural_similarity(
        low, low + 20, data_range=255.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )[1]
    assert error == pytest.approx(20) and similarity == pytest.approx(expected.mean(), abs=2e-3)
    rng = np.random.default_rng(0)
    real = rng.normal(50, 10, 40)
    made = real + rng.normal(0, 3, 40)
    patients = [f"P{n // 2}" for n in range(40)]
    found = mammography.correlation_of(real, made, patients)
    r, (lower, upper) = found.mean, found.ci95
    assert r == pytest.approx(np.corrcoef(real, made)[0, 1]) and lower < r < upper < 1
    assert mammography.correlation_of(real[:2], made[:2], patients[:2]) is None
    assert mammography.correlation_of([1.0] * 5, made[:5], patients[:5]) is None


def mama_case(folder, number, error):
    rng = np.random.default_rng(number)
    real = (mamasynth.MEAN + mamasynth.STD * rng.normal(0, 1, (48, 48))).astype(np.float32)
    synthetic = real + mamasynth.STD * np.float32(error)
    tumor = disk((20, 22), 9, (48, 48)).astype(np.uint8)
    paths = []
    for kind, array in (("images", real), ("out", synthetic), ("masks", tumor), ("found", np.roll(tumor, 2, 1))):
        path = folder / kind / f"case{number}.mha"
        path.parent.mkdir(exist_ok=True)
        sitk.WriteImage(sitk.GetImageFromArray(array[None]), str(path))
        paths.append(path)
    return paths


def test_mama_synth_scores_follow_its_normalization_and_windows(tmp_path):
    cases = []
    for number in range(3):
        real, synthetic, tumor, found = mama_case(tmp_path, number, 0.5)
        cases.append(mamasynth.LesionCase(Pair(real, synthetic, str(number), lesion=tumor), found))
    report = mamasynth.summarize(mamasynth.gather(cases, lpips=None), lpips_missing="no weights")
    assert report.scores["mse"].mean == pytest.approx(0.25, rel=1e-4)
    tumor = disk((20, 22), 9, (48, 48))
    assert report.scores["dice"].mean == pytest.approx(dice(np.roll(tumor, 2, 1), tumor))
    assert report.scores["hausdorff_95"].mean == pytest.approx(2)
    z = [
        mamasynth.z_score(sitk.GetArrayFromImage(sitk.ReadImage(str(p)))[0])
        for p in (cases[0].pair.real, cases[0].pair.synthetic)
    ]
    full = skimage.structural_similarity(z[1], z[0], data_range=10.0, full=True)[1]
    assert mamasynth.tumor_ssim(z[0], z[1], tumor) == pytest.approx(full[tumor].mean())
    assert report.scores["lpips"] is None and report.notes["lpips"] == "no weights"
    assert report.scores["auroc_contrast"] is None and report.scores["auroc_tumor_roi"] is None
    assert report.scores["frd"] is not None or "finite" in report.notes["frd"]


def test_mama_synth_table_is_written_under_its_name(tmp_path, capsys):
    for number in range(2):
        mama_case(tmp_path, number, 0.1 * number)
    result = table(
        capsys,
        tmp_path,
        "mama-synth",
        "--real",
        tmp_path / "images",
        "--synthetic",
        tmp_path / "out",
        "--lesions",
        tmp_path / "masks",
        "--predicted-masks",
        tmp_path / "found",
    )
    assert result["cases"] == 2 and result["mse"]["n"] == 2 and result["dice"]["n"] == 2
    assert "pickled" in (tmp_path / "report" / "mama-synth.html").read_text()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=30))
@settings(max_examples=60, deadline=None)
def test_auroc_equals_scikit_learns_ties_included(rows):
    labels, scores = zip(*rows, strict=True)
    if len(set(labels)) < 2:
        with pytest.raises(ValueError, match="both labels"):
            mamasynth_classifiers.auroc(labels, scores)
        return
    assert mamasynth_classifiers.auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))


def two_breasts(shape=(40, 60), midline=31):
    """z-scores: tissue at 0.5, a dark column between the breasts."""
    image = np.full(shape, 0.5) + 0.01 * np.random.default_rng(0).random(shape)
    image[:, midline] = -2.5
    return image


def test_the_tumor_is_mirrored_at_the_dark_column_between_the_breasts():
    image, tumor = two_breasts(), disk((20, 22), 5, (40, 60))
    region = mamasynth_classifiers.mirrored(image, tumor)
    assert np.array_equal(region, disk((20, 2 * 31 - 22), 5, (40, 60)))
    image[:, 35:] = -3  # the other side is air
    assert mamasynth_classifiers.mirrored(image, tumor) is None
    assert mamasynth_classifiers.mirrored(two_breasts(), disk((20, 31), 5, (40, 60))) is None  # on the midline itself


@pytest.mark.slow
def test_scores_of_the_challenges_classifiers_come_back_as_auroc(tmp_path, capsys):
    for number in range(3):
        mama_case(tmp_path, number, 0.5)
        image = two_breasts((48, 48), 26) + number / 10
        for kind in ("out", "pre"):
            path = tmp_path / kind / f"case{number}.mha"
            path.parent.mkdir(exist_ok=True)
            values = (image if kind == "out" else image.T) * mamasynth.STD + mamasynth.MEAN
            sitk.WriteImage(sitk.GetImageFromArray(values.astype(np.float32)[None]), str(path))
    given = [f"--{name}={tmp_path / folder}" for name, folder in (("real", "images"), ("synthetic", "out"))]
    given += [f"--pre={tmp_path / 'pre'}", f"--lesions={tmp_path / 'masks'}"]
    assert table(capsys, tmp_path, "mama-synth", *given)["auroc_contrast"] is None
    for task in ("contrast", "tumor_roi"):
        rows = list(csv.DictReader((tmp_path / "report" / f"mama-synth-features-{task}.csv").open()))
        assert [(r["case"], r["label"]) for r in rows] == [(str(c), label) for c in (1, 2, 3) for label in "10"]
        assert len(rows[0]) == 2 + 93
        scores = tmp_path / f"{task}.csv"
        lines = [f"{r['case']},{r['label']},{int(r['label']) if n else 0.5}" for n, r in enumerate(rows)]
        scores.write_text("\n".join(["case,label,score", *lines]) + "\n")
        given.append(f"--classifier-scores={task}={scores}")
    found = table(capsys, tmp_path, "mama-synth", *given)
    assert found["auroc_contrast"] == found["auroc_tumor_roi"] == {"mean": 1.0, "n": 6}
    scores.write_text("case,label,score\n1,1,0.5\n")
    with pytest.raises(InputError, match="each of the 6 rows"):
        table(capsys, tmp_path, "mama-synth", *given)


def test_shared_constants_are_those_of_the_challenge(shared_data):
    stats = json.loads((shared_data / "tables" / "mamasynth_training_pre_stats.json").read_text())
    assert (stats["mean"], stats["std"]) == (mamasynth.MEAN, mamasynth.STD)


def table(capsys, tmp_path, name, *arguments):
    assert call("evaluate", "--table", name, "-o", tmp_path / "report", "--json", *arguments) == 0
    return json.loads(capsys.readouterr().out)


def phases(folder):
    """Two prepared cases of three phases and a result folder each, 8-bit."""
    rng = np.random.default_rng(0)
    for case in ("case_1", "case_2"):
        pre = rng.integers(0, 100, (3, 32, 36), dtype=np.uint8)
        for phase in (0, 1, 2, 3):
            name = "pre" if phase == 0 else f"phase_{phase}"
            for root, noise in (("truth", 1), ("runs", 30)):
                path = folder / root / case / ("phases" if root == "runs" else "") / f"{name}.nrrd"
                path.parent.mkdir(parents=True, exist_ok=True)
                post = pre + phase * 20 + rng.integers(0, noise, pre.shape)
                if phase > 0 or root == "truth":
                    sitk.WriteImage(sitk.GetImageFromArray(np.clip(post, 0, 255).astype(np.uint8)), str(path))
        (folder / "truth" / case / "case.json").write_text('{"kind": "phantom"}')
        (folder / "runs" / case / "manifest.json").write_text("{}")
    return folder / "truth", folder / "runs"


@pytest.mark.parametrize(("name", "rows"), [("osuala2025-table2", 3), ("osuala2025-table4", 9)])
def test_tables_of_the_paper_run_on_prepared_cases_and_say_that_they_are_phantoms(tmp_path, capsys, name, rows):
    truth, runs = phases(tmp_path)
    result = table(capsys, tmp_path, name, "--real", truth, "--synthetic", runs)
    assert len(result["rows"]) == rows and result["data"] == "phantoms"
    written = (tmp_path / "report" / f"{name}.csv").read_text().splitlines()
    assert len(written) == 1 + rows + (2 if name == "osuala2025-table2" else 0)  # and those of halves of the patients
    page = (tmp_path / "report" / f"{name}.html").read_text()
    assert "phantoms" in page and "as published" in page
    assert (tmp_path / "report" / f"{name}.png").stat().st_size > 1000
    assert {r["pairs"] for r in result["rows"].values()} == {2}  # two cases; table 2 takes the first phase only
    better = next(r for label, r in result["rows"].items() if "synthetic" in label)
    baseline = next(r for label, r in result["rows"].items() if "baseline" in label)
    assert better["true"]["mse"] < baseline["true"]["mse"]


def test_table_4_needs_phases_in_the_file_names(tmp_path, capsys):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / folder / "x.png")
    with pytest.raises(InputError, match="names no phase"):
        table(capsys, tmp_path, "osuala2025-table4", "--real", tmp_path / "a", "--synthetic", tmp_path / "b")


def test_radiomics_and_feature_distances_join_the_report(tmp_path, capsys):
    for number in range(3):
        for folder, noise in (("real", 10), ("synthetic", 60)):
            rng = np.random.default_rng(number)
            path = tmp_path / folder / f"x_{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray((100 + rng.integers(0, noise, (40, 44))).astype(np.uint8)).save(path)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray((disk((20, 20), 9) * 255).astype(np.uint8)).save(tmp_path / "masks" / f"x_{number}.png")
    words = ["evaluate", "--real", tmp_path / "real", "--synthetic", tmp_path / "synthetic", "--json", "--radiomics"]
    words += ["--lesions", tmp_path / "masks"]
    assert call(*words) == 0
    found = json.loads(capsys.readouterr().out)["radiomics"]
    assert found["frd_v0"] > 1 and found["features"] == 75 and found["n"] == [3, 3]
    assert found["groups"] == list(radiomics_distance.TEXTURE) and "0 is equal" in found["definitions"]["frd_v0"]
    assert call(*words, "--radiomics-groups", "firstorder") == 0
    assert json.loads(capsys.readouterr().out)["radiomics"]["features"] == 18
    with pytest.raises(InputError, match=r"missing\.pt"):
        call(*words, "--fid", "rad=missing.pt")
