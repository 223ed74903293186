"""De-identified sources: nothing of the patient in what is written, and the same UIDs for the same sources."""

import pydicom
from export_samples import breast_study, run_identity
from test_export_dicom_series import reference_series
from VirtualContrastLib.export.dicom.deidentify import deidentified
from VirtualContrastLib.export.dicom.series import write_dicom_series

PLANTED = {
    "PatientName": "Planted^Name",
    "PatientID": "PLANTED-ID",
    "PatientBirthDate": "19700102",
    "AccessionNumber": "PLANTEDACC",
    "ReferringPhysicianName": "Planted^Doctor",
    "InstitutionName": "Planted Hospital",
    "StudyID": "PLANTEDSTUDY",
    "StudyDescription": "for Planted",
    "StudyDate": "20240203",
    "OtherPatientIDs": "PLANTED2",
    "StudyInstanceUID": "1.2.840.777",
    "FrameOfReferenceUID": "1.2.840.778",
}


def written(tmp_path, **options):
    pre, phases, *_ = breast_study(size=(32, 20, 4), spacing=(10.0, 10.0, 10.0))
    files = reference_series(tmp_path / "source", pre.image, **PLANTED)
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
    run = run_identity()
    series = write_dicom_series(phases, tmp_path / "out", run, reference=deidentified(headers, run, **options))
    return [path.read_bytes() for part in series.values() for path in part], headers


def test_no_file_holds_anything_of_the_patient(tmp_path):
    contents, headers = written(tmp_path)
    secrets = [b"lanted", b"PLANTED", b"19700102", b"20240203", b"1.2.840.777", b"1.2.840.778"]
    secrets += [str(header.SOPInstanceUID).encode() for header in headers]
    for content in contents:
        assert [secret for secret in secrets if secret in content] == []
    dataset = pydicom.dcmread(next((tmp_path / "out").rglob("*.dcm")))
    assert dataset.PatientIdentityRemoved == "YES"
    assert dataset.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert dataset.SourceImageSequence
    assert str(headers[0].PatientName) == "Planted^Name", "the source itself is left as it is"


def test_study_dates_may_be_kept(tmp_path):
    written(tmp_path, keep_dates=True)
    dataset = pydicom.dcmread(next((tmp_path / "out").rglob("*.dcm")))
    assert dataset.StudyDate == "20240203"
    assert [code.CodeValue for code in dataset.DeidentificationMethodCodeSequence] == ["113100", "113106"]
    assert dataset.LongitudinalTemporalInformationModified == "UNMODIFIED"
