"""Tables of a result: CSV files to table nodes, and their columns."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import vtk
from vtk.util import numpy_support


def fill_from_csv(table_node: Any, path: Path) -> None:
    """Replace the content of a table node by that of a CSV file with a header.

    A column whose cells are all numbers or empty becomes numeric (whole numbers stay whole, an empty cell becomes
    NaN), every other column text.
    """
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    fill(table_node, header, [[row[number] for row in rows] for number in range(len(header))])


def fill(table_node: Any, names: Sequence[str], columns: Sequence[Sequence[str]]) -> None:
    """Replace the content of a table node by columns of texts; see `fill_from_csv`.

    Args:
        table_node: The table node.
        names: Names of the columns.
        columns: Their cells.
    """
    table = vtk.vtkTable()
    for name, cells in zip(names, columns, strict=True):
        array = _vtk_array(cells)
        array.SetName(name)
        table.AddColumn(array)
    table_node.SetAndObserveTable(table)
    table_node.SetUseColumnTitleAsColumnHeader(True)


def _vtk_array(cells: Sequence[str]) -> Any:
    numbers = _numbers(cells)
    if numbers is not None:
        return numpy_support.numpy_to_vtk(numbers, deep=True)
    texts = vtk.vtkStringArray()
    for cell in cells:
        texts.InsertNextValue(cell)
    return texts


def _numbers(cells: Sequence[str]) -> np.ndarray | None:
    """The cells as int32 or float64; None where one is text or none has a value."""
    if not any(cells):
        return None
    try:
        values = np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        return None
    whole = all(cell.lstrip("-").isdigit() for cell in cells)
    return values.astype(np.int32) if whole else values


def column(table_node: Any, name: str) -> list[Any]:
    """The values of a column: str, int or float (NaN where empty). KeyError where there is no such column."""
    array = table_node.GetTable().GetColumnByName(name)
    if array is None:
        raise KeyError(f"table {table_node.GetName()} has no column {name}")
    if array.IsA("vtkStringArray"):
        texts = [array.GetValue(row) for row in range(array.GetNumberOfValues())]
        return texts if any(texts) else [float("nan")] * len(texts)
    values: list[Any] = numpy_support.vtk_to_numpy(array).tolist()
    return values
