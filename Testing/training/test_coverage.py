"""The coverage of the papers: what it says of tables on phantoms, and that it notices wrong units and missing rows."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from program import call
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.catalog import resolve_model
from VirtualContrastTrainingLib.metrics import pairs
from VirtualContrastTrainingLib.papers import coverage, coverage_sets
from VirtualContrastTrainingLib.papers.patients import baselines_of

SMALL = replace(coverage_sets.SETTINGS, size_kji=(6, 48, 64), spacing_kji_mm=(20.0, 4.0, 4.0))


@pytest.fixture(autouse=True)
def small_phantoms(monkeypatch, tmp_path):
    monkeypatch.setattr(coverage_sets, "SETTINGS", SMALL)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


def run(capsys, out, *names):
    assert call("coverage", "-o", out, "--phantoms", "1", "--only", *names, "--json") == 0
    return {row["item"].partition(":")[0]: row for row in json.loads(capsys.readouterr().out)["rows"]}


def test_rows_units_and_results_are_said_of_each_table(tmp_path, capsys):
    found = run(capsys, tmp_path, "osuala2025-table4", "osuala2025-figure7", "zormpas2026-table3", "zormpas2026-table2")
    table4 = found["osuala2025-table4"]
    lacking = "missing: Subt P1 U-Net; Subt P2 U-Net; Subt P3 U-Net"  # none was given
    empty = "empty here: FID imagenet; FID radimagenet; FRD v0 as published; LPIPS; MS-SSIM"
    assert table4[coverage.COLUMNS[2]] == f"9 of 12 rows ({lacking}), 9 of 9 columns ({empty})"
    assert table4["units"] == found["osuala2025-figure7"]["units"] == "perfect" and "MAE" in table4["on phantoms"]
    assert found["zormpas2026-table3"]["units"] == "-" and "made up" in found["zormpas2026-table3"]["on phantoms"]
    assert found["zormpas2026-table2"][coverage.COLUMNS[2]] == "3 of 3 rows, 6 of 6 columns"
    assert all(row["on the cases given"] == "-" for row in found.values())
    rows = list(csv.DictReader((tmp_path / "coverage.csv").open()))
    assert len(rows) == 4 and "1 phantoms of 6 slices" in (tmp_path / "coverage.html").read_text()


def test_selection_and_segmentation_are_made_of_what_stands_in_for_checkpoints_and_predictions(tmp_path, capsys):
    found = run(capsys, tmp_path, "osuala2025-table1", "osuala2025-table3")
    assert "noise in its weights" in found["osuala2025-table1"]["on phantoms"]
    assert "real phases, by threshold: Dice" in found["osuala2025-table3"]["on phantoms"]
    assert "segment run" in found["osuala2025-table3"]["command"]
    assert found["osuala2025-table3"][coverage.COLUMNS[2]] == "14 of 14 rows, 2 of 2 columns"


def test_on_crops_of_patients_the_fitted_baselines_stand_beside_the_model(tmp_path, capsys):
    rng, size = np.random.default_rng(0), (3, 64, 64)
    pre = rng.uniform(40, 90, size).astype(np.float32)
    lesion = np.zeros(size, np.uint8)
    lesion[:, 20:40, 20:40] = 1
    made = {"pre": pre, "phase_1": pre * (1 + lesion), "phase_2": pre * (1 + 0.8 * lesion), "lesions": lesion}
    case = tmp_path / "cases" / "case_1"
    case.mkdir(parents=True)
    for name, array in made.items():
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.714, 0.714, 5.0))
        sitk.WriteImage(image, str(case / f"{name}.nrrd"))
    images = ["pre.nrrd", "phase_1.nrrd", "phase_2.nrrd"]
    (case / "case.json").write_text(json.dumps({"kind": "crops", "images": images, "times_s": [0, 150, 450]}))
    out = tmp_path / "out"
    asked = ("osuala2025-table2", "chung2025-table1", "mama-synth")
    arguments = ("coverage", "-o", out, "--phantoms", "1", "--cases", tmp_path / "cases", "--only", *asked, "--json")
    assert call(*arguments) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    said = {row["item"].partition(":")[0]: row["on the cases given"] for row in rows}
    gain = baselines_of(resolve_model("default", "synthesis"))[0].gain
    error = abs(pre * gain - made["phase_1"]).mean()
    assert f"; gain: MAE {error:.4g}, SSIM" in said["osuala2025-table2"]
    assert all("intensity table: " in text for text in said.values())
    assert said["osuala2025-table2"].startswith("pre-contrast (baseline): MAE ")


def test_units_that_are_not_matched_are_called_wrong(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pairs, "has_own_scale", lambda image: False)
    assert run(capsys, tmp_path, "mama-synth")["mama-synth"]["units"] == "WRONG"


def test_a_folder_that_holds_anything_is_left_as_it_is(tmp_path, capsys):
    kept = tmp_path / "phantoms" / "truth" / "mine.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        run(capsys, tmp_path, "mama-synth")
    assert kept.read_text() == "mine" and [path.name for path in tmp_path.iterdir()] == ["phantoms"]


def test_a_folder_without_cases_is_told_before_anything_is_written(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="holds no prepared cases"):
        call("coverage", "-o", tmp_path / "out", "--cases", tmp_path / "none", "--only", "mama-synth")
    assert not (tmp_path / "out").exists()


def test_an_unknown_name_is_refused(tmp_path, capsys):
    with pytest.raises(InputError, match="osuala2025-table9"):
        run(capsys, tmp_path, "osuala2025-table9")
