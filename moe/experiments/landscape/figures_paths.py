"""Pictures of paths and of samples: the escape from saddles, moment errors, the two aims."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from moe.experiments.landscape import escape as landscape_escape
from moe.experiments.landscape import samples as landscape_samples
from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, CYCLE, DASHES, SEQUENTIAL, band, drawing, subplots

_STRIP = 5


@drawing
def strip(record: landscape_escape.Record) -> Figure:
    """One path: L_4 and E_reg over time, the saddles that it waits at, and u at those moments."""
    waits = record.waits[: _STRIP - 2]
    steps = [0, *(wait.step for wait in waits), len(record.times) - 1]
    figure, axes = subplots(1, 1, height=5.4)
    axes[0, 0].remove()
    grid = figure.add_gridspec(3, len(steps), height_ratios=(1.5, 1.2, 1.3))
    loss = figure.add_subplot(grid[0, :])
    error = figure.add_subplot(grid[1, :], sharex=loss)
    loss.plot(
        record.times, record.values, color=COLOURS["blue"], linestyle="-", label=hidden("$L_4$")
    )
    told = hidden(r"$E_{\rm reg}$")
    error.plot(record.times, record.errors, color=COLOURS["vermilion"], linestyle="-", label=told)
    for number, wait in enumerate(waits, 1):
        time = float(record.times[wait.step])
        told = hidden(f"{number}: {wait.name}")
        for axis in (loss, error):
            axis.axvline(time, color=COLOURS["grey"], linestyle=":", linewidth=1, label=told)
        style: Any = {"color": COLOURS["black"], "label": told}
        loss.axhline(wait.saddle_value, linestyle="--", linewidth=0.8, **style)
        loss.plot(time, float(record.values[wait.step]), "o", **style)
        above = number % 2  # the loss falls: it is not there to the right, nor below to the left
        loss.annotate(
            f"{number}: {wait.name}" if above else f"{number}: {wait.name}".replace("; ", ";\n"),
            (time, wait.saddle_value),
            xytext=(6, 4) if above else (-6, -4),
            textcoords="offset points",
            ha="left" if above else "right",
            va="bottom" if above else "top",
            fontsize=9,
        )
    low, high = float(record.values[-1]), max([1.0, *(wait.saddle_value for wait in waits)])
    loss.set(
        ylabel="$L_4$ (1)",
        xlim=(0, _end(record)),
        ylim=(low - 0.05 * (high - low), high + 0.3 * (high - low)),
    )
    loss.tick_params(labelbottom=False)
    error.set(ylabel=r"$E_{\rm reg}$ (1)", xlabel="time: step length times steps (1)", ylim=(0, 1))
    largest = float(record.squares[steps].max())
    titles = ["start", *(f"at {number}" for number in range(1, len(waits) + 1)), "end"]
    for column, (squares, title) in enumerate(zip(record.squares[steps], titles, strict=True)):
        axis = figure.add_subplot(grid[2, column])
        axis.imshow(squares.numpy(), cmap=SEQUENTIAL, vmin=0, vmax=largest, label=hidden("$u$"))
        axis.set(title=title, xticks=[], yticks=[], xlabel="expert")
        axis.grid(False)
        if column == 0:
            axis.set_ylabel("row")
    return figure


def _end(record: landscape_escape.Record) -> float:
    """A little after the path's loss has come to rest."""
    rest = (record.values - record.values[-1]).abs() > 1e-3 * record.values[0].abs()
    last = int(rest.nonzero().max()) if bool(rest.any()) else 0
    return float(record.times[min(int(1.3 * last) + 5, len(record.times) - 1)])


def _plain(axis: Axis, places: list[float]) -> None:
    """Plain numbers at the given places of a logarithmic axis."""
    axis.set_major_locator(FixedLocator(places))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


@drawing
def waiting(record: landscape_escape.Record) -> Figure:
    """Arrival times of all paths against the distance to the saddle they came nearest to."""
    figure, ((axes,),) = subplots(1, 1, height=3.0, width=5.5)
    arrived = record.arrival.isfinite()
    axes.plot(
        record.closest[arrived],
        record.arrival[arrived],
        "o",
        color=COLOURS["blue"],
        alpha=0.45,
        markersize=4,
        label=hidden("paths"),
    )
    axes.set(
        xscale="log",
        xlabel="distance to the nearest saddle on the way (1)",
        ylabel="time to arrive (1)",
        ylim=(0, None),
    )
    _plain(axes.xaxis, [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0])
    return figure


@drawing
def moment_errors(
    record: landscape_samples.Record, tolerance: float, survived: tuple[float, float]
) -> Figure:
    """Error of T_hat against n, with the sizes that are proven and measured to be harmless; the
    displacement of the minimum, measured against predicted."""
    figure, ((left, right),) = subplots(1, 2, height=3.1)
    sizes = list(record.spec.sizes)
    band(
        left, sizes, record.error, colour=COLOURS["blue"], label=r"$\|\hat T - T\|$", levels=(0, 1)
    )
    left.plot(
        sizes, record.error.median(1).values, "o", color=COLOURS["blue"], label=hidden("median")
    )
    lost, harmless = "minimum lost in random directions", "proven harmless below"
    left.axhspan(*survived, color=COLOURS["orange"], alpha=0.3, linewidth=0, label=hidden(lost))
    left.text(sizes[0], survived[0], f" {lost}", va="bottom", size=9)
    left.axhline(tolerance, color=COLOURS["black"], linestyle="--", label=hidden(harmless))
    left.text(sizes[0], tolerance * 1.1, f" {harmless}", va="bottom", size=9)
    left.set(xscale="log", yscale="log", xlabel="samples $n$", ylabel="error of the tensor (1)")
    finite = record.moved.isfinite()
    for i, n in enumerate(sizes):
        right.loglog(
            record.predicted[i][finite[i]],
            record.moved[i][finite[i]],
            "os^Dv"[i],
            color=CYCLE[i],
            label=f"$n = {n:,}$",
        )
    ends = [float(record.predicted.min()) * 0.8, float(record.predicted.max()) * 1.2]
    told = hidden("as predicted")
    right.plot(ends, ends, color=COLOURS["black"], linestyle="--", linewidth=1, label=told)
    for axis in (right.xaxis, right.yaxis):
        _plain(axis, [0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0])
    right.set(xlabel="predicted displacement (1)", ylabel="measured displacement (1)")
    right.legend(loc="lower right")
    return figure


@drawing
def two_aims(record: landscape_samples.Record) -> Figure:
    """Condition number and share of data sets that lose the minimum, both over the margin."""
    figure, ((left, right),) = subplots(1, 2, height=2.9)
    for i, mu in enumerate(record.spec.mus):
        for axis, values in ((left, record.condition[i]), (right, 100 * record.lost[i])):
            axis.plot(
                record.spec.margins,
                np.asarray(values),
                color=CYCLE[i],
                linestyle=DASHES[i],
                marker="os"[i % 2],
                label=rf"$\mu = {mu:.2g}$",
            )
    for axis in (left, right):
        axis.set(xscale="log", xlabel=r"margin $\lambda\,\bar p_{\min}/\mu$ (1)", ylim=(0, None))
        _plain(axis.xaxis, [1, 2, 3, 5, 10])
        axis.legend()
    left.set_ylabel("condition number (1)")
    right.set_ylabel("data sets without the\nminimum (%)")
    return figure
