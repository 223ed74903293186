"""Rows and columns of every table of the papers, as the commands write them, against the one file of labels."""

import csv
import dataclasses
import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import SimpleITK as sitk
from VirtualContrastTrainingLib.data.mammogram_phantom import write_phantom_pair
from VirtualContrastTrainingLib.data.nnunet_datasets import SCENARIOS
from VirtualContrastTrainingLib.data.tumor_slices import tumor_slices
from VirtualContrastTrainingLib.metrics.bootstrap import Summary
from VirtualContrastTrainingLib.metrics.evaluation import Evaluation, Settings
from VirtualContrastTrainingLib.metrics.pairs import find_pairs
from VirtualContrastTrainingLib.metrics.plain import plain
from VirtualContrastTrainingLib.metrics.readers import reader_report
from VirtualContrastTrainingLib.metrics.reads import Read
from VirtualContrastTrainingLib.papers.compared_systems import write_systems
from VirtualContrastTrainingLib.papers.kinetic_cases import curves_of_volumes
from VirtualContrastTrainingLib.papers.kinetic_report import report_of
from VirtualContrastTrainingLib.papers.kinetics import write_figure
from VirtualContrastTrainingLib.papers.outputs import OUTPUTS
from VirtualContrastTrainingLib.papers.readers import PAPERS_WEIGHTS, write_reads_table
from VirtualContrastTrainingLib.papers.scenario_table import papers_rows, scenario_label
from VirtualContrastTrainingLib.papers.segmentation import ScenarioScores
from VirtualContrastTrainingLib.papers.tables import ALL_PHASES, TableOptions, write_named_table
from VirtualContrastTrainingLib.paths import resources_dir

LABELS = json.loads((resources_dir() / "Papers" / "paper_labels.json").read_text(encoding="utf-8"))


