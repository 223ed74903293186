"""The reading list of a reader study: which images there are, which are synthetic, what the truth is.

A CSV with one row for each image: `case` (a code of the study, never a patient's name or id), `image` (a file or folder
that `virtual-contrast` reads, or `node:NAME` for a volume of the Slicer scene), `condition` (real or synthetic) and any
of `truth` (lesion: yes or no), `bpe` (the reference, see `bpe_grade`) and `beside` (the low-energy or pre-contrast
image to show beside it). `scale` is own (default: each image on its own gray scale) or beside (both on that of the
image beside, so that enhancement is seen, for images in its units); one value for the whole list, since a mixture would
distinguish real from synthetic. Paths are relative to the list. The list is the key of the blinding: readers must not
open it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..events import InputError
from ..files import expanded, write_text
from ..io.read import read_volume
from ..io.tables import read_records
from ..io.volumes import same_geometry
from ..results.manifest import load_result

REAL, SYNTHETIC = "real", "synthetic"
BPE = ("a", "b", "c", "d")
RECOMBINED = "recombined"
KINDS = ("phases", "subtraction", RECOMBINED)
NODE = "node:"
OWN, BESIDE = "own", "beside"
COLUMNS = ("case", "image", "condition", "truth", "bpe", "beside", "scale")
_BPE_WORDS = ("minimal", "mild", "moderate", "marked")
_FLAGS = {"yes": True, "no": False, "1": True, "0": False, "": None}
_CODE = re.compile(r"[A-Za-z0-9._-]{1,40}")


def bpe_grade(text: str, where: str) -> str | None:
    """The grade of background enhancement, of BPE, that a cell names.

    Args:
        text: a, b, c or d, the words minimal, mild, moderate and marked for them, or the numbers 1 to 4; "" for none.
        where: file and row, for the message.

    Returns:
        The letter; None for an empty cell.

    Raises:
        InputError: it is no grade; an order that nobody gave would make a kappa of nothing.
    """
    said = text.strip().lower()
    for grades in (BPE, _BPE_WORDS, ("1", "2", "3", "4"), ("1.0", "2.0", "3.0", "4.0")):
        if said in grades:
            return BPE[grades.index(said)]
    if said:
        raise InputError(
            f"{where}: bpe must be a, b, c or d, minimal, mild, moderate or marked, 1 to 4, or empty, not '{text}'."
        )
    return None


@dataclass(frozen=True)
class ReadingCase:
    """One image to read.

    Attributes:
        case: Id of the case.
        image: Path (absolute once loaded) or `node:NAME` of the image.
        condition: Real or synthetic.
        truth: Whether there is a lesion, None where unknown.
        bpe: True background parenchymal enhancement, None where unknown.
        beside: Path or `node:NAME` of the image beside it; "" for none.
        scale: Whether the image has its own gray scale or that of the image beside it.
    """

    case: str
    image: str
    condition: str
    truth: bool | None = None
    bpe: str | None = None
    beside: str = ""
    scale: str = OWN


@dataclass(frozen=True)
class ReadingList:
    """The images of a study; a case has at most one real and one synthetic image.

    Attributes:
        path: File of the list.
        cases: The images in the list's order.
    """

    path: Path
    cases: tuple[ReadingCase, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over cases and conditions in order: what answers refer to. Moved files do not change it."""
        return hashlib.sha256("\n".join(f"{c.case},{c.condition}" for c in self.cases).encode()).hexdigest()


def load_list(path: str | Path) -> ReadingList:
    """Read a reading list; raises InputError with the row number for what cannot be understood."""
    path = expanded(path).absolute()
    rows = read_records(path)
    if not rows:
        raise InputError(f"{path.name} lists no image; add a row for each.")
    if not {"case", "image", "condition"} <= rows[0][1].keys():
        raise InputError(f"{path.name} is not a reading list: it needs the columns case, image and condition.")
    cases = tuple(_case_of(row, number, path) for number, row in rows)
    seen = set()
    for (number, _), one in zip(rows, cases, strict=True):
        if (one.case, one.condition) in seen:
            raise InputError(f"{path.name}, row {number}: case {one.case} has two {one.condition} images; keep one.")
        seen.add((one.case, one.condition))
    if len({one.scale for one in cases}) > 1:
        raise InputError(f"{path.name}: scale must be the same in every row, or the gray scale gives the images away.")
    return ReadingList(path, cases)


