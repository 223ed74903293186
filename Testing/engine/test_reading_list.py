"""Reading lists and what is shown of their images."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from VirtualContrastLib.events import InputError
from VirtualContrastLib.reader_study.images import blinded, check_present, load_case, own_scale
from VirtualContrastLib.reader_study.study_list import ReadingCase, load_list, make_list, write_list
from VirtualContrastLib.results.manifest import Manifest

SHAPE = (8, 24, 32)


def make_image(seed=0, dtype=np.float32, size=SHAPE):
    values = np.random.default_rng(seed).gamma(2.0, 100.0, size)
    image = sitk.GetImageFromArray(values.astype(dtype))
    image.SetSpacing((1.5, 1.25, 3.0))
    image.SetOrigin((-24.0, 7.0, 11.0))
    image.SetDirection((0.0, 1.0, 0.0, 0.0, 0.0, -1.0, -1.0, 0.0, 0.0))
    return image


def write_result(folder, image):
    """A result folder with one phase, as far as a reading list looks at it."""
    (folder / "phases").mkdir(parents=True)
    sitk.WriteImage(image, str(folder / "phases" / "phase_1.nrrd"))
    manifest = Manifest("synthesis", folder.name, "", "", [], [], {}, {}, {}, [], False, {}, [], {})
    fields = manifest.__dict__ | {"outputs": {"phases/phase_1.nrrd": "0" * 64}}
    (folder / "manifest.json").write_text(json.dumps(fields))
    return folder


def test_a_list_is_read_as_it_was_written_and_paths_are_relative_to_it(tmp_path):
    (tmp_path / "list.csv").write_text(
        "case,image,condition,truth,bpe,beside,comment\n"
        "P1,a/real.nrrd,Real,yes,B,,x\nP1,a/syn.nrrd,synthetic,yes,b,pre.nrrd,y\nP2,node:Image 1,real,no,,,\n"
    )
    found = load_list(tmp_path / "list.csv")
    assert found.cases[0] == ReadingCase("P1", str(tmp_path / "a/real.nrrd"), "real", True, "b")
    assert found.cases[1].beside == str(tmp_path / "pre.nrrd")
    assert found.cases[2] == ReadingCase("P2", "node:Image 1", "real", truth=False)
    assert write_list(tmp_path / "other.csv", found.cases).cases == found.cases


def test_a_list_may_be_saved_by_a_spreadsheet_and_name_grades_in_words_or_numbers(tmp_path):
    text = "BPE;Image;Case;Condition\r\nMarked;Brüste/a.png;P1;real\r\n1;b.png;P2;synthetic\r\n"
    (tmp_path / "list.csv").write_bytes(text.encode("cp1252"))
    assert [(one.case, one.bpe) for one in load_list(tmp_path / "list.csv").cases] == [("P1", "d"), ("P2", "a")]
    assert load_list(tmp_path / "list.csv").cases[0].image == str(tmp_path / "Brüste" / "a.png")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("Mary Miller,a.png,real,,", "row 2: case must be a code"),
        ("P1,,real,,", "row 2: there is no image"),
        ("P1,a.png,fake,,", "row 2: condition must be real or synthetic, not 'fake'"),
        ("P1,a.png,real,perhaps,", "row 2: truth must be yes or no"),
        ("P1,a.png,real,,e", "row 2: bpe must be a, b, c or d"),
        ("P1,a.png,real,,0", "row 2: bpe must be .* 1 to 4, or empty, not '0'"),
        ("P1,a.png,real,,\nP1,b.png,real,,", "row 3: case P1 has two real images"),
        ("", "lists no image"),
        ("P1,a.png,real,,,,beside", "row 2: scale must be own, or beside where there is an image beside"),
        ("P1,a.png,real,,,p.png,beside\nP2,b.png,real,,,p.png,own", "scale must be the same in every row"),
    ],
)
def test_a_row_that_cannot_be_understood_is_told_with_its_number(tmp_path, rows, message):
    (tmp_path / "list.csv").write_text(f"case,image,condition,truth,bpe,beside,scale\n{rows}\n")
    with pytest.raises(InputError, match=message):
        load_list(tmp_path / "list.csv")


def test_a_table_without_the_columns_or_not_of_text_is_told(tmp_path):
    (tmp_path / "list.csv").write_text("id,file\n1,a.png\n")
    with pytest.raises(InputError, match="needs the columns case, image and condition"):
        load_list(tmp_path / "list.csv")
    (tmp_path / "list.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\xff\xfe")
    with pytest.raises(InputError, match="is not a table of text; save it as CSV"):
        load_list(tmp_path / "list.csv")


def test_a_list_is_made_from_results_and_their_real_images(tmp_path):
    results, real = [], []
    for n, name in enumerate(("Smith", "Jones", "Brown")):
        results.append(write_result(tmp_path / name, make_image(n)))
        real.append(tmp_path / f"{name}.nrrd")
        sitk.WriteImage(make_image(n + 50), str(real[-1]))
    cases = make_list(results, real, truth=[True, False, None], bpe=["a", "b", "c"], beside=real, seed=3)
    assert [c.case for c in cases] == ["C001", "C001", "C002", "C002", "C003", "C003"]
    assert {c.condition for c in cases} == {"real", "synthetic"}
    by_image = {c.image: c for c in cases}
    for n, name in enumerate(("Smith", "Jones", "Brown")):
        one, other = by_image[str(results[n] / "phases" / "phase_1.nrrd")], by_image[str(real[n])]
        assert one.case == other.case
        assert (one.condition, other.condition) == ("synthetic", "real")
        assert (one.truth, one.bpe) == ((True, False, None)[n], "abc"[n])
        assert name not in one.case
        assert one.scale == other.scale == "beside"
    orders = {tuple(c.image for c in make_list(results, real, seed=seed)[::2]) for seed in range(8)}
    assert len(orders) > 1  # the codes do not follow the order of the folders


def test_a_mismatch_of_results_and_real_images_is_told(tmp_path):
    result = write_result(tmp_path / "one", make_image())
    moved = make_image()
    moved.SetOrigin((0.0, 0.0, 0.0))
    sitk.WriteImage(moved, str(tmp_path / "moved.nrrd"))
    with pytest.raises(InputError, match=r"moved.nrrd does not belong to"):
        make_list([result], [tmp_path / "moved.nrrd"])
    with pytest.raises(InputError, match="2 truths are given for 1 results"):
        make_list([result], truth=[True, False])
    with pytest.raises(InputError, match="has no subtraction/phase_2"):
        make_list([result], kind="subtraction", phase=2)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint16, np.float64])
def test_a_shown_image_tells_neither_number_type_nor_units_nor_header(dtype):
    image = make_image(dtype=dtype)
    image.SetMetaData("PatientName", "Mary")
    image.SetMetaData("NRRD_content", "SYNTHETIC research only")
    shown = blinded(image, own_scale(image))
    assert shown.GetPixelID() == sitk.sitkInt16
    assert shown.GetMetaDataKeys() == ()
    for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(shown, what)() == getattr(image, what)()
    values = sitk.GetArrayFromImage(image).astype(float)
    low, high = np.quantile(values, (0.01, 0.995))
    expected = 1000 * (values - low) / (high - low)
    assert np.abs(sitk.GetArrayFromImage(shown) - expected).max() <= 0.5 + 1e-3


def test_the_digits_of_the_geometry_do_not_tell_the_file_format():
    """NIfTI keeps the geometry in single precision, NRRD in double."""
    image, single = make_image(), make_image()
    for one, kind in ((image, np.float64), (single, np.float32)):
        one.SetSpacing([float(kind(value)) for value in (1.1, 0.7, 1.3)])
        one.SetOrigin([float(kind(value)) for value in (-170.1, -33.3, 91.7)])
    assert image.GetSpacing() != single.GetSpacing()
    shown = [blinded(one, (0.0, 1.0)) for one in (image, single)]
    assert shown[0].GetSpacing() == shown[1].GetSpacing()
    assert shown[0].GetOrigin() == shown[1].GetOrigin()


def test_the_gray_scale_does_not_depend_on_units():
    image = make_image()
    in_other_units = sitk.Cast(sitk.ShiftScale(image, -3.0, 0.02), sitk.sitkFloat64)
    shown = [sitk.GetArrayFromImage(blinded(one, own_scale(one))) for one in (image, in_other_units)]
    assert np.abs(shown[0] - shown[1]).max() <= 1


def test_an_almost_empty_image_keeps_its_contrast():
    values = np.zeros(SHAPE, np.float32)
    values[4, 4, 4:6] = 7.0
    image = sitk.GetImageFromArray(values)
    assert sitk.GetArrayFromImage(blinded(image, own_scale(image))).max() == 1000


def test_a_case_is_loaded_from_files_and_from_volumes_of_the_scene(tmp_path):
    sitk.WriteImage(make_image(1), str(tmp_path / "pre.nrrd"))
    case = ReadingCase("P1", "node:Phase", "real", beside=str(tmp_path / "pre.nrrd"))
    shown = load_case(case, {"node:Phase": make_image(2)})
    assert shown.volumetric
    for one, seed in ((shown.image, 2), (shown.beside, 1)):
        assert sitk.Hash(one) == sitk.Hash(blinded(make_image(seed), own_scale(make_image(seed))))


def test_on_the_scale_of_the_image_beside_enhancement_is_seen(tmp_path):
    """An image of twice the gray values is twice as bright where both have one scale, and alike on its own."""
    pre = make_image()
    post = sitk.Cast(pre * 2.0, sitk.sitkFloat32)
    kept = {"node:pre": pre, "node:post": post}
    ratios = {}
    for scale in ("own", "beside"):
        shown = load_case(ReadingCase("P1", "node:post", "real", beside="node:pre", scale=scale), kept)
        ratios[scale] = np.median(sitk.GetArrayFromImage(shown.image)) / np.median(sitk.GetArrayFromImage(shown.beside))
    values = sitk.GetArrayFromImage(pre)
    low, middle = np.quantile(values, 0.01), np.median(values)
    assert ratios["beside"] == pytest.approx((2 * middle - low) / (middle - low), rel=0.01)
    assert ratios["own"] == pytest.approx(1.0, rel=0.01)


def test_a_missing_image_is_told_by_its_row_and_not_by_its_name(tmp_path):
    (tmp_path / "here.png").touch()
    cases = [ReadingCase("P1", "here.png", "real"), ReadingCase("P2", "synthetic/gone.nrrd", "synthetic")]
    (tmp_path / "list.csv").write_text(
        "case,image,condition\n" + "".join(f"{c.case},{c.image},{c.condition}\n" for c in cases)
    )
    with pytest.raises(InputError, match="row 3 of the reading list is not there") as raised:
        check_present(load_list(tmp_path / "list.csv"), {})
    assert "synthetic" not in str(raised.value)


def test_a_list_of_mammograms_names_their_recombined_images(tmp_path):
    folder = write_result(tmp_path / "one", make_image(size=(1, 24, 32)))
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"outputs": {"recombined.nrrd": "0" * 64}}))
    [case] = make_list([folder], kind="recombined")
    assert case.image == str(folder / "recombined.nrrd")
