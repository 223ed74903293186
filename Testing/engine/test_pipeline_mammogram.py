"""The main road with a mammography model: one low-energy image in, one recombined image out, and nothing of MRI."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import tiny_models
import torch
from dicom_tools import errors_of_dciodvfy
from io_samples import MrSeries
from mammogram_samples import PIXEL_MM, make_pair, write_mammogram, write_scan
from skimage.metrics import structural_similarity
from VirtualContrastLib.events import Events, InputError
from VirtualContrastLib.io.read import load
from VirtualContrastLib.results.manifest import verify_result
from VirtualContrastLib.run.batch import run_batch
from VirtualContrastLib.run.batch_cases import read_cases
from VirtualContrastLib.run.compare import compare_existing
from VirtualContrastLib.run.pipeline import ModelCache, RunSettings, run
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.mammogram import MammogramSynthesizer, breast_mask


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pair():
    """Low-energy and recombined image of a simulated breast as 8 bit, [row, column]."""
    return make_pair()


@pytest.fixture(scope="module")
def files(pair, tmp_path_factory):
    """The pair as PNG, and the low-energy image as TIFF and NIfTI with millimeters."""
    folder = tmp_path_factory.mktemp("files")
    for values, name in zip(pair, ("low", "high"), strict=True):
        for suffix in ("png", "tif"):
            sitk.WriteImage(sitk.GetImageFromArray(values), str(folder / f"{name}.{suffix}"))
    image = sitk.GetImageFromArray(pair[0][np.newaxis])
    image.SetSpacing((PIXEL_MM, PIXEL_MM, 1.0))
    sitk.WriteImage(image, str(folder / "low.nii.gz"))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_models.tiny_mammogram_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def chosen(model):
    return RunSettings(model=str(model.folder), device="cpu")


@pytest.fixture(scope="module")
def models():
    return ModelCache()


@pytest.fixture(scope="module")
def done(files, chosen, models, tmp_path_factory):
    out = tmp_path_factory.mktemp("done") / "out"
    return run(files / "low.png", out, chosen, real=[files / "high.png"], models=models)


def array(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_the_result_is_the_recombined_image_with_a_figure_and_a_report_and_nothing_of_mri(done):
    assert set(done.manifest.outputs) == {
        "recombined.nrrd", "comparison.csv", "figures/overview.png", "report.html",
    }  # fmt: skip
    assert (done.manifest.kind, done.manifest.summary) == ("mammogram", {})
    assert done.manifest.phases == [{"index": 1, "time_s": None, "file": "recombined.nrrd"}]
    assert list(done.manifest.timing_s) == ["read", "model", "synthesize", "compare", "export"]
    assert verify_result(done.folder) == []


def test_the_recombined_image_is_the_synthesizer_s_and_lies_on_the_input_s_pixels(done, files, model):
    low = load(files / "low.png").image
    alone = MammogramSynthesizer(model, choose_device("cpu")).synthesize(low, Events())
    np.testing.assert_array_equal(array(done.folder / "recombined.nrrd"), sitk.GetArrayFromImage(alone))
    made = sitk.ReadImage(str(done.folder / "recombined.nrrd"))
    assert made.GetSize() == low.GetSize()
    assert made.GetSpacing() == low.GetSpacing()
    assert "SYNTHETIC" in made.GetMetaData("VirtualContrast")


def test_metrics_against_the_true_image_are_those_of_numpy_and_scikit_image(done, pair):
    made, truth = array(done.folder / "recombined.nrrd")[0].astype(float), pair[1].astype(float)
    with (done.folder / "comparison.csv").open() as file:
        table = {row["region"]: row for row in csv.DictReader(file)}
    assert list(table) == ["whole image", "breast"]
    assert {row["compared"] for row in table.values()} == {"synthetic"}
    assert float(table["whole image"]["mae"]) == pytest.approx(np.abs(made - truth).mean(), rel=1e-4)
    inside = breast_mask(pair[0].astype(np.float32))
    assert float(table["breast"]["mae"]) == pytest.approx(np.abs(made - truth)[inside].mean(), rel=1e-4)
    expected = structural_similarity(
        made, truth, data_range=np.ptp(truth), gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert float(table["whole image"]["ssim"]) == pytest.approx(expected, abs=1e-4)


def test_the_report_speaks_of_a_mammogram_and_makes_no_claim_of_time_or_lesions(done):
    text = (done.folder / "report.html").read_text()
    assert "Synthetic recombined mammogram" in text
    assert "SYNTHETIC IMAGES - RESEARCH ONLY" in text
    for word in ("Lesions", "Percent enhancement", "breast MRI", "pre-contrast volume", "after injection"):
        assert word not in text


def test_picture_formats_and_dicom_of_the_same_pixels_give_the_same_image(done, files, pair, chosen, models, tmp_path):
    expected = array(done.folder / "recombined.nrrd")
    dicom = write_mammogram(tmp_path / "dicom", pair[0])
    for name, source in {"tif": files / "low.tif", "nii": files / "low.nii.gz", "dcm": dicom}.items():
        result = run(source, tmp_path / name, chosen, models=models)
        np.testing.assert_array_equal(array(result.folder / "recombined.nrrd"), expected)
    assert result.manifest.inputs[0]["modality"] == "MG"
    made = sitk.ReadImage(str(tmp_path / "dcm" / "recombined.nrrd"))
    assert made.GetSpacing()[:2] == (PIXEL_MM, PIXEL_MM)


def test_an_inverted_mammogram_is_turned_round_so_that_tissue_is_bright(pair, tmp_path):
    turned = 4095 - pair[0].astype(np.int32)
    tags = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "HighBit": 11}
    loaded = load(write_mammogram(tmp_path / "a", turned, **tags))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(loaded.image)[0], pair[0])
    assert "inverted" in loaded.warnings[0]
    scaled = load(write_mammogram(tmp_path / "b", turned, RescaleSlope="2", RescaleIntercept="-10", **tags))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(scaled.image)[0], 2.0 * pair[0] - 10)


def test_a_folder_of_several_views_is_refused_with_what_it_holds(pair, chosen, tmp_path):
    for name in ("L CC", "L MLO"):
        path = write_mammogram(tmp_path / name, pair[0], SeriesDescription=name)
        (tmp_path / "all").mkdir(exist_ok=True)
        path.rename(tmp_path / "all" / f"{name}.dcm")
    with pytest.raises(InputError, match=r"holds 2 images of mammography .*; give one file") as refused:
        run(tmp_path / "all", tmp_path / "out", chosen)
    assert "L MLO" in str(refused.value)


def test_a_recombined_image_given_as_low_energy_is_warned_of(pair, chosen, models, tmp_path):
    source = write_mammogram(tmp_path / "s", pair[0], SeriesDescription="L CC Recombined")
    result = run(source, tmp_path / "out", chosen, models=models)
    assert any("looks like a recombined" in warning for warning in result.manifest.warnings)


def test_models_and_images_of_different_modalities_do_not_go_together(pair, chosen, models, tmp_path):
    mammogram = write_mammogram(tmp_path / "mg", pair[0])
    mri = tiny_models.tiny_package(tmp_path / "mri").folder
    with pytest.raises(InputError, match=r"is a mammogram \(MG\) and the model reads breast MRI"):
        run(mammogram, tmp_path / "out", replace(chosen, model=str(mri)), models=models)
    MrSeries(sitk.GetImageFromArray(np.arange(32 * 32, dtype=np.int16).reshape(1, 32, 32))).write(tmp_path / "mr")
    with pytest.raises(InputError, match="is MR and the model reads low-energy mammograms"):
        run(tmp_path / "mr", tmp_path / "out", chosen, models=models)
    volume = np.random.default_rng(0).normal(100, 20, (3, 32, 32)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(volume), str(tmp_path / "volume.nrrd"))
    with pytest.raises(InputError, match="has 3 slices; a mammogram is one image"):
        run(tmp_path / "volume.nrrd", tmp_path / "out", chosen, models=models)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"uncertainty": 4}, "gives no uncertainty"),
        ({"dicom": True}, "side and view of a DICOM source"),
        ({"times_s": (90.0,)}, "has no time"),
    ],
)
def test_what_a_mammogram_cannot_have_is_refused(files, chosen, models, tmp_path, changes, reason):
    with pytest.raises(InputError, match=reason):
        run(files / "low.png", tmp_path / "out", replace(chosen, **changes), models=models)
    assert not (tmp_path / "out").exists()


def test_curves_in_lesions_are_refused(pair, files, chosen, models, tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray((pair[0] > 100).astype(np.uint8)), str(tmp_path / "mask.png"))
    with pytest.raises(InputError, match="Curves in lesions need phases in time"):
        run(files / "low.png", tmp_path / "out", chosen, lesions=tmp_path / "mask.png", models=models)


def test_gray_values_of_another_scale_are_refused(pair, files, models, tmp_path):
    raw = tiny_models.tiny_mammogram_model(tmp_path / "raw", source_window=[1800, 2900]).folder
    with pytest.raises(InputError, match=r"Half of the breast's gray values are below .* reads 1800 to 2900"):
        run(files / "low.png", tmp_path / "out", RunSettings(model=str(raw), device="cpu"), models=models)


def test_a_model_of_millimetres_asks_for_the_pixel_size_of_a_picture(files, models, tmp_path):
    model = tiny_models.tiny_mammogram_model(tmp_path / "mm", spacing_mm=1.0).folder
    settings = RunSettings(model=str(model), device="cpu")
    with pytest.raises(InputError, match=r"pixels of 1 mm, .* give --pixel-spacing"):
        run(files / "low.png", tmp_path / "out", settings, models=models)
    given = run(files / "low.png", tmp_path / "given", replace(settings, pixel_spacing_mm=PIXEL_MM), models=models)
    told = run(files / "low.nii.gz", tmp_path / "told", settings, models=models)
    ours, theirs = (array(result.folder / "recombined.nrrd") for result in (given, told))
    np.testing.assert_array_equal(ours, theirs)


def test_a_batch_folder_of_prepared_pairs_runs_with_the_true_images(files, chosen, models, tmp_path):
    case = tmp_path / "cases" / "pair_1"
    case.mkdir(parents=True)
    for ours, prepared in (("low", "low_energy"), ("high", "recombined")):
        sitk.WriteImage(load(files / f"{ours}.png").image, str(case / f"{prepared}.nrrd"))
    outcome = run_batch(read_cases(tmp_path / "cases"), tmp_path / "out", chosen, models=models)
    assert [one.status.value for one in outcome.cases] == ["done"]
    manifest = json.loads((tmp_path / "out" / "pair_1" / "manifest.json").read_text())
    assert [entry["role"] for entry in manifest["inputs"]] == ["pre", "real_1"]
    assert (tmp_path / "out" / "pair_1" / "comparison.csv").is_file()


def test_a_result_is_compared_with_the_true_image_afterwards_but_has_no_curves(done, files, tmp_path):
    _, metrics = compare_existing(done.folder, [files / "high.png"], tmp_path / "out")
    assert [(m.phase, m.compared, m.region) for m in metrics] == [(1, "synthetic", "whole image")]
    with pytest.raises(InputError, match="has no curves"):
        compare_existing(done.folder, [files / "high.png"], tmp_path / "no", pre=files / "low.png")


def test_real_pairs_of_cdd_cesm_run_to_the_end(shared_data, chosen, models, tmp_path):
    folder = shared_data / "cem-pairs" / "public"
    if not folder.is_dir():
        pytest.skip(f"the real mammograms are not at {folder}")
    both = array(sorted(folder.glob("*.png"))[0])
    for values, name in ((both[:, :256, 0], "low"), (both[:, 256:, 1], "high")):
        sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(values)), str(tmp_path / f"{name}.png"))
    result = run(tmp_path / "low.png", tmp_path / "out", chosen, real=[tmp_path / "high.png"], models=models)
    assert array(result.folder / "recombined.nrrd").shape == (1, 512, 256)
    assert {p.name for p in (result.folder / "figures").iterdir()} == {"overview.png"}


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A DICOM mammogram with side and view, and a patient."""
    return write_scan(tmp_path_factory.mktemp("scan") / "mg")


