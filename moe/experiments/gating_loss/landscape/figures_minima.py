"""Pictures of the gates' loss as a landscape: a plane for two experts, a second basin for three."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from moe.experiments.gating_loss.landscape.minima import PhaseRecord, PlaneRecord
from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, SEQUENTIAL, drawing, subplots


@drawing
def plane(record: PlaneRecord) -> Figure:
    """Left: where samples are undecided. Right: contours of L_log with EM's and descent's paths."""
    figure, ((left, right),) = subplots(1, 2, height=3.6, width=8.0)
    order = record.undecided.argsort()
    points = left.scatter(
        record.place[order, 0],
        record.place[order, 1],
        c=record.undecided[order],
        s=5,
        cmap=SEQUENTIAL,
        vmin=0,
        vmax=0.25,
        rasterized=True,
    )
    figure.colorbar(points, ax=left, label=r"$r_1 r_2$ (1)", ticks=[0, 0.1, 0.2])
    left.set(xlabel=r"$x_\delta$ (1)", ylabel="$x_w$ (1)", xlim=(-3.5, 3.5), ylim=(-3.5, 3.5))
    levels = np.quantile(record.loss, np.linspace(0, 1, 18))
    right.contour(
        record.axis, record.axis, record.loss.T, levels, colors=COLOURS["grey"], linewidths=0.7
    )
    told = "{}", hidden("{}")  # one entry of the legend for all
    for index, (em, down) in enumerate(zip(record.em, record.descent, strict=True)):
        right.plot(
            *down.T,
            color=COLOURS["orange"],
            linestyle="--",
            label=told[index > 0].format(f"gradient descent, step {record.spec.step:g}"),
        )
        right.plot(
            *em.T,
            color=COLOURS["blue"],
            marker="o",
            markersize=3,
            linestyle="-",
            linewidth=0.8,
            label=told[index > 0].format("EM"),
        )
    star: Any = {"color": COLOURS["black"], "marker": "*", "markersize": 11}
    right.plot(*record.truth, linestyle="none", label=hidden("the true gates"), **star)
    right.set(xlabel=r"component of $w_1$ along $a_1 - a_2$ (1)", ylabel="along $w_1^*$ (1)")
    extent = record.spec.extent
    right.set(xlim=(-extent, extent), ylim=(-extent, extent))
    right.grid(False)
    right.legend(loc="upper right", fontsize=8, frameon=True, framealpha=1, edgecolor="none")
    return figure


@drawing
def phase(record: PhaseRecord) -> Figure:
    """The second minimum's excess loss over angle and sigma; cells without one are left empty."""
    figure, ((axes,),) = subplots(1, 1, height=3.6, width=6.0)
    spec = record.spec
    empty = record.excess.T.isnan().numpy()
    excess = np.ma.masked_array(record.excess.T.numpy(), empty)
    image = axes.imshow(
        excess,
        origin="lower",
        aspect="auto",
        cmap=SEQUENTIAL,
        norm=LogNorm(float(excess.min()), float(excess.max())),
    )
    for i in range(len(spec.angles)):
        for j in range(len(spec.sigmas)):
            if empty[j, i]:
                axes.text(i, j, "–", ha="center", va="center", color=COLOURS["grey"])
    figure.colorbar(image, ax=axes, label="second minimum above the first (nats)")
    axes.xaxis.set_major_locator(FixedLocator(range(len(spec.angles))))
    axes.yaxis.set_major_locator(FixedLocator(range(len(spec.sigmas))))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{angle:g}" for angle in spec.angles])
    axes.set_yticklabels([f"{sigma:g}" for sigma in spec.sigmas])
    axes.set(xlabel="angle of $a_1$ and $a_3$ (degrees)", ylabel=r"$\sigma$ (1)")
    axes.grid(False)
    return figure
