"""Tables of a batch."""

from __future__ import annotations

from pathlib import Path

from VirtualContrastLib.run.batch_cases import read_cases

from .registry import kind


def table(name: str, text: str, wanted: str, encoding: str = "utf-8") -> None:
    @kind("tables", name, "batch TABLE", wanted)
    def _(folder: Path) -> str:
        (folder / "t.csv").write_bytes(text.encode(encoding))
        cases = read_cases(folder / "t.csv")
        return "; ".join(f"{case.name}: {Path(case.input).name} {dict(case.settings) or ''}".strip() for case in cases)


table(
    "quoted, semicolons, upper case",
    '"CASE";"INPUT";"REAL1";"TIMES"\r\n"A 1";"a.nrrd";"b.nrrd";"1:30"\r\n;;;\r\n',
    r"A 1: a\.nrrd \{'times_s': \(90\.0,\)\}",
)
table("UTF-16, tabs", "\ufeffcase\tinput\r\nÄ\ta.nrrd\r\n", r"Ä: a\.nrrd", "utf-16-be")
table("Windows-1252", "case,input\nMüller,a.nrrd\n", r"Müller: a\.nrrd", "cp1252")
table("empty columns at the end", "case;input;;\na;b.nrrd;;\n", r"a: b\.nrrd")
table(
    "decimal comma", "case;input;real1;real_times\na;b.nrrd;c.nrrd;90,5\n", r"a: b\.nrrd \{'real_times_s': \(90\.5,\)\}"
)
table("no header", "a,b.nrrd\n", r"2: .*needed are case and input.*")
table("a case twice", "case,input\na,b.nrrd\nA,c.nrrd\n", r"2: .*occurs twice.*")
table("a case named summary.csv", "case,input\nSummary.CSV,b.nrrd\n", r"2: .*that of a file of the batch.*")
table(
    "~nobody",
    "case,input\na,~nobody-there/b.nrrd\n",
    r"2: t\.csv line 2 names ~nobody-there/b\.nrrd, but there is no such user.*",
)
table("a row without its input", "case,input\na,\n", r"2: t\.csv line 2 lacks.*")
