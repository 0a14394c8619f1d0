"""The pictures of chapter 12."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from moe.experiments.assumptions.sweeps import EM, FAR, L4, ORACLE, RECOVER, REPAIRED, Record
from moe.experiments.assumptions.worlds.violations import VIOLATIONS
from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, SEQUENTIAL, bars, drawing, subplots

STYLES: dict[str, tuple[str, Any, str, str]] = {
    L4: ("blue", "-", "o", "$L_4$"),
    FAR: ("sky", "--", "v", "$L_4$, many samples"),
    RECOVER: ("vermilion", "-.", "s", "recover"),
    EM: ("orange", ":", "^", "EM, random starts"),
    ORACLE: ("black", (0, (1, 1)), "D", "EM from the truth"),
}
COLUMNS = {
    L4: "$L_4$",
    RECOVER: "recover",
    EM: "EM",
    ORACLE: "EM from\nthe truth",
    REPAIRED: "repaired",
}
_LOW, _HIGH = 1e-5, 1.0
_COLUMNS = 4


@drawing
def summary_figure(record: Record) -> Figure:
    """A row a violation at its largest degree, a column a method: median E_reg as colour and text;
    an exclamation mark where half of the fits of ``recover`` doubt themselves."""
    names = list(record.spec.violations)
    values = np.array([[record.median(name, method) for method in COLUMNS] for name in names])
    figure, axes = subplots(1, 1, height=0.33 * len(names) + 1.1)
    panel = axes[0, 0]
    shade = np.log10(np.clip(np.nan_to_num(values, nan=_HIGH), _LOW, _HIGH))
    image = panel.imshow(shade, cmap=SEQUENTIAL, vmin=np.log10(_LOW), vmax=0, aspect="auto")
    for row, name in enumerate(names):
        for column, method in enumerate(COLUMNS):
            text = "none" if np.isnan(values[row, column]) else _short(values[row, column])
            if method == RECOVER and float(record.doubts(name).mean()) >= 0.5:
                text += " !"
            light = shade[row, column] > -2.0
            panel.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize=9,
                color="black" if light else "white",
            )
    believed = [VIOLATIONS[name].believed for name in names]
    edges = [row - 0.5 for row in range(1, len(names)) if believed[row] != believed[row - 1]]
    panel.hlines(
        edges, -0.5, len(COLUMNS) - 0.5, color="white", linewidth=5, label=hidden("between groups")
    )
    panel.set_xticks(range(len(COLUMNS)), list(COLUMNS.values()))
    panel.set_yticks(range(len(names)), names)
    panel.xaxis.tick_top()
    panel.xaxis.set_label_position("top")
    panel.set_xlabel("method")
    panel.set_ylabel("what is broken")
    panel.grid(visible=False)
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0)
    bar = figure.colorbar(image, ax=panel, ticks=range(-5, 1), pad=0.02)
    bar.set_label(r"$\log_{10} E_{\mathrm{reg}}$, median")
    return figure


def _short(value: float) -> str:
    if value >= 0.0995:
        return f"{value:.2f}"
    return f"{value:.1g}" if value < 1e-3 else f"{value:.3f}"


@drawing
def degrees_figure(record: Record) -> Figure:
    """E_reg against the degree, a panel a violation; medians over mixtures, bars their range."""
    names = list(record.spec.violations)
    rows = -(-len(names) // _COLUMNS)
    figure, axes = subplots(rows, _COLUMNS, height=1.75, sharey=True, width=8.2)
    for panel, name in zip(axes.flat, names, strict=False):
        degrees = record.degrees(name)
        places = np.arange(len(degrees))
        for shift, method in enumerate(STYLES):
            values = np.stack([record.at(name, method, d).numpy() for d in degrees])
            _line(panel, places + 0.05 * (shift - 2), np.maximum(values, _LOW), method)
        panel.set_xticks(places, [f"{degree:g}" for degree in degrees])
        panel.set_title(name, fontsize=9)
        panel.set_xlabel(VIOLATIONS[name].knob, fontsize=8)
        panel.set(yscale="log", ylim=(_LOW / 1.5, 1.5))
        panel.tick_params(labelsize=8)
    for panel in axes.flat[len(names) :]:
        panel.set_visible(False)
    for row in axes:
        row[0].set_ylabel(r"$E_{\mathrm{reg}}$")
    handles = [_handle(method) for method in STYLES]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _line(panel: Any, places: Any, values: Any, method: str) -> None:
    colour, dashes, marker, label = STYLES[method]
    seen = np.isnan(values).mean(1) < 0.5
    low, high = np.nanmin(values[seen], axis=1), np.nanmax(values[seen], axis=1)
    middle = np.median(np.nan_to_num(values[seen], nan=1.0), axis=1)
    bars(panel, places[seen], low, high, colour=COLOURS[colour], label=label)
    style = {"color": COLOURS[colour], "linestyle": dashes, "marker": marker, "markersize": 3.5}
    panel.plot(places[seen], middle, label=hidden(label), **style)


def _handle(method: str) -> Line2D:
    colour, dashes, marker, label = STYLES[method]
    style: Any = {"linestyle": dashes, "marker": marker, "markersize": 4, "label": label}
    return Line2D([], [], color=COLOURS[colour], **style)
