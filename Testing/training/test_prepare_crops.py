"""Slices with a table become one case per patient; real crops are read as their source describes them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from VirtualContrastLib.events import ExitCode, InputError
from VirtualContrastTrainingLib.cli import main
from VirtualContrastTrainingLib.data.crops import find_crops, fold_of, load_patients

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "breast-dce-crops"


def write_table(folder, rows):
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "slices.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return folder / "slices.csv"


def picture(path, pixels):
    sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=pixels.ndim == 3), str(path))


@pytest.fixture
def source(tmp_path):
    """Two patients of two slices of 12 x 20 pixels, red, green and blue counting up."""
    folder = tmp_path / "source"
    folder.mkdir()
    rows = []
    for n in range(4):
        pixels = (np.arange(720).reshape(12, 20, 3) % 200 + n).astype(np.uint8)
        picture(folder / f"{n}.png", pixels)
        box = {"box_column": 4.5, "box_row": 2, "box_columns": 6.5, "box_rows": 3} if n < 2 else {}
        rows.append(
            {"file": f"{n}.png", "patient": f"P{n // 2}", "cohort": "C", "mm_per_px": 0.7, "slice_index": 3 * n}
            | {"slice_thickness_mm": 2, "box_column": "", "box_row": "", "box_columns": "", "box_rows": ""}
            | box
        )
    return write_table(folder, rows)


def test_prepared_patients_are_the_pictures(source, tmp_path):
    out = tmp_path / "out"
    assert main(["prepare", "crops", str(source), "-o", str(out)]) == ExitCode.DONE
    first, second = load_patients(out, folds=3)
    pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(source.parent / "1.png")))
    for phase in range(3):
        np.testing.assert_array_equal(first.phases[phase, 1], pixels[..., phase])
    assert first.cohort == "C" and first.fold == fold_of("P0", 3)
    rows, columns = np.nonzero(first.box[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 4, 4, 10)
    assert not second.box.any()
    case = json.loads((out / "P0" / "case.json").read_text())
    assert case["spacing_mm"] == [0.7, 0.7, 6.0] and case["lesion_source"] == "box"
    assert main(["prepare", "verify", str(out)]) == ExitCode.DONE


def test_gray_pictures_a_phase_are_read_too(tmp_path):
    folder = tmp_path / "gray"
    folder.mkdir()
    for n, name in enumerate(("pre", "early", "late")):
        picture(folder / f"{name}.png", np.full((8, 8), 40 + 10 * n, np.uint8))
    table = write_table(folder, [{"patient": "P", "pre": "pre.png", "early": "early.png", "late": "late.png"}])
    phases = [sitk.GetArrayFromImage(image) for image in find_crops(table)[0].read().images.values()]
    assert [int(phase[0, 0, 0]) for phase in phases] == [40, 50, 60]


def test_tables_that_cannot_be_used_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(InputError, match="needs the column patient"):
        find_crops(write_table(tmp_path / "a", [{"name": "x", "file": "y.png"}]))
    with pytest.raises(InputError, match="does not exist"):
        find_crops(tmp_path / "missing.csv")
    (tmp_path / "picture.csv").write_bytes(b"patient,file\n\0\0\0\xff")
    with pytest.raises(InputError, match="is not a table of text"):
        find_crops(tmp_path / "picture.csv")
    (tmp_path / "latin.csv").write_bytes("Patient;File\nGefäß;x.png\n".encode("cp1252"))
    assert [stack.case for stack in find_crops(tmp_path / "latin.csv")] == ["Gefäß"]


def test_slices_of_different_size_fail_as_a_case(source, tmp_path):
    picture(source.parent / "1.png", np.zeros((10, 20, 3), np.uint8))
    out = tmp_path / "out"
    assert main(["prepare", "crops", str(source), "-o", str(out)]) == ExitCode.SOME_CASES_FAILED
    assert [patient.name for patient in load_patients(out)] == ["P1"]


def test_folds_part_patients_evenly_and_for_ever():
    folds = [fold_of(f"patient {n}", 3) for n in range(3000)]
    assert all(abs(folds.count(fold) - 1000) < 100 for fold in range(3))
    assert [fold_of(name, 3) for name in ("ISPY1_1009", "ISPY2-602451")] == [1, 2]


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/breast-dce-crops is not there")
def test_real_crops_have_the_patients_and_slices_of_their_description():
    stacks = find_crops(REAL / "slices.csv")
    assert len(stacks) == 355 and sum(len(stack.rows) for stack in stacks) == 2826
    case = stacks[0].read()
    assert case.images["pre.nrrd"].GetSize()[:2] == (112, 112)
    assert case.images["pre.nrrd"].GetSpacing()[0] == pytest.approx(0.714, abs=1e-3)
    pre, early = (sitk.GetArrayFromImage(case.images[name]) for name in ("pre.nrrd", "phase_1.nrrd"))
    box = sitk.GetArrayFromImage(case.lesions) > 0
    assert np.median(early[box].astype(float) - pre[box]) > np.median(early[~box].astype(float) - pre[~box])
