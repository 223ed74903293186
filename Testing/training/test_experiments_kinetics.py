"""The kinetics command on what really exists: a breast series of 25 phases, and results of a batch run."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from program import call
from VirtualContrastLib.cli.main import main as engine
from VirtualContrastLib.models.package import ModelCard, save_package
from VirtualContrastLib.networks.pix2pixhd import build_generator
from VirtualContrastTrainingLib.data.phantom import PhantomSettings, make_phantom
from VirtualContrastTrainingLib.data.phantom.writing import write_phantom


def run(capsys, *arguments):
    assert call("kinetics", *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_the_real_25_phase_breast_series_against_half_of_its_own_enhancement(shared_data, tmp_path, capsys):
    data = shared_data / "breast-invivo-dce"
    series = sitk.ReadImage(str(data / "derived_dce4d_assumed_spacing.nii.gz"))
    arrays = sitk.GetArrayFromImage(series)
    with (data / "derived_ring_curve.csv").open() as file:
        published = list(csv.DictReader(file))
    made = [arrays[0] + (phase - arrays[0]) / 2 for phase in arrays]
    for folder, phases in (("real", arrays), ("made", made)):
        (tmp_path / folder / "a").mkdir(parents=True)
        for number, phase in enumerate(phases):
            name = "pre.nrrd" if number == 0 else f"phase_{number}.nrrd"
            image = sitk.GetImageFromArray(phase.astype(np.float32))
            image.SetSpacing(series.GetSpacing()[:3])
            sitk.WriteImage(image, str(tmp_path / folder / "a" / name))
    ring = sitk.GetImageFromArray(sitk.GetArrayFromImage(sitk.ReadImage(str(data / "derived_ring_mask.nii.gz"))))
    ring.SetSpacing(series.GetSpacing()[:3])
    sitk.WriteImage(sitk.Cast(ring, sitk.sitkUInt8), str(tmp_path / "real" / "a" / "lesions.nrrd"))
    times = [float(row["t_s"]) for row in published[1:]]
    given = ("--real", tmp_path / "real", "--synthetic", tmp_path / "made", "--times", *times)
    result = run(capsys, *given, "-o", tmp_path / "out")
    curve = [row for row in csv.DictReader((tmp_path / "out" / "curves.csv").open()) if row["series"] == "real"]
    signal = [float(row["mean_signal"]) for row in published]
    assert [float(row["signal"]) for row in curve] == pytest.approx(signal, rel=1e-4)
    pe = 100 * (np.array(signal[1:]) / signal[0] - 1)
    lesion = result["per_lesion"][0]
    assert lesion["enhancement_error"] == pytest.approx(np.abs(pe / 2).mean(), rel=1e-3)
    assert lesion["spearman"] == pytest.approx(1) and lesion["same_order"]
    assert lesion["peak_pe_synthetic"] == pytest.approx(pe.max() / 2, rel=1e-3)
    assert lesion["time_to_peak_real"] == lesion["time_to_peak_synthetic"] == pytest.approx(times[pe.argmax()])


def random_model(folder, times):
    """A pix2pixHD generator of random weights as a model package."""
    options = {"input_nc": 1, "output_nc": 3, "ngf": 4, "n_downsample_global": 1, "n_blocks_global": 1}
    fields = {"id": "random", "version": "1", "title": "Random", "inputs": {}, "license": "Apache-2.0"}
    fields |= {"architecture": {"name": "pix2pixhd", "config": options}, "in_plane": {"pad_multiple": 4}}
    fields |= {"outputs": {"channel_phases": [1, 2, 3], "times_s": list(times)}, "trained_on_phantoms": True}
    fields["intensity"] = {"recipe": "pre_percentile", "constants": {"max_ratio": 4.0}}
    card = ModelCard.model_validate(fields)
    torch.manual_seed(0)
    save_package(folder, card, build_generator(options).state_dict(), model_card_md="# Random\n")
    return folder


def test_results_of_a_real_batch_give_the_curves_of_their_volumes(tmp_path, capsys, monkeypatch):
    """`virtual-contrast batch` with real phases and true lesions, read as result folders and as volumes."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    small = PhantomSettings(
        size_kji=(8, 48, 64), spacing_kji_mm=(15.0, 4.0, 4.0), lesion_count_weights=(0, 0, 1), lesion_radius_mm=(10, 14)
    )
    rows = ["case,input,real1,real2,real3,lesions,real_times"]
    case = tmp_path / "truth" / "case_1"
    write_phantom(make_phantom(1, small), case)
    names = ("pre", "phase_1", "phase_2", "phase_3", "lesions")
    times = " ".join(f"{time_s:g}" for time_s in small.phase_times_s)
    rows.append(",".join([case.name, *(str(case / f"{name}.nrrd") for name in names), times]))
    (tmp_path / "batch.csv").write_text("\n".join(rows) + "\n")
    model = random_model(tmp_path / "model", small.phase_times_s)
    words = ["batch", tmp_path / "batch.csv", "-o", tmp_path / "results", "--model", model, "--device", "cpu"]
    assert engine([*map(str, words)]) == 0
    capsys.readouterr()
    of_results = run(capsys, tmp_path / "results")
    of_volumes = run(capsys, "--real", tmp_path / "truth", "--synthetic", tmp_path / "results")
    assert of_results["cases"] == of_volumes["cases"] == 1 and of_results["lesions"] == of_volumes["lesions"] >= 1
    assert of_volumes["data"] == "phantoms" and any("each run outlined" in note for note in of_results["notes"])
    for a, b in zip(of_results["per_lesion"], of_volumes["per_lesion"], strict=True):
        for key in ("enhancement_error", "dtw", "peak_pe_real", "peak_pe_synthetic"):
            assert a[key] == pytest.approx(b[key], rel=1e-3)
