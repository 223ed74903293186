"""Small files that ask for much: refused from what they really hold, before anything is allocated, and quickly."""

import time
import zipfile
import zlib

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from io_samples import MrSeries, oblique_image
from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.read import load
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.models.safe_torch_load import load_tensors
from VirtualContrastLib.networks.options import NNUNetOptions, Pix2PixHDOptions, ResidualEnhancementOptions

QUICK_S = 20.0  # of processor time, making the file included; without bounds they took minutes, or never ended


@pytest.fixture(autouse=True)
def _quick():
    start = time.process_time()
    yield
    assert time.process_time() - start < QUICK_S


def nhdr(path, entry, sizes="20 20 4", more=()):
    lines = [
        "NRRD0004",
        "type: short",
        "dimension: 3",
        f"sizes: {sizes}",
        "encoding: raw",
        *more,
        f"data file: {entry}",
    ]
    path.write_text("\n".join([*lines, ""]))
    return path


@pytest.mark.parametrize(
    "entry",
    [
        "x%d.raw 0 400000000 1",
        "x%d.raw 0 99999999999999999999 1",
        "x%3000000000d.raw 0 3 1",
        "x%s%s.raw 0 3 1",
        "x%d.raw 0 3 0",
        "LIST\n" + "a.raw\n" * 100000,
    ],
)
def test_a_header_that_names_countless_data_files(tmp_path, entry):
    with pytest.raises(InputError, match=r"v\.nhdr"):
        load(nhdr(tmp_path / "v.nhdr", entry))


def test_a_data_file_for_each_slice_is_read(tmp_path):
    volume = np.arange(20 * 20 * 4, dtype="<i2").reshape(4, 20, 20)
    for k, plane in enumerate(volume):
        (tmp_path / f"x{k:03d}.raw").write_bytes(plane.tobytes())
    spaces = ["endian: little", "space: left-posterior-superior", "space directions: (1,0,0) (0,1,0) (0,0,2)"]
    loaded = load(nhdr(tmp_path / "v.nhdr", "x%03d.raw 0 3 1", more=spaces))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(loaded.image), volume)


@pytest.mark.parametrize(
    ("entry", "told"),
    [("../secret.raw", "outside its own folder"), ("{absolute}", "outside"), ("a\0b.raw", "cannot be one")],
)
def test_a_header_does_not_reach_outside_of_its_folder(tmp_path, entry, told):
    secret = tmp_path / "secret.raw"
    secret.write_bytes(bytes(3200))
    (tmp_path / "in").mkdir()
    entry = entry.format(absolute=secret)
    header = nhdr(tmp_path / "in" / "v.nhdr", entry)
    mhd = tmp_path / "in" / "v.mhd"
    mhd.write_text(
        f"NDims = 3\nDimSize = 20 20 4\nElementSpacing = 1 1 2\nElementType = MET_SHORT\nElementDataFile = {entry}\n"
    )
    for path in (header, mhd):
        with pytest.raises(InputError, match=told):
            load(path)


@pytest.mark.parametrize(
    "field, message",
    [
        ("byte skip: -99", "skips 0 lines and -99 bytes"),
        ("line skip: -1", "skips -1 lines"),
        ("space directions: (1e300,0,0) (0,1,0) (0,0,1)", "voxel size '1e300'"),
        ("spacings: 1 1 inf", "voxel size 'inf'"),
    ],
)
def test_headers_that_the_toolkit_reads_wrongly_without_a_word(tmp_path, field, message):
    (tmp_path / "x.raw").write_bytes(bytes(3200))
    with pytest.raises(InputError, match=message):
        load(nhdr(tmp_path / "v.nhdr", "x.raw", more=[field]))


