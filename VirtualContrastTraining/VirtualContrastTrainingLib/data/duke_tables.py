"""The tables of Duke-Breast-Cancer-MRI: annotation boxes, clinical features and file mapping, as .xlsx or .csv."""

from __future__ import annotations

import csv
import posixpath
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from VirtualContrastLib.events import InputError
from VirtualContrastLib.files import check_is_file
from VirtualContrastLib.io.tables import by_column, read_records, read_rows

CASE_PATTERN = re.compile(r"Breast_MRI_\d{3}")
_BOX_COLUMNS = ("start row", "end row", "start column", "end column", "start slice", "end slice")
_CLINICAL_COLUMNS = (
    "Manufacturer", "Manufacturer Model Name", "Field Strength (Tesla)", "Multicentric/Multifocal",
    "Contralateral Breast Involvement", "Bilateral Information", "Mol Subtype",
)  # fmt: skip
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATION_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


@dataclass(frozen=True)
class AnnotationBox:
    """A box around a lesion in DICOM pixels: first and last, counted from 1, both included.

    Attributes:
        rows: First and last row.
        columns: First and last column.
        slices: First and last slice; slice s is the s-th image of the series in order of InstanceNumber.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    slices: tuple[int, int]


@dataclass(frozen=True)
class MappedSequence:
    """Where the file mapping says that a sequence (`pre`, `post_1` ..., `T1`) lies.

    Attributes:
        sop_uid: UID of one of its images.
        folders: Its folders.
    """

    sop_uid: str
    folders: frozenset[str]


def table_rows(path: Path) -> Iterator[list[str]]:
    """Rows of a CSV file or of the first sheet of a workbook (.xlsx), as text; an empty cell is ''.

    Raises InputError where the file cannot be read.
    """
    try:
        if path.suffix.lower() == ".xlsx":
            yield from _workbook_rows(path)
        else:
            yield from (cells for _, cells in read_rows(path))
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, IndexError, ValueError) as error:
        raise InputError(f"The table {path.name} cannot be read as .xlsx or .csv ({type(error).__name__}).") from error
    except (zipfile.BadZipFile, ElementTree.ParseError) as error:
        raise InputError(f"The table {path.name} is not a valid .xlsx workbook.") from error


def table_records(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Row number and cells by column, in lower case, of a table whose first row is its header: CSV as spreadsheets save
    it in any language, or a workbook (.xlsx).

    Raises InputError where it cannot be read or has no row below its header.
    """
    if path.suffix.lower() == ".xlsx":
        header, *rows = [[cell.strip() for cell in row] for row in table_rows(path)] or [[]]
        numbered = [(number, row) for number, row in enumerate(rows, start=2) if any(row)]
        found = [(number, by_column(header, row, f"{path} row {number}")) for number, row in numbered]
    else:
        check_is_file(path)
        found = read_records(path)
    if not found:
        raise InputError(f"{path} has no rows below a header.")
    return found


def records(path: Path, key: str) -> Iterator[dict[str, str]]:
    """Rows by column name in lower case; the header is the first row with a column `key` (lower case).

    Raises InputError where there is none.
    """
    header: list[str] = []
    for row in table_rows(path):
        if header:
            yield dict(zip(header, (cell.strip() for cell in row), strict=False))
        elif key in (names := [" ".join(cell.lower().split()) for cell in row]):
            header = names
    if not header:
        raise InputError(f"The table {path.name} has no column '{key}'.")


def read_boxes(path: Path) -> dict[str, list[AnnotationBox]]:
    """Boxes by case id from Annotation_Boxes; raises InputError naming a row that is no box."""
    boxes: dict[str, list[AnnotationBox]] = {}
    for record in records(path, "patient id"):
        case = record["patient id"]
        if not case:
            continue
        try:
            edges = [round(float(record[name])) for name in _BOX_COLUMNS]
        except (KeyError, ValueError) as error:
            raise InputError(f"{path.name}: the box of {case} lacks a number ({error}).") from error
        if min(edges) < 1 or any(a > b for a, b in zip(edges[::2], edges[1::2], strict=True)):
            raise InputError(f"{path.name}: the box of {case} ends before it starts, or starts before 1.")
        box = AnnotationBox((edges[0], edges[1]), (edges[2], edges[3]), (edges[4], edges[5]))
        boxes.setdefault(case, []).append(box)
    return boxes


