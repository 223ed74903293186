"""Preparing the Duke data: a TCIA-like tree of phantom DICOM becomes cases with the phantom's voxels and boxes."""

import csv
import json
import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from duke_samples import BOX_HEADER, OBLIQUE, SERIES, box_row, main, phantom, stored, write_case, write_xlsx
from VirtualContrastTrainingLib.data.cases import load_case

FLIPPED = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


@pytest.fixture(scope="module")
def studies():
    return {
        1: phantom(1),
        2: phantom(2, FLIPPED, (130.0, -80.0, 33.0)),
        3: phantom(3, SAGITTAL),
        4: phantom(4, OBLIQUE),
    }


@pytest.fixture(scope="module")
def prepared(studies, tmp_path_factory):
    """The tree and what the command made of it: cases of four orientations, two with InstanceNumber against k."""
    root, output = tmp_path_factory.mktemp("tcia"), tmp_path_factory.mktemp("prepared")

    def reverse(dataset, series, k):
        dataset.InstanceNumber = 8 - k

    rows = [BOX_HEADER]
    for number, made in studies.items():
        descending = number % 2 == 0
        write_case(root / "Duke-Breast-Cancer-MRI", number, made, change=reverse if descending else None)
        rows.append(box_row(number, made, descending=descending))
    write_xlsx(root / "Annotation_Boxes.xlsx", rows)
    assert main(["prepare", "duke", str(root), "-o", str(output), "--workers", "2"]) == 0
    return root, output


def prepare(root, output, *more):
    return main(["prepare", "duke", str(root), "-o", str(output), *more])


def read_index(output):
    return json.loads((output / "index.json").read_text())


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_voxels_geometry_times_and_order_are_the_phantoms(prepared, studies, number):
    folder, made = prepared[1] / f"Breast_MRI_{number:03d}", studies[number]
    assert load_case(folder).times_s == made.times_s
    arrays, _, content = stored(folder)
    assert content["images"] == ["pre.nrrd", "phase_1.nrrd", "phase_2.nrrd", "phase_3.nrrd"]
    for name, volume, truth in zip(content["images"], arrays, made.images, strict=True):
        assert np.array_equal(volume, sitk.GetArrayFromImage(truth))
        image = sitk.ReadImage(str(folder / name))
        assert image.GetSpacing() == pytest.approx(truth.GetSpacing())
        assert image.GetOrigin() == pytest.approx(truth.GetOrigin())
        assert image.GetDirection() == pytest.approx(truth.GetDirection(), abs=1e-6)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_box_lies_around_the_lesion_in_patient_coordinates(prepared, studies, number):
    folder, made = prepared[1] / f"Breast_MRI_{number:03d}", studies[number]
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(made.labels)
    i, j, k, *size = statistics.GetBoundingBox(1)
    description = json.loads((folder / "case.json").read_text())
    box = description["boxes"][0]
    assert box["index_ijk"] == [[i, j, k], [i + size[0] - 1, j + size[1] - 1, k + size[2] - 1]]
    # Every lesion voxel's center is within the bounds, and the bounds are no larger than its box rotated.
    centers = np.array(
        [
            made.labels.TransformIndexToPhysicalPoint([int(v) for v in index[::-1]])
            for index in np.argwhere(sitk.GetArrayFromImage(made.labels) == 1)
        ]
    )
    low, high = np.array(box["lps_mm"])
    assert (centers >= low).all()
    assert (centers <= high).all()
    if number != 4:
        half = np.abs(np.reshape(made.labels.GetDirection(), (3, 3))) @ made.labels.GetSpacing() / 2
        assert low == pytest.approx(centers.min(axis=0) - half, abs=1e-3)
        assert high == pytest.approx(centers.max(axis=0) + half, abs=1e-3)
    _, mask, _ = stored(folder)
    assert mask.sum() == np.prod(size)
    assert mask[sitk.GetArrayFromImage(made.labels) == 1].all()


