"""Headers as hospitals have them: every result can be written, and the patient's values are right (files.md C)."""

import warnings

import pydicom
import pytest
from export_samples import breast_study, run_identity
from test_export_dicom_series import headers_of, reference_series
from VirtualContrastLib.export.dicom.seg_and_sr import write_measurements, write_segmentation
from VirtualContrastLib.export.dicom.series import write_dicom_series
from VirtualContrastLib.io.dicom.values import clock_digits, day_digits
from VirtualContrastLib.kinetics.curves import lesion_curves
from VirtualContrastLib.lesions.measurement import measure_lesions


@pytest.fixture(scope="module")
def study():
    pre, phases, _, labels, _ = breast_study(size=(32, 20, 4), spacing=(10.0, 10.0, 10.0))
    series = [pre, *phases]
    return pre, phases, labels, measure_lesions(labels, series), lesion_curves(series, labels)


def exported(folder, study, **attributes):
    """Everything written for a source with `attributes`; bytes are put into its files as they are."""
    pre, phases, labels, measures, curves = study
    files = reference_series(folder / "source", pre.image)
    for path in files:
        dataset = pydicom.dcmread(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for keyword, value in attributes.items():
                if isinstance(value, bytes):
                    vr = pydicom.datadict.dictionary_VR(keyword)
                    tag = pydicom.datadict.tag_for_keyword(keyword)
                    raw = value + b" " * (len(value) % 2)
                    dataset[tag] = pydicom.dataelem.RawDataElement(
                        pydicom.tag.Tag(tag), vr, len(raw), raw, 0, False, True
                    )
                else:
                    setattr(dataset, keyword, value)
            dataset.save_as(path)
    run = run_identity()
    series = write_dicom_series(phases, folder / "dicom", run, reference=headers_of(files))
    seg = write_segmentation(folder / "seg.dcm", labels, series[1], run)
    write_measurements(folder / "sr.dcm", measures, curves, seg, series, run)
    return [pydicom.dcmread(path) for path in (series[1][0], folder / "seg.dcm", folder / "sr.dcm")]


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("ISO_IR 192", "Müller^Łucja"),
        ("ISO_IR 144", "Люкceмбypг"),
        ("ISO_IR 6", "Plain^Name"),
        ("ISO 2022 IR 6", "Plain^Name"),
    ],
)
def test_names_of_every_character_set_are_the_same_in_series_segmentation_and_report(charset, name, study, tmp_path):
    datasets = list(exported(tmp_path, study, SpecificCharacterSet=charset, PatientName=name))
    assert len(datasets) == 3
    for dataset in datasets:
        assert str(dataset.PatientName) == name
        assert dataset.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize("charset", ["latin1", "NONSENSE 7", None])
def test_an_unknown_character_set_is_read_as_latin_1(charset, study, tmp_path):
    attributes = {"PatientName": "Müller^Änne".encode("latin-1"), "SpecificCharacterSet": charset or b""}
    datasets = list(exported(tmp_path, study, **attributes))
    assert len(datasets) == 3
    for dataset in datasets:
        assert str(dataset.PatientName) == "Müller^Änne"


@pytest.mark.parametrize(
    ("keyword", "value", "written"),
    [
        ("PatientBirthDate", b"1970-01-02", "19700102"),
        ("PatientBirthDate", b"1970.01.02", "19700102"),
        ("PatientBirthDate", b"Amadeus", ""),
        ("StudyDate", b"2024-02-31", ""),
        ("StudyTime", b"12:30:45", "123045"),
        ("StudyTime", b"93045.5", "093045.5"),
        ("StudyTime", b"noon", ""),
        ("PatientSex", b"female", ""),
        ("PatientName", b"Secretname", "Secretname"),
        ("PatientID", b"X" * 90, "X" * 90),
    ],
)
def test_odd_dates_times_and_codes_are_written_as_the_standard_wants(keyword, value, written, study, tmp_path, recwarn):
    recwarn.clear()
    for dataset in exported(tmp_path, study, **{keyword: value}):
        assert str(dataset.get(keyword) or "") == written
    assert [str(w.message) for w in recwarn if "highdicom" in str(w.filename)] == []


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("SliceThickness", b"3,0"),
        ("EchoTime", b"2,4"),
        ("PatientAge", b"forty"),
        ("PatientWeight", b"60 kg"),
        ("PatientSize", b"tall"),
        ("MagneticFieldStrength", b"1.5T"),
        ("ScanOptions", b"fat sat!"),
    ],
)
def test_a_number_or_code_that_is_none_stops_nothing(keyword, value, study, tmp_path):
    image, _, _ = exported(tmp_path, study, **{keyword: value})
    assert value.decode() not in str(image.get(keyword))


def test_digits_of_days_and_clocks():
    assert [day_digits(v) for v in ("19700102", "1970/01/02", "70-01-02", "19701301", None)] == [
        "19700102", "19700102", "", "", "",
    ]  # fmt: skip
    assert [clock_digits(v) for v in ("90130", "090130.25", "9:01", "0901", "930130", "09", 90130.5, "")] == [
        "090130", "090130.25", "090100", "090100", "", "090000", "090130.5", "",
    ]  # fmt: skip
