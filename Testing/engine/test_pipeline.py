"""The main road end to end with a small random network: whole results, or nothing."""

import csv
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import run_samples
import SimpleITK as sitk
import tiny_models
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.lesions.threshold import segment_by_threshold
from VirtualContrastLib.models.card import Inputs
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.results.manifest import load_result, verify_result
from VirtualContrastLib.run import plan
from VirtualContrastLib.run.pipeline import ModelCache, RunSettings, run
from VirtualContrastLib.synthesis.synthesizer import Synthesis


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_part_of_the_result_folder_is_there_and_verified(done):
    expected = {f"{kind}/phase_{n}.nrrd" for kind in ("phases", "subtraction", "uncertainty") for n in (1, 2, 3)}
    expected |= {"lesions.seg.nrrd", "lesions.csv", "curves.csv", "curves_real.csv", "comparison.csv"}
    expected |= {"agreement.csv", "report.html", "maps/curve_type.nrrd", "figures/curves.png"}
    assert expected <= set(done.manifest.outputs)
    assert verify_result(done.folder) == []
    assert load_result(done.folder).manifest == done.manifest


def test_every_volume_has_exactly_the_geometry_of_the_input(done, study):
    pre = sitk.ReadImage(str(study / "pre.nrrd"))
    volumes_made = [path for path in done.outputs if path.suffix == ".nrrd"]
    assert len(volumes_made) >= 10
    for path in volumes_made:
        image = sitk.ReadImage(str(path))
        assert image.GetSize() == pre.GetSize()
        assert image.GetSpacing() == pre.GetSpacing()
        assert image.GetOrigin() == pre.GetOrigin()
        assert image.GetDirection() == pre.GetDirection()


def test_subtraction_is_phase_minus_pre(done, study):
    pre = sitk.GetArrayFromImage(sitk.ReadImage(str(study / "pre.nrrd")))
    assert len(done.phases()) == 3
    for phase in done.phases():
        difference = sitk.GetArrayFromImage(
            sitk.ReadImage(str(done.folder / "subtraction" / f"phase_{phase.index}.nrrd"))
        )
        np.testing.assert_array_equal(difference, sitk.GetArrayFromImage(phase.image) - pre)


def test_curves_are_the_means_over_the_given_lesions(done, study):
    lesion = run_samples.make_mask() == 1
    table = [row for row in rows(done.folder / "curves.csv") if row["lesion"] == "1"]
    images = [run_samples.make_pre(), *(sitk.GetArrayFromImage(p.image) for p in done.phases())]
    assert [float(row["time_s"]) for row in table] == [0.0, 90.0, 220.0, 350.0]
    for row, image in zip(table, images, strict=True):
        assert float(row["signal_mean"]) == pytest.approx(image[lesion].mean(), rel=1e-5)
    real = [row for row in rows(done.folder / "curves_real.csv") if row["lesion"] == "1"]
    assert [float(row["pe_percent"]) for row in real] == pytest.approx([0, 99.5, 120.5, 89.0], abs=0.01)


def test_comparison_holds_synthetic_and_pre_for_every_phase_and_region(done, study):
    table = rows(done.folder / "comparison.csv")
    keys = {(row["phase"], row["compared"], row["region"]) for row in table}
    regions = ("whole image", "breast", "lesions")
    assert keys == {(p, c, r) for p in "123" for c in ("synthetic", "pre") for r in regions}
    (row,) = [r for r in table if (r["phase"], r["compared"], r["region"]) == ("2", "pre", "lesions")]
    lesions = run_samples.make_mask() > 0
    difference = run_samples.make_pre()[lesions] - run_samples.make_real(2)[lesions]
    assert float(row["mae"]) == pytest.approx(np.abs(difference).mean(), rel=1e-4)
    assert int(row["voxels"]) == lesions.sum() == 58


def test_the_manifest_tells_what_was_done_without_any_name_or_path(done, study, model):
    manifest = done.manifest
    assert [entry["role"] for entry in manifest.inputs] == ["pre", "real_1", "real_2", "real_3", "lesions"]
    assert manifest.models[0]["id"] == "tiny"
    assert manifest.models[0]["trained_on_phantoms"] is True
    assert manifest.settings["segmentation"] == "given"
    assert manifest.device["device"] == "cpu"
    assert list(manifest.timing_s) == [
        "read",
        "model",
        "synthesize",
        "segment",
        "kinetics",
        "compare",
        "export",
    ]
    assert manifest.summary["lesions"] == 2
    assert manifest.summary["lesion_volume_mm3"] == pytest.approx(58 * 1.5 * 1.25 * 3.0)
    assert manifest.warnings
    for text in ((done.folder / "manifest.json").read_text(), (done.folder / "report.html").read_text()):
        for secret in (str(study), str(model), "pre.nrrd", "mask.nrrd", study.name):
            assert secret not in text


