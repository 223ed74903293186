"""TIFF pictures: exact values, no geometry of their own, and files that are cut off or are something else."""

import struct

import imageio.v3 as iio
import numpy as np
import pytest
import SimpleITK as sitk
from io_samples import MrSeries, oblique_image
from VirtualContrastLib.events import InputError
from VirtualContrastLib.io.read import load, read_study


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 4000, (30, 40)).astype(np.uint16)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_a_gray_tiff_is_one_slice_without_geometry(tmp_path, pixels, kind):
    values = (pixels % 250).astype(kind)
    iio.imwrite(tmp_path / "p.tif", values, resolution=(300, 300))  # dots per inch of printing are no millimeters
    loaded = load(tmp_path / "p.tif")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(loaded.image)[0], values)
    assert (loaded.format, loaded.has_geometry, loaded.image.GetSpacing()) == ("tiff", False, (1.0, 1.0, 1.0))
    study = read_study(tmp_path / "p.tif", pixel_spacing_mm=0.4)
    assert study.pre.image.GetSpacing() == (0.4, 0.4, 1.0)
    assert study.has_geometry


def test_several_pages_and_colors_are_refused(tmp_path, pixels):
    sitk.WriteImage(sitk.GetImageFromArray(np.stack([pixels, pixels])), str(tmp_path / "pages.tif"))
    with pytest.raises(InputError, match="holds 2 pages"):
        load(tmp_path / "pages.tif")
    iio.imwrite(tmp_path / "color.tif", np.stack([pixels, pixels + 1, pixels], axis=-1).astype(np.uint8))
    with pytest.raises(InputError, match="color picture"):
        load(tmp_path / "color.tif")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_tiff_cut_off_anywhere_is_refused(tmp_path, pixels, share):
    iio.imwrite(tmp_path / "p.tif", pixels)
    content = (tmp_path / "p.tif").read_bytes()
    (tmp_path / "p.tif").write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"p\.tif"):
        load(tmp_path / "p.tif")


def test_an_absurd_size_is_refused_before_anything_is_allocated(tmp_path, pixels):
    iio.imwrite(tmp_path / "p.tif", pixels)
    content = bytearray((tmp_path / "p.tif").read_bytes())
    (start,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, start)
    for n in range(entries):
        tag, kind = struct.unpack_from("<HH", content, start + 2 + 12 * n)
        if tag in (256, 257):
            struct.pack_into({3: "<H", 4: "<I"}[kind], content, start + 10 + 12 * n, {3: 65000, 4: 2**31 - 1}[kind])
    (tmp_path / "p.tif").write_bytes(content)
    with pytest.raises(InputError):
        load(tmp_path / "p.tif")


def test_a_dicom_file_that_looks_like_tiff_too_is_read_as_dicom(tmp_path):
    MrSeries(oblique_image()).write(tmp_path / "s")
    path = next((tmp_path / "s").iterdir())
    content = path.read_bytes()
    path.write_bytes(b"II*\0" + content[4:])
    assert load(path).format == "dicom"
