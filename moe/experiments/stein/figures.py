"""Figures of chapter 3: what a gate leaks, how learnable a g is, errors of moments against n."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, DASHES, drawing, subplots
from moe.experiments.stein import estimators as stein
from moe.experiments.stein import moment_error

_MARKERS = ("o", "s", "D", "^", "v", "P")
_HUES = ("blue", "orange", "green", "vermilion", "purple", "sky")


@drawing
def leak_figure(record: stein.Record) -> Figure:
    """Shares of the parts of a moment, for y, y^m and Q_m(y): bars over j = 1, ..., m."""
    m = record.spec.order
    figure, axes = subplots(1, 3, height=2.9, sharey=True)
    names = ("$y$", f"$y^{m}$", f"$Q_{m}(y)$")
    for panel, name, terms in zip(axes[0], names, record.terms[:, 1:], strict=True):
        share = (terms / terms.sum()).tolist()
        panel.bar(
            range(1, m), share[:-1], color=COLOURS["vermilion"], hatch="//", label="gates mixed in"
        )
        panel.bar([m], share[-1:], color=COLOURS["blue"], label="experts alone")
        panel.set(title=name, xlabel="$j$", xticks=range(1, m + 1), ylim=(0, 1.08))
    axes[0, 0].set(ylabel="share of the moment")
    axes[0, 1].legend(loc="upper center")
    return figure


@drawing
def steepness_figure(slopes: Tensor, sigmas: tuple[float, ...], noise: Tensor) -> Figure:
    """sd(Q_4) / |c_4| of sigmoid(s z) against s, one line a noise level."""
    figure, axes = subplots(height=3.2, width=5.6)
    panel = axes[0, 0]
    for index, (sigma, row) in enumerate(zip(sigmas, noise, strict=True)):
        panel.plot(
            slopes,
            row,
            marker=_MARKERS[index],
            markersize=4,
            color=COLOURS[_HUES[index]],
            linestyle=DASHES[index],
            label=rf"$\sigma = {sigma:g}$",
        )
    panel.set(
        xscale="log",
        yscale="log",
        xlabel="slope $s$ of $g(z) = 1/(1 + e^{-sz})$",
        ylabel=r"$\mathrm{sd}(Q_4)\,/\,|c_4|$",
    )
    panel.legend()
    return figure


@drawing
def fourth_moment_figure(record: moment_error.Record) -> Figure:
    """Error of the plain average of T against n: one panel each for bounded and unbounded g."""
    names = record.spec.nonlinearities
    bounded = [i for i, name in enumerate(names) if name in ("sigmoid", "tanh")]
    groups = (bounded, [i for i in range(len(names)) if i not in bounded])
    figure, axes = subplots(1, 2, height=3.6, sharey=True)
    for panel, group in zip(axes[0], groups, strict=True):
        for i in group:
            _errors(panel, record, 0, i, i, names[i])
        panel.set(xscale="log", yscale="log", xlabel="samples $n$")
        _size_ticks(panel, record.spec.sizes)
        panel.legend(loc="lower left")
    axes[0, 0].set(title="bounded outputs", ylabel=r"$|\hat T - T|_F$")
    axes[0, 1].set(title="unbounded outputs")
    return figure


@drawing
def second_moment_figure(record: moment_error.Record) -> Figure:
    """Error of M against n, one panel a nonlinearity: plain average and least squares."""
    names = record.spec.nonlinearities
    figure, axes = subplots(1, len(names), height=3.4, sharey=True)
    for i, (panel, name) in enumerate(zip(axes[0], names, strict=True)):
        for j, label in enumerate(("average", "least squares")):
            _errors(panel, record, j, i, j, label)
        panel.set(xscale="log", yscale="log", xlabel="samples $n$", title=name.replace("_", " "))
        _size_ticks(panel, record.spec.sizes)
        panel.legend(loc="lower left")
    axes[0, 0].set(ylabel=r"$|\hat M - M|_F$")
    return figure


def _size_ticks(panel: Any, sizes: tuple[int, ...]) -> None:
    panel.set_xticks(sizes, [f"{size / 1000:g}k" for size in sizes])
    panel.set_xticks([], minor=True)


def _errors(
    panel: Any, record: moment_error.Record, method: int, i: int, style: int, label: str
) -> None:
    """Predicted line, measured root mean square, and a bar over the 10-90 % of data sets."""
    sizes = np.asarray(record.spec.sizes, dtype=float) * (1 + 0.04 * (style % 3 - 1))
    colour = COLOURS[_HUES[style]]
    low, high = np.quantile(record.errors[method, i].sqrt().numpy(), [0.1, 0.9], axis=-1)
    panel.plot(
        record.spec.sizes, record.predicted[method, i], color=colour, linestyle=DASHES[style],
        label=hidden(f"{label}, predicted"),
    )  # fmt: skip
    panel.vlines(sizes, low, high, color=colour, alpha=0.5, linewidth=4, label=hidden(label))
    panel.plot(
        sizes,
        record.measured[method, i],
        _MARKERS[style],
        color=colour,
        label=label,
        linestyle="none",
    )
