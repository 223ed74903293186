"""Which real image belongs to which synthetic one: from two images, two folders or tables."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from VirtualContrastLib.events import InputError
from VirtualContrastLib.results.manifest import MANIFEST

from ..data.duke_tables import table_records
from .images import is_image

_SUFFIXES = re.compile(r"(\.seg)?(\.nii\.gz|\.[A-Za-z0-9]+)$")
_TOOL_WORDS = re.compile(r"_(synthesized_image|input_label|synthetic|real)(?=_|$)")
_DUKE_PHASE = re.compile(r"_(000\d|CONCAT)(?=_|$)")
_SLICE_WORD = re.compile(r"[_-]?slice[_-]?\d+$", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"[_-]\d+$")
_COLUMNS = ("real", "synthetic", "patient", "lesion", "breast", "pre")


@dataclass(frozen=True)
class Pair:
    """A real image and the synthetic one to compare with it.

    Attributes:
        real: The real image.
        synthetic: The synthetic image.
        patient: Groups pairs for confidence intervals.
        lesion: Mask of the lesions.
        breast: Mask of the breast.
        pre: The image before contrast.
        tissues: Annotated tissues of a mammogram.
        own_scale: Whether the synthetic image has the 0..255 of an as-published model, so that the others are brought
            to that scale (`VirtualContrastLib.metrics.own_scale`).
        baseline: Whether an acquired image stands in the place of the synthetic one.
    """

    real: Path
    synthetic: Path
    patient: str
    lesion: Path | None = None
    breast: Path | None = None
    pre: Path | None = None
    tissues: Path | None = None
    own_scale: bool = False
    baseline: bool = False

    def against(self, acquired: Path) -> Pair:
        """The pair with an acquired image in place of the synthetic one, on the same scale: what copying would give."""
        return replace(self, synthetic=acquired, baseline=True)


def phase_number(path: Path) -> int | None:
    """The N of phase_N or, as in the Duke files, of _000N; None where the name has neither."""
    found = re.search(r"phase_(\d+)", path.name) or re.search(r"_000(\d)(?=_|\.)", path.name)
    return None if found is None else int(found.group(1))


def has_own_scale(image: Path) -> bool:
    """True for a file of a result folder whose manifest says that its units are arbitrary.

    An image without a manifest is taken to have the units of the real one. Of the manifest no more is needed than
    `arbitrary_units`; another program's may lack it. Raises InputError where the manifest cannot be read, as the units
    are then unknown.
    """
    places = (folder / MANIFEST for folder in (image.parent, image.parent.parent))
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        return False
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return isinstance(fields, dict) and fields.get("arbitrary_units", False) is True
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read, so the units of its images are unknown; make the result again."
        ) from error


def find_pairs(real: Path, synthetic: Path, *, patient_pattern: str | None = None) -> list[Pair]:
    """Pair by name: folders by relative file name, tables by row or `case` column, single images with each other.

    In folders, names are compared without suffix; where that does not match, also without the marks that tools add
    (`_synthesized_image`, the Duke phase `_000k`). In a folder of prepared cases (case.json) or of result folders
    (manifest.json) only the phases, or recombined mammograms, count.

    Args:
        real: Image, folder or table of the real images.
        synthetic: The same of the synthetic ones.
        patient_pattern: Regular expression whose match in the relative file name is the patient; None takes a Duke id,
            the case folder or the name without its slice number.

    Returns:
        The pairs.

    Raises:
        InputError: A file has no partner, a name is ambiguous, or there is nothing to compare.
    """
    found = _find_pairs(real, synthetic, patient_pattern)
    return [replace(pair, own_scale=has_own_scale(pair.synthetic)) for pair in found]


def _find_pairs(real: Path, synthetic: Path, patient_pattern: str | None) -> list[Pair]:
    for path in (real, synthetic):
        if not path.exists():
            raise InputError(f"There is no file or folder {path}; check the path.")
    if real.suffix.lower() == ".csv" or synthetic.suffix.lower() == ".csv":
        return _pairs_from_tables(real, synthetic)
    if real.is_dir() and synthetic.is_dir() and images_in(real):
        return _pairs_from_folders(real, synthetic, patient_pattern)
    if real.is_dir() != synthetic.is_dir():
        raise InputError(f"{real} and {synthetic} must both be folders or both be images.")
    return [Pair(real, synthetic, "1")]


def attach(pairs: list[Pair], kind: str, source: Path) -> list[Pair]:
    """Add a further image to every pair.

    Args:
        pairs: The pairs.
        kind: What the image is: "lesion", "breast", "tissues" or "pre".
        source: One image, or a folder with images named like the real ones; a pair without a mask there keeps none.

    Returns:
        The pairs with their images.

    Raises:
        InputError: There is no such file, none fits a pair, or a pair has no pre-contrast image.
    """
    if not source.exists():
        raise InputError(f"There is no file or folder {source}; check the path.")
    if not source.is_dir():
        if len(pairs) > 1:
            raise InputError(
                f"{source} is one file for {len(pairs)} pairs; give a folder with one {kind} image per pair."
            )
        return [_with(pair, kind, source) for pair in pairs]
    table = _by_key(images_in(source, all_files=True), source, _loose_key)
    found = [_with(pair, kind, table.get(_loose_key(Path(pair.real.name)))) for pair in pairs]
    if not any(getattr(pair, kind) for pair in found):
        raise InputError(f"No file in {source} has the name of a real image; name each {kind} image like the real one.")
    if kind == "pre" and not all(pair.pre for pair in found):
        missing = next(pair for pair in found if pair.pre is None)
        raise InputError(f"{source} has no pre-contrast image for {missing.real.name}.")
    return found


def _with(pair: Pair, kind: str, path: Path | None) -> Pair:
    changes: dict[str, Any] = {kind: path}
    return replace(pair, **changes)


def images_in(folder: Path, *, all_files: bool = False) -> list[Path]:
    """Image files below a folder in name order; only the phases of prepared cases and result folders
    unless `all_files`.
    """
    files = sorted(path for path in _files_below(folder) if is_image(path))
    return files if all_files else [path for path in files if _is_phase(path)]


def _files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder, linked folders included, each folder once."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if (own := Path(place).resolve()) in seen:
            folders.clear()
            continue
        seen.add(own)
        yield from (Path(place) / name for name in names)


def _is_phase(path: Path) -> bool:
    if (path.parent / "case.json").is_file():
        return re.match(r"(phase_\d+|recombined)\.", path.name) is not None
    if (path.parent / MANIFEST).is_file():
        return path.name.startswith("recombined.")
    if (path.parent.parent / MANIFEST).is_file():
        return path.parent.name == "phases"
    return True


def _pairs_from_folders(real: Path, synthetic: Path, patient_pattern: str | None) -> list[Pair]:
    reals, synthetics = images_in(real), images_in(synthetic)
    if not synthetics:
        raise InputError(f"{synthetic} holds no image files.")
    strict = _by_key(reals, real, _strict_key), _by_key(synthetics, synthetic, _strict_key)
    strict = _without_what_the_model_does_not_make(*strict), strict[1]
    if strict[0].keys() != strict[1].keys() and strict[0].keys() & strict[1].keys():
        raise _lonely(*strict, real, synthetic)  # names do fit, some are missing
    left, right = strict
    if left.keys() != right.keys():
        left, right = _by_key(reals, real, _loose_key), _by_key(synthetics, synthetic, _loose_key)
    if left.keys() != right.keys():
        raise _lonely(left, right, real, synthetic)
    return [_pair(left[name], right[name], real, patient_pattern) for name in sorted(left)]


def _without_what_the_model_does_not_make(real: dict[str, Path], synthetic: dict[str, Path]) -> dict[str, Path]:
    """Real files but the phases of prepared cases that no model was to make.

    Those are the phases before the first synthetic one of a case, which a model such as the iterU-Net reads, and those
    after the last one of all cases: a model of the first phase has nothing beside later ones. A phase that a case
    lacks and another one has stays, and is missed.
    """
    first: dict[str, int] = {}
    last = 0
    for key in synthetic:
        case, number = _phase_of_key(key)
        if number is not None:
            first[case] = min(number, first.get(case, number))
            last = max(last, number)

    def is_made(key: str, path: Path) -> bool:
        case, number = _phase_of_key(key)
        if number is None or case not in first or not (path.parent / "case.json").is_file():
            return True
        return first[case] <= number <= last

    return {key: path for key, path in real.items() if is_made(key, path)}


def _phase_of_key(key: str) -> tuple[str, int | None]:
    """(case, N) of case/phase_N; N is None for other names."""
    case, _, name = key.rpartition("/")
    found = re.fullmatch(r"phase_(\d+)", name)
    return case, int(found.group(1)) if found else None


def _lonely(left: dict[str, Path], right: dict[str, Path], real: Path, synthetic: Path) -> InputError:
    alone = sorted(left.keys() ^ right.keys())
    where, files = (real, left) if alone[0] in left else (synthetic, right)
    return InputError(
        f"{len(alone)} of {len(left.keys() | right.keys())} names have no partner, the first is "
        f"{files[alone[0]].relative_to(where)} in {where}; every real image needs one synthetic image of the same name."
    )


def _pair(real: Path, synthetic: Path, root: Path, pattern: str | None) -> Pair:
    prepared = (real.parent / "case.json").is_file()
    lesion = real.parent / "lesions.nrrd" if prepared else None
    mammogram = prepared and real.name.startswith("recombined.")
    pre = real.parent / ("low_energy.nrrd" if mammogram else "pre.nrrd") if prepared else None
    lesion, pre = (path if path is not None and path.is_file() else None for path in (lesion, pre))
    patient = patient_of(real.relative_to(root), pattern)
    if mammogram and pattern is None:
        patient = patient.partition("_")[0]  # views of one patient: P10_L_CC, P10_L_MLO
    return Pair(real, synthetic, patient, lesion=lesion, pre=pre)


def name_without_suffix(path: Path) -> str:
    """File name without its image suffix, `.seg` included."""
    return _SUFFIXES.sub("", path.name)


def patient_of(relative: Path, pattern: str | None = None) -> str:
    """Patient of a relative file name: by `pattern`, else a Duke id, the first folder, or the name without its slice.

    Raises InputError where the pattern is wrong or does not match.
    """
    if pattern is not None:
        try:
            match = re.search(pattern, relative.as_posix())
        except re.error as error:
            raise InputError(f"The patient pattern '{pattern}' is not a regular expression ({error}).") from error
        if match is None:
            raise InputError(f"The patient pattern '{pattern}' does not match the file name {relative.as_posix()}.")
        return match.group(1) if match.groups() else match.group(0)
    duke = re.search(r"Breast_MRI_\d+", relative.as_posix())
    if duke:
        return duke.group(0)
    if len(relative.parts) > 1:
        return relative.parts[0]
    stem = _SUFFIXES.sub("", relative.name)
    return _without_slice(_DUKE_PHASE.sub("", _TOOL_WORDS.sub("", stem))) or stem


def _without_slice(name: str) -> str:
    """P10_slice3 and P10_003 are slices of P10; in case378 and case_378 the only number is the patient's."""
    if _SLICE_WORD.search(name):
        return _SLICE_WORD.sub("", name)
    shorter = _LAST_NUMBER.sub("", name)
    return shorter if re.search(r"\d", shorter) else name


