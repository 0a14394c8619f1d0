"""Figures of the baselines chapter: success, thresholds, effort, annealing, ways out, slides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from moe.experiments.baselines.searches import Effort
from moe.experiments.baselines.spectral import SLIDES, Cell
from moe.experiments.baselines.stuck import Watched
from moe.experiments.baselines.thresholds.climbs import Curve
from moe.experiments.baselines.thresholds.success_curves import over_of
from moe.experiments.common.shares import Share
from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, band, drawing, subplots

Style = dict[str, Any]

STYLES: dict[str, Style] = {
    "EM, sigma held": {"color": COLOURS["vermilion"], "linestyle": "--", "marker": "s"},
    "EM, sigma lowered by hand": {"color": COLOURS["orange"], "linestyle": ":", "marker": "D"},
    "EM, sigma learned": {"color": COLOURS["orange"], "linestyle": "-.", "marker": "^"},
    "EM, a sigma each": {"color": COLOURS["green"], "linestyle": "-", "marker": "o"},
    "L_4, then EM": {"color": COLOURS["purple"], "linestyle": "--", "marker": "P"},
    "T_3, then EM": {"color": COLOURS["sky"], "linestyle": "--", "marker": "X"},
    "recover": {"color": COLOURS["blue"], "linestyle": "-", "marker": "*"},
    "oracle": {"color": COLOURS["black"], "linestyle": ":", "marker": "."},
}


def label(method: str) -> str:
    """The method's name as it is set in figures and tables."""
    for plain, mathematical in (("sigma", r"$\sigma$"), ("L_4", "$L_4$"), ("T_3", "$T_3$")):
        method = method.replace(plain, mathematical)
    return method


@drawing
def success(curves: Sequence[Curve]) -> Figure:
    """Shares of success over n/(k d) with Wilson's intervals, and the curves through them."""
    figure, ((axis,),) = subplots(1, 1, height=3.8)
    by_name = {curve.method: curve for curve in curves}
    names = [name for name in STYLES if name in by_name]
    for name in names:
        curve, style = by_name[name], STYLES[name]
        sizes = list(curve.shares)
        points, told = {**style, "linestyle": ""}, hidden(label(name))
        places = [n / curve.unit for n in sizes]
        _share_line(axis, places, list(curve.shares.values()), points, told)
        x = np.geomspace(min(sizes) / 2, max(sizes) * 2, 80)
        y = [curve.posterior.success(float(n)) for n in x]
        axis.plot(x / curve.unit, y, **{**style, "marker": "", "label": f"{told}, curve"})
    axis.legend(handles=_handles(names), loc="lower right", fontsize=9)
    axis.set(xscale="log", ylim=(-0.04, 1.04))
    axis.set(xlabel="samples per weight $n/(kd)$", ylabel="share that recovers (1)")
    return figure


@drawing
def thresholds(records: Mapping[str, Sequence[Curve]]) -> Figure:
    """n50/(k d) of each method with its 95 % interval, against k, or d where k is one; a
    triangle up where fewer than half succeed at the largest size, down where more do at the
    smallest."""
    figure, axes = _panels(len(records), height=3.2)
    used: dict[str, Style] = {}
    for axis, (title, curves) in zip(axes, records.items(), strict=False):
        names = [name for name in STYLES if any(curve.method == name for curve in curves)]
        over = over_of([curve.setting for curve in curves])
        for shift, name in enumerate(names):
            mine = [curve for curve in curves if curve.method == name]
            _threshold_line(axis, mine, 1.03 ** (shift - len(names) / 2), over)
            used[name] = STYLES[name]
        ticks = sorted({getattr(curve.setting, over) for curve in curves})
        xlabel = "experts $k$" if over == "k" else "dimension $d$"
        axis.set(title=title, xscale="log", yscale="log", xlabel=xlabel)
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.xaxis.set_minor_locator(NullLocator())
    for axis in axes[: len(records) : 2]:
        axis.set_ylabel(r"$n_{50}/(kd)$ (1)")
    handles = _handles([name for name in STYLES if name in used])
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9)
    return figure


def _threshold_line(axis: Axes, curves: Sequence[Curve], shift: float, over: str) -> None:
    style, told = STYLES[curves[0].method], hidden(label(curves[0].method))
    found = [curve for curve in curves if curve.reached(0.5)]
    if found:
        values = np.array([curve.n50.value / curve.unit for curve in found])
        ends = np.array([curve.n50.interval() for curve in found]).T
        ends = ends / np.array([curve.unit for curve in found])
        places = [shift * getattr(curve.setting, over) for curve in found]
        errors = [values - ends[0], ends[1] - values]
        axis.errorbar(places, values, errors, label=told, **style, **_ERRORS)
    for curve in curves:
        if not curve.reached(0.5):
            low, x = curve.below(0.5), shift * getattr(curve.setting, over)
            n, marker = (min(curve.shares), "v") if low else (curve.at_cap[0], "^")
            looks = {"color": style["color"], "marker": marker, "markersize": 7}
            looks["label"] = f"{told}, {'below' if low else 'above'}"
            axis.plot([x], [n / curve.unit], **looks)


_ERRORS: Style = {"capsize": 2, "markersize": 5, "linewidth": 1.4, "elinewidth": 0.8}


