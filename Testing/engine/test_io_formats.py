"""NRRD, MetaImage and PNG: geometry, time series, and files that are cut off or are something else."""

import gzip
import struct
import zlib

import imageio.v3 as iio
import numpy as np
import pytest
import SimpleITK as sitk
from io_samples import lps_affine, oblique_image
from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.read import load, read_study, read_volume

FORMATS = ["v.nrrd", "v.nhdr", "v.mha", "v.mhd"]


def same(image, truth):
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(truth))
    np.testing.assert_allclose(lps_affine(image), lps_affine(truth), atol=1e-9)
    return True


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("compressed", [True, False])
def test_attached_and_detached_files_read_back(tmp_path, name, compressed):
    sitk.WriteImage(oblique_image(), str(tmp_path / name), compressed)
    loaded = load(tmp_path / name)
    assert same(loaded.image, oblique_image())
    assert len(loaded.files) == (2 if name in ("v.nhdr", "v.mhd") else 1)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.95])
def test_cut_off_voxels_are_refused(tmp_path, name, compressed, keep, capfd):
    sitk.WriteImage(oblique_image(), str(tmp_path / name), compressed)
    data = next((path for path in tmp_path.iterdir() if path.name != name), tmp_path / name)
    whole = data.read_bytes()
    header = 0 if data.name != name else len(whole) - 1500
    data.write_bytes(whole[: header + int(keep * (len(whole) - header - 8))])
    with pytest.raises(InputError, match=r"truncated|damaged|empty") as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["v.nhdr", "v.mhd"])
def test_a_missing_data_file_is_named(tmp_path, name):
    sitk.WriteImage(oblique_image(), str(tmp_path / name))
    data = next(path for path in tmp_path.iterdir() if path.name != name)
    data.unlink()
    with pytest.raises(InputError, match=f"needs the data file {data.name}, which is not there"):
        load(tmp_path / name)


def nrrd(path, *lines, data=b"", voxels=None):
    """A NRRD file from header lines; without `sizes` among them, of `voxels`."""
    path.write_bytes("\n".join(["NRRD0004", *lines, "", ""]).encode() + data)
    return path


SPACE = ("space: left-posterior-superior", "space origin: (1,2,3)")
AXES = ("(0.9,0,0)", "(0,0.8,0)", "(0,0,2)")


def test_a_multivolume_gives_its_time_points_and_their_times(tmp_path):
    voxels = np.random.default_rng(0).integers(0, 99, (4, 18, 20, 3)).astype("<i2")  # [k, j, i, t]
    path = nrrd(
        tmp_path / "dce.nrrd", "type: short", "dimension: 4", *SPACE, "sizes: 3 20 18 4",
        f"space directions: none {' '.join(AXES)}", "kinds: list domain domain domain", "endian: little",
        "encoding: raw", "MultiVolume.FrameIdentifyingDICOMTagUnits:=ms",
        "MultiVolume.FrameLabels:=0,90500.0,181000",
        "MultiVolume.NumberOfFrames:=3", data=voxels.tobytes(),
    )  # fmt: skip
    for n in range(3):
        image = load(f"{path}@{n}").image
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), voxels[..., n])
        assert image.GetSpacing() == pytest.approx((0.9, 0.8, 2.0))
    study = read_study(f"{path}@0", [f"{path}@1", f"{path}@2"])
    assert [phase.time_s for phase in study.real] == [90.5, 181.0]
    with pytest.raises(InputError, match=r"holds 3 time points; choose one by writing dce\.nrrd@0"):
        load(path)