def read_clinical(path: Path) -> dict[str, dict[str, str]]:
    """Scanner, laterality and tumor columns by case id from Clinical_and_Other_Features, as the table codes them."""
    found = {}
    for record in records(path, "patient id"):
        if CASE_PATTERN.fullmatch(record["patient id"]):  # the row below the header explains the codes
            values = {name: record.get(name.lower(), "") for name in _CLINICAL_COLUMNS}
            found[record["patient id"]] = {name: value for name, value in values.items() if value}
    return found


def read_mapping(path: Path) -> dict[str, dict[str, MappedSequence]]:
    """Sequences by case id from Breast-Cancer-MRI-filepath_filename-mapping.

    The sequence is the folder below the case in `original_path_and_filename`. Raises InputError where the table has no
    such path.
    """
    found: dict[str, dict[str, MappedSequence]] = {}
    for record in records(path, "original_path_and_filename"):
        parts = record["original_path_and_filename"].replace("\\", "/").split("/")
        place = next((n for n, part in enumerate(parts[:-2]) if CASE_PATTERN.fullmatch(part)), None)
        if place is None:
            continue
        sequences = found.setdefault(parts[place], {})
        if parts[place + 1] not in sequences:
            paths = [record.get(name, "") for name in ("descriptive_path", "classic_path")]
            folders = frozenset(posixpath.basename(posixpath.dirname(p.replace("\\", "/"))) for p in paths if p)
            sequences[parts[place + 1]] = MappedSequence(record.get("sop_instance_uid", ""), folders)
    if not found:
        raise InputError(f"The table {path.name} maps no file of a Duke case (Breast_MRI_NNN).")
    return found


def _workbook_rows(path: Path) -> Iterator[list[str]]:
    with zipfile.ZipFile(path) as book:
        strings = _shared_strings(book)
        with book.open(_first_sheet(book)) as sheet:
            for _, row in ElementTree.iterparse(sheet):
                if row.tag == f"{_MAIN}row":
                    yield _cells(row, strings)
                    row.clear()


def _first_sheet(book: zipfile.ZipFile) -> str:
    sheet = ElementTree.fromstring(book.read("xl/workbook.xml")).find(f"{_MAIN}sheets/{_MAIN}sheet")
    if sheet is None:
        raise ValueError("the workbook has no sheet")
    relations = ElementTree.fromstring(book.read("xl/_rels/workbook.xml.rels"))
    target = next(r.attrib["Target"] for r in relations if r.attrib["Id"] == sheet.attrib[_RELATION_ID])
    return posixpath.normpath(posixpath.join("xl", target)) if not target.startswith("/") else target[1:]


def _shared_strings(book: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in book.namelist():
        return []
    strings = []
    with book.open("xl/sharedStrings.xml") as file:
        for item in _elements(file, f"{_MAIN}si"):
            strings.append(_text(item))
            item.clear()
    return strings


def _elements(file: IO[bytes], tag: str) -> Iterator[ElementTree.Element]:
    return (element for _, element in ElementTree.iterparse(file) if element.tag == tag)


def _cells(row: ElementTree.Element, strings: list[str]) -> list[str]:
    """Cell texts of a row; cells left out of the file are ''."""
    cells: list[str] = []
    for cell in row.iter(f"{_MAIN}c"):
        letters = re.match(r"[A-Z]+", cell.attrib.get("r", ""))
        column = _column_number(letters[0]) if letters else len(cells)
        cells += [""] * (column - len(cells))
        value = cell.findtext(f"{_MAIN}v", "")
        kind = cell.attrib.get("t")
        if kind == "s":
            value = strings[int(value)]
        elif kind == "inlineStr":
            value = _text(cell)
        cells.append(value)
    return cells


def _column_number(letters: str) -> int:
    """0 for A, 25 for Z, 26 for AA."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1


def _text(element: ElementTree.Element) -> str:
    """Text of an entry, its formatted runs joined and phonetic hints left out."""
    hints = {id(t) for hint in element.iter(f"{_MAIN}rPh") for t in hint.iter(f"{_MAIN}t")}
    return "".join(t.text or "" for t in element.iter(f"{_MAIN}t") if id(t) not in hints)