def test_nothing_of_the_patient_is_in_what_was_written(prepared):
    files = [path for path in prepared[1].rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert b"PHANTOM" not in path.read_bytes(), path


def test_a_second_run_keeps_all_and_prepares_what_changed(prepared, tmp_path, capsys):
    root = shutil.copytree(prepared[0], tmp_path / "tree")
    assert prepare(root, tmp_path / "out") == 0
    before = (tmp_path / "out" / "Breast_MRI_001" / "pre.nrrd").stat().st_mtime_ns
    (tmp_path / "out" / "Breast_MRI_003" / "phase_2.nrrd").unlink()
    capsys.readouterr()
    assert prepare(root, tmp_path / "out") == 0
    assert "1 prepared, 3 kept" in capsys.readouterr().out
    assert (tmp_path / "out" / "Breast_MRI_001" / "pre.nrrd").stat().st_mtime_ns == before
    rows = [BOX_HEADER, ["Breast_MRI_001", 1, 2, 3, 4, 5, 6]]
    write_xlsx(root / "Annotation_Boxes.xlsx", rows)
    assert prepare(root, tmp_path / "out") == 0
    box = json.loads((tmp_path / "out" / "Breast_MRI_001" / "case.json").read_text())["boxes"][0]
    assert box["index_ijk"] == [[2, 0, 4], [3, 1, 5]]


def test_verify_finds_a_changed_byte(prepared, tmp_path, capsys):
    output = shutil.copytree(prepared[1], tmp_path / "out")
    assert main(["prepare", "verify", str(output)]) == 0
    path = output / "Breast_MRI_002" / "phase_1.nrrd"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert main(["prepare", "verify", str(output)]) == 4
    assert "damaged: Breast_MRI_002: phase_1.nrrd" in capsys.readouterr().out


def test_broken_cases_are_listed_and_the_others_prepared(studies, tmp_path, capsys):
    write_case(tmp_path / "in", 1, studies[1])
    missing_slice = write_case(tmp_path / "in", 2, studies[1])
    (missing_slice / SERIES[2] / "0004.dcm").unlink()
    damaged = write_case(tmp_path / "in", 3, studies[1])
    for path in (damaged / SERIES[0]).iterdir():
        path.write_bytes(path.read_bytes()[:-2000])
    (tmp_path / "in" / "Breast_MRI_004").mkdir()

    def shift(dataset, series, k):
        if series == 2:
            dataset.ImagePositionPatient = [v + 3.0 for v in dataset.ImagePositionPatient]

    write_case(tmp_path / "in", 5, studies[1], change=shift)
    write_case(tmp_path / "in", 6, studies[1])
    (tmp_path / "boxes.csv").write_text(",".join(BOX_HEADER) + "\nBreast_MRI_006,1,2,1,2,7,9\n")
    assert prepare(tmp_path / "in", tmp_path / "out", "--boxes", str(tmp_path / "boxes.csv")) == 4
    index = read_index(tmp_path / "out")
    assert [entry["case"] for entry in index["cases"]] == ["Breast_MRI_001", "Breast_MRI_005"]
    reasons = {entry["case"]: entry["reason"] for entry in index["failed"]}
    assert "gap" in reasons["Breast_MRI_002"] or "slice" in reasons["Breast_MRI_002"]
    assert "cut off" in reasons["Breast_MRI_003"]
    assert "without DICOM" in reasons["Breast_MRI_004"]
    assert "beyond its 64 x 48 x 8 voxels" in reasons["Breast_MRI_006"]
    # A series that lies elsewhere is no phase of this examination.
    shifted = next(entry for entry in index["cases"] if entry["case"] == "Breast_MRI_005")
    assert shifted["times_s"] == [0.0, 90.0, 350.0]
    assert "failed: Breast_MRI_002" in capsys.readouterr().out


def test_nothing_usable_is_exit_code_2(tmp_path, capsys):
    (tmp_path / "in" / "Breast_MRI_004").mkdir(parents=True)
    assert prepare(tmp_path / "in", tmp_path / "out") == 2
    assert "None of the 1 cases" in capsys.readouterr().err
    assert prepare(tmp_path / "out", tmp_path / "other") == 2


def test_other_series_of_the_study_are_left_out(studies, tmp_path):
    study = write_case(tmp_path / "in", 1, studies[1])
    for name, changes in {
        "2.0-T1 nonfs": {"ScanOptions": "", "EchoTime": 4.8},
        "8.0-sub 1": {"ImageType": ["DERIVED", "SECONDARY", "SUB"]},
        "1.0-loc": {"PixelSpacing": [1.0, 1.0]},
    }.items():
        shutil.copytree(study / SERIES[1], study / name)
        uid = f"1.2.826.0.1.{name[0]}"
        for k, path in enumerate(sorted((study / name).iterdir())):
            dataset = pydicom.dcmread(path)
            dataset.SeriesInstanceUID, dataset.SOPInstanceUID = uid, f"{uid}.{k}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            for keyword, value in changes.items():
                setattr(dataset, keyword, value)
            dataset.save_as(path)
    assert prepare(tmp_path / "in", tmp_path / "out") == 0
    case = load_case(tmp_path / "out" / "Breast_MRI_001")
    assert len(case.series) == 4
    assert case.times_s == (0.0, 90.0, 220.0, 350.0)


def strip(*keywords):
    def change(dataset, series, k):
        for keyword in keywords:
            if keyword in dataset:
                delattr(dataset, keyword)

    return change


def one_series(dataset, series, k):
    """All post-contrast phases in one series whose acquisition time stands still, as some scanners write it."""
    if series > 0:
        dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.77"
        dataset.InstanceNumber = 8 * (series - 1) + k + 1
        dataset.AcquisitionTime = dataset.ContentTime = "120130.000000"
        dataset.TriggerTime = 1000.0 * (0.0, 0.0, 130.0, 260.0)[series]


@pytest.mark.parametrize(
    ("change", "ordered_by", "times"),
    [
        (None, "acquisition time", [0.0, 90.0, 220.0, 350.0]),
        (strip("AcquisitionTime", "ContentTime"), "trigger time", [0.0, 90.0, 220.0, 350.0]),
        (strip("AcquisitionTime", "TriggerTime"), "content time", [0.0, 90.0, 220.0, 350.0]),
        (strip("AcquisitionTime", "TriggerTime", "ContentTime"), "temporal position", [None] * 4),
        (one_series, "acquisition time", [0.0, 90.0, 220.0, 350.0]),
    ],
)
def test_phases_are_ordered_by_the_first_tag_that_tells_them_apart(studies, tmp_path, change, ordered_by, times):
    write_case(tmp_path / "in", 1, studies[1], change=change)
    assert prepare(tmp_path / "in", tmp_path / "out") == 0
    entry = read_index(tmp_path / "out")["cases"][0]
    assert (entry["ordered_by"], entry["times_s"]) == (ordered_by, times)
    arrays, _, _ = stored(tmp_path / "out" / "Breast_MRI_001")
    for volume, truth in zip(arrays, studies[1].images, strict=True):
        assert np.array_equal(volume, sitk.GetArrayFromImage(truth))


def test_phases_without_any_such_tag_are_refused(studies, tmp_path, capsys):
    nothing = strip("AcquisitionTime", "TriggerTime", "ContentTime", "TemporalPositionIdentifier")
    write_case(tmp_path / "in", 1, studies[1], change=nothing)
    assert prepare(tmp_path / "in", tmp_path / "out") == 2
    assert "whose order no tag gives" in capsys.readouterr().err


def write_mapping(path, study, names):
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["original_path_and_filename", "classic_path", "descriptive_path", "sop_instance_UID"])
        for series, name in names.items():
            uid = pydicom.dcmread(study / series / "0001.dcm").SOPInstanceUID
            table.writerow([f"D/Breast_MRI_001/{name}/x_1.dcm", "c/1/0.dcm", f"D/Breast_MRI_001/s/{series}/1.dcm", uid])