class Means:
    """A stand-in for a feature network: the means of the upper and the left half."""

    kind = "means"

    def features(self, slices):
        _, j, i = slices.shape
        return np.stack([half.mean(axis=(1, 2)) for half in (slices[:, : j // 2], slices[:, :, : i // 2])], axis=1)


def write_cases(place, slices, times_s=(0, 90, 220, 350)):
    """Two prepared cases of a phase a time, with a tumor in the second and third slice, and what two systems made."""
    rng = np.random.default_rng(0)
    mask = np.zeros((slices, 16, 16), np.uint8)
    mask[1:3, 4:10, 4:10] = 1
    for case in ("case_1", "case_2"):
        pre = rng.integers(20, 100, mask.shape).astype(np.float32)
        images = {f"truth/{case}/pre.nrrd": pre, f"truth/{case}/lesions.nrrd": mask}
        for phase in range(1, len(times_s)):
            images[f"truth/{case}/phase_{phase}.nrrd"] = pre + 30 * phase * mask
            images[f"runs/{case}/phases/phase_{phase}.nrrd"] = pre + 20 * phase * mask + rng.normal(0, 3, mask.shape)
            images[f"unet/{case}/phases/phase_{phase}.nrrd"] = pre + 10 * phase * mask + rng.normal(0, 9, mask.shape)
        for name, array in images.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            kept = array if array.dtype == np.uint8 else array.astype(np.float32)
            sitk.WriteImage(sitk.GetImageFromArray(kept), str(place / name))
        description = {"kind": "phantom", "times_s": times_s}
        (place / "truth" / case / "case.json").write_text(json.dumps(description))
    return place


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["osuala2025-table2", "osuala2025-table4"])
def test_image_tables_have_the_papers_rows_and_columns(tmp_path, name):
    cases = write_cases(tmp_path, slices=3)
    networks = {"imagenet": Means(), "radimagenet": Means()}
    options = TableOptions(networks=networks, systems={"U-Net": cases / "unet"}, repeats=20, radiomics=False)
    pairs = find_pairs(cases / "truth", cases / "runs")
    found = write_named_table(name, pairs, tmp_path, options)
    rows = rows_of(tmp_path / f"{name}.csv")
    assert [row["row"] for row in rows] == LABELS[name]["rows"]
    assert set(LABELS[name]["columns"]) <= set(rows[0])
    assert all(row["FID imagenet"] for row in rows)
    if name == "osuala2025-table4":
        of_phase = [found.rows[f"Subt P1 {made}"].report.mean("true", "mae") for made in ("synthetic", "U-Net")]
        assert of_phase[0] < of_phase[1]
        assert not any("--system" in note for note in found.notes)


def test_a_distance_on_other_features_than_inceptions_is_not_called_fid(tmp_path):
    cases = write_cases(tmp_path, slices=3)
    other = Means()
    other.kind = "alexnet"
    pairs = find_pairs(cases / "truth", cases / "runs")
    found = write_named_table(
        "osuala2025-table2", pairs, tmp_path, TableOptions(networks={"alexnet": other}, repeats=20)
    )
    rows = rows_of(tmp_path / "osuala2025-table2.csv")
    assert [row["row"] for row in rows] == LABELS["osuala2025-table2"]["rows"]
    assert all(float(row["Frechet distance alexnet"]) >= 0 for row in rows)
    assert not any(column.startswith(("FID", "KID")) for column in rows[0])
    assert any("FID and KID need weights" in note for note in found.notes)


def test_the_earlier_paper_has_the_same_table_under_its_own_number():
    assert LABELS["osuala2024-table1"] == LABELS["osuala2025-table2"]
    assert OUTPUTS["osuala2024-table1"].kind == OUTPUTS["osuala2025-table2"].kind == "quality"


def test_the_joint_model_is_measured_on_slices_of_the_tumor_and_5_percent_on_either_side(tmp_path):
    cases = write_cases(tmp_path, slices=12)
    pairs = find_pairs(cases / "truth", cases / "runs")
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(pairs[0].lesion)))  # slices 1 and 2 of 12; round(0.05 * 12) = 1
    assert tumor_slices(mask, 0.05).tolist() == [0, 1, 2, 3] and tumor_slices(mask, 0.3).tolist() == list(range(7))
    assert tumor_slices(mask * 0, 0.05).tolist() == []
    evaluation = Evaluation(Settings(slice_margin=ALL_PHASES.slice_margin, repeats=20))
    for pair in pairs:
        evaluation.add(pair)
    report = evaluation.report()
    arrays = [[sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (pair.real, pair.synthetic)] for pair in pairs]
    expected = np.mean([abs(real - made)[:4].mean(axis=(1, 2)) for real, made in arrays])
    assert report.mean("true", "mae") == pytest.approx(expected, rel=1e-5) and report.slices == 6 * 4


@pytest.mark.parametrize("name", ["chung2025-table1", "chung2025-table2"])
def test_tables_of_systems_have_a_column_a_time_point_and_repeat_phase_1(tmp_path, name):
    cases = write_cases(tmp_path, slices=3, times_s=(0, 85, 155, 225, 295, 365))
    for number in (1, 2):
        (cases / "runs" / f"case_{number}" / "phases" / "phase_1.nrrd").unlink()  # the systems read it
    given = [label for label in LABELS[name]["rows"] if "baseline" not in label]
    options = TableOptions(systems=dict.fromkeys(given, cases / "runs"), repeats=20, data="phantoms")
    write_systems(name, name, cases / "truth", tmp_path / "out", options)
    rows = rows_of(tmp_path / "out" / f"{name}.csv")
    assert set(LABELS[name]["rows"]) <= {row["system"] for row in rows}
    columns = LABELS[name]["columns"]
    assert set(columns) <= set(rows[0]) and all(rows[-1][column] for column in columns)


def test_table_3_has_every_row_of_the_four_scenarios():
    results = {"pre+synthetic": {"post": ScenarioScores(1, 0, {"dice": Summary(0.5, 0.1, None, 1, 1)})}}
    rows = papers_rows(results, {})
    named = [scenario_label(row) for row in rows]
    assert named[1] == "scenario 1: trained on pre+synthetic, tested on pre"
    assert named == LABELS["osuala2024-table2"]["rows"] + LABELS["osuala2024-table3"]["rows"]
    assert named == LABELS["osuala2025-table3"]["rows"] and set(LABELS["osuala2025-table3"]["columns"]) <= set(rows[0])
    assert [row["Dice"] for row in rows if row["Dice"] is not None] == [0.5]
    assert {row["trained on"] for row in rows} == set(SCENARIOS)


def test_what_synthetic_images_add_is_the_mean_difference_case_by_case():
    own, reference = {"a": 0.6, "b": 0.9, "c": 0.1}, {"b": 0.5, "a": 0.4}
    dice = {"pre+synthetic": {"post": own}, "pre": {"post": reference}}
    found = {(row["scenario"], row["trained on"]): row for row in papers_rows({}, dice)}
    gain = found[2, "pre+synthetic"]
    assert gain["gain"] == pytest.approx((0.2 + 0.4) / 2)
    assert gain["gain low"] == pytest.approx(0.2) and gain["gain high"] == pytest.approx(0.4)
    assert found[2, "pre"]["gain"] is None and found[3, "post"]["gain"] is None


def test_the_frechet_distance_of_subtractions_radiomics_is_of_the_subtractions(tmp_path):
    cases = write_cases(tmp_path, slices=3)
    from VirtualContrastTrainingLib.metrics.radiomics_distance import lesion_distance

    pairs = [pair for pair in find_pairs(cases / "truth", cases / "runs") if pair.real.name == "phase_1.nrrd"]
    whole, subtracted = lesion_distance(pairs), lesion_distance(pairs, subtraction="clipped")
    assert subtracted.n == whole.n == (2, 2) and subtracted.frd_v0 != whole.frd_v0


@pytest.mark.parametrize("name", ["osuala2025-figure5", "osuala2024-figure3"])
def test_lesions_are_shown_in_three_planes_with_the_papers_columns(tmp_path, name):
    cases = write_cases(tmp_path, slices=12)
    pairs = find_pairs(cases / "truth", cases / "runs")
    found = write_named_table(name, pairs, tmp_path / "out", TableOptions(data="phantoms"))
    assert plain(found)["panels"] == LABELS[name]
    assert [(row["case"], row["plane"]) for row in found.rows] == [
        (case, plane) for case in (1, 2) for plane in ("axial", "coronal", "sagittal")
    ]
    first = pairs[0]
    real, mask = (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in (first.real, first.lesion))
    axial, coronal = found.rows[:2]
    assert axial["lesion pixels"] == 36 and coronal["lesion pixels"] == 12
    by_case = [row["real signal"] for row in found.rows if row["plane"] == "axial"]
    assert any(value == pytest.approx(real[1][mask[1] > 0].mean(), rel=1e-5) for value in by_case)
    assert (tmp_path / "out" / f"{name}.png").stat().st_size > 5000


@pytest.mark.parametrize("name", ["osuala2025-figure6", "chung2025-figure3"])
def test_curves_of_lesions_stand_beside_their_pictures_by_phase(tmp_path, name):
    cases = write_cases(tmp_path, slices=3)
    curves = curves_of_volumes(cases / "truth", cases / "runs")
    report = report_of(curves, "phantoms", repeats=20, seed=0)
    found = write_figure(name, report, curves.pairs, tmp_path / "out")
    assert plain(found)["panels"] == LABELS[name]
    pair = curves.pairs[0]
    for series, folder in (("real", "truth/case_1"), ("synthetic", "runs/case_1/phases")):
        shown = getattr(pair.picture, series)
        for phase in (1, 2, 3):
            volume = sitk.GetArrayFromImage(sitk.ReadImage(str(cases / folder / f"phase_{phase}.nrrd")))
            np.testing.assert_array_equal(shown[phase], volume[1, :16, :16])  # lesion 4:10, a margin of 8
    without = [dataclasses.replace(pair, picture=None) for pair in curves.pairs]
    assert "panels" not in plain(write_figure(name, report, without, tmp_path / "curves-alone"))
    sizes = [plt.imread(tmp_path / place / f"{name}.png").shape for place in ("out", "curves-alone")]
    assert sizes[0][1] > sizes[1][1]


@pytest.mark.parametrize("name", ["osuala2025-figure7", "osuala2025-figure8"])
def test_figures_of_signals_have_what_they_draw_in_their_tables(tmp_path, name):
    cases = write_cases(tmp_path, slices=3)
    curves = curves_of_volumes(cases / "truth", cases / "runs")
    write_figure(name, report_of(curves, "phantoms", repeats=20, seed=0), curves.pairs, tmp_path / "out")
    rows = rows_of(tmp_path / "out" / f"{name}.csv")
    assert set(LABELS[name]["columns"]) <= set(rows[0])
    assert {row["series"] for row in rows} == {"real", "synthetic"} and {row["phase"] for row in rows} == set("0123")
    truth = [sitk.GetArrayFromImage(sitk.ReadImage(str(pair))) for pair in sorted(cases.glob("truth/*/phase_2.nrrd"))]
    inside = np.zeros(truth[0].shape, bool)
    inside[1:3, 4:10, 4:10] = True
    signals = [float(row["signal"]) for row in rows if row["series"] == "real" and row["phase"] == "2"]
    assert np.mean(signals) == pytest.approx(np.mean([volume[inside].mean() for volume in truth]), rel=1e-5)


def write_mammograms(place):
    """Three simulated pairs, and synthetic images halfway between the two."""
    for seed in range(3):
        case = write_phantom_pair(seed, place / "truth" / f"P{seed}_L_CC", size=(96, 64))
        low, real = (
            sitk.Cast(sitk.ReadImage(str(case / f"{name}.nrrd")), sitk.sitkFloat32)
            for name in ("low_energy", "recombined")
        )
        (place / "runs" / case.name).mkdir(parents=True)
        sitk.WriteImage((low + real) * 0.5, str(place / "runs" / case.name / "recombined.nrrd"))
    return find_pairs(place / "truth", place / "runs")


@pytest.mark.parametrize("name", ["zormpas2026-table2", "zormpas2026-change"])
def test_tables_of_mammograms_have_the_papers_rows_and_columns(tmp_path, name):
    pairs = write_mammograms(tmp_path)
    write_named_table(name, pairs, tmp_path / "out", TableOptions(repeats=20, data="simulated"))
    rows = rows_of(tmp_path / "out" / f"{name}.csv")
    labels = [next(iter(row.values())) for row in rows]
    assert set(LABELS[name]["rows"]) <= set(labels) and set(LABELS[name]["columns"]) <= set(rows[0])


@pytest.mark.parametrize("name", ["zormpas2026-table3", "zormpas2026-bpe"])
def test_tables_of_readers_have_the_papers_columns_and_a_mean_over_readers(tmp_path, name):
    reads = [
        Read(reader, str(case), condition, truth=case % 2 == 0, lesion=case % 3 == 0, bpe="abcd"[(case + shift) % 4])
        for shift, reader in enumerate(("R1", "R2"))
        for condition in ("real", "synthetic")
        for case in range(8)
    ]
    report = reader_report(reads, weights=PAPERS_WEIGHTS, repeats=20)
    write_reads_table(name, report, tmp_path)
    rows = rows_of(tmp_path / f"{name}.csv")
    assert set(LABELS[name]["columns"]) <= set(rows[0])
    assert any(next(iter(row.values())).startswith(LABELS[name]["rows"][0]) for row in rows)


def test_every_table_and_figure_of_a_paper_has_its_labels():
    of_their_own = {"osuala2025-figure4b", "bland-altman", "mama-synth", "cem-change"}
    assert set(OUTPUTS) - of_their_own == set(LABELS) - {"about"}
