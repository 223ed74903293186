"""What a card says of a model beside a copy of what it reads: exact on models that are made up."""

import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from program import call
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.against_copying import AgainstCopying, warning_of
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.synthesis.synthesizer import Synthesis
from VirtualContrastTrainingLib.data.case_study import study_of
from VirtualContrastTrainingLib.data.phantom import PhantomSettings, make_phantom
from VirtualContrastTrainingLib.data.phantom.writing import write_phantom
from VirtualContrastTrainingLib.papers.model_cards import model_card_text
from VirtualContrastTrainingLib.systems.recipes import load_recipe
from VirtualContrastTrainingLib.training import copying

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = PhantomSettings(
    size_kji=(8, 48, 64), spacing_kji_mm=(15.0, 4.0, 4.0), lesion_count_weights=(0, 1), lesion_radius_mm=(10, 14)
)


class Mixture:
    """Phases that are `share` of the way from the pre-contrast image to the real ones, in units of the input or not."""

    def __init__(self, share, *, own_scale=False):
        self.share, self.own_scale = share, own_scale

    def synthesize_study(self, study, events, *, times_s, perturbations, seed):
        pre, *real = (self._scaled(phase.image) for phase in (study.pre, *study.real))
        phases = [pre * (1 - self.share) + image * self.share for image in real]
        return Synthesis(phases, [], None, arbitrary_units=self.own_scale, pre=pre)

    def _scaled(self, image):
        image = sitk.Cast(image, sitk.sitkFloat32)
        return sitk.RescaleIntensity(image, 0.0, 255.0) if self.own_scale else image


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Two phantoms, the second in units a hundred times as large."""
    place = tmp_path_factory.mktemp("cases")
    folders = [write_phantom(make_phantom(seed, SMALL), place / f"case_{seed}") for seed in (1, 2)]
    for path in folders[1].glob("*.nrrd"):
        if path.name != "lesions.nrrd":
            sitk.WriteImage(sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkFloat32) * 100, str(path))
    return folders


@pytest.fixture
def package(tmp_path):
    return load_package(
        shutil.copytree(REPOSITORY / "Resources" / "Models" / "phantom-joint-p1-p3", tmp_path / "model")
    )


def measure(package, cases, monkeypatch, synthesizer):
    monkeypatch.setattr(copying, "study_synthesizer", lambda *_: synthesizer)
    return copying.measure_against_copying(package, cases)


def by_hand(cases, phase, *, lesions):
    """Mean over cases of |real - pre| in percent of the range of the real phase."""
    errors = []
    for case in cases:
        pre, real, marks = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(case / f"{name}.nrrd"))).astype(float)
            for name in ("pre", f"phase_{phase}", "lesions")
        )
        inside = marks > 0 if lesions else np.ones(marks.shape, bool)
        errors.append(100 * np.abs(real - pre)[inside].mean() / (real.max() - real.min()))
    return np.mean(errors)


def test_errors_are_those_by_hand_whatever_the_units_of_a_case(package, cases, monkeypatch):
    found = measure(package, cases, monkeypatch, Mixture(0.75))
    assert [(one.image, one.region) for one in found] == [
        (f"phase {phase}", region) for phase in (1, 2, 3) for region in ("whole image", "marked lesions")
    ]
    for number, one in enumerate(found):
        truth = by_hand(cases, number // 2 + 1, lesions=number % 2 == 1)
        assert one.copy_error == pytest.approx(truth, rel=1e-5)
        assert one.error == pytest.approx(truth / 4, rel=1e-4)
        assert (one.cases, one.closer, one.copied) == (2, 2, "the pre-contrast image")
        assert one.beats_copying


def test_a_perfect_synthesis_in_units_of_its_own_has_no_error(package, cases, monkeypatch):
    for one in measure(package, cases, monkeypatch, Mixture(1.0, own_scale=True)):
        assert one.error < 1e-4 < 1 < one.copy_error


def test_a_model_that_does_harm_says_so_in_both_cards_and_in_a_run(package, cases, monkeypatch):
    monkeypatch.setattr(copying, "study_synthesizer", lambda *_: Mixture(-0.5))
    found = copying.record_against_copying(package.folder, cases)
    written = load_package(package.folder)
    written.verify()
    assert written.card.against_copying == found and not any(one.beats_copying for one in found)
    assert "Phase 1, whole image: NOT nearer to the real one than a copy of the pre-contrast" in (
        text := (package.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    )
    assert text.startswith("# ") and copying.as_text(found) in model_card_text(written.card)
    assert "no nearer to the real images than a copy of the pre-contrast image: phase 1 in the whole image" in (
        warning_of("m", found)
    )


def test_the_command_measures_all_cases_and_records_once_what_the_last_time_gave(package, cases, monkeypatch, capsys):
    monkeypatch.setattr(copying, "MOST_CASES", 1)
    for share in (0.5, -0.5):
        monkeypatch.setattr(copying, "study_synthesizer", lambda *_, share=share: Mixture(share))
        assert call("copying", package.folder, cases[0].parent, "--record", "--json") == 0
        printed = json.loads(capsys.readouterr().out)["against_copying"]
        written = load_package(package.folder)
        written.verify()
        assert [one.model_dump() for one in written.card.against_copying] == printed
        assert {one["cases"] for one in printed} == {2}
        assert {one["closer"] for one in printed} == ({2} if share > 0 else {0})
        text = (package.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
        assert text.count("## Against copying") == 1 and text.count("nearer to the real one") == len(printed)
        assert "## Terms" in text


def test_the_command_leaves_the_cards_alone_unless_told_to_record(package, cases, monkeypatch, capsys):
    monkeypatch.setattr(copying, "study_synthesizer", lambda *_: Mixture(-0.5))
    before = {path.name: path.read_bytes() for path in package.folder.iterdir()}
    assert call("copying", package.folder, cases[0].parent) == 0
    assert capsys.readouterr().out.startswith("Phase 1, whole image: NOT nearer to the real one than a copy")
    assert {path.name: path.read_bytes() for path in package.folder.iterdir()} == before
    (package.folder / "LICENSE").write_text("another")
    with pytest.raises(InputError, match="LICENSE"):
        call("copying", package.folder, cases[0].parent, "--record")


def test_nothing_is_said_of_a_model_that_beats_copying_or_was_not_measured():
    good = AgainstCopying(
        image="phase 1",
        region="whole image",
        copied="the pre-contrast image",
        error=1,
        copy_error=2,
        cases=3,
        closer=2,
    )
    assert warning_of("m", [good]) is None and warning_of("m", []) is None
    assert "phase 1" in warning_of("m", [good, good.model_copy(update={"error": 2.0})])


def test_a_model_that_reads_phase_1_stands_beside_a_copy_of_it(cases, monkeypatch):
    card = SimpleNamespace(
        abilities=SimpleNamespace(free_times=False), dynamic=True, first_phase=2, inputs=SimpleNamespace(real=[1])
    )

    class RepeatsPhase1:
        def synthesize_study(self, study, events, *, times_s, perturbations, seed):
            return Synthesis([study.real[0].image] * 2, [], None, arbitrary_units=False, pre=study.pre.image)

    found = measure(SimpleNamespace(card=card), cases, monkeypatch, RepeatsPhase1())
    assert {one.image for one in found} == {"phase 2", "phase 3"}
    assert all(one.error == one.copy_error > 0 and one.copied == "phase 1" and one.closer == 0 for one in found)


def test_a_damaged_case_costs_the_comparison_and_not_the_package(package, tmp_path, caplog):
    broken = tmp_path / "case"
    broken.mkdir()
    (broken / "case.json").write_text("{}")
    before = (package.folder / "model.json").read_bytes()
    with caplog.at_level(logging.WARNING):
        assert copying.record_against_copying(package.folder, [broken]) == []
    assert "not compared with copying" in caplog.text and (package.folder / "model.json").read_bytes() == before


def test_a_case_without_times_is_a_study(cases, tmp_path):
    case = shutil.copytree(cases[0], tmp_path / "case")
    description = json.loads((case / "case.json").read_text())
    description["times_s"] = [0.0, None, None, None]
    (case / "case.json").write_text(json.dumps(description))
    assert [phase.time_s for phase in study_of(case).real] == [None, None, None]


def test_held_out_cases_are_the_validation_cases_or_the_patients_of_the_fold(cases, tmp_path):
    recipe = load_recipe("phantom-single-p1", [f"data.validation={cases[0].parent}"])
    assert recipe.held_out_cases() == sorted(cases)
    assert load_recipe("phantom-single-p1", [f"data.validation={tmp_path}"]).held_out_cases() == []
    for number in range(12):
        folder = tmp_path / f"patient_{number}"
        folder.mkdir()
        (folder / "case.json").write_text(json.dumps({"cohort": "ISPY1" if number < 10 else "other"}))
    parts = [
        load_recipe("ispy-residual-enhancement", [f"data.prepared={tmp_path}", f"data.fold={fold}"]).held_out_cases()
        for fold in (0, 1, 2)
    ]
    assert sorted(folder for part in parts for folder in part) == sorted(
        tmp_path / f"patient_{number}" for number in range(10)
    )
