"""The main road with every kind of synthesis model that reads MRI: which phases go in, come out, and are compared."""

import csv
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import run_samples
import SimpleITK as sitk
import tiny_models
import torch
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.io.read import read_study
from VirtualContrastLib.lesions.threshold import segment_by_threshold
from VirtualContrastLib.models.card import Inputs
from VirtualContrastLib.results.manifest import verify_result
from VirtualContrastLib.run import plan, write_outputs
from VirtualContrastLib.run.batch import run_batch
from VirtualContrastLib.run.batch_cases import read_cases
from VirtualContrastLib.run.compare import compare_existing
from VirtualContrastLib.run.pipeline import ModelCache, RunSettings, run
from VirtualContrastLib.study import Phase
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.volumetric import VolumetricSynthesizer


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return run_samples.write_study(tmp_path_factory.mktemp("study"), phases=3)


@pytest.fixture(scope="module")
def real(study):
    return [study / f"phase_{n}.nrrd" for n in (1, 2, 3)]


@pytest.fixture(scope="module")
def models():
    return ModelCache()


@pytest.fixture(scope="module")
def iter_unet(tmp_path_factory):
    return tiny_models.tiny_iter_unet(tmp_path_factory.mktemp("models") / "iter")


@pytest.fixture(scope="module")
def later(iter_unet):
    """Settings of an iterU-Net run."""
    return RunSettings(model=str(iter_unet.folder), segmentation="threshold", device="cpu")


@pytest.fixture(scope="module")
def anytime(tmp_path_factory):
    """Settings of a time-conditioned run."""
    folder = tiny_models.tiny_time_conditioned(tmp_path_factory.mktemp("models") / "time").folder
    return RunSettings(model=str(folder), segmentation="none", device="cpu")