@pytest.mark.parametrize("unit, factor", [("s", 1.0), ("ms", 0.001), ("min", 60.0), ("", None)])
def test_a_slicer_sequence_gives_its_index_values_as_times_where_their_unit_is_known(tmp_path, unit, factor):
    voxels = np.random.default_rng(1).normal(size=(4, 18, 20, 2)).astype("<f4")
    path = nrrd(
        tmp_path / "dce.seq.nrrd", "type: float", "dimension: 4", *SPACE, "sizes: 2 20 18 4",
        f"space directions: none {' '.join(AXES)}", "kinds: list domain domain domain",
        'labels: "time" "" "" ""', f'units: "{unit}" "" "" ""', "endian: little", "encoding: gzip",
        "axis 0 index type:=numeric", "axis 0 index values:=0 12.5", data=gzip.compress(voxels.tobytes()),
    )  # fmt: skip
    study = read_study(f"{path}@0", [f"{path}@1"])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(study.real[0].image), voxels[..., 1])
    assert study.real[0].time_s == (None if factor is None else 12.5 * factor)


@pytest.mark.parametrize("name", ["v.nrrd", "v.mha"])
def test_a_4d_image_of_simpleitk_gives_its_time_points(tmp_path, name):
    parts = [oblique_image(), oblique_image() + 5]
    sitk.WriteImage(sitk.JoinSeries(parts), str(tmp_path / name))
    assert same(load(f"{tmp_path / name}@1").image, parts[1])
    with pytest.raises(InputError, match="holds 2 time points"):
        load(tmp_path / name)


def test_vectors_and_colors_are_refused(tmp_path):
    vectors = sitk.Compose(oblique_image(), oblique_image(), oblique_image())
    for name in ("v.nrrd", "v.mha"):
        sitk.WriteImage(vectors, str(tmp_path / name))
        with pytest.raises(InputError, match="values per voxel"):
            load(tmp_path / name)


LPS = {"space": "left-posterior-superior"}
GOOD = {"type": "short", "dimension": "3", "sizes": "20 18 4", "endian": "little", "encoding": "raw"}


@pytest.mark.parametrize(
    "change, words",
    [
        ({"sizes": "20 18"}, "sizes"),
        ({"sizes": "20 18 -4"}, "sizes"),
        ({"sizes": "20 18 x"}, "without dimension and sizes"),
        ({"sizes": "20000 18000 4000"}, "more than any breast volume"),
        ({"sizes": "900 900 900"}, "truncated"),
        ({"dimension": "9"}, "sizes"),
        ({"type": "block"}, "not a gray value"),
        ({"type": "elephant"}, "not a gray value"),
        ({"encoding": "bzip2"}, "encoding"),
        ({"encoding": "gzip"}, "damaged|truncated"),
        ({"encoding": "hex"}, "truncated"),
        ({"byte skip": "100"}, "truncated"),
        ({"line skip": "x"}, "skip"),
        ({"data file": "other.raw"}, "which is not there"),
        ({"data file": "slice%03d.raw 1 4 1"}, "slice001.raw, which is not there"),
        ({"kinds": "complex domain domain", "sizes": "2 18 20"}, "several values per voxel"),
        (LPS | {"space directions": "(1,0,0) (nan,1,0) (0,0,1)"}, "right angles|read|NaN"),
        (LPS | {"space directions": "(1,0,0) (0.3,1,0) (0,0,1)"}, "right angles|read"),
        ({"spacings": "1 0 1"}, "spacing|read"),
        ({"spacings": "1 1 900"}, "spacing"),
    ],
)  # fmt: skip
def test_a_nrrd_header_that_cannot_be_right_is_refused(tmp_path, change, words):
    lines = [f"{key}: {value}" for key, value in (GOOD | change).items()]
    voxels = np.random.default_rng(0).integers(0, 900, 20 * 18 * 4).astype("<i2")
    path = nrrd(tmp_path / "v.nrrd", *lines, data=voxels.tobytes())
    with pytest.raises(InputError, match=words) as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "old, new, words",
    [
        (b"DimSize = 20 18 9", b"DimSize = 20 18 90", "truncated"),
        (b"DimSize = 20 18 9", b"DimSize = 20 18 -9", "empty or negative"),
        (b"DimSize = 20 18 9", b"DimSize = 20000 18000 9000", "more than any breast volume"),
        (b"DimSize = 20 18 9", b"DimSize = 20 18 nine", "valid DimSize"),
        (b"DimSize = 20 18 9", b"DimSize = 20 18", "dimensions"),
        (b"NDims = 3", b"NDims = 7", "dimensions"),
        (b"MET_SHORT", b"MET_STRING", "MetaImage type"),
        (b"ElementSpacing = 1.5", b"ElementSpacing = 0", "spacing"),
        (b"ElementSpacing = 1.5", b"ElementSpacing = -0.7", "spacing"),
        (b"ElementSpacing = 1.5", b"ElementSpacing = nan", "spacing"),
        (b"ElementDataFile = LOCAL", b"ElementDataFile = gone.raw", "gone.raw, which is not there"),
        (b"ElementDataFile = LOCAL", b"ElementDataFile = LIST", "one .mha or .nrrd"),
        (b"ElementDataFile = LOCAL", b"Element = LOCAL", "not a MetaImage file|cut off"),
    ],
)
def test_a_metaimage_header_that_cannot_be_right_is_refused(tmp_path, old, new, words):
    path = tmp_path / "v.mha"
    sitk.WriteImage(oblique_image(spacing=(1.5, 0.8, 2.1)), str(path))
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(InputError, match=words):
        read_volume(path)