def test_a_patients_name_in_a_file_name_stays_out_of_the_result(study, chosen, models, tmp_path):
    folder = tmp_path / "DOE_JANE_19600101"
    folder.mkdir()
    (folder / "JANE_DOE.nrrd").write_bytes((study / "pre.nrrd").read_bytes())
    result = run(folder / "JANE_DOE.nrrd", tmp_path / "out", chosen, models=models)
    for name in ("manifest.json", "report.html"):
        text = re.sub(r'src="data:[^"]*"', "", (result.folder / name).read_text())
        assert not re.search(r"jane|doe[^s]", re.sub(r"[A-Za-z0-9+/=]{60,}", "", text), re.IGNORECASE)


def test_the_lesions_file_opens_as_a_slicer_segmentation(done):
    image = sitk.ReadImage(str(done.folder / "lesions.seg.nrrd"))
    assert image.GetMetaData("Segment0_Name") == "Lesion 1"
    assert image.GetMetaData("Segment1_LabelValue") == "2"
    assert image.GetMetaData("Segment0_Extent") == "10 14 8 11 1 2"
    assert "Mass" in image.GetMetaData("Segment1_Tags")
    assert set(np.unique(sitk.GetArrayFromImage(image))) == {0, 1, 2}


def test_two_runs_give_byte_identical_volumes_and_tables(done, study, chosen, tmp_path):
    real = [study / f"phase_{n}.nrrd" for n in (1, 2, 3)]
    settings = replace(chosen, uncertainty=2, real_times_s=run_samples.REAL_TIMES_S)
    again = run(study / "pre.nrrd", tmp_path / "out", settings, real=real, lesions=study / "mask.nrrd")
    differing = {name for name, digest in done.manifest.outputs.items() if again.manifest.outputs[name] != digest}
    assert differing <= {"report.html"}  # which tells run id and time
    assert again.manifest.fingerprint == done.manifest.fingerprint


def test_without_segmentation_there_are_phases_and_maps_but_no_lesions(study, chosen, models, tmp_path, no_pictures):
    result = run(study / "pre.nrrd", tmp_path / "out", replace(chosen, segmentation="none"), models=models)
    assert "phases/phase_3.nrrd" in result.manifest.outputs
    assert "lesions.csv" not in result.manifest.outputs
    assert result.manifest.summary["lesions"] is None


def test_nifti_is_written_where_asked_for(study, chosen, models, tmp_path, no_pictures):
    settings = replace(chosen, format="nifti")
    result = run(study / "pre.nrrd", tmp_path / "out", settings, lesions=study / "mask.nrrd", models=models)
    assert {"phases/phase_1.nii.gz", "lesions.nii.gz", "lesions.seg.nrrd"} <= set(result.manifest.outputs)
    assert len(result.phases()) == 3


def test_times_replace_the_models_and_must_fit_in_number(study, chosen, models, tmp_path, no_pictures):
    settings = replace(chosen, times_s=(60.0, 130.0, 400.0))
    result = run(study / "pre.nrrd", tmp_path / "out", settings, models=models)
    assert [entry["time_s"] for entry in result.manifest.phases] == [60.0, 130.0, 400.0]
    with pytest.raises(InputError, match="2 times"):
        run(study / "pre.nrrd", tmp_path / "other", replace(chosen, times_s=(60.0, 130.0)), models=models)


def test_fewer_real_than_synthetic_phases_are_compared_by_their_index(study, chosen, models, tmp_path, no_pictures):
    settings = replace(chosen, times_s=(75.0,))
    real, lesions = [study / "phase_1.nrrd"], study / "mask.nrrd"
    result = run(study / "pre.nrrd", tmp_path / "out", settings, real=real, lesions=lesions, models=models)
    assert {row["phase"] for row in rows(result.folder / "comparison.csv")} == {"1"}
    assert {row["time_s"] for row in rows(result.folder / "curves_real.csv")} == {"0", "75"}
    assert [entry["time_s"] for entry in result.manifest.phases] == [90.0, 220.0, 350.0]


def test_a_lesion_mask_on_another_grid_or_empty_is_refused(study, chosen, models, tmp_path):
    shifted = sitk.ReadImage(str(study / "mask.nrrd"))
    shifted.SetOrigin((0.0, 0.0, 0.0))
    sitk.WriteImage(shifted, str(tmp_path / "shifted.nrrd"))
    with pytest.raises(InputError, match=r"shifted\.nrrd does not lie on the input's grid"):
        run(study / "pre.nrrd", tmp_path / "out", chosen, lesions=tmp_path / "shifted.nrrd", models=models)
    assert not (tmp_path / "out").exists()


