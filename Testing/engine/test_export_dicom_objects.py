"""DICOM SEG and SR of the lesions, read back with highdicom."""

import json

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_tools import errors_of_dciodvfy, run_dcmqi
from export_samples import breast_study, run_identity
from test_export_dicom_series import OBLIQUE, SAGITTAL, headers_of, reference_series
from VirtualContrastLib.events import InputError
from VirtualContrastLib.export.dicom.seg_and_sr import write_measurements, write_segmentation
from VirtualContrastLib.export.dicom.series import write_dicom_series
from VirtualContrastLib.kinetics.curves import lesion_curves
from VirtualContrastLib.lesions.location import LesionPlace
from VirtualContrastLib.lesions.measurement import measure_lesions


def write_all(folder, direction=None, run=None, **source):
    """What was measured and written: (labels, measures, curves, segmentation, report, series)."""
    run = run or run_identity()
    size = (40, 14, 50) if direction == SAGITTAL else (64, 40, 14)
    pre, phases, _, labels, _ = breast_study(direction, size=size, spacing=(5.0, 5.0, 5.0))
    reference = headers_of(reference_series(folder / "scan", pre.image, **source)) if source else []
    series = write_dicom_series(phases, folder, run, reference=reference)
    measures, curves = measure_lesions(labels, [pre, *phases]), lesion_curves([pre, *phases], labels)
    places = [LesionPlace(one.label, side) for one, side in zip(measures, ("left", "right"), strict=True)]
    segmentation = write_segmentation(folder / "seg.dcm", labels, series[2], run, places=places)
    report = write_measurements(folder / "sr.dcm", measures, curves, segmentation, series, run, places=places)
    return labels, measures, curves, segmentation, report, series


@pytest.mark.parametrize("direction", [None, OBLIQUE, SAGITTAL], ids=["axial", "oblique", "sagittal"])
def test_every_segment_holds_the_voxels_of_its_lesion_at_their_place(tmp_path, direction):
    labels, *_ = write_all(tmp_path, direction)
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    assert [seg.get_segment_description(n).segment_label for n in (1, 2)] == ["Lesion 1", "Lesion 2"]
    volume = seg.get_volume(combine_segments=True, relabel=False)
    truth = sitk.GetArrayFromImage(labels)
    assert volume.array.sum() == truth.sum()
    for label in (1, 2):
        ours = volume.map_indices_to_reference(np.argwhere(volume.array == label))
        index = np.argwhere(truth == label)[:, ::-1].tolist()
        points = np.array([labels.TransformIndexToPhysicalPoint(place) for place in index])
        order, truth_order = np.lexsort(np.round(ours, 3).T), np.lexsort(np.round(points, 3).T)
        np.testing.assert_allclose(ours[order], points[truth_order], atol=1e-3)


def test_segments_are_coded_and_name_algorithm_and_side(tmp_path):
    write_all(tmp_path)
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    first = seg.get_segment_description(1)
    assert first.segmented_property_category.value == "49755003"
    assert first.segmented_property_type.value == "4147007"
    assert first.algorithm_type.value == "AUTOMATIC"
    assert first.algorithm_identification.name == "threshold"
    assert first.anatomic_regions[0].meaning == "Left breast"
    assert seg.get_segment_description(2).anatomic_regions[0].meaning == "Right breast"


def test_lesions_given_by_the_user_are_not_called_automatic(tmp_path):
    given = type(run_identity().synthesis)("given", "0.1.0")
    write_all(tmp_path, run=run_identity(segmentation=given))
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    assert seg.get_segment_description(1).algorithm_type.value == "MANUAL"


def test_seg_and_sr_are_labelled_synthetic_and_name_the_model(tmp_path):
    run = run_identity()
    *_, series = write_all(tmp_path)
    study = pydicom.dcmread(series[1][0]).StudyInstanceUID
    for name in ("seg.dcm", "sr.dcm"):
        dataset = pydicom.dcmread(tmp_path / name)
        assert dataset[0x0008001C].value == "YES"
        assert dataset.SeriesDescription.startswith("SYNTHETIC")
        assert dataset.ContributingEquipmentSequence[0].DeviceSerialNumber == run.synthesis.weights_sha256
        assert dataset.StudyInstanceUID == study


