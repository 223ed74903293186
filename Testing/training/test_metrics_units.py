"""A perfect synthesis in the units of an as-published model scores perfectly in every table, as in a run."""

import csv
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from program import call
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.networks.architectures import architecture
from VirtualContrastLib.run.compare import compare_existing
from VirtualContrastLib.synthesis.synthesizer import Synthesis
from VirtualContrastTrainingLib.data.case_study import study_of
from VirtualContrastTrainingLib.data.phantom import PhantomSettings, make_phantom
from VirtualContrastTrainingLib.data.phantom.writing import write_phantom
from VirtualContrastTrainingLib.metrics.loaded_pair import read_images
from VirtualContrastTrainingLib.metrics.pairs import find_pairs, has_own_scale
from VirtualContrastTrainingLib.papers.phantom_cohort import write_synthesis

SMALL = PhantomSettings(
    size_kji=(8, 48, 64), spacing_kji_mm=(15.0, 4.0, 4.0), lesion_count_weights=(0, 1), lesion_radius_mm=(10, 14)
)
CARD = SimpleNamespace(abilities=architecture("pix2pixhd").abilities, first_phase=1)


def eight_bit_range(image):
    return sitk.RescaleIntensity(sitk.Cast(image, sitk.sitkFloat32), 0.0, 255.0)


