"""Tables and figures of kinetic agreement (Figs. 6 to 8 of the JMI paper, Fig. 3 of iterU-Net)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics.kinetics import CurvePair, differences
from .reports import html_table, new_figure, write_json, write_page, write_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES = {
    "osuala2025-figure6": "Lesion signal by phase, real and synthetic, of single lesions",
    "osuala2025-figure7": "Mean over all lesions by phase",
    "osuala2025-figure8": "Every lesion: percent enhancement by phase",
    "iterunet-figure3": "Percent enhancement over time, with rank correlation and dynamic time warping",
    "bland-altman": "Bland-Altman of peak PE, SER and time to peak, and curve types",
}
_SHOWN_LESIONS = 12
_REAL, _SYNTHETIC = "#1b4f8f", "#d1495b"
_NAMES = {
    "enhancement_error": "enhancement error (points of PE)",
    "enhancement_error_squared": "squared enhancement error",
    "spearman": "Spearman rank correlation",
    "dtw": "DTW (points of PE)",
    "same_order": "phases ranked alike (share)",
}


def write_kinetics(report: dict[str, Any], pairs: Sequence[CurvePair], folder: Path) -> None:
    """Write kinetics.json, lesions.csv, curves.csv, agreement.csv, bland_altman.csv, the figures and report.html."""
    write_json(folder / "kinetics.json", report)
    write_table(folder, "lesions", list(report["per_lesion"][0]), report["per_lesion"])
    write_table(
        folder, "curves", ("case", "lesion", "series", "phase", "time_s", "signal", "pe_percent"), _curves(pairs)
    )
    agreement = agreement_rows(report)
    columns = ("measure", "value", "ci95 low", "ci95 high", "n", "patients")
    write_table(folder, "agreement", columns, agreement)
    biases = ("quantity", "unit", "n", "bias", "sd", "lower", "upper")
    write_table(folder, "bland_altman", biases, report["bland_altman"])
    drawings = (_figure6, _figure7, _figure8, _iterunet_figure3, _bland_altman)
    images = []
    for (name, caption), draw in zip(FIGURES.items(), drawings, strict=True):
        figure = draw(pairs, report)
        _stamp(figure, report["data"])
        figure.savefig(folder / f"{name}.png", dpi=150)
        images.append(f'<figure><img src="{name}.png" alt="{caption}"><figcaption>{caption}.</figcaption></figure>')
    parts = [
        f"<p>{report['lesions']} lesions of {report['cases']} cases and {report['patients']} patients.</p>",
        html_table(columns, agreement),
        "<h2>Bias and limits of agreement, synthetic minus real</h2>",
        html_table(biases, report["bland_altman"]),
        *images,
        "<h2>Lesions</h2>",
        html_table(list(report["per_lesion"][0]), report["per_lesion"]),
    ]
    notes = [f"Data: {report['data']}.", *report["notes"]]
    notes += [f"{_NAMES.get(name, name)}: {text}." for name, text in report["definitions"].items()]
    write_page(folder / "report.html", "Kinetic agreement, synthetic against real", parts, notes)


def _stamp(figure: Figure, data: str) -> None:
    """Say below the figure what it shows; a legend, as it gets a place of its own."""
    from matplotlib.lines import Line2D

    nothing = Line2D([], [], ls="none")
    figure.legend([nothing], [f"Data: {data}"], loc="outside lower right", frameon=False, fontsize=8, handlelength=0)


def agreement_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Means, shares and kappa with their intervals by patient, a row each."""
    rows = []
    for name, label in _NAMES.items():
        found = report["statistics"][name] or {"mean": None, "ci95": None, "n": 0, "patients": 0}
        rows.append(_row(label, found["mean"], found["ci95"], found["n"], found["patients"]))
    types = report["types"]
    for key, label in (("same_type", "equal curve type (share)"), ("kappa", "Cohen's kappa of curve type")):
        rows.append(_row(label, types[key], types[f"{key}_ci95"], types["compared"], report["patients"]))
    return rows