def test_the_file_mapping_chooses_the_series_and_must_agree_with_the_tags(studies, tmp_path, capsys):
    study = write_case(tmp_path / "in", 1, studies[1])
    table = tmp_path / "mapping.csv"
    write_mapping(table, study, {SERIES[0]: "pre", SERIES[1]: "post_1", SERIES[3]: "post_2", SERIES[2]: "T1"})
    assert prepare(tmp_path / "in", tmp_path / "out", "--mapping", str(table)) == 0
    assert read_index(tmp_path / "out")["cases"][0]["times_s"] == [0.0, 90.0, 350.0]
    write_mapping(table, study, {SERIES[1]: "pre", SERIES[0]: "post_1"})
    assert prepare(tmp_path / "in", tmp_path / "other", "--mapping", str(table)) == 2
    assert "another series pre than the one first in time" in capsys.readouterr().err


def test_a_published_split_sorts_the_cases_and_warns_of_its_leaks(studies, tmp_path, capsys):
    for number in (1, 4, 3):  # test, validation, training of the multi-phase split
        write_case(tmp_path / "in", number, studies[1])
    study = write_case(tmp_path / "in", 5, studies[1])
    shutil.rmtree(study / SERIES[3])
    assert prepare(tmp_path / "in", tmp_path / "out", "--split", "duke-multi-phase") == 0
    found = {path.parent.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("case.json")}
    assert found == {"test/Breast_MRI_001", "validation/Breast_MRI_004", "train/Breast_MRI_003"}
    excluded = read_index(tmp_path / "out")["excluded"]
    assert excluded == [{"case": "Breast_MRI_005", "reason": "2 post-contrast phases, duke-multi-phase needs 3"}]
    assert "70 of the 100 test cases of duke-multi-phase" in capsys.readouterr().err