class Perfect:
    """The real phases on 0..255, each by its own minimum and maximum: what an as-published model is trained to make."""

    def synthesize_study(self, study, events, *, times_s, perturbations, seed):
        phases = [eight_bit_range(phase.image) for phase in study.real]
        times = [phase.time_s for phase in study.real]
        return Synthesis(phases, times, None, arbitrary_units=True, pre=eight_bit_range(study.pre.image))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A phantom in `truth`, and its perfect synthesis as a result folder in `made`."""
    place = tmp_path_factory.mktemp("units")
    case = write_phantom(make_phantom(1, SMALL), place / "truth" / "case_1")
    write_synthesis(Perfect(), CARD, case, place / "made" / case.name)
    return place


def evaluate(folders, capsys, *arguments, synthetic=True):
    made = ("--synthetic", folders / "made") if synthetic else ("--system", f"perfect={folders / 'made'}")
    assert call("evaluate", "--real", folders / "truth", *made, *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_evaluate_brings_the_real_phases_to_the_scale_of_the_model(folders, capsys):
    found = evaluate(folders, capsys)
    assert found["true"]["mae"] < 1e-4 and found["true"]["ssim"] == pytest.approx(1, abs=1e-6)
    assert found["as_published"]["mse"] == 0 and found["as_published"]["ssim"] == pytest.approx(1, abs=1e-6)
    assert found["data_range"] == 255


@pytest.mark.parametrize("table", ["osuala2025-table2", "osuala2025-table4"])
def test_the_image_tables_have_it_perfect_and_doing_nothing_on_the_same_scale(folders, tmp_path, capsys, table):
    rows = evaluate(folders, capsys, "--table", table, "-o", tmp_path)["rows"]
    for label, row in rows.items():
        if "pre-contrast" not in label:
            assert row["true"]["mae"] < 1e-4 and row["true"]["ssim"] == pytest.approx(1, abs=1e-6), label
    pairs = find_pairs(folders / "truth", folders / "made")
    pair = next(pair for pair in pairs if pair.real.name == "phase_1.nrrd")
    real, pre = (eight_bit_range(sitk.ReadImage(str(path))) for path in (pair.real, pair.pre))
    error = abs(sitk.GetArrayFromImage(real - pre))
    if table == "osuala2025-table4":  # on the slices of the tumor; 5 % of 8 slices are none
        shown = np.flatnonzero(sitk.GetArrayFromImage(sitk.ReadImage(str(pair.lesion))).any(axis=(1, 2)))
        error = error[shown[0] : shown[-1] + 1]
    error = error.mean()
    nothing = next(row for label, row in rows.items() if "pre-contrast" in label)
    assert nothing["true"]["mae"] == pytest.approx(error, rel=1e-5) and error > 0.5


def test_the_tables_of_systems_have_it_perfect_in_images_and_curves(folders, tmp_path, capsys):
    found = evaluate(folders, capsys, "--table", "chung2025-table1", "-o", tmp_path, synthetic=False)
    perfect = found["systems"]["perfect"]
    assert perfect["ssim"]["mean"] == pytest.approx(1, abs=1e-6) and perfect["lesion_mae"]["mean"] < 1e-3
    assert perfect["enhancement_error"]["mean"] == pytest.approx(0, abs=1e-3)


def test_copies_beside_a_system_have_its_scale_and_both_scales_where_systems_differ(folders, tmp_path, capsys):
    case = folders / "truth" / "case_1"
    for n in (1, 2, 3):
        (tmp_path / "acquired" / "case_1").mkdir(parents=True, exist_ok=True)
        shutil.copy(case / f"phase_{n}.nrrd", tmp_path / "acquired" / "case_1")
    inside = sitk.GetArrayFromImage(sitk.ReadImage(str(case / "lesions.nrrd"))) > 0

    def error(scale):
        pre, *phases = (
            sitk.GetArrayFromImage(scale(sitk.ReadImage(str(case / name)))).astype(float)
            for name in ("pre.nrrd", "phase_1.nrrd", "phase_2.nrrd", "phase_3.nrrd")
        )
        shown = np.flatnonzero(inside.any(axis=(1, 2)))  # a mean over slices
        return np.mean([abs(pre - phase)[k][inside[k]].mean() for phase in phases for k in shown])

    found = evaluate(folders, capsys, "--table", "chung2025-table1", "-o", tmp_path / "one", synthetic=False)
    copied = {name: row["lesion_mae"]["mean"] for name, row in found["systems"].items() if "baseline" in name}
    assert copied["pre-contrast for every phase (baseline)"] == pytest.approx(error(eight_bit_range), rel=1e-3)
    more = ("--system", f"acquired={tmp_path / 'acquired'}")
    found = evaluate(folders, capsys, "--table", "chung2025-table1", "-o", tmp_path / "two", *more, synthetic=False)
    copied = {name: row["lesion_mae"]["mean"] for name, row in found["systems"].items() if "baseline" in name}
    assert copied["pre-contrast for every phase (baseline)"] == pytest.approx(error(lambda image: image), rel=1e-3)
    assert copied["pre-contrast for every phase (baseline), on 0..255"] == pytest.approx(
        error(eight_bit_range), rel=1e-3
    )
    assert found["systems"]["acquired"]["enhancement_error_ti"]["mean"] == pytest.approx(0, abs=1e-9)


def test_foreign_units_that_nothing_tells_of_are_noticed(folders, tmp_path, capsys):
    shutil.copytree(folders / "made" / "case_1" / "phases", tmp_path / "case_1")
    real = folders / "truth" / "case_1" / "phase_1.nrrd"
    call("evaluate", "--real", real, "--synthetic", tmp_path / "case_1" / "phase_1.nrrd", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["true"]["mae"] > 10 and "a straight line of gray values" in found["notes"]["scale"]
    call("evaluate", "--real", real, "--synthetic", folders / "truth" / "case_1" / "phase_2.nrrd", "--json")
    assert "scale" not in json.loads(capsys.readouterr().out)["notes"]


def test_cases_that_know_no_times_have_their_tables_of_systems_and_of_curves(folders, tmp_path, capsys):
    for name in ("truth", "made"):
        shutil.copytree(folders / name, tmp_path / name)
    path = tmp_path / "truth" / "case_1" / "case.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"times_s": [None] * 4}))
    assert [phase.time_s for phase in study_of(path.parent).real] == [None] * 3
    found = evaluate(tmp_path, capsys, "--table", "chung2025-table1", "-o", tmp_path / "out", synthetic=False)
    assert found["systems"]["perfect"]["enhancement_error"]["n"] == 1
    copied = found["systems"]["phase 1 for every later phase (baseline)"]["enhancement_error"]["mean"]
    assert copied > 1 and found["systems"]["perfect"]["spearman"]["mean"] == 1
    made = ("--real", tmp_path / "truth", "--synthetic", folders / "made", "--json")
    assert call("kinetics", *made, "-o", tmp_path / "curves") == 0  # at the times of the result
    capsys.readouterr()
    shutil.copytree(folders / "made" / "case_1" / "phases", tmp_path / "bare" / "case_1")
    made = ("--real", tmp_path / "truth", "--synthetic", tmp_path / "bare")
    with pytest.raises(InputError, match=r"The phase times of .* are not known; give seconds"):
        call("kinetics", *made, "-o", tmp_path / "none")


def test_the_challenges_table_has_it_perfect_in_the_units_of_the_scanner(folders, tmp_path, capsys):
    found = evaluate(folders, capsys, "--table", "mama-synth", "-o", tmp_path)
    assert found["mse"]["mean"] < 1e-9 and found["ssim_tumor"]["mean"] == pytest.approx(1, abs=1e-6)


def test_what_radiomics_and_metrics_read_is_on_one_scale(folders):
    for pair in find_pairs(folders / "truth", folders / "made"):
        real, synthetic = read_images(pair)
        np.testing.assert_allclose(real.pixels, synthetic.pixels, atol=1e-3)
        pre = read_images(pair.against(pair.pre))[1].pixels
        assert (pre.min(), pre.max()) == (0, 255)


def test_a_comparison_and_evaluate_agree_on_it(folders, tmp_path, capsys):
    case = folders / "truth" / "case_1"
    events = Events()
    _, metrics = compare_existing(
        folders / "made" / "case_1",
        [case / f"phase_{n}.nrrd" for n in (1, 2, 3)],
        tmp_path / "out",
        pre=case / "pre.nrrd",
        lesions=case / "lesions.nrrd",
        events=events,
    )
    assert any("arbitrary units" in text for text in events.warnings)
    whole = [row for row in metrics if row.region == "whole image"]
    assert all(row.values["mae"] < 1e-4 for row in whole if row.compared == "synthetic")
    assert all(row.values["mae"] > 0.5 for row in whole if row.compared == "pre")
    with (tmp_path / "out" / "agreement.csv").open() as file:
        bias = [row for row in csv.reader(file) if row[0].startswith("bias of PE")]
    assert len(bias) == 3 and all(abs(float(row[3])) < 1e-3 for row in bias)


def test_the_manifest_tells_of_another_scale_and_one_that_cannot_be_read_is_refused(folders, tmp_path):
    made = folders / "made" / "case_1" / "phases" / "phase_1.nrrd"
    assert has_own_scale(made) and not has_own_scale(folders / "truth" / "case_1" / "phase_1.nrrd")
    (tmp_path / "phases").mkdir()
    for text, own in (('{"arbitrary_units": true}', True), ('{"name": "of another program"}', False), ("[]", False)):
        (tmp_path / "manifest.json").write_text(text)
        assert has_own_scale(tmp_path / "phases" / "phase_1.nrrd") == own
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest\.json cannot be read, so the units of its images are unknown"):
        has_own_scale(tmp_path / "phases" / "phase_1.nrrd")
