"""Figures of the baselines chapter: thresholds, shares, annealing, ways out, the slides' figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from moe.experiments.annealing import Record
from moe.experiments.contest import Row
from moe.experiments.em_and_spectral import SLIDES, Cell
from moe.experiments.random_starts import Share
from moe.experiments.transition import Threshold
from moe.plotting.style import COLOURS, band, subplots

Style = dict[str, Any]

STYLES: dict[str, Style] = {
    "squared loss, Adam": {"color": COLOURS["grey"], "linestyle": ":", "marker": "x"},
    "likelihood, Adam": {"color": COLOURS["grey"], "linestyle": "-.", "marker": "+"},
    "EM, sigma held": {"color": COLOURS["vermilion"], "linestyle": "--", "marker": "s"},
    "EM, sigma lowered by hand": {"color": COLOURS["orange"], "linestyle": ":", "marker": "D"},
    "EM, sigma learned": {"color": COLOURS["orange"], "linestyle": "-.", "marker": "^"},
    "EM, sigma learned, 20 raced": {"color": COLOURS["orange"], "linestyle": "-", "marker": "v"},
    "EM, a sigma each": {"color": COLOURS["green"], "linestyle": "-", "marker": "o"},
    "EM, a sigma each, best of 100": {"color": COLOURS["green"], "linestyle": ":", "marker": "v"},
    "L_4, then EM": {"color": COLOURS["purple"], "linestyle": "--", "marker": "P"},
    "T_3, then EM": {"color": COLOURS["sky"], "linestyle": "--", "marker": "X"},
    "recover": {"color": COLOURS["blue"], "linestyle": "-", "marker": "*"},
    "oracle": {"color": COLOURS["black"], "linestyle": ":", "marker": ""},
}


def label(method: str) -> str:
    """The method's name as it is set in figures and tables."""
    for plain, mathematical in (("sigma", r"$\sigma$"), ("L_4", "$L_4$"), ("T_3", "$T_3$")):
        method = method.replace(plain, mathematical)
    return method


def thresholds(records: Mapping[str, Sequence[Threshold]]) -> Figure:
    """The smallest n at which each method recovers, against k; an arrow where none was found."""
    figure, axes = _panels(len(records), height=3.2)
    used: dict[str, Style] = {}
    for axis, (title, ends) in zip(axes, records.items(), strict=False):
        names = [name for name in STYLES if any(end.search.method == name for end in ends)]
        for shift, name in enumerate(names):
            _threshold_line(axis, [end for end in ends if end.search.method == name], shift)
            used[name] = STYLES[name]
        crowds = sorted({end.search.setting.k for end in ends})
        top = 2.2 * max(size for end in ends for size in end.search.sizes)
        axis.set(title=title, xscale="log", yscale="log", xlabel="experts $k$")
        axis.set_ylim(top=top)
        axis.set_xticks(crowds, [str(k) for k in crowds])
        axis.xaxis.set_minor_locator(NullLocator())
    axes[0].set_ylabel("smallest sufficient $n$")
    axes[len(records) - 1].set_ylabel("smallest sufficient $n$")
    _legend(axes[-1], [name for name in STYLES if name in used])
    plt.close(figure)
    return figure


def _threshold_line(axis: Axes, ends: Sequence[Threshold], shift: int) -> None:
    style = STYLES[ends[0].search.method]
    found = [(end.search.setting.k, end.smallest) for end in ends if math.isfinite(end.smallest)]
    if found:
        axis.plot(*zip(*found, strict=True), **style, markersize=5, linewidth=1.5)
    for end in ends:
        if not math.isfinite(end.smallest):
            k, cap = end.search.setting.k * (0.97 + 0.02 * (shift % 4)), end.search.sizes[-1]
            axis.plot([k], [cap], marker=style["marker"], color=style["color"], markersize=5)
            axis.annotate(
                "",
                (k, cap * 1.9),
                (k, cap),
                arrowprops={"arrowstyle": "->", "color": style["color"]},
            )