@pytest.mark.parametrize(
    "old, new, message",
    [
        (b"ElementSpacing = 0.5 0.75 2\n", b"", "no positive voxel spacing"),
        (b"ElementSpacing = 0.5 0.75 2\n", b"ElementSpacing = 0.5\n", "no positive voxel spacing"),
        (b"Offset = ", b"Offset = nan ", "origin or direction that is not a number"),
        (b"CompressedDataSize = ", b"CompressedDataSize = 1", "compressed bytes and holds"),
    ],
)
def test_a_metaimage_without_its_geometry_or_of_another_length(tmp_path, old, new, message):
    image = oblique_image()
    image.SetSpacing((0.5, 0.75, 2.0))
    sitk.WriteImage(image, str(tmp_path / "v.mha"), True)
    data = (tmp_path / "v.mha").read_bytes()
    assert old in data
    (tmp_path / "v.mha").write_bytes(data.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        load(tmp_path / "v.mha")


def dicom_slice(folder):
    MrSeries(oblique_image()).write(folder)
    return sorted(folder.iterdir())[0]


@pytest.mark.parametrize("count", [10_000_000, 2_000_000_000, 100_000, -5])
def test_dicom_frames_that_the_file_has_no_room_for(tmp_path, count):
    path = dicom_slice(tmp_path / "s")
    dataset = pydicom.dcmread(path)
    dataset.NumberOfFrames = count
    dataset.save_as(tmp_path / "many.dcm")
    with pytest.raises(InputError, match=rf"declares {count} frames, more than it has room for"):
        load(tmp_path / "many.dcm")


def test_dicom_frames_just_beyond_what_the_bytes_can_hold(tmp_path):
    path = dicom_slice(tmp_path / "s")
    dataset = pydicom.dcmread(path)
    room = path.stat().st_size // (dataset.Rows * dataset.Columns * dataset.BitsStored // 8)
    dataset.NumberOfFrames = room + 2  # writing it makes the file a few bytes longer
    dataset.save_as(tmp_path / "more.dcm")
    with pytest.raises(InputError, match=rf"declares {room + 2} frames, more than it has room for"):
        load(tmp_path / "more.dcm")


@pytest.mark.parametrize("zeros, refused", [(200 << 20, True), (1 << 20, False)])
def test_deflated_dicom_that_grows_beyond_measure(tmp_path, zeros, refused):
    path = dicom_slice(tmp_path / "s")
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.save_as(tmp_path / "plain.dcm")
    plain = (tmp_path / "plain.dcm").read_bytes()
    meta = 144 + int.from_bytes(plain[140:144], "little")
    private = b"\x09\x00\x10\x00LO\x04\x00TEST" + b"\x09\x00\x01\x10OB\x00\x00" + zeros.to_bytes(4, "little")
    body = plain[meta:]
    squeeze = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    head = squeeze.compress(body[: body.index(b"\x10\x00\x10\x00")] + private)  # before the patient's group
    chunks = [squeeze.compress(bytes(1 << 20)) for _ in range(zeros >> 20)]
    tail = squeeze.compress(body[body.index(b"\x10\x00\x10\x00") :]) + squeeze.flush()
    syntax = plain[:meta].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    syntax = syntax.replace(b"\x02\x00\x10\x00UI\x14\x00", b"\x02\x00\x10\x00UI\x16\x00")
    length = int.from_bytes(syntax[140:144], "little") + 2
    syntax = syntax[:140] + length.to_bytes(4, "little") + syntax[144:]
    (tmp_path / "deflated.dcm").write_bytes(b"".join([syntax, head, *chunks, tail]))
    if refused:
        with pytest.raises(InputError, match="would expand to more than"):
            load(tmp_path / "deflated.dcm")
    else:
        truth = pydicom.dcmread(path).pixel_array
        np.testing.assert_array_equal(sitk.GetArrayFromImage(load(tmp_path / "deflated.dcm").image)[0], truth)


def test_a_picture_of_gigabytes_in_a_small_file(tmp_path):
    def chunk(kind, body):
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    side = (20000).to_bytes(4, "big")
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", side + side + bytes([16, 2, 0, 0, 0]))
    (tmp_path / "p.png").write_bytes(data + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    with pytest.raises(InputError, match="20000 x 20000 pixels, more than any mammogram"):
        load(tmp_path / "p.png")


@pytest.mark.parametrize(
    "options, config",
    [
        (Pix2PixHDOptions, {"input_nc": 3, "output_nc": 3, "n_blocks_global": 10_000_000}),
        (Pix2PixHDOptions, {"input_nc": 3, "output_nc": 3, "n_downsample_global": 60}),
        (Pix2PixHDOptions, {"input_nc": 3, "output_nc": 3, "ngf": 10_000_000}),
        (ResidualEnhancementOptions, {"members": 10_000_000}),
        (NNUNetOptions, {"folds": [0] * 1000}),
    ],
)
def test_a_model_card_of_a_network_that_nobody_could_build(options, config):
    with pytest.raises(ValueError, match="option"):
        options.of(config)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize("damage", ["directory", "middle", "cut"])
@pytest.mark.parametrize("read", [load_package, load_tensors])
def test_a_damaged_zip_of_any_method_is_one_sentence(tmp_path, monkeypatch, method, damage, read):
    monkeypatch.setenv("VIRTUALCONTRAST_CACHE", str(tmp_path / "cache"))
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w", method) as out:
        for name in ("model.json", "latest_net_G.pth"):
            out.writestr(name, np.random.default_rng(0).bytes(5000))
    data = bytearray(archive.read_bytes())
    if damage == "directory":
        at = data.rindex(b"PK\x01\x02")
        data[at + 4 : at + 40] = b"\xff" * 36
    elif damage == "middle":
        data[5200:6000] = b"\x7f" * 800
        data[60:120] = b"\x7f" * 60
    else:
        del data[3000:]
    archive.write_bytes(data)
    with pytest.raises(InputError):
        read(archive)


@pytest.mark.parametrize("read", [load_package, load_tensors])
def test_a_small_zip_of_gigabytes_does_not_fill_the_disk(tmp_path, monkeypatch, read):
    monkeypatch.setenv("VIRTUALCONTRAST_CACHE", str(tmp_path / "cache"))
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        out.writestr("model.json", "{}")
        with out.open("latest_net_G.pth", "w", force_zip64=True) as file:
            for _ in range(100):
                file.write(bytes(1 << 20))
    with pytest.raises(InputError, match="more than a model of its size can have"):
        read(archive)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 2 << 20


def test_a_metaimage_header_that_is_no_text(tmp_path):
    sitk.WriteImage(oblique_image(), str(tmp_path / "v.mha"))
    data = (tmp_path / "v.mha").read_bytes()
    (tmp_path / "v.mha").write_bytes(data.replace(b"CenterOfRotation", b"Center\xff\xfeRotation"))
    with pytest.raises(InputError, match="not text"):
        load(tmp_path / "v.mha")
