"""From a path to a checked volume, and from paths to a study."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import SimpleITK as sitk

from ..events import Events, InputError
from ..files import check_name, sha256_of
from ..study import Phase, Source, Study
from . import one_examination
from .dicom import series as dicom_series
from .dicom.clocks import INJECTION, LATEST_FIRST_PHASE_S, PRE_CONTRAST, seconds_between, seconds_from_start
from .dicom.files import is_dicom
from .formats import metaimage, nifti, nrrd, picture
from .loaded import Loaded
from .one_examination import Given
from .suffixes import VOLUMES, suffix_of
from .validation import check_volume
from .volumes import same_geometry
from .zero_level import without_values_below_zero

_READERS: dict[str, Callable[[Path, int | None], Loaded]] = {
    "nifti": nifti.read,
    "nrrd": nrrd.read,
    "metaimage": metaimage.read,
}

GIVEN_ZERO = "as given by the user"


def read_study(
    pre: str | Path,
    real: Sequence[str | Path] = (),
    *,
    times_s: Sequence[float] | None = None,
    pixel_spacing_mm: float | None = None,
    expected: str | None = None,
    series: Sequence[str] = (),
    force: bool = True,
    events: Events | None = None,
) -> Study:
    """Read a pre-contrast volume and the real post-contrast phases given with it, in order.

    Args:
        pre: Spec of the pre-contrast volume, as in `read_volume`.
        real: Specs of the real phases.
        times_s: Seconds after injection, one per real phase, increasing; None takes their distance to the pre-contrast
            phase by DICOM trigger, acquisition or content time or by the frame times of a NRRD series, where known.
        pixel_spacing_mm: Pixel size of a picture in mm.
        expected: Modality that the model reads, "MR" or "MG", see `check_volume`; None takes both.
        series: Chooses among the series of DICOM folders by number.
        force: Whether a series that is not breast MRI by its header is read all the same.
        events: Where warnings go.

    Returns:
        The study.

    Raises:
        InputError: Something cannot be used.
    """
    events = events or Events()
    _check_times(times_s, len(real))
    loaded, source = _of_study(pre, pixel_spacing_mm, events, expected, series)
    if loaded.refusals and not force:
        raise InputError(f"{loaded.refusals[0]} Synthesize it anyway with --force.")
    for warning in (*loaded.refusals, *loaded.contrast_warnings):
        events.warn(warning)
    first = Given(_label(pre), loaded)
    phases, sources = _read_phases(first, real, pixel_spacing_mm, events, expected, series)
    one_examination.check(first, phases, events, times_given=times_s is not None, gray_values=expected != "MG")
    clocks = [phase.loaded.clocks for phase in phases]
    times, zero = (times_s, GIVEN_ZERO) if times_s and real else _times(loaded.clocks, clocks, events)
    return Study(
        pre=Phase(0, loaded.image, 0.0, synthetic=False),
        source=source,
        real=_as_phases(phases, times),
        real_sources=sources,
        has_geometry=loaded.has_geometry,
        time_zero=zero,
    )


def read_phases(
    real: Sequence[str | Path],
    *,
    times_s: Sequence[float] | None = None,
    expected: str | None = None,
    events: Events | None = None,
) -> tuple[tuple[Phase, ...], tuple[Source, ...]]:
    """Read real phases of one examination without its pre-contrast volume, in order.

    Args:
        real: Specs of the phases, as in `read_volume`.
        times_s: Seconds after injection, one per phase, increasing.
        expected: As in `read_study`.
        events: Where warnings go.

    Returns:
        The phases and where they came from; without times given they have none, as those count from the first image.

    Raises:
        InputError: Something cannot be used.
    """
    events = events or Events()
    _check_times(times_s, len(real))
    phases, sources = _read_phases(None, real, None, events, expected, ())
    one_examination.check(None, phases, events, times_given=times_s is not None, gray_values=expected != "MG")
    return _as_phases(phases, times_s or [None] * len(phases)), sources


def _read_phases(
    pre: Given | None,
    specs: Sequence[str | Path],
    pixel_spacing_mm: float | None,
    events: Events,
    expected: str | None,
    series: Sequence[str],
) -> tuple[list[Given], tuple[Source, ...]]:
    """Real phases on the voxels and in the units of the pre-contrast volume, or of the first of them."""
    found: list[Given] = []
    sources: list[Source] = []
    for spec in specs:
        loaded, source = _of_study(spec, pixel_spacing_mm, events, expected, series)
        name, reference = _label(spec), pre or (found[0] if found else None)
        if reference is not None:
            if difference := same_geometry(reference.loaded.image, loaded.image):
                raise InputError(
                    f"{name} does not lie on the voxels of {reference.name}; resample it to them first: {difference}"
                )
            loaded = _in_units_of(reference, Given(name, loaded), events)
        found.append(Given(name, loaded))
        sources.append(source)
    return found, tuple(sources)


def _as_phases(given: Sequence[Given], times_s: Sequence[float | None]) -> tuple[Phase, ...]:
    pairs = zip(given, times_s, strict=True)
    return tuple(Phase(n, one.loaded.image, time_s, synthetic=False) for n, (one, time_s) in enumerate(pairs, start=1))


def _times(
    pre: Mapping[str, float], real: Sequence[Mapping[str, float]], events: Events
) -> tuple[list[float | None], str]:
    """Seconds of the real phases by the clocks of their headers, all from one zero, and what that zero is.

    Seconds count from the injection where all phases with a time tell it; a bolus that started before the pre-contrast
    volume, or after one of the phases, is warned of and not used.
    """
    found = [seconds_between(pre, clocks) for clocks in real]
    zeros = {zero for _, zero in filter(None, found)}
    if any("bolus" in clocks and "acquisition" in clocks for clocks in real) and zeros != {INJECTION}:
        events.warn(
            "The start of the injection (ContrastBolusStartTime) does not lie between the pre-contrast volume and all "
            "real phases; times count from the pre-contrast acquisition. Give true times with --real-times."
        )
        found = [(s, PRE_CONTRAST) if (s := seconds_from_start(pre, clocks)) is not None else None for clocks in real]
        zeros = {PRE_CONTRAST} if any(found) else set()
    times = [one[0] if one else None for one in found]
    if times and times[0] is not None and times[0] > LATEST_FIRST_PHASE_S and zeros == {PRE_CONTRAST}:
        events.warn(
            f"The first real phase lies {times[0] / 60:.0f} minutes after the pre-contrast volume and no header tells "
            "when the injection was, so that times to peak and wash-in are wrong. Give true times with --real-times."
        )
    return times, next(iter(zeros), "")


def read_volume(
    spec: str | Path, *, pixel_spacing_mm: float | None = None, events: Events | None = None
) -> tuple[sitk.Image, Source]:
    """Read and check one volume.

    Args:
        spec: Path of a NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd), PNG, TIFF or DICOM file or
            of a folder with a DICOM series; `PATH@N` picks time point N, counted from 0, of a 4-D file or of a folder
            with several phases.
        pixel_spacing_mm: Pixel size of a picture in mm.
        events: Where warnings go.

    Returns:
        A 3-D scalar image (a single slice has size 1 along k), and the files it came from.

    Raises:
        InputError: It cannot be used.
    """
    loaded, source = read_checked(spec, pixel_spacing_mm, events or Events())
    return loaded.image, source


def load(spec: str | Path, pixel_spacing_mm: float | None = None, wanted: Sequence[str] = ()) -> Loaded:
    """Read one volume with all that its header says, without the checks of `validation`.

    Args:
        spec: Path, or `PATH@N`, as in `read_volume`.
        pixel_spacing_mm: Pixel size of a picture in mm.
        wanted: Chooses among the series of a DICOM folder by number.

    Returns:
        The volume.

    Raises:
        InputError: It cannot be read.
    """
    if not str(spec).strip():
        raise InputError("The path of an image is empty; give a file or a folder.")
    check_name(spec)
    try:
        path, index = split_spec(spec)
        if path.is_dir():
            return dicom_series.read(path, index, wanted)
        if not path.is_file():
            raise InputError(f"{path} does not exist or is not a file; check the path.")
        if path.stat().st_size == 0:
            raise InputError(f"{path.name} is empty (0 bytes); copy or export it again.")
        return _read_file(path, index, pixel_spacing_mm)
    except OSError as error:
        raise InputError(f"{Path(spec).name} cannot be opened; check its name and permissions.") from error


def split_spec(spec: str | Path) -> tuple[Path, int | None]:
    """Path and time point of `PATH` or `PATH@N`; a path that exists as written has no time point."""
    text = str(spec)
    path = Path(text)
    match = re.fullmatch(r"(.+)@(\d{1,6})", text, re.DOTALL)
    if match and not path.exists():
        return Path(match[1]), int(match[2])
    return path, None


def time_after(pre: Loaded, post: Loaded) -> float | None:
    """Seconds from `pre`, or from the injection where the header of `post` gives it, to `post`; None where unknown."""
    found = seconds_between(pre.clocks, post.clocks)
    return found[0] if found else None


def _read_file(path: Path, index: int | None, pixel_spacing_mm: float | None) -> Loaded:
    with path.open("rb") as file:
        start = file.read(8)
    if is_dicom(path):  # first: a DICOM file may look like TIFF too (PS3.10 7.1)
        return dicom_series.read(path, index)
    if picture.is_picture(start):
        if index not in (None, 0):
            raise InputError(f"{path.name}@{index} does not exist: a picture holds one image.")
        return picture.read(path, pixel_spacing_mm)
    reader = _READERS.get(VOLUMES.get(suffix_of(path), ""))
    if reader is None:
        raise InputError(f"{path.name} is of an unknown format; give NIfTI, NRRD, MetaImage, DICOM, PNG or TIFF.")
    return reader(path, index)


def read_checked(
    spec: str | Path,
    pixel_spacing_mm: float | None,
    events: Events,
    expected: str | None = None,
    series: Sequence[str] = (),
) -> tuple[Loaded, Source]:
    """As `read_volume`, with what the header says beside the image.

    Args:
        spec: As in `read_volume`.
        pixel_spacing_mm: Pixel size of a picture in mm.
        events: Where warnings go.
        expected: Modality that the model reads, see `check_volume`.
        series: Chooses among the series of DICOM folders by number.

    Returns:
        What was read, and the files it came from.

    Raises:
        InputError: It cannot be used.
    """
    events.check_cancelled()
    loaded = load(spec, pixel_spacing_mm, series)
    for note in loaded.notes:
        if note not in events.warnings:
            events.warn(note)
    source = Source(loaded.files, loaded.format, sha256_of(*loaded.files), loaded.modality, loaded.headers)
    check_volume(loaded.image, source, expected=expected, events=events)
    about_measures_only = expected == "MG" and loaded.format in picture.PICTURE_FORMATS  # a mammogram is not measured
    for warning in () if about_measures_only else loaded.warnings:
        events.warn(warning)
    if pixel_spacing_mm is not None and loaded.format not in picture.PICTURE_FORMATS:
        events.warn("The pixel spacing given is for pictures only; the spacing of the file itself was used.")
    return loaded, source


def _of_study(
    spec: str | Path, pixel_spacing_mm: float | None, events: Events, expected: str | None, series: Sequence[str]
) -> tuple[Loaded, Source]:
    """A checked volume whose padding and undershoot below the zero level are set to it, with a warning."""
    loaded, source = read_checked(spec, pixel_spacing_mm, events, expected, series)
    image, count = without_values_below_zero(loaded.image)
    if count:
        share = 100.0 * count / image.GetNumberOfPixels()
        level = f"{float(sitk.GetArrayViewFromImage(image).min()):g}"
        events.warn(
            f"{_label(spec)} has {count} voxels ({share:.2g} %) below {level}, as padding and resampling leave them; "
            f"they were set to {level}."
        )
    return dataclasses.replace(loaded, image=image), source


def _in_units_of(reference: Given, other: Given, events: Events) -> Loaded:
    """`other` in the gray values of the first image, where Philips' private scale says that they differ."""
    unit, own = reference.loaded.unit, other.loaded.unit
    if unit is None or own is None or math.isclose(unit, own, rel_tol=1e-4):
        return other.loaded
    events.warn(
        f"{other.name} has another scale than {reference.name} (Philips scale slope): its gray values were multiplied "
        f"by {unit / own:.4g}."
    )
    image = sitk.Cast(other.loaded.image, sitk.sitkFloat32) * (unit / own)
    return dataclasses.replace(other.loaded, image=image, unit=unit)


def _check_times(times_s: Sequence[float] | None, count: int) -> None:
    if times_s is None:
        return
    if len(times_s) != count:
        raise InputError(f"{len(times_s)} times are given for {count} real phases; give one time for each.")
    if not all(math.isfinite(b) and a < b for a, b in pairwise((0.0, *times_s))):
        raise InputError("The times of the real phases must be seconds after injection, above 0 and increasing.")


def _label(spec: str | Path) -> str:
    path, index = split_spec(spec)
    return path.name if index is None else f"{path.name}@{index}"
