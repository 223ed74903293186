"""Drawings of curves of lesions, real and synthetic: Figs. 6 to 8 of the JMI paper, Fig. 3 of Chung et al., biases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from VirtualContrastLib.export.figures.display import corner_label, outline

from ..metrics.kinetics import CurvePair, KineticReport, TypeAgreement, differences
from ..metrics.lesion_picture import LesionPicture
from .reports import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEANS = (
    *("series", "phase", "lesions", "signal", "signal sd", "pe_percent", "pe_percent sd"),
    *("signal as published", "signal as published sd"),
)
"""Columns of the numbers of Fig. 7."""
PANEL_ROWS = ("real", "synthetic")
"""Rows of the pictures of Fig. 6."""
_NAMED_PHASES = 6
_SHOWN_LESIONS = 12
_FIGURE_8_LESIONS, _FIGURE_8_SEED = 33, 0
"""How many lesions the published figure shows; they are drawn at random."""
_REAL, _SYNTHETIC = "#1b4f8f", "#d1495b"


def stamp(figure: Figure, data: str) -> None:
    """Say below the figure what it shows; a legend, as it gets a place of its own."""
    from matplotlib.lines import Line2D

    nothing = Line2D([], [], ls="none")
    figure.legend([nothing], [f"Data: {data}"], loc="outside lower right", frameon=False, fontsize=8, handlelength=0)


def drawn_at_random(pairs: Sequence[CurvePair]) -> Sequence[CurvePair]:
    """As many lesions as the published Fig. 8 shows, in their order; all where there are no more."""
    if len(pairs) <= _FIGURE_8_LESIONS:
        return pairs
    chosen = np.random.default_rng(_FIGURE_8_SEED).choice(len(pairs), _FIGURE_8_LESIONS, replace=False)
    return [pairs[n] for n in sorted(chosen)]


def _figure6(pairs: Sequence[CurvePair], report: KineticReport) -> Figure:
    """Curves of lesions over the phases."""
    figure, axes = _curve_axes(pairs)
    for axis, pair in zip(axes, pairs, strict=False):
        phases = np.arange(1, len(pair.real.times_s))
        axis.axhline(pair.real.signal_mean[0], color="0.5", ls="--", lw=1, label="real, before contrast")
        axis.plot(phases, pair.real.signal_mean[1:], "o-", color=_REAL, label="real")
        axis.plot(phases, pair.synthetic.signal_mean[1:], "x--", color=_SYNTHETIC, label="synthetic")
        axis.set(title=f"case {pair.case}, lesion {pair.real.label}", xticks=phases)
        axis.set_ylim(bottom=0)
    _label_grid(figure, axes, "phase", "mean lesion signal", len(pairs))
    return figure


def _chung_figure3(pairs: Sequence[CurvePair], report: KineticReport) -> Figure:
    """Examples of the curve types I to III first, each beside phase 1 repeated: what a system must beat."""
    rows = report.per_lesion
    order = _examples_first([row.type_real for row in rows])
    figure, axes = _curve_axes([pairs[number] for number in order])
    for axis, number in zip(axes, order, strict=False):
        pair, row = pairs[number], rows[number]
        repeated = [*pair.real.pe_percent[:2], *[pair.real.pe_percent[1]] * (len(pair.real.times_s) - 2)]
        axis.plot(pair.real.times_s, repeated, ":", color="0.5", label="phase 1 repeated")
        axis.plot(pair.real.times_s, pair.real.pe_percent, "o-", color=_REAL, label="real")
        axis.plot(pair.synthetic.times_s, pair.synthetic.pe_percent, "x--", color=_SYNTHETIC, label="synthetic")
        rank = "-" if row.spearman is None else f"{row.spearman:.2f}"
        title = f"case {pair.case}, lesion {pair.real.label}, {row.type_real}"
        axis.set_title(f"{title}\nrank {rank}, DTW {row.dtw:.0f} points of PE")
    _label_grid(figure, axes, "time after injection (s)", "PE (%)", len(pairs))
    return figure


def _examples_first(types: Sequence[str]) -> list[int]:
    """Numbers of all lesions, the first of each of the types I, II and III in front."""
    examples = [types.index(kind) for kind in ("I", "II", "III") if kind in types]
    return examples + [number for number in range(len(types)) if number not in examples]


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


def _curve_axes(pairs: Sequence[CurvePair]) -> tuple[Figure, list[Axes]]:
    """Axes for the curves of up to 12 lesions, beside their pictures by phase where the volumes are available."""
    pictures = [pair.picture for pair in pairs[:_SHOWN_LESIONS] if pair.picture is not None]
    return _grid(len(pairs)) if len(pictures) < min(len(pairs), _SHOWN_LESIONS) else _with_pictures(pictures)


def _with_pictures(pictures: Sequence[LesionPicture]) -> tuple[Figure, list[Axes]]:
    """A row a lesion: axes for its curve, and its real and synthetic phases."""
    figure = new_figure(10, 2.1 * len(pictures) + 0.7)
    axes = figure.subplots(len(pictures), 2, squeeze=False, width_ratios=(1, 2))
    for axis, picture in zip(axes[:, 1], pictures, strict=True):
        _draw_picture(axis, picture)
    return figure, list(axes[:, 0])


def _draw_picture(axis: Axes, picture: LesionPicture) -> None:
    """Real phases above synthetic ones, pre-contrast first with the lesion's outline; no synthetic image before it."""
    shown = shown_phases(len(picture.real))
    gap = np.full((picture.lesion.shape[0], 1), picture.window[1])
    rows = []
    for series in (picture.real, np.concatenate([np.zeros_like(picture.synthetic[:1]), picture.synthetic[1:]])):
        tiles = [tile for phase in shown for tile in (series[phase], gap)]
        rows.append(np.concatenate(tiles[:-1], axis=1))
    height, width = picture.lesion.shape
    low, high = picture.window
    axis.imshow(np.concatenate(rows), cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    outline(axis, picture.lesion, "#ffd400")
    corner_label(axis)
    middles = [n * (width + 1) + width / 2 for n in range(len(shown))]
    axis.set_xticks(middles, panel_columns(shown), fontsize=8)
    axis.set_yticks([height / 2, 1.5 * height], PANEL_ROWS, fontsize=8)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def shown_phases(count: int) -> list[int]:
    """Pre-contrast and up to six phases, evenly from the first to the last."""
    return sorted({0, *np.linspace(1, count - 1, min(count - 1, _NAMED_PHASES)).astype(int).tolist()})


def panel_columns(phases: Sequence[int]) -> list[str]:
    """Labels of the pictures of a lesion in these phases; 0 is pre-contrast."""
    return [f"phase {n}" if n else "pre-contrast" for n in phases]


def _label_grid(figure: Figure, axes: Sequence[Axes], x: str, y: str, count: int) -> None:
    for axis in axes:
        axis.title.set_fontsize(9)
        axis.spines[["top", "right"]].set_visible(False)
    below = {axis.get_position().x0: axis for axis in axes}  # the lowest of each column
    for axis in below.values():
        axis.set_xlabel(x, fontsize=9)
    hidden = f" ({count - len(axes)} more lesions in the table)" if count > len(axes) else ""
    figure.supylabel(y + hidden, fontsize=10)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)