def _row(label: str, value: float | None, ci95: list[float] | None, n: int, patients: int) -> dict[str, Any]:
    low, high = ci95 or (None, None)
    return {"measure": label, "value": value, "ci95 low": low, "ci95 high": high, "n": n, "patients": patients}


def _curves(pairs: Sequence[CurvePair]) -> list[dict[str, Any]]:
    rows = []
    for pair in pairs:
        for series, curve in (("real", pair.real), ("synthetic", pair.synthetic)):
            points = zip(curve.times_s, curve.signal_mean, curve.pe_percent, strict=True)
            for phase, (time, signal, pe) in enumerate(points):
                own = {"case": pair.case, "lesion": pair.real.label, "series": series, "phase": phase}
                shown = None if np.isnan(pe) else float(pe)
                rows.append({**own, "time_s": float(time), "signal": float(signal), "pe_percent": shown})
    return rows


def _figure6(pairs: Sequence[CurvePair], report: dict[str, Any]) -> Figure:
    figure, axes = _grid(len(pairs))
    for axis, pair in zip(axes, pairs, strict=False):
        phases = np.arange(1, len(pair.real.times_s))
        axis.axhline(pair.real.signal_mean[0], color="0.5", ls="--", lw=1, label="real, before contrast")
        axis.plot(phases, pair.real.signal_mean[1:], "o-", color=_REAL, label="real")
        axis.plot(phases, pair.synthetic.signal_mean[1:], "x--", color=_SYNTHETIC, label="synthetic")
        axis.set(title=f"case {pair.case}, lesion {pair.real.label}", xticks=phases)
        axis.set_ylim(bottom=0)
    _label_grid(figure, axes, "phase", "mean lesion signal", len(pairs))
    return figure


def _iterunet_figure3(pairs: Sequence[CurvePair], report: dict[str, Any]) -> Figure:
    figure, axes = _grid(len(pairs))
    for axis, pair, row in zip(axes, pairs, report["per_lesion"], strict=False):
        axis.plot(pair.real.times_s, pair.real.pe_percent, "o-", color=_REAL, label="real")
        axis.plot(pair.synthetic.times_s, pair.synthetic.pe_percent, "x--", color=_SYNTHETIC, label="synthetic")
        rank = "-" if row["spearman"] is None else f"{row['spearman']:.2f}"
        axis.set_title(f"case {pair.case}, lesion {pair.real.label}\nrank {rank}, DTW {row['dtw']:.0f}")
    _label_grid(figure, axes, "time after injection (s)", "PE (%)", len(pairs))
    return figure


def _grid(count: int) -> tuple[Figure, list[Axes]]:
    """Axes of small multiples, four in a row, for up to 12 lesions."""
    shown = min(count, _SHOWN_LESIONS)
    columns = min(shown, 4)
    rows = -(-shown // columns)
    figure = new_figure(max(2.6 * columns, 5), 2.3 * rows + 0.7)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[shown:]:
        axis.set_axis_off()
    return figure, axes[:shown]


def _label_grid(figure: Figure, axes: Sequence[Axes], x: str, y: str, count: int) -> None:
    for axis in axes:
        axis.title.set_fontsize(9)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[-min(4, len(axes)) :]:
        axis.set_xlabel(x, fontsize=9)
    hidden = f" ({count - len(axes)} more lesions in the table)" if count > len(axes) else ""
    figure.supylabel(y + hidden, fontsize=10)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)


