"""Tables and reports on phantoms and on files: segmentation, mammography, failed pairs, what is said of the data."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from program import call
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.package import ModelCard, save_package
from VirtualContrastLib.networks.architectures import architecture
from VirtualContrastLib.networks.pix2pixhd import build_generator
from VirtualContrastLib.synthesis.synthesizer import Synthesis
from VirtualContrastTrainingLib.commands import evaluate as command
from VirtualContrastTrainingLib.commands import kinetics
from VirtualContrastTrainingLib.data.mammogram_phantom import write_phantom_pair
from VirtualContrastTrainingLib.data.phantom import PhantomSettings
from VirtualContrastTrainingLib.metrics.mammography import change_agreement, contrast_to_noise, halo, tissue_masks
from VirtualContrastTrainingLib.metrics.pairs import find_pairs
from VirtualContrastTrainingLib.papers import phantom_cohort
from VirtualContrastTrainingLib.papers.tables import TableOptions, write_named_table

SMALL = PhantomSettings(
    size_kji=(8, 48, 64), spacing_kji_mm=(15.0, 4.0, 4.0), lesion_count_weights=(0, 1), lesion_radius_mm=(10, 14)
)


def package(folder, times=(90.0, 220.0, 350.0), seed=0):
    """A pix2pixHD generator of random weights as a model package."""
    import torch

    card = ModelCard.model_validate(
        {
            "id": "random",
            "version": "1",
            "title": "Random generator",
            "architecture": {
                "name": "pix2pixhd",
                "config": {"input_nc": 1, "output_nc": 3, "ngf": 4, "n_downsample_global": 1, "n_blocks_global": 1},
            },
            "inputs": {},
            "outputs": {"channel_phases": [1, 2, 3], "times_s": list(times)},
            "intensity": {"recipe": "pre_percentile", "constants": {"max_ratio": 4.0}},
            "in_plane": {"pad_multiple": 4},
            "trained_on_phantoms": True,
            "license": "Apache-2.0",
        }
    )
    torch.manual_seed(seed)
    save_package(folder, card, build_generator(card.architecture.config).state_dict(), model_card_md="# Random\n")
    return folder


@pytest.fixture
def small_phantoms(monkeypatch, tmp_path):
    """Phantoms of a few voxels, no LPIPS weights, and a model package."""
    monkeypatch.setattr(phantom_cohort, "SETTINGS", SMALL)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return package(tmp_path / "model", times=(100.0, 200.0, 300.0))


def run(capsys, module, *arguments, code=0):
    assert call(module.__name__.rpartition(".")[2], *arguments, "--json") == code
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


def write(path, array, spacing=(2.0, 2.0, 3.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))


def test_evaluate_without_images_runs_on_phantoms_and_every_output_says_so(small_phantoms, tmp_path, capsys):
    out = tmp_path / "out"
    result, _ = run(capsys, command, "--phantoms", 2, "--model", small_phantoms, "-o", out)
    assert (result["pairs"], result["patients"], result["slices"]) == (6, 2, 48)
    for text in (result["data"], (out / "report.html").read_text(), (out / "metrics.json").read_text()):
        assert "2 phantoms" in text and "random" in text and "no patient data" in text
    assert result["statistics"]["true_in_lesion"]["mse"]["n"] > 0


@pytest.mark.parametrize("name", ["osuala2025-table2", "osuala2025-table3", "osuala2025-table4", "mama-synth"])
def test_every_table_of_mr_runs_on_phantoms(small_phantoms, tmp_path, capsys, name):
    out = tmp_path / "out"
    result, _ = run(capsys, command, "--table", name, "--phantoms", 2, "--model", small_phantoms, "-o", out)
    assert result["table"] == name and "2 phantoms" in result["data"]
    for suffix in ("csv", "json", "png", "html"):
        assert (out / f"{name}.{suffix}").stat().st_size > 50
    assert "2 phantoms" in (out / f"{name}.html").read_text()


def test_kinetics_without_input_runs_on_phantoms_at_the_models_phase_times(small_phantoms, tmp_path, capsys):
    result, _ = run(capsys, kinetics, "--phantoms", 2, "--model", small_phantoms, "-o", tmp_path / "out")
    assert "2 phantoms" in result["data"] and result["cases"] == 2
    times = {row["time_s"] for row in csv.DictReader((tmp_path / "out" / "curves.csv").open())}
    assert times == {"0.0", "100.0", "200.0", "300.0"}


def test_a_missing_model_and_half_of_the_input_are_said(tmp_path, capsys):
    with pytest.raises(InputError, match="no-such-model"):
        run(capsys, command, "--model", "no-such-model")
    with pytest.raises(InputError, match="go together"):
        run(capsys, command, "--synthetic", tmp_path)


def random_volume(seed, shape=(3, 20, 22)):
    return (np.random.default_rng(seed).random(shape) * 900).astype(np.float32)


@pytest.mark.parametrize(
    "broken",
    [np.full((3, 20, 22), 5, np.float32), np.ones((1, 2, 2), np.float32), np.full((3, 20, 22), np.nan, np.float32)],
    ids=["constant", "tiny", "NaN"],
)
def test_a_broken_synthetic_volume_is_listed_and_the_others_are_measured(tmp_path, capsys, broken):
    for name in ("Breast_MRI_001", "Breast_MRI_002", "Breast_MRI_003"):
        write(tmp_path / "real" / f"{name}.nrrd", random_volume(1))
        write(tmp_path / "made" / f"{name}.nrrd", broken if name.endswith("2") else random_volume(2))
    arguments = ("--real", tmp_path / "real", "--synthetic", tmp_path / "made", "-o", tmp_path / "out")
    result, said = run(capsys, command, *arguments, code=4)
    assert result["pairs"] == 2 and [failure["pair"] for failure in result["failed"]] == [1]
    assert result["true"]["mse"] == pytest.approx(np.mean((random_volume(1) - random_volume(2).astype(float)) ** 2))
    assert "Breast_MRI_002" in said and "Breast_MRI" not in json.dumps(result)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "1 pairs could not be measured" in page and "Breast_MRI" not in page
    rows = list(csv.DictReader((tmp_path / "out" / "slices.csv").open()))
    assert sorted({row["pair"] for row in rows}) == ["0", "2"]


def test_when_every_pair_is_broken_the_first_reason_is_the_error(tmp_path, capsys):
    write(tmp_path / "real.nrrd", random_volume(1))
    write(tmp_path / "made.nrrd", random_volume(1) * 0)
    with pytest.raises(InputError, match="same value"):
        run(capsys, command, "--real", tmp_path / "real.nrrd", "--synthetic", tmp_path / "made.nrrd")


def test_an_empty_lesion_mask_is_no_failure(tmp_path, capsys):
    for name, array in (("real", random_volume(1)), ("made", random_volume(2))):
        write(tmp_path / f"{name}.nrrd", array)
    write(tmp_path / "mask.nrrd", np.zeros((3, 20, 22), np.uint8))
    paths = [tmp_path / f"{name}.nrrd" for name in ("real", "made", "mask")]
    result, _ = run(capsys, command, "--real", paths[0], "--synthetic", paths[1], "--lesions", paths[2])
    assert result["pairs"] == 1 and "true_in_lesion" not in result["statistics"]


def cube(*corners, side=4, shape=(10, 24, 30)):
    mask = np.zeros(shape, np.uint8)
    for k, j, i in corners:
        mask[k : k + side, j : j + side, i : i + side] = 1
    return mask


def test_segmentation_table_has_the_known_measures_of_shifted_and_missed_lesions(tmp_path, capsys):
    truth = {"a": cube((2, 4, 4), (2, 14, 20)), "b": cube((4, 10, 10)), "c": cube((1, 1, 1))}
    folders = {
        "exact": dict(truth),
        "shifted": {"a": np.roll(truth["a"], 1, axis=2), "b": truth["b"] * 0, "c": truth["c"]},
    }
    folders["shifted"]["c"] = truth["c"] + cube((5, 18, 20))
    for name, mask in truth.items():
        write(tmp_path / "truth" / f"{name}.nii.gz", mask)
        for scenario, masks in folders.items():
            write(tmp_path / scenario / f"{name}.nii.gz", masks[name])
    arguments = ["--table", "osuala2025-table3", "--real", tmp_path / "truth", "-o", tmp_path / "out"]
    for scenario in folders:
        arguments += ["--scenario", f"{scenario}={tmp_path / scenario}"]
    found, _ = run(capsys, command, *arguments)
    exact, shifted = (found["scenarios"][name] for name in folders)
    assert (exact["dice"]["mean"], exact["hd95"]["mean"], exact["sensitivity"]["mean"]) == (1, 0, 1)
    assert shifted["dice"]["mean"] == pytest.approx((0.75 + 0 + 2 / 3) / 3)
    assert shifted["hd95"]["n"] == 2 and shifted["hd95"]["patients"] == 2
    assert shifted["sensitivity"]["mean"] == pytest.approx(3 / 4)
    assert shifted["false_positives"]["mean"] == pytest.approx(1 / 3)
    low, high = shifted["dice"]["ci95"]
    assert 0 <= low < shifted["dice"]["mean"] < high <= 0.75
    rows = list(csv.DictReader((tmp_path / "out" / "osuala2025-table3.csv").open()))
    assert [row["scenario"] for row in rows] == ["exact", "shifted"] and rows[0]["Dice"] == "1.0"
    assert found["data"] == "images given"


def test_a_case_without_prediction_or_on_another_grid_is_left_out_and_said(tmp_path, capsys):
    for name in ("a", "b", "c"):
        write(tmp_path / "truth" / f"{name}.nrrd", cube((2, 4, 4)))
    write(tmp_path / "found" / "a.nrrd", cube((2, 4, 4)))
    write(tmp_path / "found" / "c.nrrd", cube((2, 4, 4)), spacing=(2.0, 2.0, 4.0))
    arguments = ["--table", "osuala2025-table3", "--real", tmp_path / "truth", "-o", tmp_path / "out"]
    found, said = run(capsys, command, *arguments, "--scenario", f"one={tmp_path / 'found'}", code=4)
    assert (found["scenarios"]["one"]["cases"], found["scenarios"]["one"]["failed"]) == (1, 2)
    assert "no predicted label map" in said and "grid" in said
    with pytest.raises(InputError, match="--scenario"):
        run(capsys, command, *arguments)


def mammograms(shared_data, folder):
    """Real low-energy and recombined images, and a synthetic one halfway between them, as files."""
    for name in ("P10_L_CC", "P6_L_MLO"):
        both = np.asarray(Image.open(shared_data / "cem-pairs" / "public" / f"{name}.png"))
        low, real = both[:, :256].max(axis=2), both[:, 256:].max(axis=2)
        made = np.rint((low.astype(float) + real) / 2).astype(np.uint8)
        for kind, pixels in (("low", low), ("real", real), ("made", made)):
            (folder / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / kind / f"{name}.png")
        yield low, real, made


def test_mammography_table_is_the_papers_formulas_on_real_images(shared_data, tmp_path, capsys):
    images = list(mammograms(shared_data, tmp_path))
    arguments = ("--pre", tmp_path / "low", "--real", tmp_path / "real", "--synthetic", tmp_path / "made")
    found, _ = run(capsys, command, "--table", "cem-change", *arguments, "-o", tmp_path / "out")
    line = found["baselines"]["straight line"]
    errors = []
    for (low, real, _), (other_low, other_real, _) in zip(images, images[::-1], strict=True):
        inside = np.logical_or(*tissue_masks(other_low))  # fitted by numpy on the image of the other patient
        slope, intercept = np.polyfit(other_low[inside].astype(float), other_real[inside].astype(float), 1)
        breast = np.logical_or(*tissue_masks(low))
        errors.append(np.abs((intercept + slope * low - real)[breast]).mean())
    assert line["change_mae"]["mean"] == pytest.approx(np.mean(errors), rel=1e-4)
    copied = found["baselines"]["copy of the low-energy image"]
    assert copied["mae_synthetic"]["mean"] == 0 and copied["change_pearson"] is None
    assert any("no evidence" in note for note in found["notes"])
    masks = [tissue_masks(low) for low, _, _ in images]
    cnr = np.mean([contrast_to_noise(made, *m) for (_, _, made), m in zip(images, masks, strict=True)])
    assert found["measures"]["cnr_synthetic"]["mean"] == pytest.approx(cnr)
    changes = [change_agreement(*trio, m[0] | m[1]) for trio, m in zip(images, masks, strict=True)]
    assert found["measures"]["change_mae"]["mean"] == pytest.approx(np.mean([c.mae for c in changes]))
    assert found["measures"]["change_pearson"]["mean"] > 0.99
    assert (tmp_path / "out" / "cem-change.png").stat().st_size > 5000


def test_annotated_tissues_take_the_place_of_otsus(shared_data, tmp_path, capsys):
    images = list(mammograms(shared_data, tmp_path))
    low, real, made = images[0]
    fat, gland = tissue_masks(low)
    annotated = np.zeros(low.shape, np.uint8)
    annotated[fat & (np.arange(low.shape[0])[:, None] % 2 == 0)], annotated[gland] = 1, 2
    for name in ("P10_L_CC", "P6_L_MLO"):
        (tmp_path / "tissues").mkdir(exist_ok=True)
        label = annotated if name == "P10_L_CC" else np.zeros_like(annotated)
        Image.fromarray(label).save(tmp_path / "tissues" / f"{name}.png")
    given = ("--pre", tmp_path / "low", "--real", tmp_path / "real", "--synthetic", tmp_path / "made")
    given += ("--tissues", tmp_path / "tissues", "-o", tmp_path / "out")
    found, said = run(capsys, command, "--table", "zormpas2026-table2", *given, code=4)
    assert "label 1 in adipose" in said and found["failed"] == 1
    expected = contrast_to_noise(made, annotated == 1, annotated == 2)
    assert found["measures"]["cnr_synthetic"]["mean"] == pytest.approx(expected)
    rows = {row["tissue"]: row for row in csv.DictReader((tmp_path / "out" / "zormpas2026-table2.csv").open())}
    assert float(rows["adipose"]["real"]) == pytest.approx(real[annotated == 1].mean())


def test_a_bright_rim_is_a_halo_and_an_even_breast_has_none():
    rows, columns = np.indices((200, 160))
    breast = (rows - 100) ** 2 + columns**2 < 80**2
    even = np.where(breast, 100.0, 0.0) + np.random.default_rng(0).normal(0, 5, breast.shape)
    rim = breast & ((rows - 100) ** 2 + columns**2 >= 77**2)
    assert abs(halo(even, breast)) < 0.3
    assert halo(even + 50 * rim, breast) > 5 and halo(even - 50 * rim, breast) < -5
    assert halo(np.where(breast, 7.0, 0.0), breast) is None


class Brighter:
    """A stand-in for a mammogram model: the low-energy image with half of its range added at the top."""

    def synthesize_study(self, study, events, *, times_s, perturbations, seed):
        low_energy = study.pre.image
        made = sitk.Cast(low_energy, sitk.sitkFloat32) * 1.5
        return Synthesis([made], times_s=[], uncertainty=None, arbitrary_units=False, pre=low_energy)


def test_mammography_runs_on_simulated_pairs(tmp_path):
    card = SimpleNamespace(abilities=architecture("cyclegan").abilities, first_phase=1)
    for seed in range(3):
        case = write_phantom_pair(seed, tmp_path / "truth" / f"P{seed}_L_CC")
        phantom_cohort.write_synthesis(Brighter(), card, case, tmp_path / "runs" / case.name)
    pairs = find_pairs(tmp_path / "truth", tmp_path / "runs")
    assert [(p.patient, p.pre.name) for p in pairs] == [(f"P{n}", "low_energy.nrrd") for n in range(3)]
    found = write_named_table("cem-change", pairs, tmp_path / "out", TableOptions(data="3 simulated mammograms"))
    assert found.measures["change_mae"].n == 3 and found.failed == 0
    assert "3 simulated mammograms" in (tmp_path / "out" / "cem-change.html").read_text()
