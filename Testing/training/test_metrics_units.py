"""A perfect synthesis in the units of an as-published model scores perfectly in every table, as in a run."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from program import call
from VirtualContrastLib.events import Events
from VirtualContrastLib.networks.architectures import architecture
from VirtualContrastLib.run.compare import compare_existing
from VirtualContrastLib.synthesis.synthesizer import Synthesis
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


def test_only_a_readable_manifest_tells_of_another_scale(folders, tmp_path):
    made = folders / "made" / "case_1" / "phases" / "phase_1.nrrd"
    assert has_own_scale(made) and not has_own_scale(folders / "truth" / "case_1" / "phase_1.nrrd")
    (tmp_path / "phases").mkdir()
    (tmp_path / "manifest.json").write_text("{")
    assert not has_own_scale(tmp_path / "phases" / "phase_1.nrrd")