def test_real_nrrd_files_read_as_simpleitk_reads_them(shared_data):
    path = shared_data / "pyradiomics-breast1" / "breast1_image.nrrd"
    assert same(load(path).image, sitk.ReadImage(str(path)))
    assert read_volume(path)[1].format == "nrrd"


def test_a_real_multivolume_of_breast_has_its_frame_times(shared_data):
    path = shared_data / "pkmodeling-multivolume" / "QINBreast001" / "Input" / "QINBreast001-phantom.nrrd"
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))  # [k, j, i, frame]
    frames = [load(f"{path}@{n}") for n in (0, 1, 31)]
    for frame, n in zip(frames, (0, 1, 31), strict=True):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(frame.image), truth[..., n])
    assert list(frames[1].clocks.values()) == [pytest.approx(56.9425)]


# PNG


def test_a_gray_png_of_8_or_16_bits_is_one_slice_without_geometry(tmp_path):
    for dtype, top in ((np.uint8, 255), (np.uint16, 65535)):
        pixels = np.random.default_rng(0).integers(0, top, (30, 40)).astype(dtype)
        iio.imwrite(tmp_path / "p.png", pixels)
        loaded = load(tmp_path / "p.png")
        assert loaded.image.GetSize() == (40, 30, 1)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(loaded.image)[0], pixels)
        assert not loaded.has_geometry
        assert any("measures are in pixels" in text for text in loaded.warnings)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_png_with_equal_channels_is_gray_and_its_alpha_is_dropped(tmp_path, channels):
    gray = np.random.default_rng(0).integers(0, 255, (30, 40)).astype(np.uint8)
    iio.imwrite(tmp_path / "p.png", np.stack([gray, gray, gray, gray // 2 + 9][:channels], axis=-1))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(load(tmp_path / "p.png").image)[0], gray)


def test_a_gray_png_with_alpha_is_refused(tmp_path):
    iio.imwrite(tmp_path / "p.png", np.full((30, 40, 2), 200, np.uint8))
    with pytest.raises(InputError, match="without an alpha channel"):
        load(tmp_path / "p.png")


def test_a_color_png_is_refused(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3)).astype(np.uint8)
    iio.imwrite(tmp_path / "p.png", pixels)
    with pytest.raises(InputError, match="color picture"):
        load(tmp_path / "p.png")


def test_a_pixel_spacing_gives_a_png_geometry(tmp_path):
    iio.imwrite(tmp_path / "p.png", np.arange(1200, dtype=np.uint16).reshape(30, 40))
    study = read_study(tmp_path / "p.png", pixel_spacing_mm=0.7)
    assert study.has_geometry
    assert study.pre.image.GetSpacing() == (0.7, 0.7, 1.0)
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="positive number"):
            read_study(tmp_path / "p.png", pixel_spacing_mm=bad)


@pytest.mark.parametrize("keep", [9, 20, 40, 300, -13, -1])
def test_a_png_cut_off_anywhere_is_refused(tmp_path, keep, capfd):
    iio.imwrite(tmp_path / "p.png", np.random.default_rng(0).integers(0, 255, (30, 40)).astype(np.uint8))
    (tmp_path / "p.png").write_bytes((tmp_path / "p.png").read_bytes()[:keep])
    with pytest.raises(InputError, match="truncated"):
        load(tmp_path / "p.png")
    assert capfd.readouterr().err == ""


def test_a_png_with_a_wrong_checksum_or_absurd_size_is_refused(tmp_path):
    iio.imwrite(tmp_path / "p.png", np.random.default_rng(0).integers(0, 255, (30, 40)).astype(np.uint8))
    good = (tmp_path / "p.png").read_bytes()
    (tmp_path / "p.png").write_bytes(good[:60] + bytes([good[60] ^ 4]) + good[61:])
    with pytest.raises(InputError, match="checksum"):
        load(tmp_path / "p.png")
    body = struct.pack(">II", 10**6, 10**6) + good[24:29]
    huge = good[:16] + body + struct.pack(">I", zlib.crc32(b"IHDR" + body)) + good[33:]
    (tmp_path / "p.png").write_bytes(huge)
    with pytest.raises(InputError, match="more than any breast volume"):
        load(tmp_path / "p.png")


def test_the_published_slices_read_as_gray(shared_data):
    path = shared_data / "duke" / "case041" / "pre.png"
    np.testing.assert_array_equal(sitk.GetArrayFromImage(load(path).image)[0], iio.imread(path)[..., 0])


def nrrd_of(path, *lines):
    """A NRRD file of 4 x 5 x 6 voxels whose header says `lines` of their place."""
    header = ["NRRD0005", "type: short", "dimension: 3", "sizes: 6 5 4", "encoding: raw", "endian: little", *lines]
    path.write_bytes("\n".join([*header, "", ""]).encode() + np.arange(120, dtype="<i2").tobytes())
    return path


@pytest.mark.parametrize(
    ("unit", "mm"), [("mm", 1.0), ("millimeters", 1.0), ("cm", 10.0), ("um", 0.001), ("m", 1000.0)]
)
def test_units_of_a_nrrd_header_become_millimeters(tmp_path, unit, mm):
    steps = " ".join(
        f"({','.join(str(s if n == k else 0.0) for n in range(3))})" for k, s in enumerate((0.7, 0.8, 2.0))
    )
    in_space = nrrd_of(
        tmp_path / "a.nrrd", "space: LPS", f"space directions: {steps}", f'space units: "{unit}" "{unit}" "{unit}"',
        "space origin: (1,2,3)",
    )  # fmt: skip
    image = load(in_space).image
    np.testing.assert_allclose(image.GetSpacing(), np.array((0.7, 0.8, 2.0)) * mm)
    np.testing.assert_allclose(image.GetOrigin(), np.array((1, 2, 3)) * mm)
    by_axis = nrrd_of(tmp_path / "b.nrrd", "spacings: 0.7 0.8 2", f'units: "{unit}" "{unit}" "{unit}"')
    np.testing.assert_allclose(load(by_axis).image.GetSpacing(), np.array((0.7, 0.8, 2.0)) * mm)


def test_a_voxel_size_that_a_nrrd_header_does_not_tell_is_told_or_refused(tmp_path):
    assert any("gives no voxel size" in text for text in load(nrrd_of(tmp_path / "a.nrrd")).warnings)
    for lines, words in (
        (("axis mins: 0 0 0", "axis maxs: 6 5 12"), "axis mins and maxs"),
        (("spacings: 1 1 1", 'units: "furlong" "furlong" "furlong"'), "furlong"),
        (("spacings: 1 1 1", 'units: "mm" "cm" "mm"'), "cm, mm"),
    ):
        with pytest.raises(InputError, match=words):
            load(nrrd_of(tmp_path / "b.nrrd", *lines))