def test_a_mask_of_one_value_is_one_lesion_with_all_its_voxels(study, chosen, models, tmp_path, no_pictures):
    mask = (run_samples.make_mask() > 0).astype(np.uint8) * 255
    sitk.WriteImage(run_samples.make_image(mask), str(tmp_path / "mask.nrrd"))
    result = run(study / "pre.nrrd", tmp_path / "out", chosen, lesions=tmp_path / "mask.nrrd", models=models)
    assert [row["voxels"] for row in rows(result.folder / "lesions.csv")] == ["58"]


def test_a_three_dimensional_lesion_model_falls_back_to_the_threshold_for_one_slice(tmp_path, monkeypatch):
    """The choice is tested alone: a real nnU-Net is the subject of the tests of `lesions`."""
    from VirtualContrastLib.io.read import read_study

    sitk.WriteImage(run_samples.make_image(run_samples.make_pre()[2:3]), str(tmp_path / "slice.nrrd"))
    sitk.WriteImage(run_samples.make_image(run_samples.make_pre()), str(tmp_path / "volume.nrrd"))
    config = {"configuration": "3d_fullres"}
    card = SimpleNamespace(id="net", architecture=SimpleNamespace(config=config), inputs=Inputs(channels=["pre"]))
    net = SimpleNamespace(card=card)
    monkeypatch.setattr(plan, "resolve_model", lambda name, kind: net)
    events = Events()

    def choose(file):
        return plan.choose_segmentation("net", read_study(tmp_path / file), tiny_models.tiny_card(), range(4), events)

    assert choose("volume.nrrd") == ("net", net)
    assert events.warnings == []
    assert choose("slice.nrrd") == ("threshold", None)
    assert "by threshold" in events.warnings[0]
    config["configuration"] = "2d"
    assert choose("slice.nrrd") == ("net", net)


def test_instance_labels_of_the_user_keep_their_order(study, chosen, models, tmp_path, no_pictures):
    labels = run_samples.make_mask()
    labels[3:5][labels[3:5] > 0] = 7
    labels[1:3][labels[1:3] > 0] = 9
    sitk.WriteImage(run_samples.make_image(labels), str(tmp_path / "labels.nrrd"))
    result = run(study / "pre.nrrd", tmp_path / "out", chosen, lesions=tmp_path / "labels.nrrd", models=models)
    voxels = [int(row["voxels"]) for row in rows(result.folder / "lesions.csv")]
    assert voxels == [18, 40]


def test_a_run_warns_of_a_model_that_came_no_nearer_than_a_copy(study, chosen, tmp_path, no_pictures):
    lost = {"image": "phase 1", "region": "whole image", "copied": "the pre-contrast image"}
    lost |= {"error": 14.5, "copy_error": 11.4, "cases": 8, "closer": 1}
    model = run_samples.write_model(tmp_path / "lost", against_copying=[lost])
    result = run(study / "pre.nrrd", tmp_path / "out", replace(chosen, model=str(model)))
    assert any("no nearer" in warning and "14.5 against 11.4 %" in warning for warning in result.manifest.warnings)


def test_an_arbitrary_unit_model_subtracts_in_its_own_units(study, chosen, tmp_path, no_pictures):
    model = run_samples.write_model(tmp_path / "8bit", id="eight", intensity={"recipe": "minmax_8bit"})
    settings = replace(chosen, model=str(model))
    result = run(study / "pre.nrrd", tmp_path / "out", settings, real=[study / "phase_1.nrrd"])
    pre = run_samples.make_pre()
    scaled = (pre - pre.min()) * 255.0 / (pre.max() - pre.min())
    subtraction = sitk.GetArrayFromImage(sitk.ReadImage(str(result.folder / "subtraction" / "phase_1.nrrd")))
    phase = sitk.GetArrayFromImage(result.phases()[0].image)
    np.testing.assert_allclose(subtraction, phase - scaled, atol=1e-3)
    assert result.manifest.arbitrary_units
    assert any("arbitrary units" in warning for warning in result.manifest.warnings)
    assert {row["data_range"] for row in rows(result.folder / "comparison.csv")} == {"255"}