def test_the_report_holds_the_measures_and_refers_to_segments_and_series(tmp_path):
    _, measures, curves, segmentation, _, series = write_all(tmp_path)
    report = hd.sr.srread(tmp_path / "sr.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["Lesion 1", "Lesion 2"]
    for number, (group, measure, curve) in enumerate(zip(groups, measures, curves, strict=True), start=1):
        values = {item.name.meaning: (item.value, item.unit.value) for item in group.get_measurements()}
        peak = float(curve.parameters.peak_pe_percent)
        assert values["Volume"] == (pytest.approx(measure.volume, rel=1e-5), "mm3")
        assert values["Left-right extent"] == (pytest.approx(measure.diameters[0], rel=1e-5), "mm")
        assert values["Peak percent enhancement"] == (pytest.approx(peak, rel=1e-5), "%")
        assert values["Signal enhancement ratio"][0] == pytest.approx(measure.ser, rel=1e-5)
        assert group.reference_type.meaning == "Referenced Segment"
        item = group.referenced_segment
        assert item.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert item.referenced_segment_numbers[0] == number
        (source,) = [item for item in group[0].ContentSequence if item.name.value == "121232"]
        assert source.value == pydicom.dcmread(series[2][0]).SeriesInstanceUID
    kinds = [
        evaluation.value.value
        for group in groups
        for evaluation in group.get_qualitative_evaluations()
        if evaluation.name.meaning == "Kinetic curve type"
    ]
    assert kinds == ["130599", "130597"]
    evidence = {
        item.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for referenced in study.ReferencedSeriesSequence
        for item in referenced.ReferencedSOPSequence
    }
    assert segmentation.SOPInstanceUID in evidence
    assert pydicom.dcmread(series[3][0]).SOPInstanceUID in evidence


def test_the_report_is_neither_verified_nor_final(tmp_path):
    write_all(tmp_path)
    report = pydicom.dcmread(tmp_path / "sr.dcm")
    assert report.VerificationFlag == "UNVERIFIED"
    assert report.PreliminaryFlag == "PRELIMINARY"


def test_names_beyond_ascii_survive_in_seg_and_sr(tmp_path):
    patient = {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Müller^Łucja", "PatientID": "4711"}
    write_all(tmp_path, PatientSex="F", StudyDate="", StudyTime="", **patient)
    for name in ("seg.dcm", "sr.dcm"):
        assert str(pydicom.dcmread(tmp_path / name).PatientName) == "Müller^Łucja"


def test_the_same_run_gives_the_same_segmentation_and_report(tmp_path):
    write_all(tmp_path / "a")
    write_all(tmp_path / "b")
    for name in ("seg.dcm", "sr.dcm"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_without_lesions_nothing_is_written(tmp_path):
    _, phases, _, labels, _ = breast_study(size=(32, 20, 4), spacing=(10.0, 10.0, 10.0))
    run, empty = run_identity(), labels * 0
    series = write_dicom_series(phases, tmp_path, run)
    assert write_segmentation(tmp_path / "seg.dcm", empty, series[1], run) is None
    assert write_measurements(tmp_path / "sr.dcm", [], [], None, series, run) is None
    assert not (tmp_path / "seg.dcm").exists()
    assert not (tmp_path / "sr.dcm").exists()


def test_lesions_on_another_grid_are_refused(tmp_path):
    _, phases, _, labels, _ = breast_study(size=(32, 20, 4), spacing=(10.0, 10.0, 10.0))
    series = write_dicom_series(phases, tmp_path, run_identity())
    with pytest.raises(InputError, match="grid"):
        write_segmentation(tmp_path / "seg.dcm", labels[:, :, :3], series[1], run_identity())


def test_dciodvfy_finds_no_error_in_seg_and_sr(tmp_path):
    write_all(tmp_path)
    assert errors_of_dciodvfy(tmp_path / "seg.dcm") == []
    assert errors_of_dciodvfy(tmp_path / "sr.dcm") == []


@pytest.mark.parametrize("direction", [None, OBLIQUE], ids=["axial", "oblique"])
def test_dcmqi_reads_every_segment_at_its_place(tmp_path, direction):
    labels, *_ = write_all(tmp_path, direction)
    done = run_dcmqi(
        "segimage2itkimage", "--inputDICOM", tmp_path / "seg.dcm", "--outputDirectory", tmp_path, "-t", "nrrd"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for label in (1, 2):
        theirs = sitk.ReadImage(str(tmp_path / f"{label}.nrrd"))
        ours = sitk.Cast(labels == label, theirs.GetPixelID())
        there = sitk.Resample(theirs, ours, sitk.Transform(), sitk.sitkNearestNeighbor)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(there) > 0, sitk.GetArrayFromImage(ours) > 0)
        assert np.count_nonzero(sitk.GetArrayFromImage(theirs)) == np.count_nonzero(sitk.GetArrayFromImage(ours))


def test_dcmqi_reads_the_measures_of_the_report(tmp_path):
    _, measures, *_ = write_all(tmp_path)
    out = tmp_path / "sr.json"
    done = run_dcmqi("tid1500reader", "--inputDICOM", tmp_path / "sr.dcm", "--outputMetadata", out)
    assert done.returncode == 0, done.stdout + done.stderr
    groups = json.loads(out.read_text())["Measurements"]
    assert [group["TrackingIdentifier"] for group in groups] == ["Lesion 1", "Lesion 2"]
    for group, measure in zip(groups, measures, strict=True):
        values = {item["quantity"]["CodeMeaning"]: float(item["value"]) for item in group["measurementItems"]}
        assert values["Volume"] == pytest.approx(measure.volume, rel=1e-5)
        assert values["Early percent enhancement"] == pytest.approx(measure.early_pe_percent, rel=1e-5)