def _figure7(pairs: Sequence[CurvePair], report: KineticReport) -> Figure:
    """Mean and standard deviation over the lesions that have a phase, as signal and as PE."""
    figure = new_figure(9, 3.8)
    rows = mean_rows(pairs)
    for axis, name, label in zip(
        figure.subplots(1, 2), ("signal", "pe_percent"), ("mean lesion signal", "percent enhancement (%)"), strict=True
    ):
        series = (("real", "o-", _REAL, -0.03), ("synthetic", "x--", _SYNTHETIC, 0.03))
        for side, style, color, shift in series:
            own = [row for row in rows if row["series"] == side and row["phase"] > 0]
            phases = np.array([row["phase"] for row in own])
            means, spread = [row[name] for row in own], [row[f"{name} sd"] for row in own]
            axis.errorbar(phases + shift, means, spread, fmt=style, color=color, capsize=3, label=side)
        before = next(row[name] for row in rows if row["series"] == "real" and row["phase"] == 0)
        axis.axhline(before, color="0.5", ls="--", lw=1, label="real, before contrast")
        axis.set(xlabel="phase", ylabel=label, xticks=phases)
        axis.set_title(f"mean and standard deviation, {len(pairs)} lesions", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
        handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return figure


def mean_rows(pairs: Sequence[CurvePair]) -> list[dict[str, Any]]:
    """Mean and population standard deviation over the lesions that have a phase, by series and phase (0: before)."""
    rows = []
    for side in ("real", "synthetic"):
        signal = _by_phase([getattr(pair, side).signal_mean for pair in pairs])
        enhancement = _by_phase([getattr(pair, side).pe_percent for pair in pairs])
        for phase, (s, pe) in enumerate(zip(signal, enhancement, strict=True)):
            values = (np.nanmean(s), np.nanstd(s), np.nanmean(pe), np.nanstd(pe))
            named = dict(zip(MEANS[3:7], map(float, values), strict=True))
            alike = [getattr(p.published, side).signal[phase] for p in pairs if _has_published(p, phase)]
            if alike:
                named |= dict(zip(MEANS[7:], (float(np.mean(alike)), float(np.std(alike))), strict=True))
            rows.append({"series": side, "phase": phase, "lesions": len(s), **named})
    return rows


def _has_published(pair: CurvePair, phase: int) -> bool:
    return pair.published is not None and len(pair.real.times_s) > phase


def _figure8(pairs: Sequence[CurvePair], report: KineticReport) -> Figure:
    """Mean signal of lesions drawn at random: a color per phase, its size the standard deviation in the lesion.

    Many phases have a color scale instead of a legend.
    """
    from matplotlib import colormaps
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    pairs = drawn_at_random(pairs)
    figure = new_figure(max(6.0, 0.35 * len(pairs) + 3), 4)
    axis = figure.subplots()
    longest = max(len(pair.real.times_s) for pair in pairs)
    many = longest - 1 > _NAMED_PHASES
    colors = colormaps["viridis"](np.linspace(0, 1, longest - 1)) if many else [f"C{n}" for n in range(longest - 1)]
    step = 0.6 / max(longest - 1, 1)
    largest = max(float(np.nanmax(curve.signal_sd)) for pair in pairs for curve in (pair.real, pair.synthetic)) or 1.0
    for phase in range(longest):
        color, shift = ("0.6", 0.0) if phase == 0 else (colors[phase - 1], (phase - longest / 2) * step)
        for side, marker in (("real", "o"), ("synthetic", "x")):
            curves = [(n, getattr(pair, side)) for n, pair in enumerate(pairs, start=1)]
            points = [
                (n + shift, c.signal_mean[phase], 8 + 92 * c.signal_sd[phase] / largest)
                for n, c in curves
                if len(c.times_s) > phase and (phase > 0 or side == "real")
            ]
            if points:
                x, y, size = zip(*points, strict=True)
                axis.scatter(x, y, s=np.nan_to_num(size, nan=8), marker=marker, color=color, alpha=0.8, linewidths=1.2)
    axis.set(xlabel="lesion", ylabel="mean lesion signal", xlim=(0.4, len(pairs) + 0.6))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title("marker size: standard deviation in the lesion", fontsize=9)
    handles = [
        Line2D([], [], color="0.3", marker=m, ls="none", label=s) for s, m in (("real", "o"), ("synthetic", "x"))
    ]
    handles.append(Line2D([], [], color="0.6", marker="o", ls="none", label="before contrast"))
    if many:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        figure.colorbar(ScalarMappable(Normalize(1, longest - 1), "viridis"), ax=axis, label="phase")
    else:
        handles += [Line2D([], [], color=c, lw=6, label=f"phase {n}") for n, c in enumerate(colors, start=1)]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    return figure


def _bland_altman(pairs: Sequence[CurvePair], report: KineticReport) -> Figure:
    figure = new_figure(13, 3.6)
    axes = figure.subplots(1, 4)
    titles = {
        "peak_pe": ("peak PE (%)", "peak PE"),
        "ser": ("SER", "SER"),
        "time_to_peak": ("time to peak (s)", "time to peak"),
    }
    limits = {row.quantity: row for row in report.bland_altman}
    for axis, (name, (label, quantity)) in zip(axes, titles.items(), strict=False):
        axis.plot(*differences(pairs, name), "o", color=_REAL, alpha=0.7)
        row = limits[quantity]
        for value, style in ((row.bias, "-"), (row.lower, "--"), (row.upper, "--")):
            if value is not None:
                axis.axhline(value, color=_SYNTHETIC, ls=style, lw=1.2)
                place = {"xycoords": ("axes fraction", "data"), "va": "bottom", "ha": "right"}
                axis.annotate(f"{value:.3g}", (1, value), fontsize=8, **place)
        axis.axhline(0, color="0.6", lw=0.8)
        axis.set(title=label, xlabel="mean of real and synthetic", ylabel="synthetic minus real")
        axis.spines[["top", "right"]].set_visible(False)
    _confusion(axes[3], report.types)
    return figure


def _confusion(axis: Axes, types: TypeAgreement) -> None:
    table = np.array(types.confusion)
    axis.imshow(table, cmap="Blues", vmin=0)
    for (row, column), count in np.ndenumerate(table):
        axis.text(column, row, str(count), ha="center", va="center", color="w" if 2 * count > table.max() else "0.2")
    labels = ["none", *types.labels[1:]]
    kappa = "-" if types.kappa is None else f"{types.kappa:.2f}"
    axis.set(title=f"curve type, kappa {kappa}", xlabel="synthetic", ylabel="real")
    axis.set_xticks(range(len(labels)), labels)
    axis.set_yticks(range(len(labels)), labels)


def _by_phase(curves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Values of all curves that have a phase, for every phase."""
    longest = max(len(curve) for curve in curves)
    return [np.array([curve[phase] for curve in curves if len(curve) > phase]) for phase in range(longest)]


DRAWINGS: dict[str, Callable[[Sequence[CurvePair], KineticReport], Figure]] = {
    "osuala2025-figure6": _figure6,
    "osuala2025-figure7": _figure7,
    "osuala2025-figure8": _figure8,
    "chung2025-figure3": _chung_figure3,
    "bland-altman": _bland_altman,
}