def test_the_recombined_image_is_written_as_a_mammogram_of_the_same_patient_side_and_view(
    scan, chosen, models, tmp_path
):
    result = run(scan, tmp_path / "out", replace(chosen, dicom=True), models=models)
    assert result.incomplete == []
    source, made = pydicom.dcmread(scan), pydicom.dcmread(tmp_path / "out" / "dicom" / "recombined.dcm")
    assert made.SOPClassUID == pydicom.uid.DigitalMammographyXRayImageStorageForPresentation
    for keyword in (
        "PatientName",
        "PatientID",
        "StudyInstanceUID",
        "ImageLaterality",
        "PatientOrientation",
        "ViewPosition",
    ):
        assert made[keyword].value == source[keyword].value
    assert made.Modality == "MG" and [view.CodeValue for view in made.ViewCodeSequence] == ["399162004"]
    assert made[0x0008001C].value == "YES"
    assert made.ImageType[0] == "DERIVED" and made.SeriesDescription.startswith("SYNTHETIC recombined")
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert "InstitutionName" not in made and "ContrastBolusAgent" not in made
    np.testing.assert_allclose(made.ImagerPixelSpacing, (PIXEL_MM, PIXEL_MM))
    slope, intercept = (
        float(part) for part in re.search(r"= (\S+) \* stored value \+ (\S+)\. ", made.DerivationDescription).groups()
    )
    truth = array(tmp_path / "out" / "recombined.nrrd")[0]
    np.testing.assert_allclose(made.pixel_array * slope + intercept, truth, atol=0.51 * slope + 1e-4 * np.ptp(truth))


def test_dciodvfy_finds_no_error_in_a_mammogram(scan, chosen, models, tmp_path):
    run(scan, tmp_path / "out", replace(chosen, dicom=True), models=models)
    assert errors_of_dciodvfy(tmp_path / "out" / "dicom" / "recombined.dcm") == []


def test_a_mammogram_can_be_deidentified(scan, chosen, models, tmp_path):
    settings = replace(chosen, dicom=True, deidentify=True)
    run(scan, tmp_path / "out", settings, models=models)
    content = (tmp_path / "out" / "dicom" / "recombined.dcm").read_bytes()
    assert not any(
        secret in content for secret in (b"Geheim", b"4711", pydicom.dcmread(scan).StudyInstanceUID.encode())
    )
    assert pydicom.dcmread(tmp_path / "out" / "dicom" / "recombined.dcm").PatientIdentityRemoved == "YES"
