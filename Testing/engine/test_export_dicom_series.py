"""Synthetic phases as DICOM series, read back with pydicom and with SimpleITK's GDCM reader."""

import math

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_tools import errors_of_dciodvfy
from export_samples import breast_study, grid, run_identity
from hypothesis import given
from hypothesis import strategies as st
from VirtualContrastLib.events import InputError
from VirtualContrastLib.export.dicom.quantization import LEVELS, quantization
from VirtualContrastLib.export.dicom.series import check_exportable, write_dicom_series
from VirtualContrastLib.study import Phase, Source, Study

OBLIQUE = sitk.Euler3DTransform((0, 0, 0), 0.2, -0.1, 0.4).GetMatrix()
SAGITTAL = (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def gdcm_volume(folder):
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def noise_phases(direction, count=2, size=(9, 7, 5), seed=0):
    rng = np.random.default_rng(seed)
    reference = grid(direction, size=size, spacing=(0.7123456789, 0.81, 2.1))
    phases = []
    for index in range(1, count + 1):
        image = sitk.GetImageFromArray(rng.normal(100.0, 300.0, size[::-1]).astype(np.float32))
        image.CopyInformation(reference)
        phases.append(Phase(index, image, 90.0 * index, True))
    return phases


def reference_series(folder, image, **attributes):
    """A classic MR series of `image` as a scanner would send it, with a patient."""
    written = write_dicom_series([Phase(1, image, 0.0, True)], folder, run_identity(run_id="scanner"))[1]
    for path in written:
        dataset = pydicom.dcmread(path)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        del dataset[0x0008001C]
        del dataset.ContributingEquipmentSequence
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)
    return written


def headers_of(files):
    return [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(files)]


@pytest.mark.parametrize("direction", [None, OBLIQUE, SAGITTAL], ids=["axial", "oblique", "sagittal"])
def test_gdcm_reads_the_same_voxels_within_half_a_step_and_the_same_geometry(tmp_path, direction):
    phases = noise_phases(direction)
    files = write_dicom_series(phases, tmp_path, run_identity())
    assert len(phases) > 1
    for phase in phases:
        back = gdcm_volume(tmp_path / phase.name)
        slope = pydicom.dcmread(files[phase.index][0]).RescaleSlope
        assert back.GetSize() == phase.image.GetSize()
        np.testing.assert_allclose(back.GetSpacing(), phase.image.GetSpacing(), rtol=1e-9)
        np.testing.assert_allclose(back.GetOrigin(), phase.image.GetOrigin(), atol=1e-9)
        np.testing.assert_allclose(back.GetDirection(), phase.image.GetDirection(), atol=1e-12)
        error = np.abs(sitk.GetArrayFromImage(back) - sitk.GetArrayFromImage(phase.image)).max()
        assert error <= slope / 2 * (1 + 1e-6)
        assert error > slope / 8


def test_a_left_handed_grid_keeps_every_voxel_at_its_place_in_the_patient(tmp_path):
    (phase,) = noise_phases((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0), count=1)
    write_dicom_series([phase], tmp_path, run_identity())
    back = gdcm_volume(tmp_path / "phase_1")
    point = phase.image.TransformIndexToPhysicalPoint((3, 2, 4))
    there = back.TransformPhysicalPointToIndex(point)
    assert back.GetPixel(*there) == pytest.approx(phase.image.GetPixel(3, 2, 4), abs=0.05)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=30))
def test_stored_values_come_back_within_half_a_step_for_any_finite_values(values):
    array = np.array(values, np.float32)
    scale = quantization([sitk.GetImageFromArray(array.reshape(1, 1, -1))])
    stored = scale.store(array)
    assert stored.max() <= LEVELS
    back = stored * scale.slope + scale.intercept
    assert np.abs(back - array).max() <= scale.slope / 2 * (1 + 1e-6)


def test_slope_and_intercept_survive_the_decimal_string(tmp_path):
    phases = noise_phases(None)
    dataset = pydicom.dcmread(write_dicom_series(phases, tmp_path, run_identity())[1][0])
    scale = quantization([phase.image for phase in phases])
    assert float(dataset.RescaleSlope) == scale.slope
    assert float(dataset.RescaleIntercept) == scale.intercept


def test_every_file_says_that_it_is_synthetic_and_which_model_made_it(tmp_path):
    run = run_identity()
    files = write_dicom_series(noise_phases(None), tmp_path, run)
    paths = [file for series in files.values() for file in series]
    assert paths
    for path in paths:
        dataset = pydicom.dcmread(path)
        assert dataset[0x0008001C].value == "YES"
        assert dataset.ImageType[0] == "DERIVED"
        assert dataset.SeriesDescription.startswith("SYNTHETIC phase")
        assert dataset.BurnedInAnnotation == "NO"
        equipment = dataset.ContributingEquipmentSequence[0]
        assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
        assert equipment.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Synthesizing Equipment"
        assert equipment.ManufacturerModelName == run.synthesis.id
        assert equipment.DeviceSerialNumber == run.synthesis.weights_sha256
        assert "phantoms" in equipment.ContributionDescription
        assert not [element for element in dataset if element.keyword.startswith("ContrastBolus")]


def test_phases_are_ordered_in_time_and_in_their_own_series(tmp_path):
    files = write_dicom_series(noise_phases(None, count=3), tmp_path, run_identity())
    first = [pydicom.dcmread(series[0]) for series in files.values()]
    assert [int(d.TemporalPositionIdentifier) for d in first] == [1, 2, 3]
    assert {int(d.NumberOfTemporalPositions) for d in first} == {3}
    assert [d.TemporalPositionTimeOffset for d in first] == [90.0, 180.0, 270.0]
    assert len({d.SeriesInstanceUID for d in first}) == 3
    assert len({d.StudyInstanceUID for d in first}) == len({d.FrameOfReferenceUID for d in first}) == 1


