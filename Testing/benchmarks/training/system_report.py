"""The Markdown table of `systems.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from system_table import COPY_PHASE_1, COPY_PRE, MODEL

Row = Mapping[str, Any]
_PHASE_MEASURES = {"mae": ("MAE", 1), "ssim": ("SSIM", 3), "pe_error": ("PE error", 1)}
_OTHER = {
    "Mammograms": {
        "change_mae": ("MAE of the change", 1),
        "change_ssim": ("SSIM of the change", 3),
        "uptake_mae": ("MAE in enhancing tissue", 1),
    },
    "Lesions": {"dice": ("Dice", 3)},
}


def markdown(rows: Sequence[Row], settings: Mapping[str, Any], definitions: Mapping[str, str]) -> str:
    """Four tables (phases, mammograms, lesions, costs) with what a reader must know of the run."""
    parts = [
        f"Data: {settings['data']}. {settings['length']} of training each, "
        f"{settings['threads']} thread(s) on {settings['cores']} cores ({settings['machine']}), "
        f"device {_devices(rows)}, load average {_range(settings['load'])} during the run, "
        f"seed {_values(rows, 'seed')}. Short trainings on phantoms: this ranks speed of learning, not what a system "
        "can reach, and says nothing of patients.",
        _phases(rows),
        *(_others(title, measures, rows) for title, measures in _OTHER.items()),
        _costs(rows),
        _failures(rows),
        "\n".join(f"- {name}: {text}" for name, text in definitions.items()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _phases(rows: Sequence[Row]) -> str:
    """Phases side by side; the baselines come once, since every system is measured on the same cases."""
    numbers = sorted({int(key.split("_")[1]) for row in rows for key in row if key.startswith("phase_")})
    if not numbers:
        return ""
    lines: dict[str, dict[str, float]] = {COPY_PRE: {}, COPY_PHASE_1: {}}
    for row in rows:
        values = {key: value for key, value in row.items() if key.startswith("phase_")}
        if values:
            name = row["title"] if row["method"] == MODEL else row["method"]
            lines.setdefault(name, {}).update(values)
    keys = {
        f"phase_{n}_{measure}": (f"{n}: {title}", digits)
        for n in numbers
        for measure, (title, digits) in _PHASE_MEASURES.items()
    }
    body = [
        [name, *(_number(values.get(key), keys[key][1]) for key in keys)] for name, values in lines.items() if values
    ]
    return "Phases 1-3\n\n" + _table(["", *(title for title, _ in keys.values())], body)


def _others(title: str, measures: Mapping[str, tuple[str, int]], rows: Sequence[Row]) -> str:
    wanted = [row for row in rows if any(key in row for key in measures)]
    if not wanted:
        return ""
    body = [
        [
            row["title"] if row["method"] == MODEL else row["method"],
            *(_number(row.get(key), digits) for key, (_, digits) in measures.items()),
        ]
        for row in sorted(wanted, key=lambda row: row["method"] == MODEL)
    ]
    return f"{title}\n\n" + _table(["", *(name for name, _ in measures.values())], body)


def _costs(rows: Sequence[Row]) -> str:
    keys = {
        "minutes": ("minutes", 1),
        "steps": ("steps", 0),
        "step_ms": ("ms a step", 0),
        "peak_mib": ("peak MiB", 0),
        "cuda_peak_mib": ("peak MiB, GPU", 0),
    }
    body = [
        [
            row["title"],
            *(_number(row.get(key), digits) for key, (_, digits) in keys.items()),
            f"{row['parameters'] / 1e6:.2f}",
        ]
        for row in rows
        if row.get("method") == MODEL
    ]
    return "Costs\n\n" + _table(["", *(title for title, _ in keys.values()), "million parameters"], body)


def _failures(rows: Sequence[Row]) -> str:
    return "\n".join(f"{row['title']} failed: {row['failed']}" for row in rows if "failed" in row)


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _number(value: Any, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _devices(rows: Sequence[Row]) -> str:
    return _values(rows, "device")


def _values(rows: Sequence[Row], key: str) -> str:
    return ", ".join(sorted({str(row[key]) for row in rows if key in row})) or "-"


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.1f}-{max(values):.1f}"