@pytest.fixture(scope="module")
def done(study, real, later, models, tmp_path_factory):
    """One complete iterU-Net run: three real phases, the first of which is input."""
    settings = replace(later, dicom=True, real_times_s=(80.0, 220.0, 350.0))
    out = tmp_path_factory.mktemp("done") / "out"
    return run(study / "pre.nrrd", out, settings, real=real, lesions=study / "mask.nrrd", models=models)


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr(write_outputs, "_pages", lambda task: ([], []))


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def array(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_the_phases_of_an_iter_unet_begin_with_two_and_are_those_of_its_synthesizer(done, study, real, iter_unet):
    assert [(entry["index"], entry["time_s"]) for entry in done.manifest.phases] == [(2, 220.0), (3, 350.0)]
    made = {name for name in done.manifest.outputs if name.startswith(("phases/", "subtraction/"))}
    assert made == {f"{kind}/phase_{n}.nrrd" for kind in ("phases", "subtraction") for n in (2, 3)}
    pre, first = (sitk.ReadImage(str(path)) for path in (study / "pre.nrrd", real[0]))
    alone = VolumetricSynthesizer(iter_unet, choose_device("cpu")).synthesize(
        pre, [Phase(1, first, 80.0, False)], Events()
    )
    for n, expected in zip((2, 3), alone.phases, strict=True):
        ours = array(done.folder / f"phases/phase_{n}.nrrd")
        np.testing.assert_array_equal(ours, sitk.GetArrayFromImage(expected))
        difference = ours - sitk.GetArrayFromImage(pre)
        np.testing.assert_array_equal(array(done.folder / f"subtraction/phase_{n}.nrrd"), difference)
    assert verify_result(done.folder) == []


def test_the_real_phase_is_told_as_input_and_as_a_real_point_of_the_curve(done, real):
    marked = {entry["role"]: entry.get("model_input", False) for entry in done.manifest.inputs}
    assert marked == {"pre": False, "real_1": True, "real_2": False, "real_3": False, "lesions": False}
    curve = [row for row in rows(done.folder / "curves.csv") if row["lesion"] == "1"]
    assert [(row["time_s"], row["synthetic"]) for row in curve] == [
        ("0", "false"), ("80", "false"), ("220", "true"), ("350", "true"),
    ]  # fmt: skip
    inside = run_samples.make_mask() == 1
    assert float(curve[1]["signal_mean"]) == pytest.approx(array(real[0])[inside].mean(), rel=1e-5)
    assert "maps/pe_phase_1.nrrd" in done.manifest.outputs


def test_only_phases_that_were_made_are_compared_with_real_ones(done):
    assert {row["phase"] for row in rows(done.folder / "comparison.csv")} == {"2", "3"}
    quantities = [row["quantity"] for row in rows(done.folder / "agreement.csv")]
    assert quantities[:3] == ["bias of PE, phase 2", "bias of PE, phase 3", "bias of peak PE"]
    real_curve = [row for row in rows(done.folder / "curves_real.csv") if row["lesion"] == "1"]
    assert [row["time_s"] for row in real_curve] == ["0", "80", "220", "350"]


def test_the_baseline_of_a_later_phase_is_the_real_one_repeated(done, real):
    truth, first = (array(path).astype(float) for path in (real[2], real[0]))
    (row,) = [
        row
        for row in rows(done.folder / "comparison.csv")
        if (row["phase"], row["compared"], row["region"]) == ("3", "phase_1", "whole image")
    ]
    assert float(row["mae"]) == pytest.approx(np.abs(first - truth).mean(), rel=1e-4)


def test_the_bias_of_a_later_phase_is_the_mean_difference_of_the_two_curves(done):
    def pe(table, phase):
        return np.array([float(row["pe_percent"]) for row in rows(done.folder / table)]).reshape(2, 4)[:, phase]

    expected = (pe("curves.csv", 3) - pe("curves_real.csv", 3)).mean()
    (row,) = [row for row in rows(done.folder / "agreement.csv") if row["quantity"] == "bias of PE, phase 3"]
    assert float(row["value"]) == pytest.approx(expected, rel=1e-4)


def test_the_report_says_that_the_first_phase_was_real(done):
    text = (done.folder / "report.html").read_text()
    assert "pre-contrast volume alone" not in text
    assert "and the real phase 1, for which contrast agent was given" in text
    assert "real 1, read by the model" in text


def test_dicom_phases_keep_their_numbers_and_tell_what_they_were_computed_from(done):
    assert sorted(path.name for path in (done.folder / "dicom").iterdir() if path.is_dir()) == ["phase_2", "phase_3"]
    header = pydicom.dcmread(done.folder / "dicom" / "phase_3" / "0001.dcm")
    assert (header.TemporalPositionIdentifier, header.NumberOfTemporalPositions) == (3, 3)
    assert header.SeriesDescription.startswith("SYNTHETIC phase 3")
    assert "the pre-contrast image and the real phase 1 after contrast agent" in header.DerivationDescription
    segments = pydicom.dcmread(done.folder / "dicom" / "lesions_seg.dcm")
    referred = {
        item.ReferencedSOPInstanceUID for item in segments.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    phase_2 = {pydicom.dcmread(file).SOPInstanceUID for file in (done.folder / "dicom" / "phase_2").iterdir()}
    assert referred <= phase_2


def test_lesions_are_found_by_threshold_on_the_real_phase(study, real, later, models, tmp_path, no_pictures):
    result = run(study / "pre.nrrd", tmp_path / "out", later, real=real[:1], models=models)
    expected = segment_by_threshold(*(sitk.ReadImage(str(path)) for path in (study / "pre.nrrd", real[0])))
    np.testing.assert_array_equal(array(result.folder / "lesions.seg.nrrd"), sitk.GetArrayFromImage(expected))
    assert result.manifest.summary["lesions"] == 2


def test_without_the_real_phase_the_run_says_what_to_give(study, later, models, tmp_path):
    with pytest.raises(InputError, match="real phase 1; give that phase with --real"):
        run(study / "pre.nrrd", tmp_path / "out", later, models=models)
    assert not (tmp_path / "out").exists()


def test_a_real_phase_of_unknown_time_gets_that_of_the_training_with_a_warning(
    study, real, later, models, tmp_path, no_pictures
):
    result = run(study / "pre.nrrd", tmp_path / "out", later, real=real[:1], models=models)
    assert any("90 s was used, as in the model's training" in warning for warning in result.manifest.warnings)
    assert result.manifest.inputs[1]["time_s"] == 90.0
    untold = tiny_models.tiny_iter_unet(tmp_path / "untold", first_time_s=())
    with pytest.raises(InputError, match="time of the real phase 1 is unknown; give it with --real-times"):
        run(study / "pre.nrrd", tmp_path / "no", replace(later, model=str(untold.folder)), real=real[:1], models=models)


def test_an_iter_unet_makes_as_many_phases_as_times_are_asked_for(study, real, later, models, tmp_path, no_pictures):
    settings = replace(later, segmentation="none", times_s=(120.0, 200.0, 300.0, 400.0), real_times_s=(80.0,))
    result = run(study / "pre.nrrd", tmp_path / "out", settings, real=real[:1], models=models)
    assert [entry["index"] for entry in result.manifest.phases] == [2, 3, 4, 5]
    assert [entry["time_s"] for entry in result.manifest.phases] == [120.0, 200.0, 300.0, 400.0]
    assert [phase.index for phase in result.phases()] == [2, 3, 4, 5]


def test_a_phase_before_the_real_one_is_refused(study, real, later, models, tmp_path):
    settings = replace(later, times_s=(60.0, 300.0), real_times_s=(80.0,))
    with pytest.raises(InputError, match=r"phase 1 was acquired at 80 s; give later --times"):
        run(study / "pre.nrrd", tmp_path / "out", settings, real=real[:1], models=models)


def test_uncertainty_is_refused_where_the_model_cannot_give_it(study, real, later, models, tmp_path):
    with pytest.raises(InputError, match="gives no uncertainty"):
        run(study / "pre.nrrd", tmp_path / "out", replace(later, uncertainty=3), real=real[:1], models=models)


def test_a_lesion_model_that_needs_a_missing_phase_gives_way_or_is_refused_before_any_work(
    study, iter_unet, monkeypatch
):
    card = SimpleNamespace(id="net", architecture=SimpleNamespace(config={}), inputs=Inputs(channels=["phase_4"]))
    net = SimpleNamespace(card=card)
    monkeypatch.setattr(plan, "resolve_model", lambda name, kind: net)
    events, read = Events(), read_study(study / "pre.nrrd")
    assert plan.choose_segmentation("auto", read, iter_unet.card, range(4), events) == ("threshold", None)
    assert events.warnings == [
        "The lesion model net reads phase 4, which this run does not have; lesions were found by threshold."
    ]
    with pytest.raises(InputError, match="reads phase 4, which this run does not have; choose another one"):
        plan.choose_segmentation("net", read, iter_unet.card, range(4), events)
    assert plan.choose_segmentation("net", read, iter_unet.card, range(5), events) == ("net", net)


def test_a_result_that_begins_with_phase_two_is_compared_with_real_phases_afterwards(done, study, real, tmp_path):
    _, metrics = compare_existing(done.folder, real, tmp_path / "out", pre=study / "pre.nrrd")
    here = {(m.phase, m.compared, m.region): m.values["mae"] for m in metrics if m.region == "whole image"}
    then = {
        (int(row["phase"]), row["compared"], row["region"]): float(row["mae"])
        for row in rows(done.folder / "comparison.csv")
        if row["region"] == "whole image"
    }
    assert here.keys() == then.keys()
    assert all(here[key] == pytest.approx(then[key], rel=1e-4) for key in here)
    curve = rows(tmp_path / "out" / "agreement.csv")
    assert curve[0]["quantity"] == "bias of PE, phase 2"


def test_the_same_job_is_kept_and_another_time_of_the_real_phase_is_another_job(
    study, real, later, models, tmp_path, no_pictures
):
    settings = replace(later, segmentation="none", real_times_s=(80.0,), resume=True)
    go = {"real": real[:1], "models": models}
    assert not run(study / "pre.nrrd", tmp_path / "out", settings, **go).kept
    assert run(study / "pre.nrrd", tmp_path / "out", settings, **go).kept
    with pytest.raises(InputError, match="another input"):
        run(study / "pre.nrrd", tmp_path / "out", replace(settings, real_times_s=(85.0,)), **go)


def test_a_batch_gives_each_case_its_real_phases_and_their_times(study, real, later, models, tmp_path, no_pictures):
    table = tmp_path / "cases.csv"
    table.write_text(
        f"case,input,real1,times,real_times\na,{study}/pre.nrrd,{real[0]},200 400,70\nb,{study}/pre.nrrd,,,\n"
    )
    settings = replace(later, segmentation="none")
    outcome = run_batch(read_cases(table), tmp_path / "out", settings, models=models)
    assert [case.status.value for case in outcome.cases] == ["done", "failed"]
    assert "give that phase with --real" in outcome.cases[1].message
    made = (tmp_path / "out" / "a" / "manifest.json").read_text()
    assert '"time_s": 70.0' in made
    assert '"file": "phases/phase_3.nrrd"' in made


def test_a_time_conditioned_model_makes_any_times(study, anytime, models, tmp_path, no_pictures):
    settings = replace(anytime, times_s=(40.0, 95.0, 300.0, 500.0), uncertainty=2)
    result = run(study / "pre.nrrd", tmp_path / "out", settings, models=models)
    entries = [(entry["index"], entry["time_s"]) for entry in result.manifest.phases]
    assert entries == [(1, 40.0), (2, 95.0), (3, 300.0), (4, 500.0)]
    assert "uncertainty/phase_4.nrrd" in result.manifest.outputs


def test_the_times_of_real_phases_are_those_that_a_time_conditioned_model_makes_by_default(
    study, real, anytime, models, tmp_path, no_pictures
):
    timed = replace(anytime, real_times_s=(70.0, 210.0))
    result = run(study / "pre.nrrd", tmp_path / "a", timed, real=real[:2], models=models)
    assert [entry["time_s"] for entry in result.manifest.phases] == [70.0, 210.0]
    assert {row["phase"] for row in rows(result.folder / "comparison.csv")} == {"1", "2"}
    untimed = run(study / "pre.nrrd", tmp_path / "b", anytime, real=real[:2], models=models)
    assert [entry["time_s"] for entry in untimed.manifest.phases] == [90.0, 220.0, 350.0]
    other = run(study / "pre.nrrd", tmp_path / "c", replace(timed, times_s=(70.0, 90.0)), real=real[:2], models=models)
    assert any("made for 90 s and is compared with the real one at 210 s" in text for text in other.manifest.warnings)


def test_an_iter_unet_begins_from_any_phase_that_was_acquired(study, real, later, models, tmp_path, no_pictures):
    """Only the second phase was acquired, at 220 s: it takes the place of the first, and later ones are made of it."""
    asked = replace(later, real_times_s=(220.0,), times_s=(350.0, 480.0))
    done = run(study / "pre.nrrd", tmp_path / "out", asked, real=[real[1]], models=models)
    assert [entry["time_s"] for entry in done.manifest.phases] == [350.0, 480.0]
    package = plan.resolve_model(later.model, "synthesis")
    pre, second = (sitk.ReadImage(str(path)) for path in (study / "pre.nrrd", real[1]))
    alone = VolumetricSynthesizer(package, choose_device("cpu"))
    expected = alone.synthesize(pre, [Phase(1, second, 220.0, False)], Events(), times_s=[350.0, 480.0]).phases
    for entry, image in zip(done.manifest.phases, expected, strict=True):
        np.testing.assert_array_equal(array(done.folder / entry["file"]), sitk.GetArrayFromImage(image))
    assert any("trained to begin at 90 s and begins at 220 s" in warning for warning in done.manifest.warnings)
    with pytest.raises(InputError, match="give later --times"):
        early = replace(asked, times_s=(150.0, 350.0))
        run(study / "pre.nrrd", tmp_path / "early", early, real=[real[1]], models=models)


def test_an_iter_unet_reads_several_acquired_phases_and_is_compared_with_those_after_them(
    study, real, later, models, tmp_path, no_pictures
):
    asked = replace(later, acquired=2, real_times_s=(80.0, 220.0, 350.0))
    done = run(study / "pre.nrrd", tmp_path / "out", asked, real=real, models=models)
    assert [(entry["index"], entry["time_s"]) for entry in done.manifest.phases] == [(3, 350.0)]
    marked = {entry["role"]: entry.get("model_input", False) for entry in done.manifest.inputs}
    assert marked == {"pre": False, "real_1": True, "real_2": True, "real_3": False}
    compared = {(row["phase"], row["compared"]) for row in rows(done.folder / "comparison.csv")}
    assert compared >= {("3", "synthetic"), ("3", "phase_2")}
    package = plan.resolve_model(later.model, "synthesis")
    pre, first, second = (sitk.ReadImage(str(path)) for path in (study / "pre.nrrd", *real[:2]))
    acquired = [Phase(1, first, 80.0, False), Phase(2, second, 220.0, False)]
    (expected,) = VolumetricSynthesizer(package, choose_device("cpu")).synthesize(pre, acquired, Events()).phases
    np.testing.assert_array_equal(array(done.folder / "phases/phase_3.nrrd"), sitk.GetArrayFromImage(expected))


def test_several_acquired_phases_are_refused_where_they_are_missing_too_late_or_the_model_reads_none(
    study, real, later, anytime, models, tmp_path
):
    source, two = study / "pre.nrrd", replace(later, acquired=2, real_times_s=(80.0, 220.0))
    with pytest.raises(InputError, match="real phase 2; give that phase with --real"):
        run(source, tmp_path / "a", replace(two, real_times_s=(80.0,)), real=real[:1], models=models)
    with pytest.raises(InputError, match="no phase after 400 s unless it is told when"):
        run(source, tmp_path / "b", replace(two, real_times_s=(80.0, 400.0)), real=real[:2], models=models)
    with pytest.raises(InputError, match="does not read several acquired phases"):
        run(source, tmp_path / "c", replace(anytime, acquired=2), real=real[:2], models=models)