def _strict_key(relative: Path) -> str:
    parts = [part for part in relative.parts[:-1] if part != "phases"]
    return "/".join([*parts, _SUFFIXES.sub("", relative.name)])


def _loose_key(relative: Path) -> str:
    return _DUKE_PHASE.sub("", _TOOL_WORDS.sub("", _SUFFIXES.sub("", relative.name)))


def _by_key(files: Iterable[Path], root: Path, key: Callable[[Path], str]) -> dict[str, Path]:
    table: dict[str, Path] = {}
    for path in files:
        name = key(path.relative_to(root))
        if name in table:
            raise InputError(
                f"{path} and {table[name]} cannot be distinguished by name; pair them in a table with "
                "columns real, synthetic."
            )
        table[name] = path
    return table


def _pairs_from_tables(real: Path, synthetic: Path) -> list[Pair]:
    rows = _read_table(real if real.suffix.lower() == ".csv" else synthetic)
    if {"real", "synthetic"} <= rows[0].keys():
        return [_pair_of_row(row, number) for number, row in enumerate(rows)]
    if real.suffix.lower() != ".csv" or synthetic.suffix.lower() != ".csv":
        raise InputError(f"{real} and {synthetic}: one table alone needs the columns real and synthetic.")
    left, right = _column(rows, "real", real), _column(_read_table(synthetic), "synthetic", synthetic)
    if left.keys() != right.keys():
        raise InputError(
            f"{real} has {len(left)} rows and {synthetic} {len(right)}, or their case columns differ; "
            "every row needs a partner."
        )
    return [_pair_of_row({**left[case], **right[case]}, number) for number, case in enumerate(left)]