@drawing
def effort(records: Sequence[Effort]) -> Figure:
    """Success against mean passes: the best of m random starts, and ``recover``."""
    figure, axes = subplots(1, len(records), height=3.2, sharey=True)
    for axis, record in zip(axes[0], records, strict=True):
        for searcher, style in _SEARCHERS.items():
            points = [point for point in record.points if point.searcher == searcher]
            shares = [point.share for point in points]
            name = "best of $m$ starts" if searcher == "best" else searcher
            _share_line(axis, [point.passes for point in points], shares, style, name)
        s = record.spec.setting
        axis.set(title=f"$k = {s.k}$, ${s.n / (s.k * s.d):g}\\,kd$ samples", xscale="log")
        axis.set(xlabel="passes over the samples (mean)", ylim=(-0.04, 1.04))
    axes[0, 0].set_ylabel("share that recovers (1)")
    axes[0, -1].legend(fontsize=9)
    return figure


_SEARCHERS = {"best": STYLES["EM, a sigma each"], "recover": STYLES["recover"]}


def _share_line(
    axis: Axes, x: Sequence[float], several: Sequence[Share], style: Style, name: str = ""
) -> None:
    values = np.array([share.value for share in several])
    low, high = np.array([share.interval() for share in several]).T
    axis.errorbar(
        x,
        values,
        [np.maximum(values - low, 0), np.maximum(high - values, 0)],
        label=name or None,
        **_ERRORS,
        **style,
    )


_WAYS: dict[str, Style] = {
    "held": STYLES["EM, sigma held"],
    "lowered by hand": STYLES["EM, sigma lowered by hand"],
    "learned": STYLES["EM, sigma learned"],
    "one each": STYLES["EM, a sigma each"],
}


@drawing
def annealing(record: Watched) -> Figure:
    """sigma, the largest responsibility, E_reg, and the spread of the experts' own sigmas."""
    figure, axes = subplots(2, 2, height=2.7, sharex=True)
    iterations = 1 + record.times.numpy()
    for axis, runs, text in (
        (axes[0, 0], record.sigma, r"$\sigma$ of the model ($y$)"),
        (axes[0, 1], record.sharp, "largest responsibility (1)"),
        (axes[1, 0], record.error, r"regressor error $E_{\rm reg}$ (1)"),
    ):
        for way, values in runs.items():
            colour, dashes = _WAYS[way]["color"], _WAYS[way]["linestyle"]
            band(axis, iterations, values, colour=colour, linestyle=dashes, label=way)
        axis.set_ylabel(text)
    for extreme, text, dashes in (
        (record.most["one each"], "largest", "-"),
        (record.least["one each"], "smallest", "--"),
    ):
        colour = COLOURS["green"]
        band(axes[1, 1], iterations, extreme, colour=colour, linestyle=dashes, label=text)
    axes[1, 1].set_ylabel(r"$\sigma_i$, one each ($y$)")
    for axis in (axes[0, 0], axes[1, 1]):
        axis.set_yscale("log")
    for axis in axes[1]:
        axis.set(xlabel="iteration", xscale="log", xlim=(1, iterations[-1]))
    axes[1, 1].legend(fontsize=9)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


@drawing
def ways_out(
    levels: Sequence[float], arrived: Sequence[Share], data: np.ndarray, fresh: np.ndarray
) -> Figure:
    """Left: share of stuck points that arrive after reheating; right: the barrier (levels, runs) on
    the way out, on the data and on as many fresh samples."""
    figure, ((left, right),) = subplots(1, 2, height=3.0)
    looks = {"color": COLOURS["blue"], "marker": "o"}
    _share_line(left, levels, arrived, looks, hidden("reheated"))
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
    return figure


@drawing
def em_and_spectral(cells: Sequence[Cell]) -> Figure:
    """Parameter error after 100 iterations over n/(k d), one panel a k; the slides' as lines."""
    crowds = sorted({cell.spec.setting.k for cell in cells})
    figure, axes = subplots(1, len(crowds), height=3.4, sharey=True)
    for axis, k in zip(axes[0], crowds, strict=True):
        for start, colour in (("EM", "vermilion"), ("spectral + EM", "blue")):
            looks = {"color": COLOURS[colour], "linewidth": 5, "alpha": 0.25}
            axis.axhline(SLIDES[start][k], label=hidden(f"{start}, slides"), **looks)
            for noise, marker, dashes in (("held", "s", "--"), ("one", "o", "-")):
                one = (k, start, noise)
                mine = [c for c in cells if (c.spec.setting.k, c.start, c.spec.noise) == one]
                looks = {"color": COLOURS[colour], "linestyle": dashes, "marker": marker}
                looks["label"] = rf"{start}, $\sigma$ {'learned' if noise == 'one' else noise}"
                ratios = [cell.spec.setting.n / (k * cell.spec.setting.d) for cell in mine]
                axis.plot(ratios, [cell.regressors for cell in mine], markersize=5, **looks)
        here = [cell.spec.setting for cell in cells if cell.spec.setting.k == k]
        ratios = sorted({setting.n / (k * setting.d) for setting in here})
        axis.set(title=f"{k} mixtures", xscale="log", xlabel="samples per weight $n/(kd)$")
        axis.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
        axis.xaxis.set_minor_locator(NullLocator())
    axes[0, 0].set_ylabel(r"$|A_\pi - A^*|_F$ after 100 iterations (1)")
    axes[0, 0].legend(fontsize=8.5)
    return figure


def _panels(count: int, *, height: float) -> tuple[Figure, list[Axes]]:
    """``count`` axes, two a row."""
    figure, axes = subplots((count + 1) // 2, 2, height=height)
    flat = list(axes.flat)
    for axis in flat[count:]:
        axis.axis("off")
    return figure, flat


def _handles(names: Sequence[str]) -> list[Line2D]:
    return [Line2D([], [], label=label(name), **STYLES[name]) for name in names]
