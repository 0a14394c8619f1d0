"""Pictures of the gates' loss: slopes, rates, curvature, and the response to wrong regressors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from torch import Tensor

from moe.experiments.gating_loss.convergence import ConvergenceRecord
from moe.experiments.gating_loss.dimension import DimensionRecord
from moe.experiments.gating_loss.landscape.convexity import ConvexityRecord
from moe.experiments.gating_loss.rates import SeparationRecord
from moe.experiments.gating_loss.transfer import TransferRecord
from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, CYCLE, DASHES, band, drawing, subplots

_MARKERS = ["o", "^", "s", "D"]


def _slope(axes: Axes, errors: Tensor, rates: Tensor, *, label: str) -> None:
    """A line of the predicted slope, beside the median of the later part of the runs."""
    middle = np.median(errors, axis=1)
    last = int(np.flatnonzero(middle > 1e-9)[-1])
    first = last // 3
    steps = np.arange(first, last + 1)
    rate = float(np.median(rates))
    axes.plot(
        steps,
        8 * float(middle[first]) * rate ** (steps - first),
        color=COLOURS["black"],
        linestyle="--",
        label=label,
    )


@drawing
def convergence(record: ConvergenceRecord) -> Figure:
    """|W_t - W_hat| by iteration on a logarithmic axis, with predicted slopes; EM left."""
    figure, ((left, right),) = subplots(1, 2, height=3.3, sharey=True)
    steps = np.arange(len(record.em))
    band(left, steps, record.em, colour=COLOURS["blue"], label="to the minimiser")
    band(
        left,
        steps,
        record.to_truth,
        colour=COLOURS["vermilion"],
        label="to the true gates",
        linestyle=":",
    )
    floor = float(np.median(record.floor))
    style: Any = {"color": COLOURS["grey"], "linestyle": "-.", "linewidth": 1.0}
    left.axhline(floor, label=hidden("minimiser to the true gates"), **style)
    _slope(left, record.em, record.em_predicted, label="predicted slope")
    band(
        right,
        np.arange(len(record.descent)),
        record.descent,
        colour=COLOURS["blue"],
        label="to the minimiser",
    )
    _slope(right, record.descent, record.descent_predicted, label="predicted slope")
    left.set(title="EM", ylabel="distance of the gates (1)", yscale="log", ylim=(1e-11, 30))
    right.set(title="gradient descent, best fixed step")
    for axes in (left, right):
        axes.set_xlabel("iteration")
        axes.legend(loc="upper right", bbox_to_anchor=(1.0, 0.82), fontsize=9)
    return figure


@drawing
def separation(record: SeparationRecord) -> Figure:
    """Rates against sigma / |a_1 - a_2|: quadrature as lines, measured as points."""
    figure, ((axes,),) = subplots(1, 1, height=3.6)
    axes.plot(record.grid, record.predicted, color=COLOURS["blue"], label="EM, by quadrature")
    axes.plot(
        record.grid,
        record.descent,
        color=COLOURS["orange"],
        linestyle="--",
        label="gradient descent, by quadrature",
    )
    told = "gradient descent, experts observed"
    axes.axhline(record.labelled, color=COLOURS["grey"], linestyle=":", label=hidden(told))
    axes.text(
        float(record.grid[-1]),
        record.labelled + 0.015,
        told,
        ha="right",
        size=9,
    )
    for index, (gap, runs) in enumerate(zip(record.separations, record.measured, strict=True)):
        values = runs.numpy()
        middle = np.median(values, axis=1)
        spread = np.stack([middle - values.min(1), values.max(1) - middle])
        axes.errorbar(
            record.spec.noises,
            middle,
            spread,
            color=CYCLE[index + 2],
            linestyle="none",
            marker=_MARKERS[index],
            markersize=9 - 2.5 * index,
            label=f"EM measured, $|a_1 - a_2| = {float(gap):.2f}$",
        )
    axes.set(
        xscale="log",
        xlabel=r"$\sigma / |a_1 - a_2|$ (1)",
        ylabel="rate: error kept per step (1)",
        ylim=(0, 1),
    )
    axes.legend(loc="upper left", fontsize=9)
    return figure


@drawing
def dimension(record: DimensionRecord) -> Figure:
    """Rates against d at fixed n: EM measured and from the sample, gradient descent, the limits."""
    figure, ((left, right),) = subplots(1, 2, height=3.0, sharey=True)
    places: list[int] = list(record.spec.dimensions)
    style: dict[str, Any] = {"colour": COLOURS["blue"]}
    band(left, places, record.em_measured, **style, label="measured", levels=(0, 1))
    left.plot(
        places,
        np.median(record.em_predicted, axis=1),
        color=COLOURS["green"],
        linestyle="-.",
        marker="s",
        label="information of the sample",
    )
    left.plot(
        places,
        np.median(record.fresh, axis=1),
        color=COLOURS["vermilion"],
        linestyle=":",
        marker="^",
        label="fresh data",
    )
    band(
        right,
        places,
        record.descent,
        colour=COLOURS["orange"],
        label="Hessian of the sample",
        levels=(0, 1),
    )
    for axes, limit in ((left, record.em_limit), (right, record.descent_limit)):
        axes.axhline(
            float(np.median(limit)), color=COLOURS["black"], linestyle="--", label="population"
        )
        axes.set(xscale="log", xlabel="dimension $d$", ylim=(0, 1))
        axes.xaxis.set_major_locator(FixedLocator(places))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([str(d) for d in places])
        axes.legend(loc="lower left", fontsize=9)
    left.set(title="EM", ylabel="rate: error kept per step (1)")
    right.set(title="gradient descent, best fixed step")
    return figure


@drawing
def curvature(record: ConvexityRecord) -> Figure:
    """The smallest eigenvalue of the Hessian of L_log at random gates, against their norm."""
    figure, ((axes,),) = subplots(1, 1, height=3.2, width=5.5)
    for index, sigma in enumerate(record.spec.sigmas):
        style: dict[str, Any] = {
            "colour": CYCLE[index],
            "linestyle": DASHES[index],
            "label": rf"$\sigma = {sigma:g}$",
        }
        band(axes, record.spec.norms, record.lowest[index].flatten(1), **style)
    axes.axhline(0, color=COLOURS["black"], linestyle="-", linewidth=0.8, label=hidden("zero"))
    axes.set_xscale("log", base=2)
    axes.set(xlabel="norm of the gates $|w_i|$ (1)", ylabel="smallest curvature (nats)")
    axes.xaxis.set_major_locator(FixedLocator(list(record.spec.norms)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{norm:g}" for norm in record.spec.norms])
    axes.legend(loc="upper right")
    return figure


@drawing
def transfer(record: TransferRecord) -> Figure:
    """How far the gates move: against eps = |a_i - a*_i| / sigma^2, and relative to the predicted
    straight line against |a_i - a*_i| / sigma."""
    figure, ((left, right),) = subplots(1, 2, height=3.5)
    shifts = np.asarray(record.spec.shifts)
    for index, sigma in enumerate(record.spec.sigmas):
        moved, slope = record.moved[index], record.slope[index]
        style: dict[str, Any] = {
            "colour": CYCLE[index],
            "linestyle": DASHES[index],
            "label": rf"$\sigma = {sigma:g}$",
        }
        band(left, shifts / sigma, moved, **style)
        left.plot(
            shifts / sigma,
            shifts * sigma * float(np.median(slope)),
            color=COLOURS["black"],
            linestyle="-",
            linewidth=0.6,
            label=hidden(rf"$\sigma = {sigma:g}$, predicted"),
        )
        line = torch.tensor(record.spec.shifts, dtype=torch.float64)[:, None] * sigma * slope
        band(right, shifts, moved / line, **style)
    eps = np.array([float((shifts / max(record.spec.sigmas)).min()), 3.0])
    told = hidden(r"$\varepsilon$")
    left.plot(eps, eps, color=COLOURS["grey"], linestyle=":", linewidth=1.2, label=told)
    left.text(0.06, 0.12, r"$\varepsilon$", color=COLOURS["grey"])
    left.set(
        xscale="log",
        yscale="log",
        ylim=(3e-6, 5),
        xlabel=r"$\varepsilon = |a_i - a_i^*| / \sigma^2$ (1)",
        ylabel="shift of the gates (1)",
    )
    left.legend(loc="lower right", fontsize=9)
    right.axhline(1, color=COLOURS["black"], linestyle="-", linewidth=0.6, label=hidden("one"))
    right.set(
        xscale="log",
        xlabel=r"$|a_i - a_i^*| / \sigma$ (1)",
        ylabel="shift / predicted line (1)",
    )
    right.set_ylim(bottom=0)
    return figure