def _column(rows: list[dict[str, str]], kind: str, table: Path) -> dict[str, dict[str, str]]:
    """Rows by `case` (or by number), with the image path under `kind`."""
    source = next((name for name in (kind, "path", "image", "file") if name in rows[0]), None)
    if source is None:
        raise InputError(f"{table} needs a column named {kind} or path.")
    cases = [row.get("case") or str(number) for number, row in enumerate(rows)]
    if len(set(cases)) != len(cases):
        raise InputError(f"{table} names a case twice; every case needs one row.")
    return {case: {**row, kind: row[source]} for case, row in zip(cases, rows, strict=True)}


def _pair_of_row(row: dict[str, str], number: int) -> Pair:
    def path(name: str) -> Path | None:
        return Path(row[name]) if row.get(name) else None

    real, synthetic = path("real"), path("synthetic")
    if real is None or synthetic is None:
        raise InputError(f"Row {number + 1} of the table of pairs lacks its real or synthetic image.")
    patient = row.get("patient") or row.get("case") or str(number)
    return Pair(real, synthetic, patient, lesion=path("lesion"), breast=path("breast"), pre=path("pre"))


def _read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a table with lower-case column names; image paths are relative to the table."""
    rows = [row for _, row in table_records(path)]
    for row in rows:
        for name in (*(c for c in _COLUMNS if c != "patient"), "path", "image", "file"):
            if row.get(name):
                row[name] = str(path.parent / row[name])
    return rows