def test_a_picture_runs_in_pixels_and_cannot_become_dicom(chosen, models, tmp_path, no_pictures):
    pixels = np.clip(run_samples.make_pre()[2] / 1.5, 0, 255).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(pixels), str(tmp_path / "slice.png"))
    result = run(tmp_path / "slice.png", tmp_path / "out", chosen, models=models)
    assert result.manifest.summary["lesion_volume_mm3"] is None
    with pytest.raises(InputError, match="--pixel-spacing"):
        run(tmp_path / "slice.png", tmp_path / "other", replace(chosen, dicom=True), models=models)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"device": "tpu"}, "tpu"),
        ({"format": "png"}, "png"),
        ({"uncertainty": 1}, "2 to 100"),
        ({"times_s": (90.0, 60.0)}, "rising"),
        ({"times_s": (0.0, 60.0)}, "above 0"),
        ({"times_s": (float("nan"),)}, "seconds"),
        ({"pixel_spacing_mm": -1.0}, "spacing"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        RunSettings(**changes)


def test_an_unknown_model_is_named(study, chosen, tmp_path):
    with pytest.raises(InputError, match="no-such-model"):
        run(study / "pre.nrrd", tmp_path / "out", replace(chosen, model="no-such-model"))
    assert list(tmp_path.iterdir()) == []


def test_weights_that_differ_from_their_hash_are_refused(study, chosen, tmp_path):
    model = run_samples.write_model(tmp_path / "model")
    with (model / "weights.safetensors").open("r+b") as file:
        file.seek(-8, 2)
        file.write(b"tampered")
    with pytest.raises(InputError, match="SHA-256"):
        run(study / "pre.nrrd", tmp_path / "out", replace(chosen, model=str(model)))
    assert not (tmp_path / "out").exists()


def test_weights_are_loaded_once_for_many_runs(study, chosen, tmp_path, no_pictures, monkeypatch):
    from VirtualContrastLib.models.package import ModelPackage

    loads, load_state = [], ModelPackage.load_state
    monkeypatch.setattr(ModelPackage, "load_state", lambda self: loads.append(1) or load_state(self))
    models = ModelCache()
    for name in ("a", "b"):
        run(study / "pre.nrrd", tmp_path / name, chosen, models=models)
    assert len(loads) == 1


def test_outline_early_enhancement_and_report_name_the_same_early_phase(study, chosen, tmp_path):
    """Phases at 30, 90 and 155 s: the third is nearest to 150 s, though no phase follows it."""
    images = []
    for first, second in ((1.2, 1.1), (1.9, 1.5), (2.2, 1.9)):  # lesion 2 reaches 70 % at 155 s only
        array, mask = run_samples.make_pre(), run_samples.make_mask()
        array[mask == 1] *= first
        array[mask == 2] *= second
        images.append(run_samples.make_image(array))
    settings = replace(chosen, times_s=(30.0, 90.0, 155.0))
    result = run(study / "pre.nrrd", tmp_path / "out", settings, models=Instant(images))
    outlined = sitk.GetArrayFromImage(sitk.ReadImage(str(result.folder / "lesions.seg.nrrd")))
    pre = run_samples.make_image(run_samples.make_pre())
    on_phase = [sitk.GetArrayFromImage(segment_by_threshold(pre, image)) for image in images]
    np.testing.assert_array_equal(outlined, on_phase[2])
    assert not np.array_equal(on_phase[2], on_phase[1])
    (lesion, *_), curve = rows(result.folder / "lesions.csv"), rows(result.folder / "curves.csv")
    pe = {row["time_s"]: row["pe_percent"] for row in curve if row["lesion"] == lesion["lesion"]}
    assert float(lesion["early_pe_percent"]) == pytest.approx(float(pe["155"]), rel=1e-4)
    assert float(pe["155"]) != pytest.approx(float(pe["90"]), rel=0.02)
    assert lesion["ser"] == ""
    text = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "nearest to 150 s after injection, here phase 3 (155 s)" in text
    assert "threshold on the early phase, phase 3 (155 s)" in text
    assert "nearest to 450 s after it, here none" in text


class Instant(ModelCache):
    """Models whose synthesis are given images."""

    def __init__(self, images):
        super().__init__()
        self.images = images

    def synthesizer(self, package, device, precision):
        def synthesize_study(study, events, **options):
            return Synthesis(self.images, [], None, arbitrary_units=False, pre=study.pre.image)

        return SimpleNamespace(synthesize_study=synthesize_study)


def test_of_many_models_only_those_used_last_stay_loaded(tmp_path):
    models = ModelCache(kept=2)
    packages = [load_package(run_samples.write_model(tmp_path / name, id=name)) for name in ("a", "b", "c")]
    first, second, third = (models.synthesizer(package, "cpu") for package in packages)
    assert models.synthesizer(packages[2], "cpu") is third
    assert models.synthesizer(packages[1], "cpu") is second
    assert models.synthesizer(packages[0], "cpu") is not first


def test_progress_goes_through_the_stages_in_order(study, chosen, models, tmp_path, no_pictures):
    recorder = run_samples.Recorder()
    run(study / "pre.nrrd", tmp_path / "out", chosen, events=Events([recorder]), models=models)
    stages = list(dict.fromkeys(entry[0] for entry in recorder.seen if isinstance(entry, tuple)))
    assert stages == ["read", "model", "synthesize", "segment", "kinetics", "export"]
    assert all(0 <= entry[1] <= entry[2] for entry in recorder.seen if isinstance(entry, tuple))