def _figure7(pairs: Sequence[CurvePair], report: dict[str, Any]) -> Figure:
    """Mean and standard deviation over the lesions that have a phase, as signal and as PE."""
    figure = new_figure(9, 3.8)
    signal, enhancement = figure.subplots(1, 2)
    for axis, name, label in (
        (signal, "signal_mean", "mean lesion signal"),
        (enhancement, "pe_percent", "percent enhancement (%)"),
    ):
        series = (("real", "o-", _REAL, -0.03), ("synthetic", "x--", _SYNTHETIC, 0.03))
        for side, style, color, shift in series:
            by_phase = _by_phase([getattr(getattr(pair, side), name) for pair in pairs])
            phases = np.arange(1, len(by_phase))
            means, spread = ([float(f(v)) for v in by_phase[1:]] for f in (np.nanmean, np.nanstd))
            axis.errorbar(phases + shift, means, spread, fmt=style, color=color, capsize=3, label=side)
        before = float(np.nanmean([getattr(pair.real, name)[0] for pair in pairs]))
        axis.axhline(before, color="0.5", ls="--", lw=1, label="real, before contrast")
        axis.set(xlabel="phase", ylabel=label, xticks=phases)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = signal.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    signal.set_title(f"mean and standard deviation over {len(pairs)} lesions", fontsize=9)
    return figure


def _figure8(pairs: Sequence[CurvePair], report: dict[str, Any]) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(max(6.0, 0.25 * len(pairs) + 3), 4)
    axis = figure.subplots()
    longest = max(len(pair.real.times_s) for pair in pairs)
    for phase in range(1, longest):
        for side, marker in (("real", "o"), ("synthetic", "x")):
            curves = [getattr(pair, side).pe_percent for pair in pairs]
            points = [(n, c[phase]) for n, c in enumerate(curves, start=1) if len(c) > phase]
            axis.plot(*zip(*points, strict=True), marker, color=f"C{phase - 1}", ms=6, label=f"phase {phase}, {side}")
    axis.axhline(0, color="0.5", ls="--", lw=1)
    axis.set(xlabel="lesion", ylabel="percent enhancement (%)")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def _bland_altman(pairs: Sequence[CurvePair], report: dict[str, Any]) -> Figure:
    figure = new_figure(13, 3.6)
    axes = figure.subplots(1, 4)
    titles = {
        "peak_pe": ("peak PE (%)", "peak PE"),
        "ser": ("SER", "SER"),
        "time_to_peak": ("time to peak (s)", "time to peak"),
    }
    limits = {row["quantity"]: row for row in report["bland_altman"]}
    for axis, (name, (label, quantity)) in zip(axes, titles.items(), strict=False):
        axis.plot(*differences(pairs, name), "o", color=_REAL, alpha=0.7)
        row = limits[quantity]
        for key, style in (("bias", "-"), ("lower", "--"), ("upper", "--")):
            if row[key] is not None:
                axis.axhline(row[key], color=_SYNTHETIC, ls=style, lw=1.2)
                place = {"xycoords": ("axes fraction", "data"), "va": "bottom", "ha": "right"}
                axis.annotate(f"{row[key]:.3g}", (1, row[key]), fontsize=8, **place)
        axis.axhline(0, color="0.6", lw=0.8)
        axis.set(title=label, xlabel="mean of real and synthetic", ylabel="synthetic minus real")
        axis.spines[["top", "right"]].set_visible(False)
    _confusion(axes[3], report["types"])
    return figure


def _confusion(axis: Axes, types: dict[str, Any]) -> None:
    table = np.array(types["confusion"])
    axis.imshow(table, cmap="Blues", vmin=0)
    for (row, column), count in np.ndenumerate(table):
        axis.text(column, row, str(count), ha="center", va="center", color="w" if 2 * count > table.max() else "0.2")
    labels = ["none", *types["labels"][1:]]
    kappa = "-" if types["kappa"] is None else f"{types['kappa']:.2f}"
    axis.set(title=f"curve type, kappa {kappa}", xlabel="synthetic", ylabel="real")
    axis.set_xticks(range(len(labels)), labels)
    axis.set_yticks(range(len(labels)), labels)


def _by_phase(curves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Values of all curves that have a phase, for every phase."""
    longest = max(len(curve) for curve in curves)
    return [np.array([curve[phase] for curve in curves if len(curve) > phase]) for phase in range(longest)]
