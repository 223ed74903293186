"""The one way in which a table of a paper is written: CSV and JSON for machines, PNG and HTML for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from VirtualContrastLib.metrics.measure import Measure

from ..metrics.bootstrap import Summary
from .reports import Report, html_table, interval_figure, write_json, write_page, write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INTERVALS = "Intervals: 95 %, percentile bootstrap over patients."
Row = Mapping[str, Any]
"""Cells by column."""


@dataclass(frozen=True)
class Panels:
    """Labels of the pictures of a figure.

    Attributes:
        rows: of each row; empty where rows have none.
        columns: of each column.
    """

    rows: Sequence[str]
    columns: Sequence[str]


@dataclass(frozen=True)
class NamedTable:
    """A table before it is written.

    Attributes:
        name: stem of its four files.
        title: heading of the page.
        columns: of the CSV file.
        rows: of the CSV file.
        report: what the JSON file holds; None for the rows.
        figure: the PNG file.
        alt: what it shows.
        notes: sentences below the page.
        parts: HTML of the page before the figure; by default the table itself.
        page: stem of the HTML file where it is not `name`.
        after: HTML behind the figure.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    report: Report | None
    figure: Figure
    alt: str
    notes: Sequence[str]
    parts: Sequence[str] | None = None
    page: str | None = None
    after: Sequence[str] = ()

    def write(self, folder: Path) -> None:
        """Write the four files into `folder`."""
        write_table(folder, self.name, self.columns, self.rows)
        if self.report is not None:
            write_json(folder / f"{self.name}.json", self.report)
        self.figure.savefig(folder / f"{self.name}.png", dpi=150)
        parts = self.parts if self.parts is not None else [html_table(self.columns, self.rows)]
        image = f'<img src="{self.name}.png" alt="{self.alt}">'
        write_page(folder / f"{self.page or self.name}.html", self.title, [*parts, image, *self.after], self.notes)


class Measured(Protocol):
    """What was measured of one row."""

    @property
    def cases(self) -> int:
        """Number of cases."""

    @property
    def summaries(self) -> Mapping[str, Summary | None]:
        """Summary by name of the measure, None where nothing gave one."""


@dataclass(frozen=True)
class MeasuredRows:
    """Rows that are measured alike, such as systems or scenarios, as columns, page table and figure.

    Attributes:
        heading: of the first column.
        results: what was measured, by row.
        measures: in the order of the columns.
    """

    heading: str
    results: Mapping[str, Measured]
    measures: Sequence[Measure]

    @property
    def columns(self) -> list[str]:
        """Of the CSV file: each measure with its interval."""
        parts = (f"{measure.label}{part}" for measure in self.measures for part in ("", " low", " high"))
        return [self.heading, *parts, "cases"]

    @property
    def rows(self) -> Sequence[Row]:
        """Of the CSV file."""
        rows = []
        for label, found in self.results.items():
            row: dict[str, Any] = {self.heading: label, "cases": found.cases}
            for measure in self.measures:
                summary = found.summaries[measure.name]
                if summary is not None:
                    low, high = summary.ci95 or (None, None)
                    name = measure.label
                    row |= {name: summary.mean, f"{name} low": low, f"{name} high": high}
            rows.append(row)
        return rows

    @property
    def page_table(self) -> str:
        """Mean and interval in one cell, as papers print it."""
        rows = []
        for label, found in self.results.items():
            row: dict[str, Any] = {self.heading: label, "cases": found.cases}
            for measure in self.measures:
                summary = found.summaries[measure.name]
                if summary is not None:
                    interval = "" if summary.ci95 is None else " ({:.3g} to {:.3g})".format(*summary.ci95)
                    row[measure.label] = f"{summary.mean:.3g}{interval}"
            rows.append(row)
        return html_table([self.heading, *(measure.label for measure in self.measures), "cases"], rows)

    def figure(self, data: str) -> Figure:
        """One panel per measure."""
        found = self.results.values()
        panels = {measure.label: [one.summaries[measure.name] for one in found] for measure in self.measures}
        return interval_figure(list(self.results), panels, data)


def explained(measures: Sequence[Measure], texts: Mapping[str, str]) -> list[str]:
    """Notes that define words: labels of measures where they have one."""
    names = {measure.name: measure.label for measure in measures}
    return [f"{names.get(name, name)}: {text}." for name, text in texts.items()]
