"""Figures of chapter 11."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from moe.experiments.nonlinear.noise import Curve
from moe.experiments.nonlinear.recovery import GOAL, Cell, limit
from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, bars, drawing, subplots

STYLES: dict[str, tuple[str, Any, str, str]] = {
    "polynomial": ("orange", "--", "s", "$L_4$, polynomials"),
    "bounded": ("blue", "-", "o", "$L_4$, bounded transforms"),
    "recover": ("black", ":", "*", "recover, and the Cramér–Rao bound"),
}

_TOLD = {
    "polynomial": ("$L_4$, polynomials", "law, polynomials"),
    "bounded": ("$L_4$, bounded transforms", "law, bounded transforms"),
    "recover": ("recover", "Cramér–Rao bound"),
}
"""What the data call a method and its line."""


@drawing
def errors_figure(cells: Sequence[Cell]) -> Figure:
    """E_reg against n, a panel a nonlinearity: medians over data sets with 10-90 % bars, and the
    limit laws; a grey line at the goal."""
    columns = 4 if len(cells) > 4 else len(cells)
    rows = -(-len(cells) // columns)
    figure, axes = subplots(rows, columns, height=2.3, sharey=True)
    for panel in axes.flat[len(cells) :]:
        panel.set_axis_off()
    for panel, cell in zip(axes.flat, cells, strict=False):
        for name in STYLES:
            sizes = cell.spec.recovered if name == "recover" else cell.spec.sizes
            if sizes:
                _method(panel, np.array(sizes, dtype=float), cell, name)
        panel.axhline(GOAL, color=COLOURS["grey"], linewidth=0.8, label=hidden("goal"))
        panel.set(xscale="log", yscale="log", ylim=(1e-5, 1.6))
        shown = (1_000, 10_000, 100_000)
        low, high = panel.get_xlim()
        ticks = [tick for tick in shown if low <= tick <= high]
        panel.set_xticks(ticks, [f"{tick / 1000:g}k" for tick in ticks])
        panel.set_xticks([], minor=True)
        panel.set_title(cell.spec.nonlinearity.replace("_", " "), fontsize=10)
    for panel in axes[-1]:
        panel.set_xlabel("samples $n$")
    for row in axes:
        row[0].set_ylabel(r"$E_{\mathrm{reg}}$")
    handles = [_handle(name) for name in STYLES]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def _method(panel: Any, sizes: Any, cell: Cell, name: str) -> None:
    colour, dashes, marker, _ = STYLES[name]
    told, bound = _TOLD[name]
    values = (cell.polynomial if name == "polynomial" else cell.errors[name]).numpy()
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9], axis=1)
    bars(panel, sizes, low, high, colour=COLOURS[colour], label=told)
    size = 7 if name == "recover" else 4
    panel.plot(sizes, middle, marker, color=COLOURS[colour], markersize=size, label=hidden(told))
    span = np.array([sizes.min() / 2.2, sizes.max() * 1.5])
    law = limit(cell.spec, name) / span
    looks: Any = {"color": COLOURS[colour], "linestyle": dashes, "linewidth": 1.2}
    panel.plot(span, law, label=hidden(bound), **looks)


@drawing
def noise_figure(curves: Sequence[Curve]) -> Figure:
    """Samples for E_reg = 0.1 against sigma, a panel a g: L_4 and the Cramer-Rao bound."""
    figure, axes = subplots(1, len(curves), height=3.1, sharey=True)
    for panel, curve in zip(axes[0], curves, strict=True):
        laws = {"polynomial": curve.polynomial, "bounded": curve.bounded, "recover": curve.bound}
        for name, values in laws.items():
            colour, dashes, marker, label = STYLES[name]
            style = {"color": COLOURS[colour], "linestyle": dashes, "marker": marker}
            label = "Cramér–Rao bound" if name == "recover" else label
            panel.plot(curve.sigmas, values, markersize=4, label=label, **style)
        panel.set(xscale="log", yscale="log", xlabel=r"noise $\sigma$")
        panel.set_title(curve.nonlinearity.replace("_", " "))
        panel.set_xticks(curve.sigmas, [f"{sigma:g}" for sigma in curve.sigmas])
        panel.set_xticks([], minor=True)
    axes[0, 0].set_ylabel(r"samples for $E_{\mathrm{reg}} = 0.1$")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def _handle(name: str) -> Line2D:
    colour, dashes, marker, label = STYLES[name]
    style: Any = {"linestyle": dashes, "marker": marker, "markersize": 5, "label": label}
    return Line2D([], [], color=COLOURS[colour], **style)
