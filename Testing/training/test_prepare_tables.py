"""The Duke tables and the published splits."""

import json

import pytest
from duke_samples import BOX_HEADER, main, write_xlsx
from VirtualContrastLib.events import InputError
from VirtualContrastTrainingLib.data.duke_tables import read_boxes, read_clinical, read_mapping, table_rows
from VirtualContrastTrainingLib.data.splits import (
    HoldOut,
    Split,
    leak_warning,
    leak_warnings,
    leaked_cases,
    load_split,
    split_names,
)


def test_the_real_box_table_is_read_from_the_workbook(shared_data):
    boxes = read_boxes(shared_data / "tables" / "duke_Annotation_Boxes_69rows.xlsx")
    assert len(boxes) == 69
    first = boxes["Breast_MRI_001"][0]
    assert (first.rows, first.columns, first.slices) == ((234, 271), (308, 341), (89, 112))


def test_a_workbook_and_a_csv_give_the_same_rows(tmp_path):
    rows = [["a", None, 3], ["b & <c>", 2.5, ""]]
    write_xlsx(tmp_path / "t.xlsx", rows)
    (tmp_path / "t.csv").write_text("a,,3\nb & <c>,2.5,\n")
    assert list(table_rows(tmp_path / "t.xlsx")) == list(table_rows(tmp_path / "t.csv"))


def test_the_clinical_table_has_two_rows_around_its_header(tmp_path):
    write_xlsx(
        tmp_path / "c.xlsx",
        [
            ["Patient Information", None, "MRI"],
            ["Patient ID", "Field Strength\n(Tesla) ", "Bilateral Information"],
            ["", "{1.494=1.494}", "{0=no}"],
            ["Breast_MRI_001", 1.5, 0],
        ],
    )
    found = read_clinical(tmp_path / "c.xlsx")
    assert found == {"Breast_MRI_001": {"Field Strength (Tesla)": "1.5", "Bilateral Information": "0"}}


def test_the_mapping_names_the_sequences_of_a_case(tmp_path):
    (tmp_path / "m.csv").write_text(
        "original_path_and_filename,classic_path,descriptive_path,sop_instance_UID\n"
        "DICOM_Images/Breast_MRI_007/pre/a_1.dcm,X/1.2/000.dcm,Duke/Breast_MRI_007/study/3.0-dyn-1/1-01.dcm,1.2.3\n"
        "DICOM_Images/Breast_MRI_007/pre/a_2.dcm,X/1.2/001.dcm,Duke/Breast_MRI_007/study/3.0-dyn-1/1-02.dcm,1.2.4\n"
        "DICOM_Images/Breast_MRI_007/post_1/b_1.dcm,X/1.3/000.dcm,Duke/Breast_MRI_007/study/4.0-dyn/1-01.dcm,1.2.5\n"
    )
    sequences = read_mapping(tmp_path / "m.csv")["Breast_MRI_007"]
    assert set(sequences) == {"pre", "post_1"}
    assert sequences["pre"].sop_uid == "1.2.3"
    assert sequences["pre"].folders == {"3.0-dyn-1", "1.2"}


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (["Breast_MRI_001", 9, 3, 1, 2, 1, 2], "ends before it starts"),
        (["Breast_MRI_001", 1, 3, "x"], "lacks a number"),
    ],
)
def test_a_row_that_is_no_box_is_named(tmp_path, row, sentence):
    write_xlsx(tmp_path / "b.xlsx", [BOX_HEADER, row])
    with pytest.raises(InputError, match=f"Breast_MRI_001 {sentence}"):
        read_boxes(tmp_path / "b.xlsx")


def test_a_broken_workbook_and_a_table_without_its_column_are_refused(tmp_path):
    (tmp_path / "b.xlsx").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(InputError, match="not a valid"):
        read_boxes(tmp_path / "b.xlsx")
    (tmp_path / "b.csv").write_text("who,what\n1,2\n")
    with pytest.raises(InputError, match="no column 'patient id'"):
        read_boxes(tmp_path / "b.csv")


def test_the_published_splits_have_the_published_sizes():
    single, multi = load_split("duke-single-phase"), load_split("duke-multi-phase")
    assert (len(single.validation), len(single.test)) == (224, 30)
    assert (len(multi.validation), len(multi.test)) == (50, 100)
    everyone = {f"Breast_MRI_{n:03d}" for n in range(1, 923)}
    assert sum(single.part_of(case) == "train" for case in everyone) == 668
    assert multi.minimum_post_phases == 3


def test_the_folds_are_those_of_the_published_nnunet_data(shared_data):
    path = shared_data / "tables" / "duke-nnunet" / "Dataset205_DukePreHalf" / "splits_final.json"
    folds = json.loads(path.read_text())
    assert len(folds) == 5
    for number, published in enumerate(folds):
        fold = load_split(f"duke-segmentation-folds:{number}")
        assert fold.validation == set(published["val"])
        assert fold.train == set(published["train"])


def test_the_leak_between_the_two_published_models_is_found():
    single, multi = load_split("duke-single-phase"), load_split("duke-multi-phase")
    assert len(leaked_cases(single, multi)) == 70
    assert leak_warning(single, multi).startswith("70 of the 100 test cases of duke-multi-phase")
    assert leak_warning(single, single) is None


def test_a_split_without_common_cases_does_not_leak():
    a = Split("a", frozenset({"1", "2"}), frozenset({"3"}), frozenset({"4"}))
    b = Split("b", frozenset({"3"}), frozenset({"5"}), frozenset({"6"}))
    assert leak_warnings([a, b]) == []
    assert leaked_cases(a, Split("c", frozenset(), frozenset({"2"}), frozenset())) == ["2"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"train": ["1"], "validation": ["1"], "test": []}, "1 in both train and validation"),
        ({"train": "rest", "validation": []}, "lacks or misuses a part"),
        ({"train": "rest", "validation": ["1", "1"], "test": []}, "appears twice"),
        ({"folds": [["1"], ["1"]]}, "folds"),
    ],
)
def test_a_split_file_that_contradicts_itself_is_refused(tmp_path, content, sentence):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=sentence):
        load_split(str(path))


def test_an_unknown_split_names_the_known_ones():
    with pytest.raises(InputError, match="duke-multi-phase"):
        load_split("no-such-split")


def test_holding_out_takes_about_its_share_and_always_the_same_patients():
    hold_out = HoldOut(0.25)
    parts = [hold_out.part_of(f"P{n}") for n in range(2000)]
    assert 0.22 < parts.count("validation") / 2000 < 0.28
    assert parts == [hold_out.part_of(f"P{n}") for n in range(2000)]


def test_the_command_lists_splits_and_leaks(capsys):
    assert main(["prepare", "splits"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{name}: train" in listed for name in split_names())
    assert "leak: 70 of the 100 test cases of duke-multi-phase are training cases of duke-single-phase" in listed
