"""Figures of chapter 9: errors against n, d, k and sigma, and the success transition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from moe.experiments.common.scaling import Estimate, samples_to_reach
from moe.experiments.sample_complexity.claims import range_of_medians, relative
from moe.experiments.sample_complexity.errors import GOAL, LABELS, Cell, predicted
from moe.experiments.sample_complexity.onset import Onset
from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, SEQUENTIAL, bars, drawing, subplots

STYLES: dict[str, tuple[str, Any, str, str]] = {
    "average": ("vermilion", "--", "s", LABELS["average"]),
    "least_squares": ("blue", "-", "o", LABELS["least_squares"]),
    "low_rank": ("green", "-.", "^", LABELS["low_rank"]),
    "recover": ("black", ":", "D", LABELS["recover"]),
}
_BAND = (0.1, 0.5, 0.9)


@drawing
def errors_figure(cells: Sequence[Cell]) -> Figure:
    """E_reg against n, one panel a cell: medians with 10-90 % bars, and the limit laws as lines."""
    figure, axes = subplots(1, len(cells), height=3.7, sharey=True)
    for panel, cell in zip(axes[0], cells, strict=True):
        limits = predicted(cell.spec)
        for method, errors in cell.errors.items():
            sizes = cell.sizes(method).numpy()
            low, high = np.quantile(errors.numpy(), [0.1, 0.9], axis=1)
            _medians(panel, sizes, (low, cell.median(method), high), method)
            span = np.array([sizes.min(), sizes.max()])
            _law(panel, span, limits[method] / span, method)
        panel.axhline(GOAL, color=COLOURS["grey"], linewidth=0.8, label=hidden("goal"))
        panel.set(xscale="log", yscale="log", xlabel="samples $n$")
        panel.set_title(f"{cell.spec.nonlinearity} experts")
    axes[0, 0].set_ylabel(r"$E_{\mathrm{reg}}$ (1)")
    _legend(figure, [method for method in STYLES if any(method in c.errors for c in cells)])
    return figure


@drawing
def dimension_figure(cells: Sequence[Cell], recovered: Sequence[Onset]) -> Figure:
    """Left: n E_reg at the largest n against d; right: samples to reach E_reg = 0.05."""
    return _against("d", "dimension $d$", cells, recovered)


@drawing
def experts_figure(cells: Sequence[Cell], recovered: Sequence[Onset]) -> Figure:
    """Left: n E_reg at the largest n against k; right: samples to reach E_reg = 0.05."""
    return _against("k", "experts $k$", cells, recovered)


def _against(name: str, label: str, cells: Sequence[Cell], recovered: Sequence[Onset]) -> Figure:
    figure, ((left, right),) = subplots(1, 2, height=3.7)
    limits = [predicted(cell.spec) for cell in cells]
    values = [getattr(cell.spec, name) for cell in cells]
    methods = list(cells[0].errors)
    for method in methods:
        scaled = [c.sizes(method)[-1] * c.errors[method][-1] for c in cells]  # data sets differ
        medians = torch.stack([s.quantile(s.new_tensor(_BAND)) for s in scaled]).T
        known = [i for i, limit in enumerate(limits) if method in limit]
        _medians(left, values, medians, method)
        _law(left, [values[i] for i in known], [limits[i][method] for i in known], method)
        reach = [samples_to_reach(c.sizes(method), c.errors[method]) for c in cells]
        _reach(right, values, reach, method)
    _law(left, values, [limit["recover"] for limit in limits], "recover")
    halves = [one.half() for one in recovered]
    reach = [Estimate(value, *interval) for value, interval in halves]
    _reach(right, [getattr(one.spec, name) for one in recovered], reach, "recover")
    for panel in (left, right):
        panel.set(xscale="log", yscale="log", xlabel=label)
        panel.set_xticks(values, [f"{value:g}" for value in values])
        panel.set_xticks([], minor=True)
    left.set_ylabel(r"$n\, E_{\mathrm{reg}}$ (1)")
    right.set_ylabel(r"samples to $E_{\mathrm{reg}} = 0.05$")
    _legend(figure, [*methods, "recover"])
    return figure


def _reach(panel: Axes, values: Sequence[float], reach: Sequence[Estimate], method: str) -> None:
    colour, dashes, marker, label = STYLES[method]
    shown = [(v, r) for v, r in zip(values, reach, strict=True) if np.isfinite(r.value)]
    places, middle = [v for v, _ in shown], [r.value for _, r in shown]
    low, high = [r.low for _, r in shown], [min(r.high, 3 * r.value) for _, r in shown]
    bars(panel, places, low, high, colour=COLOURS[colour], label=label)
    looks: Any = {"color": COLOURS[colour], "linestyle": dashes, "markersize": 5}
    panel.plot(places, middle, marker=marker, label=hidden(label), **looks)


@drawing
def noise_figure(cells: Sequence[Cell]) -> Figure:
    """E_reg against sigma at one n: medians with 10-90 % bars, and the limit laws."""
    figure, ((panel,),) = subplots(height=3.9, width=5.6)
    sigmas = [cell.spec.sigma for cell in cells]
    limits = [predicted(cell.spec) for cell in cells]
    for method in cells[0].errors:
        n = float(cells[0].sizes(method)[-1])
        errors = torch.stack([cell.errors[method][-1] for cell in cells])
        _medians(panel, sigmas, errors.quantile(errors.new_tensor(_BAND), dim=1), method)
        _law(panel, sigmas, [limit[method] / n for limit in limits], method)
    panel.set(xscale="log", yscale="log", xlabel=r"noise $\sigma$")
    panel.set_ylabel(r"$E_{\mathrm{reg}}$ (1)")
    panel.set_xticks(sigmas, [f"{sigma:g}" for sigma in sigmas])
    panel.set_xticks([], minor=True)
    _legend(figure, list(cells[0].errors))
    return figure


@drawing
def transition_figure(cells: Sequence[Cell]) -> Figure:
    """Share of data sets with E_reg < 0.05 over (n, d), one map a method, and the law's contour;
    blank where a cell has no such size."""
    methods = list(cells[0].errors)
    figure, axes = subplots(1, len(methods), height=3.6, sharey=True)
    dims = [cell.spec.d for cell in cells]
    sizes = torch.tensor(sorted({float(n) for cell in cells for n in cell.spec.sizes}))
    limits = [predicted(cell.spec) for cell in cells]
    for panel, method in zip(axes[0], methods, strict=True):
        shares = np.full((len(cells), len(sizes)), np.nan)  # what was not tried shows the ground
        for row, cell in zip(shares, cells, strict=True):
            places = torch.searchsorted(sizes, cell.sizes(method).to(sizes))
            row[places.numpy()] = cell.success(method).numpy()
        panel.set_facecolor("white")
        image = panel.imshow(
            shares, origin="lower", aspect="auto", cmap=SEQUENTIAL, vmin=0.0, vmax=1.0
        )
        wanted = np.array([limit[method] / GOAL for limit in limits])
        columns = np.interp(np.log(wanted), np.log(sizes.numpy()), np.arange(len(sizes)))
        for colour, width in (("white", 3), (COLOURS["vermilion"], 1.5)):
            looks: Any = {"color": colour, "linewidth": width, "label": _law_name(method)}
            panel.plot(columns, np.arange(len(dims)), **looks)
        panel.grid(visible=False)
        panel.set_xticks(
            range(len(sizes)), [_short(float(n)) for n in sizes], rotation=60, fontsize=9
        )
        panel.set_yticks(range(len(dims)), [str(d) for d in dims])
        panel.set(xlabel="samples $n$")
        panel.set_title(STYLES[method][3], fontsize=10.5)
    axes[0, 0].set_ylabel("dimension $d$")
    figure.colorbar(image, ax=list(axes[0]), label=r"share with $E_{\mathrm{reg}} < 0.05$")
    return figure


_KINDS: dict[str, tuple[str, Any]] = {
    "linear, $d < 50$": ("blue", "-"),
    r"linear, $d \geq 50$": ("orange", "--"),
    "tanh, sigmoid": ("vermilion", "-."),
}


def _kind(cell: Cell) -> str:
    small, large, bounded = _KINDS
    if cell.spec.nonlinearity != "linear":
        return bounded
    return small if cell.spec.d < 50 else large


@drawing
def relative_figure(cells: Sequence[Cell]) -> Figure:
    """n E_reg over its law against n over the law's n for 0.05; low rank where a cell has it, else
    least squares, in the right panel."""
    figure, axes = subplots(1, 2, height=3.7, sharey=True)
    shown = [cell for cell in cells if "average" in predicted(cell.spec)]
    for panel, better in zip(axes[0], (False, True), strict=True):
        low, high = range_of_medians(shown[0], "average", 0.05)
        told = hidden("what the medians scatter")
        panel.axhspan(low, high, color=COLOURS["grey"], alpha=0.2, linewidth=0, label=told)
        for cell in shown:
            best = "low_rank" if "low_rank" in cell.errors else "least_squares"
            method = best if better else "average"
            hue, dashes = _KINDS[_kind(cell)]
            edge = predicted(cell.spec)[method] / GOAL
            panel.plot(
                cell.sizes(method) / edge,
                relative(cell, method),
                color=COLOURS[hue],
                linestyle=dashes,
                linewidth=1.1,
                marker=".",
                markersize=4,
                label=hidden(_named(cell)),
            )
        panel.set(xscale="log", yscale="log", xlabel=r"$n$ / law's $n$ for $0.05$")
        panel.set_title("least squares or low rank" if better else "plain moments", fontsize=10.5)
    axes[0, 0].set_ylabel(r"$n\, E_{\mathrm{reg}}$ / law (1)")
    present = [kind for kind in _KINDS if kind in map(_kind, shown)]
    lines = [Line2D([], [], color=COLOURS[_KINDS[k][0]], linestyle=_KINDS[k][1]) for k in present]
    figure.legend(lines, present, loc="outside upper center", ncols=3)
    return figure


def _named(cell: Cell) -> str:
    return f"{cell.spec.nonlinearity}, $k = {cell.spec.k}$, $d = {cell.spec.d}$"


def _law_name(method: str) -> str:
    return hidden("Cramér–Rao bound" if method == "recover" else f"{STYLES[method][3]}, law")


def _medians(panel: Axes, x: Any, low_middle_high: Iterable[Any], method: str) -> None:
    colour, _, marker, label = STYLES[method]
    low, middle, high = low_middle_high
    bars(panel, x, low, high, colour=COLOURS[colour], label=label)
    panel.plot(x, middle, marker, color=COLOURS[colour], markersize=5, label=hidden(label))


def _law(panel: Axes, x: Any, y: Any, method: str) -> None:
    looks: Any = {"color": COLOURS[STYLES[method][0]], "linestyle": STYLES[method][1]}
    panel.plot(x, y, label=_law_name(method), **looks)


def _short(n: float) -> str:
    return f"{n / 1000:g}k" if n >= 1000 else f"{n:g}"


def _legend(figure: Figure, methods: Sequence[str]) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=COLOURS[STYLES[method][0]],
            linestyle=STYLES[method][1],
            marker=STYLES[method][2],
            markersize=5,
            label=STYLES[method][3] if method != "recover" else "recover; line: Cramér–Rao bound",
        )
        for method in methods
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(2, len(handles)))