def _case_of(row: Mapping[str, str], number: int, path: Path) -> ReadingCase:
    values = {name: row.get(name, "") for name in COLUMNS}
    where = f"{path.name}, row {number}"
    if not _CODE.fullmatch(values["case"]):
        raise InputError(f"{where}: case must be a code of letters, digits, '.', '_' and '-', up to 40.")
    if not values["image"]:
        raise InputError(f"{where}: there is no image.")
    condition, truth = (values[name].lower() for name in ("condition", "truth"))
    if condition not in (REAL, SYNTHETIC):
        raise InputError(f"{where}: condition must be real or synthetic, not '{values['condition']}'.")
    if truth not in _FLAGS:
        raise InputError(f"{where}: truth must be yes or no (a lesion is there) or empty, not '{values['truth']}'.")
    bpe = bpe_grade(values["bpe"], where)
    scale = values["scale"].lower() or OWN
    if scale not in (OWN, BESIDE) or (scale == BESIDE and not values["beside"]):
        raise InputError(f"{where}: scale must be own, or beside where there is an image beside.")
    image, beside = (_resolved(values[name], path.parent) for name in ("image", "beside"))
    return ReadingCase(values["case"], image, condition, _FLAGS[truth], bpe, beside, scale)


def _resolved(place: str, folder: Path) -> str:
    return place if not place or place.startswith(NODE) else str(folder / expanded(place))


def write_list(path: str | Path, cases: Sequence[ReadingCase]) -> ReadingList:
    """Write a reading list with absolute paths, and read it back as a check; raises InputError."""
    path = expanded(path).absolute()
    out = io.StringIO(newline="")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    for one in cases:
        truth = "" if one.truth is None else "yes" if one.truth else "no"
        places = [_resolved(place, Path.cwd()) for place in (one.image, one.beside)]
        table.writerow([one.case, places[0], one.condition, truth, one.bpe or "", places[1], one.scale])
    try:
        write_text(path, out.getvalue())
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}); choose another place.") from error
    return load_list(path)


def make_list(
    results: Sequence[str | Path],
    real: Sequence[str | Path] = (),
    *,
    kind: str = "phases",
    phase: int = 1,
    beside: Sequence[str | Path] = (),
    truth: Sequence[bool | None] = (),
    bpe: Sequence[str | None] = (),
    seed: int = 0,
) -> list[ReadingCase]:
    """The cases of a study from result folders and the real images that belong to them, in the same order.

    Phases in the units of the images beside are shown on their gray scale. Case codes are C001 ... in shuffled order,
    so that they reveal nothing.

    Args:
        results: Result folders.
        real: Real images of the same kind.
        kind: One of KINDS.
        phase: Index of the phase, from 1; recombined mammograms have none.
        beside: Images to show beside, one per result, or none.
        truth: Whether there is a lesion, one per result; None where unknown.
        bpe: Grade of background parenchymal enhancement, one per result; None where unknown.
        seed: Shuffles the codes.

    Returns:
        The cases, synthetic and real.

    Raises:
        InputError: There are not as many real images as results, an image is missing in a result, or a real image does
            not lie on the voxels of its synthetic one.
    """
    given = {"real images": real, "images to show beside": beside, "truths": truth, "BPE grades": bpe}
    for what, values in given.items():
        if values and len(values) != len(results):
            raise InputError(f"{len(values)} {what} are given for {len(results)} results; give one for each.")
    if not results:
        raise InputError("No result folder was given, so there is nothing to read.")
    same_units = kind == "phases" and not any(load_result(folder).manifest.arbitrary_units for folder in results)
    scale = BESIDE if beside and same_units else OWN
    order = list(range(len(results)))
    random.Random(seed).shuffle(order)
    cases = []
    for number, n in enumerate(order, start=1):
        common = {
            "truth": truth[n] if truth else None,
            "bpe": bpe[n] if bpe else None,
            "beside": str(Path(beside[n]).absolute()) if beside else "",
            "scale": scale,
        }
        synthetic = _image_of(results[n], kind, phase)
        cases.append(ReadingCase(f"C{number:03d}", str(synthetic), SYNTHETIC, **common))  # type: ignore[arg-type]
        if real:
            _check_pair(synthetic, real[n])
            place = str(Path(real[n]).absolute())
            cases.append(ReadingCase(f"C{number:03d}", place, REAL, **common))  # type: ignore[arg-type]
    return cases


def _image_of(folder: str | Path, kind: str, phase: int) -> Path:
    """The file of a synthetic image in a result folder."""
    result = load_result(folder)
    wanted = kind if kind == RECOMBINED else f"{kind}/phase_{phase}"
    names = [name for name in result.manifest.outputs if name.startswith(f"{wanted}.")]
    if not names:
        raise InputError(f"{result.folder} has no {wanted}; choose another kind or phase, or make it again.")
    return result.folder / names[0]


def _check_pair(synthetic: Path, real: str | Path) -> None:
    difference = same_geometry(read_volume(synthetic)[0], read_volume(real)[0])
    if difference:
        raise InputError(f"{real} does not belong to {synthetic}: {difference} Give the real images in the same order.")