def test_the_same_run_gives_the_same_files_and_another_run_other_uids(tmp_path):
    phases = noise_phases(None)
    one = write_dicom_series(phases, tmp_path / "a", run_identity())[1][2]
    two = write_dicom_series(phases, tmp_path / "b", run_identity())[1][2]
    other = write_dicom_series(phases, tmp_path / "c", run_identity(run_id="other"))[1][2]
    assert one.read_bytes() == two.read_bytes()
    assert pydicom.dcmread(one).SOPInstanceUID != pydicom.dcmread(other).SOPInstanceUID
    assert pydicom.dcmread(one).SOPInstanceUID.is_valid


def test_patient_study_and_frame_of_reference_come_from_a_dicom_source(tmp_path):
    phases = noise_phases(OBLIQUE)
    patient = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Ännchen", "PatientID": "4711"}
    source = reference_series(tmp_path / "scan", phases[0].image, PatientSex="F", Manufacturer="ACME", **patient)
    files = write_dicom_series(phases, tmp_path / "out", run_identity(), reference=headers_of(source))
    assert len(files[1]) == len(source)
    for k, path in enumerate(files[1]):
        dataset, scan = pydicom.dcmread(path), pydicom.dcmread(source[k])
        for keyword in ("PatientName", "PatientID", "PatientSex", "StudyInstanceUID", "FrameOfReferenceUID"):
            assert dataset[keyword].value == scan[keyword].value
        assert dataset.SeriesInstanceUID != scan.SeriesInstanceUID
        (reference,) = dataset.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == scan.SOPInstanceUID
        purposes = [item.PurposeOfReferenceCodeSequence[0].CodeValue for item in dataset.ContributingEquipmentSequence]
        assert purposes == ["109100", "109101"]
        assert dataset.ContributingEquipmentSequence[1].Manufacturer == "ACME"


def test_lossy_compression_of_the_source_is_not_forgotten(tmp_path):
    phases = noise_phases(None)
    lossy = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "8"}
    source = reference_series(tmp_path / "scan", phases[0].image, **lossy)
    files = write_dicom_series(phases, tmp_path / "out", run_identity(), reference=headers_of(source))
    assert pydicom.dcmread(files[1][0]).LossyImageCompression == "01"


def test_a_real_enhanced_source_is_referred_to_by_frame(tmp_path, shared_data):
    (source,) = (shared_data / "dicom-siemens-enh-vs-classic" / "enhanced").glob("0063.dcm")
    classic = shared_data / "dicom-siemens-enh-vs-classic" / "classic_t1"
    image = sitk.Cast(gdcm_volume(classic), sitk.sitkFloat32)
    files = write_dicom_series([Phase(1, image, 90.0, True)], tmp_path, run_identity(), reference=headers_of([source]))
    scan = pydicom.dcmread(source, stop_before_pixels=True)
    assert files[1]
    for path in files[1][::20]:
        dataset = pydicom.dcmread(path)
        (reference,) = dataset.SourceImageSequence
        frame = scan.PerFrameFunctionalGroupsSequence[int(reference.ReferencedFrameNumber) - 1]
        there = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(dataset.ImagePositionPatient, there, atol=0.01)
        assert dataset.StudyInstanceUID == scan.StudyInstanceUID


def test_a_source_that_is_not_mr_is_refused(tmp_path):
    phases = noise_phases(None)
    source = reference_series(tmp_path / "scan", phases[0].image, Modality="MG")
    with pytest.raises(InputError, match="not MR"):
        write_dicom_series(phases, tmp_path / "out", run_identity(), reference=headers_of(source))


def test_what_cannot_become_dicom_is_told_before_the_synthesis(tmp_path):
    phase = noise_phases(None, count=1)[0]
    files = tuple(reference_series(tmp_path, phase.image))
    headers = headers_of(files)
    check_exportable(Study(phase, Source(files, "dicom", "0" * 64, "MR", tuple(headers))))
    headers[0].StudyInstanceUID = "1.2.3"
    with pytest.raises(InputError, match="several studies"):
        check_exportable(Study(phase, Source(files, "dicom", "0" * 64, "MR", tuple(headers))))
    check_exportable(Study(phase, Source((), "nifti", "0" * 64)))
    with pytest.raises(InputError, match="picture"):
        check_exportable(Study(phase, Source((), "png", "0" * 64), has_geometry=False))
    with pytest.raises(InputError, match="MG"):
        check_exportable(Study(phase, Source(files, "dicom", "0" * 64, "MG")))


def test_real_phases_are_refused(tmp_path):
    pre = breast_study()[0]
    with pytest.raises(InputError, match="synthetic"):
        write_dicom_series([pre], tmp_path, run_identity())


def test_values_that_are_not_finite_are_refused(tmp_path):
    image = sitk.GetImageFromArray(np.full((2, 3, 4), math.nan, np.float32))
    with pytest.raises(InputError, match="finite"):
        write_dicom_series([Phase(1, image, 90.0, True)], tmp_path, run_identity())


@pytest.mark.parametrize("folder", ["", "dicom-siemens-prone/HFP", "dicom-philips/dti_vanderbilt_3vol"])
def test_dciodvfy_finds_no_error(tmp_path, folder, request):
    phases = noise_phases(OBLIQUE)
    reference = []
    if folder:
        reference = headers_of((request.getfixturevalue("shared_data") / folder).rglob("*.dcm"))
    files = write_dicom_series(phases, tmp_path, run_identity(), reference=reference)
    assert errors_of_dciodvfy(files[2][1]) == []
