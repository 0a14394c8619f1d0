"""Figures of chapter 14."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from moe.estimator.regressor import MoERegressor
from moe.experiments.real_data.along import HEIGHTS, LEAST, Along
from moe.experiments.real_data.contest import DENSITY, Record
from moe.experiments.real_data.contestants import (
    BOOSTING,
    CONSTANT,
    CUBIC,
    LINEAR,
    NETWORK,
    RESTARTS,
    SOFTMAX,
)
from moe.experiments.real_data.data import SOURCES, Array, load
from moe.experiments.real_data.fits import Change, effects
from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, CYCLE, drawing, subplots

MARKERS = ("o", "s", "D", "^")
STYLES = {
    LINEAR: ("grey", "x"),
    CONSTANT: ("sky", "v"),
    RESTARTS: ("orange", "s"),
    CUBIC: ("purple", "D"),
    BOOSTING: ("green", "^"),
    NETWORK: ("vermilion", "P"),
}


def _samples(panel: Any, model: MoERegressor, across: Array, X: Array, y: Array) -> None:
    """Samples by the expert that most probably answered, in its colour and with its marker."""
    owner = model.assign(X, y)
    for i in range(model.n_experts_):
        mine = owner == i
        panel.scatter(
            across[mine], y[mine], s=14, color=CYCLE[i], marker=MARKERS[i], alpha=0.6,
            linewidths=0, label=f"answered by expert {i}",
        )  # fmt: skip


@drawing
def tones(model: MoERegressor) -> Figure:
    """Tone perception: samples, the two fitted lines, and the two of music theory."""
    data = load("tones")
    figure, ((panel,),) = subplots(height=3.6)
    x = data.x[:, 0]
    _samples(panel, model, x, data.x, data.y)
    grid = np.linspace(x.min(), x.max(), 50)
    answers = model.predict_experts(grid[:, None])
    for i in range(2):
        panel.plot(grid, answers[:, i], color=CYCLE[i], linestyle="-", label=f"expert {i}")
    panel.plot(grid, 0 * grid + 2, color="black", linestyle=":", linewidth=1.2, label="an octave")
    panel.plot(grid, grid, color="black", linestyle="--", linewidth=1.2, label="the overtones")
    panel.set(xlabel="stretching ratio of the overtones", ylabel="tuned ratio")
    figure.legend(loc="outside right upper")
    return figure


@drawing
def nile(model: MoERegressor, change: Change) -> Figure:
    """The flow year by year with the two levels, and the gate below."""
    year = load("nile").x[:, 0]
    grid = np.linspace(year[0], year[-1], 2_000)[:, None]
    mark = change.least_squares + 0.5
    return _over_time("nile", model, grid, mark, r"flow ($10^8\,\mathrm{m}^3$)")


@drawing
def inflation(model: MoERegressor, turn: float) -> Figure:
    """Inflation quarter by quarter with the mixture's mean given the quarter before, and the gate
    below."""
    return _over_time("inflation", model, load("inflation").x, turn, "inflation (% a year)")


def _over_time(name: str, model: MoERegressor, at: Array, mark: float, output: str) -> Figure:
    """Samples over the first column, the mean at the rows ``at``, and the gate there below; a
    dotted line at ``mark``."""
    data = load(name)
    figure, axes = subplots(2, 1, height=2.1, sharex=True)
    above, gate = axes[:, 0]
    _samples(above, model, data.x[:, 0], data.x, data.y)
    above.plot(at[:, 0], model.predict(at), color="black", linestyle="-", label="mean")
    weights = model.predict_gate(at)
    for i in range(2):
        gate.plot(at[:, 0], weights[:, i], color=CYCLE[i], linestyle=("-", "--")[i],
                  label=f"expert {i}")  # fmt: skip
    for panel in (above, gate):
        panel.axvline(mark, color=COLOURS["grey"], linestyle=":", label=hidden("change"))
        panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    above.set(ylabel=output)
    gate.set(xlabel="year", ylabel="gate", ylim=(-0.05, 1.05))
    return figure


@drawing
def motorcycle(fits: dict[str, tuple[MoERegressor, Array]]) -> Figure:
    """Two lines under each gate: samples by owner, lines where the gate prefers them, the gate."""
    data = load("motorcycle")
    figure, axes = subplots(2, len(fits), height=2.1, sharex=True, sharey="row")
    time = data.x[:, 0]
    for (top, bottom), (name, (model, X)) in zip(axes.T, fits.items(), strict=True):
        _samples(top, model, time, X, data.y)
        weights, answers = model.predict_gate(X), model.predict_experts(X)
        order = np.argsort(time)
        for i in range(model.n_experts_):
            drawn = np.where(weights[:, i] > 0.05, answers[:, i], np.nan)[order]
            told = hidden(f"expert {i}")
            top.plot(time[order], drawn, color=CYCLE[i], linestyle="-", label=told)
        told = hidden("gate of expert 0")
        bottom.plot(time[order], weights[order, 0], color=CYCLE[0], linestyle="-", label=told)
        top.set_title(name)
        bottom.set(xlabel="time (ms)", ylim=(-0.05, 1.05))
    axes[0, 0].set_ylabel("acceleration (g)")
    axes[1, 0].set_ylabel("gate of expert 0")
    return figure


@drawing
def slopes(fits: dict[str, MoERegressor]) -> Figure:
    """What one standard deviation of each column adds to each expert's answer, with robust 95 %
    intervals; a panel a table."""
    figure, axes = subplots(1, len(fits), height=4.2)
    for panel, (name, model) in zip(axes[0], fits.items(), strict=True):
        values, errors = effects(name, model)
        data = load(name)
        share = model.predict_gate(data.x).mean(0)
        place = np.arange(len(data.columns))[::-1]
        for i in range(model.n_experts_):
            panel.errorbar(
                values[i], place - 0.22 * (i - 1), xerr=1.96 * np.nan_to_num(errors[i]),
                fmt=MARKERS[i], color=CYCLE[i], markersize=5, linewidth=1.3,
                label=f"expert {i}, {share[i]:.0%}",
            )  # fmt: skip
        panel.axvline(0, color=COLOURS["grey"], linewidth=1, label=hidden("zero"))
        panel.set_yticks(place, data.columns)
        panel.set(title=SOURCES[name].title, xlabel=f"{data.output} ({SOURCES[name].unit})")
        panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16))
    return figure


@drawing
def along(views: Sequence[Along], places: tuple[int, int] = (2, 8)) -> Figure:
    """A row for each view. Left: samples, the experts where the gate gives them weight, the mean.
    Right: the density of the output at two places along the column."""
    figure, axes = subplots(len(views), 2, height=2.8)
    for (lines, laws), view in zip(axes, views, strict=True):
        data, source = load(view.table), SOURCES[view.table]
        across = data.x[:, data.columns.index(view.column)]
        lines.scatter(across, data.y, s=5, color=COLOURS["grey"], alpha=0.3, linewidths=0,
                      label=hidden("samples"))  # fmt: skip
        for i in range(view.gate.shape[1]):
            drawn = np.where(view.gate[:, i] > LEAST, view.answers[:, i], np.nan)
            name = f"expert {i}" if np.isfinite(drawn).any() else hidden(f"expert {i}")
            lines.plot(view.values, drawn, marker=MARKERS[i], markersize=4, label=name)
        lines.plot(
            view.values, view.mean, color="black", linewidth=1.2, linestyle="-", label="mean"
        )
        heights = data.y.mean() + data.y.std() * HEIGHTS
        for place, dashes in zip(places, ("-", "--"), strict=True):
            told = f"{view.column} {view.values[place]:,.4g}"
            laws.plot(heights, view.density[place], color=COLOURS["purple"], ls=dashes, label=told)
        unit = f" ({source.unit})" if source.unit else ""
        lines.set(xlabel=view.column, ylabel=f"{data.output}{unit}", title=source.title)
        laws.set(xlabel=f"{data.output}{unit}", ylabel="density")
        for panel, columns in ((lines, 2), (laws, 1)):
            low, high = panel.get_ylim()
            panel.set_ylim(low, high + 0.35 * (high - low))  # room for the legend
            panel.legend(fontsize=9, loc="upper center", ncols=columns)
    return figure


@drawing
def contest(record: Record, measure: str = DENSITY) -> Figure:
    """Each contestant's held-out nats a sample less those of the softmax mixture: the splits as
    small marks, the mean with its corrected interval; a panel a table."""
    names = record.tables
    figure, axes = subplots(1, len(names), height=3.6, width=9.4, sharey=True)
    shown = [m for m in STYLES if any(m in record.methods(name) for name in names)][::-1]
    for panel, name in zip(axes[0], names, strict=True):
        for place, method in enumerate(shown):
            if method in record.methods(name):
                _gain(panel, record, name, method, measure, place)
        panel.axvline(0, color="black", linewidth=1, label=hidden(SOFTMAX))
        panel.set_title(SOURCES[name].title, fontsize=10)
        panel.set_yticks(range(len(shown)), shown)
        panel.locator_params(axis="x", nbins=4)
    figure.supxlabel(f"held-out nats a sample, less those of the {SOFTMAX}", fontsize=10.5)
    return figure


def _gain(panel: Any, record: Record, name: str, method: str, measure: str, place: int) -> None:
    colour, marker = STYLES[method]
    splits = record.values[name, method, measure] - record.values[name, SOFTMAX, measure]
    gain = record.gain(name, method, SOFTMAX, measure)
    low, high = gain.interval
    panel.plot(splits, np.full(len(splits), place - 0.25), linestyle="none", marker="|",
               color=COLOURS[colour], alpha=0.7, markersize=6,
               label=hidden(f"{method}, splits"))  # fmt: skip
    panel.errorbar(gain.mean, place, xerr=[[gain.mean - low], [high - gain.mean]], fmt=marker,
                   color=COLOURS[colour], markersize=6, capsize=3,
                   label=hidden(method))  # fmt: skip