def shares(rows: Sequence[Row]) -> Figure:
    """Share of success over n/(k d) with 95 % Wilson intervals, one panel for each (k, d)."""
    kinds = sorted({(row.setting.k, row.setting.d) for row in rows})
    figure, axes = _panels(len(kinds), height=2.9, sharey=True)
    names = [name for name in STYLES if any(row.method == name for row in rows)]
    for axis, (k, d) in zip(axes, kinds, strict=False):
        here = [row for row in rows if (row.setting.k, row.setting.d) == (k, d)]
        for shift, name in enumerate(names):
            mine = [row for row in here if row.method == name]
            ratios = [row.setting.n / (k * d) * 1.025 ** (shift - 2) for row in mine]
            _share_line(axis, ratios, [row.share for row in mine], STYLES[name])
        axis.set(title=f"$k = {k}$, $d = {d}$", xscale="log", xlabel="samples per weight $n/(kd)$")
        ticks = sorted({row.setting.n // (k * d) for row in here})
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_ylim(-0.04, 1.04)
    axes[0].set_ylabel("share that recovers (1)")
    axes[len(kinds) - 1].set_ylabel("share that recovers (1)")
    _legend(axes[-1], names)
    plt.close(figure)
    return figure


def _share_line(
    axis: Axes, x: Sequence[float], several: Sequence[Share], style: Style, name: str = ""
) -> None:
    values = np.array([share.value for share in several])
    low, high = np.array([share.interval() for share in several]).T
    axis.errorbar(
        x,
        values,
        [np.maximum(values - low, 0), np.maximum(high - values, 0)],
        capsize=2,
        markersize=5,
        linewidth=1.4,
        elinewidth=0.8,
        label=name or None,
        **style,
    )


_WAYS: dict[str, Style] = {
    "held": STYLES["EM, sigma held"],
    "lowered by hand": STYLES["EM, sigma lowered by hand"],
    "learned": STYLES["EM, sigma learned"],
    "one each": STYLES["EM, a sigma each"],
}


def annealing(record: Record) -> Figure:
    """sigma, the largest responsibility, E_reg, and the spread of the experts' own sigmas."""
    figure, axes = subplots(2, 2, height=2.7, sharex=True)
    iterations = 1 + np.arange(len(record.sigma["held"]))
    for axis, runs, text in (
        (axes[0, 0], record.sigma, r"$\sigma$ of the model ($y$)"),
        (axes[0, 1], record.sharp, "largest responsibility (1)"),
        (axes[1, 0], record.error, r"regressor error $E_{\rm reg}$ (1)"),
    ):
        for way, values in runs.items():
            style = _WAYS[way]
            band(
                axis,
                iterations,
                values,
                colour=style["color"],
                linestyle=style["linestyle"],
                label=way,
            )
        axis.set_ylabel(text)
    for extreme, text, dashes in (
        (record.most["one each"], "largest", "-"),
        (record.least["one each"], "smallest", "--"),
    ):
        band(
            axes[1, 1],
            iterations,
            extreme,
            colour=COLOURS["green"],
            linestyle=dashes,
            label=text,
        )
    axes[1, 1].set_ylabel(r"$\sigma_i$, one each ($y$)")
    for axis in (axes[0, 0], axes[1, 1]):
        axis.set_yscale("log")
    for axis in axes[1]:
        axis.set(xlabel="iteration", xscale="log", xlim=(1, len(iterations)))
    axes[0, 0].legend(fontsize=9)
    axes[1, 1].legend(fontsize=9)
    plt.close(figure)
    return figure


def ways_out(
    levels: Sequence[float], arrived: Sequence[Share], data: np.ndarray, fresh: np.ndarray
) -> Figure:
    """Left: share of stuck points that arrive after reheating; right: the barrier (levels, runs) on
    the way out, on the data and on as many fresh samples."""
    figure, ((left, right),) = subplots(1, 2, height=3.0)
    _share_line(left, levels, arrived, {"color": COLOURS["blue"], "marker": "o"})
    left.set(ylabel="share that arrives (1)", ylim=(-0.04, 1.04))
    for values, name, colour, dashes in (
        (data, "its own samples", "vermilion", "-"),
        (fresh, "as many fresh samples", "green", "--"),
    ):
        band(right, levels, values, colour=COLOURS[colour], linestyle=dashes, label=name)
    right.set(ylabel="barrier / total descent (1)")
    right.legend()
    for axis in (left, right):
        axis.set(xscale="log", xlabel=r"$\sigma$ held at ($y$)")
        axis.set_xticks(levels, [f"{level:g}" for level in levels])
        axis.xaxis.set_minor_locator(NullLocator())
    plt.close(figure)
    return figure


def em_and_spectral(cells: Sequence[Cell]) -> Figure:
    """Parameter error after 100 iterations over n/(k d), one panel a k; the slides' as lines."""
    crowds = sorted({cell.spec.setting.k for cell in cells})
    figure, axes = subplots(1, len(crowds), height=3.4, sharey=True)
    for axis, k in zip(axes[0], crowds, strict=True):
        for start, colour in (("EM", "vermilion"), ("spectral + EM", "blue")):
            axis.axhline(SLIDES[start][k], color=COLOURS[colour], linewidth=5, alpha=0.25)
            for noise, marker, dashes in (("held", "s", "--"), ("one", "o", "-")):
                mine = [
                    cell
                    for cell in cells
                    if cell.spec.setting.k == k
                    and (cell.spec.start, cell.spec.noise) == (start, noise)
                ]
                axis.plot(
                    [cell.spec.setting.n / (k * cell.spec.setting.d) for cell in mine],
                    [cell.regressors for cell in mine],
                    color=COLOURS[colour],
                    linestyle=dashes,
                    marker=marker,
                    markersize=5,
                    label=rf"{start}, $\sigma$ {'learned' if noise == 'one' else noise}",
                )
        here = [cell.spec.setting for cell in cells if cell.spec.setting.k == k]
        ratios = sorted({setting.n / (k * setting.d) for setting in here})
        axis.set(title=f"{k} mixtures", xscale="log", xlabel="samples per weight $n/(kd)$")
        axis.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
        axis.xaxis.set_minor_locator(NullLocator())
    axes[0, 0].set_ylabel(r"$|A_\pi - A^*|_F$ after 100 iterations (1)")
    axes[0, 0].legend(fontsize=8.5)
    plt.close(figure)
    return figure


def _panels(count: int, *, height: float, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """``count`` axes two a row and one more, empty, for the legend."""
    figure, axes = subplots((count + 2) // 2, 2, height=height, sharey=sharey)
    flat = list(axes.flat)
    for axis in flat[count:]:
        axis.axis("off")
    return figure, flat


def _legend(axis: Axes, names: Sequence[str]) -> None:
    for name in names:
        axis.plot([], [], label=label(name), **STYLES[name])
    axis.legend(loc="center left", fontsize=9.5)
