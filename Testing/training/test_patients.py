"""Members of a cross-validation become a calibrated package, which is measured and drawn on patients."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from VirtualContrastLib.events import ExitCode, InputError
from VirtualContrastLib.metrics.patients import PatientScores
from VirtualContrastLib.models.package import ModelCard, load_package, save_package
from VirtualContrastLib.networks.residual_enhancement import HEADS, build_residual_enhancement
from VirtualContrastTrainingLib.cli import main
from VirtualContrastTrainingLib.data.crops import load_patients
from VirtualContrastTrainingLib.metrics.patient_table import METHODS, Row, summarize
from VirtualContrastTrainingLib.systems.residual_enhancement.calibrate import (
    MOST_WORSE,
    FoundLesion,
    choose_display,
    display_scores,
    fit_band,
    fit_grade,
)
from VirtualContrastTrainingLib.systems.residual_enhancement.heads import out_of_fold_heads, unseen_heads

FOLDS, PATIENTS = 2, 24
CONFIG = {"widths": [4, 8], "encode": [1, 1], "decode": [1]}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Patients whose tissue brightens by 20 % and whose lesion, 10 pixels wide, doubles."""
    source = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    with (source / "slices.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["file", "patient", "cohort", *(f"box_{n}" for n in ("column", "row", "columns", "rows"))])
        for n in range(2 * PATIENTS):
            pre = rng.integers(30, 60, (32, 32)).astype(float)
            post = pre * 1.2 + rng.normal(0, 2, pre.shape)
            post[10:20, 12:22] = 2 * pre[10:20, 12:22]
            picture = np.stack([pre, post, post * 1.1], axis=-1).round().astype(np.uint8)
            sitk.WriteImage(sitk.GetImageFromArray(picture, isVector=True), str(source / f"{n}.png"))
            cohort = "A" if n < PATIENTS else "B"
            table.writerow([f"{n}.png", f"patient_{n // 2:02d}", cohort, 10, 8, 14, 14])
    out = tmp_path_factory.mktemp("prepared")
    assert main(["prepare", "crops", str(source / "slices.csv"), "-o", str(out)]) == ExitCode.DONE
    return out


def member(folder, fold, early):
    """A member that predicts the same enhancement everywhere: `early` of the scale, with a little room around it."""
    network = build_residual_enhancement(CONFIG)
    bias = torch.full((HEADS,), early)
    bias[0] = bias[5] = early - 0.05
    bias[4] = bias[9] = early + 0.05
    network.members[0].last.bias.data = bias.repeat_interleave(4)
    card = ModelCard.model_validate(
        {
            "id": f"member-{fold}",
            "version": "1",
            "title": "Member",
            "architecture": {"name": "residual_enhancement", "config": CONFIG},
            "inputs": {"phases": [0]},
            "outputs": {"channel_phases": [1, 2], "times_s": [150.0, 450.0]},
            "intensity": {"recipe": "tissue_percentile"},
            "in_plane": {"policy": "resample", "spacing_mm": 0.714, "pad_multiple": 4},
            "training": {"data": {"folds": FOLDS, "fold": fold, "cohorts": ["A", "B"]}},
            "trained_on_phantoms": False,
            "license": "Apache-2.0",
        }
    )
    return save_package(folder, card, network.state_dict(), model_card_md="# Member\n").folder


@pytest.fixture(scope="module")
def joined(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    members = [member(folder / f"m{fold}", fold, 0.1 + 0.1 * fold) for fold in range(FOLDS)]
    arguments = ["patients", "calibrate", *map(str, members), "--prepared", str(prepared), "--id", "joined"]
    assert main([*arguments, "--title", "Joined", "-o", str(folder / "joined")]) == ExitCode.DONE
    return load_package(folder / "joined")


def test_each_patient_is_judged_by_the_member_that_never_saw_it(prepared):
    patients = load_patients(prepared, folds=FOLDS)
    assert {patient.fold for patient in patients} == {0, 1}
    networks = [build_residual_enhancement(CONFIG) for _ in range(FOLDS)]
    networks[1].members[0].last.bias.data.fill_(1.0)
    heads = out_of_fold_heads(networks, patients, 4)
    assert all(float(heads[patient.name].mean()) == patient.fold for patient in patients)


def test_joined_package_averages_its_members_and_knows_its_baselines(joined):
    assert joined.card.architecture.config["members"] == FOLDS
    calibration = joined.card.calibration
    assert calibration.patients == PATIENTS
    assert calibration.baselines[0].gain == pytest.approx(1.21, abs=0.03)
    assert calibration.baselines[1].gain > calibration.baselines[0].gain
    assert joined.weights_path.stat().st_size < 60_000


def test_members_out_of_order_are_refused(prepared, tmp_path, capsys):
    members = [member(tmp_path / f"m{fold}", fold, 0.1) for fold in (1, 0)]
    arguments = ["patients", "calibrate", *map(str, members), "--prepared", str(prepared), "--id", "x", "--title", "x"]
    assert main([*arguments, "-o", str(tmp_path / "joined")]) == ExitCode.UNUSABLE
    assert "must be those of folds 0 to 1 in order" in capsys.readouterr().err


def test_a_site_of_less_enhancement_holds_the_display_back(prepared):
    """Where real enhancement is a tenth of what is predicted, everything shown makes patients worse there."""
    patients = load_patients(prepared, folds=FOLDS)[:6]
    network = build_residual_enhancement(CONFIG)
    network.members[0].last.bias.data.fill_(0.2)
    heads = out_of_fold_heads([network] * FOLDS, patients, 4)
    weak = [
        dataclasses.replace(patient, phases=patient.pre + 0.1 * (patient.phases - patient.pre)) for patient in patients
    ]
    alone, other = (display_scores([(site, heads)], 0) for site in (patients, weak))
    both = display_scores([(patients, heads), (weak, heads)], 0)
    assert [score.worse for score in both] == pytest.approx(
        [(a.worse + b.worse) / 2 for a, b in zip(alone, other, strict=True)]
    )
    assert [score.harm_p95 for score in both] == [
        max(a.harm_p95, b.harm_p95) for a, b in zip(alone, other, strict=True)
    ]
    free, held = choose_display([(patients, heads)], 0), choose_display([(patients, heads), (weak, heads)], 0)
    assert free.worse <= MOST_WORSE < held.worse
    assert held.display.background < free.display.background
    assert held.worse == min(score.worse for score in both)


def test_heads_of_an_unseen_site_are_the_mean_of_the_members(prepared):
    networks = [build_residual_enhancement(CONFIG) for _ in range(FOLDS)]
    networks[1].members[0].last.bias.data.fill_(1.0)
    heads = unseen_heads(networks, load_patients(prepared, folds=FOLDS)[:2], 4)
    assert [float(values.float().mean()) for values in heads.values()] == [0.5, 0.5]


def test_a_cohort_of_the_training_is_not_unseen(prepared, tmp_path, capsys):
    members = [member(tmp_path / f"m{fold}", fold, 0.1) for fold in range(FOLDS)]
    arguments = ["patients", "calibrate", *map(str, members), "--prepared", str(prepared), "--id", "x", "--title", "x"]
    assert main([*arguments, "--unseen", "A", "-o", str(tmp_path / "joined")]) == ExitCode.UNUSABLE
    assert "trained on A" in capsys.readouterr().err


def test_table_tells_all_methods_by_cohort(joined, prepared, tmp_path, capsys):
    arguments = ["patients", "table", str(joined.folder), str(prepared), "-o", str(tmp_path), "--out-of-fold"]
    assert main([*arguments, "--device", "cpu"]) == ExitCode.DONE
    text = capsys.readouterr().out
    assert "### all, early: 24 patients" in text and "### B, late: 12 patients" in text
    report = json.loads((tmp_path / "table.json").read_text())
    methods = report["all, early"]["methods"]
    assert list(methods) == list(METHODS)
    assert methods["identity"]["recovered"]["value"] == 0 and methods["identity"]["worse"]["value"] == 0
    assert methods["gain"]["mae"]["value"] < methods["identity"]["mae"]["value"]
    with (tmp_path / "patients.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == PATIENTS * 2 * len(METHODS)


def test_pictures_show_five_images_of_a_slice(joined, prepared, tmp_path):
    arguments = ["patients", "draw", str(joined.folder), str(prepared), "-o", str(tmp_path), "-n", "3"]
    assert main([*arguments, "--device", "cpu"]) == ExitCode.DONE
    pictures = sorted(Path(tmp_path).glob("*.png"))
    assert len(pictures) == 3
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(pictures[0])))
    assert picture.shape[1] == 5 * 32 * 2
    bar = picture[: len(picture) % (32 * 2)]
    assert len(bar) > 0 and all((part > 80).any() for part in np.split(bar, 5, axis=1))  # a title over each column


def test_a_model_without_fitted_baselines_needs_those_of_another(prepared, tmp_path, capsys):
    alone = member(tmp_path / "alone", 0, 0.1)
    assert main(["patients", "table", str(alone), str(prepared)]) == ExitCode.UNUSABLE
    assert "--baselines" in capsys.readouterr().err


def test_band_covers_the_patients_it_was_fitted_on(prepared):
    patients = load_patients(prepared, folds=FOLDS)
    networks = [build_residual_enhancement(CONFIG) for _ in range(FOLDS)]
    for network in networks:
        bias = torch.zeros(HEADS)
        bias[0], bias[2], bias[4] = 0.2, 0.4, 0.6
        network.members[0].last.bias.data = bias.repeat_interleave(4)
    heads = out_of_fold_heads(networks, patients, 4)
    band = fit_band(patients, heads, 0)
    assert 0.75 <= band.coverage <= 1


def test_grade_is_the_lowest_threshold_that_keeps_its_promise():
    rng = np.random.default_rng(0)
    bounds = rng.uniform(0, 100, 400)
    lesions = [FoundLesion(float(bound), bool(100 * rng.uniform() < bound)) for bound in bounds]
    grade = fit_grade(lesions)
    graded = [lesion.enhances for lesion in lesions if lesion.lower_percent >= grade.threshold]
    assert 1 - np.mean(graded) == pytest.approx(grade.false_positive_rate, abs=1e-3) and np.mean(graded) >= 0.9
    assert grade.share == pytest.approx(len(graded) / len(lesions), abs=1e-3)
    assert fit_grade([FoundLesion(90.0, False)] * 100) is None


def scores(mae, harm, lesion_mae=1.0):
    return PatientScores(mae, harm, 0.5, lesion_mae, 0.4, 0.1, 0.8)


def test_intervals_come_from_patients_and_differences_are_paired():
    rng = np.random.default_rng(0)
    rows = []
    for n in range(60):
        base = float(rng.uniform(5, 20))
        for method in METHODS:
            gain = 1.0 if method == "model" else 0.0
            rows.append(Row(f"p{n}", "A", 0, method, scores(base - gain, 0.1 if n < 6 else -0.1)))
    summary = summarize(rows, 0)
    model = summary["methods"]["model"]
    assert model["worse"].value == pytest.approx(0.1) and model["worse"].low < 0.1 < model["worse"].high
    spread = model["mae"].high - model["mae"].low
    assert 1 < spread < 4
    difference = summary["paired"]["gain"]["mae"]
    assert difference.value == pytest.approx(-1) and difference.high - difference.low < 1e-9


def test_patients_without_a_lesion_are_left_out_of_its_means():
    rows = [Row(f"p{n}", "A", 0, m, scores(1, 0, np.nan if n else 7.0)) for n in range(5) for m in METHODS]
    assert summarize(rows, 0)["methods"]["model"]["lesion_mae"].value == 7


def test_unknown_cohort_is_refused(prepared):
    with pytest.raises(InputError, match="no patient of Z"):
        load_patients(prepared, cohorts=["Z"])
