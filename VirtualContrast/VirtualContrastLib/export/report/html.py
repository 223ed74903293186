"""The look of the report: HTML pieces with escaped text, and a style sheet that also prints."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; color: #1a1a1a; background: #fff;
  margin: 0 auto; max-width: 1100px; padding: 0 1.2rem 3rem; }
h1 { font-size: 1.5rem; margin: 1.2rem 0 .4rem; }
h2 { font-size: 1.15rem; margin: 1.8rem 0 .5rem; border-bottom: 1px solid #bbb; padding-bottom: .15rem; }
.banner { background: #7a1f00; color: #fff; font-weight: 700; padding: .7rem 1rem; margin: 0 -1.2rem; }
.alert { border: 3px solid #7a1f00; padding: .6rem .9rem; margin: .9rem 0; font-weight: 600; }
.warnings li { margin: .25rem 0; }
table { border-collapse: collapse; margin: .6rem 0; font-size: .87em; font-variant-numeric: tabular-nums; }
th, td { border: 1px solid #ccc; padding: .25rem .45rem; text-align: right; vertical-align: top; }
th { background: #f1f1f1; font-weight: 600; text-align: left; }
td { white-space: nowrap; }
td.text { white-space: normal; }
td:first-child, th:first-child, td.text { text-align: left; }
.scroll { overflow-x: auto; }
figure { margin: 1rem 0; break-inside: avoid; }
figure img { width: 100%; height: auto; border: 1px solid #ddd; }
figcaption, .note { color: #444; font-size: .9rem; }
code { font-size: .9em; overflow-wrap: anywhere; }
.viewer { background: #f6f6f6; border: 1px solid #ccc; padding: .6rem; outline-offset: 2px; }
.viewer-bar, .viewer-below { display: flex; flex-wrap: wrap; gap: .4rem; align-items: center; }
.viewer-bar input { flex: 1 1 10rem; }
.viewer-position { font-size: .85rem; font-variant-numeric: tabular-nums; min-width: 13rem; }
.viewer button { font: inherit; font-size: .85rem; padding: .2rem .5rem; border: 1px solid #999; border-radius: 3px;
  background: #fff; cursor: pointer; }
.viewer button[aria-pressed="true"] { background: #0b4a6f; color: #fff; }
.viewer-panes { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .4rem; margin: .5rem 0; }
.viewer-panes figure { margin: 0; }
.viewer-panes canvas { width: 100%; height: auto; background: #000; touch-action: none; cursor: crosshair; }
.viewer-lesions { display: flex; flex-direction: column; gap: .25rem; }
.viewer-lesions button { text-align: left; }
.viewer-dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .4em; }
.viewer-chart { max-width: 100%; border: 1px solid #ddd; }
@media print { html { font-size: 10px; }
  body { font-size: 10px; max-width: none; padding: 0; } .banner { margin: 0; color: #000;
  background: #fff; border: 3px solid #000; } h2 { break-after: avoid; } tr { break-inside: avoid; }
  .scroll { overflow: visible; } section:not(.printed), .printed figure ~ figure,
  .banner ~ .banner { display: none; }
  figure { margin: .3rem 0; } figure img { max-height: 8cm; object-fit: contain; }
  @page { size: A4 landscape; margin: 10mm; } }
"""


def page(title: str, banner: str, sections: Iterable[str]) -> str:
    """A whole HTML document.

    Args:
        title: Title, as plain text.
        banner: Banner at top and bottom, as plain text.
        sections: The body's sections, as HTML.

    Returns:
        The document.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<div class="banner" role="alert">{text(banner)}</div>\n<h1>{text(title)}</h1>\n'
        + "\n".join(sections)
        + f'\n<div class="banner">{text(banner)}</div>\n</body>\n</html>\n'
    )


def text(value: Any) -> str:
    """Plain text, escaped for HTML."""
    return html.escape(str(value), quote=True)


def section(title: str, *parts: str) -> str:
    """A heading (plain text) and HTML parts."""
    return f"<section>\n<h2>{text(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def printed_section(title: str, *parts: str) -> str:
    """As `section`, and also on paper, where the other sections are left out."""
    return section(title, *parts).replace("<section>", '<section class="printed">', 1)


def paragraph(words: str, kind: str = "") -> str:
    """A paragraph of plain text; `kind` is a class of the style sheet."""
    return f'<p class="{kind}">{text(words)}</p>' if kind else f"<p>{text(words)}</p>"


def bullets(items: Iterable[str], kind: str = "") -> str:
    """A list of plain texts."""
    return f'<ul class="{kind}">' + "".join(f"<li>{text(item)}</li>" for item in items) + "</ul>"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table of plain texts and numbers; words are left-aligned."""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in header)
    body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>\n" for row in rows)
    rows_html = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>"
    return f'<div class="scroll"><table>\n{rows_html}\n</table></div>'


def facts(rows: Iterable[tuple[str, Any]]) -> str:
    """A table of two columns: what, and its value."""
    body = "".join(
        f'<tr><th scope="row">{text(name)}</th><td class="text">{text(value)}</td></tr>\n' for name, value in rows
    )
    return f'<div class="scroll"><table>\n<tbody>\n{body}</tbody>\n</table></div>'


def picture(path: Path, caption: str) -> str:
    """A PNG file embedded in the page, with its caption."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{text(caption)}">'
        f"<figcaption>{text(caption)}</figcaption></figure>"
    )


def rounded(value: float | None, digits: int = 1) -> str:
    """A number with `digits` decimals; a dash where it is not defined."""
    if value is None or math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else f"{value:.{digits}f}"


def _cell(value: Any) -> str:
    words = text(value)
    return f"<td>{words}</td>" if words[:1].isdigit() or words[:1] in "–-+∞" else f'<td class="text">{words}</td>'
