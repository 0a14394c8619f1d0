"""Pictures of gates: regions soft to hard, mean surfaces, samples coloured by their expert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from moe.experiments.gated_networks.gates import GateMap, LabelledSample, SharpnessRecord
from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, CYCLE, DASHES, DIVERGING, band, drawing, subplots
from moe.model.mixture import MoE

_EXPERTS = [COLOURS["blue"], COLOURS["orange"], COLOURS["green"]]
_MARKERS = ["o", "^", "s"]


def _boundaries(axes: Axes, drawn: GateMap) -> None:
    """Where the two largest gates are equal: the edges of the regions."""
    dominant = drawn.gate.argmax(-1)
    for i in range(drawn.gate.shape[-1]):
        inside = (dominant == i).double()
        edge = axes.contour(drawn.axis, drawn.axis, inside, [0.5], colors="black", linewidths=0.8)
        edge.set_label(hidden(f"edge of expert {i + 1}"))


@drawing
def gate_regions(maps: Sequence[GateMap]) -> Figure:
    """One panel a gate norm: each point's colour mixes the experts' colours by p_i(x)."""
    figure, grid = subplots(1, len(maps), height=2.3, sharey=True)
    palette = np.array([to_rgb(colour) for colour in _EXPERTS])
    for axes, drawn in zip(grid[0], maps, strict=True):
        extent = float(drawn.axis[-1])
        axes.imshow(
            drawn.gate.numpy() @ palette,
            origin="lower",
            extent=(-extent, extent, -extent, extent),
            interpolation="bilinear",
        )
        _boundaries(axes, drawn)
        for i in range(3):
            row, column = (drawn.gate.argmax(-1) == i).nonzero().double().mean(0).round().long()
            axes.text(drawn.axis[column], drawn.axis[row], f"{i + 1}", ha="center", size=13)
        axes.set(title=f"gate norm {drawn.gate_norm:g}", xlabel="$x_1$", xticks=[-2, 0, 2])
        axes.set_yticks([-2, 0, 2])
        axes.grid(False)
    grid[0, 0].set_ylabel("$x_2$")
    return figure


@drawing
def softness(record: SharpnessRecord) -> Figure:
    """The gate's entropy and its largest probability against the gate norm."""
    figure, ((left, right),) = subplots(1, 2, height=2.9)
    for index, k in enumerate(record.entropy):
        style = {"colour": CYCLE[index], "linestyle": DASHES[index], "label": f"$k = {k}$"}
        band(left, record.spec.norms, record.entropy[k], **style)  # type: ignore[arg-type]
        band(right, record.spec.norms, record.largest[k], **style)  # type: ignore[arg-type]
    left.set(ylabel=r"mean entropy / $\log k$ (1)", ylim=(0, 1.02))
    right.set(ylabel=r"mean of $\max_i\, p_i(x)$ (1)", ylim=(0, 1.02))
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xlabel(r"gate norm $|w_i|$ (1)")
        axes.xaxis.set_major_locator(FixedLocator(list(record.spec.norms)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([f"{norm:g}" for norm in record.spec.norms])
    left.legend(loc="lower left")
    return figure


@drawing
def samples_by_expert(model: MoE, sample: LabelledSample, x0: torch.Tensor) -> Figure:
    """y against <a_1, x> and <a_2, x>, coloured by expert, and the density of y at one input."""
    figure, grid = subplots(1, 3, height=3.0, width=8.0)
    for index, axes in enumerate(grid[0, :2]):
        z = sample.x @ model.regressors[index]
        for i in [*(j for j in range(model.k) if j != index), index]:
            own = sample.expert == i
            axes.plot(
                z[own],
                sample.y[own],
                linestyle="none",
                marker=_MARKERS[i],
                markersize=2.6,
                color=_EXPERTS[i],
                alpha=0.55,
                label=f"expert {i + 1}",
            )
        line = torch.linspace(-3, 3, 61, dtype=z.dtype)
        style: Any = {"color": "black", "linestyle": "-", "linewidth": 0.9}
        axes.plot(line, model.nonlinearity(line), label=hidden("$g$"), **style)
        axes.set(xlabel=rf"$\langle a_{index + 1}, x\rangle$ (1)", xlim=(-3.2, 3.2), ylim=(-4, 4))
    grid[0, 0].set_ylabel("$y$ (1)")
    density = grid[0, 2]
    y = torch.linspace(-4, 4, 801, dtype=x0.dtype)
    joint = model.log_joint(x0.expand(len(y), -1), y).exp()
    for i in range(model.k):
        told = hidden(f"expert {i + 1}")
        density.fill_betweenx(
            y, joint[:, i], color=_EXPERTS[i], alpha=0.75, linewidth=0, label=told
        )
    density.plot(joint.sum(1), y, label=hidden("density"), **style)
    mean = float(model.mean(x0[None])[0])
    density.axhline(mean, color=COLOURS["vermilion"], linestyle="--", label=hidden("mean"))
    density.annotate(
        r"$\mathbb{E}[y\,|\,x]$",
        (1.0, mean),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
    )
    density.set(xlabel=r"density of $y$ at one $x$ (1)", ylim=(-4, 4))
    handles, labels = grid[0, 0].get_legend_handles_labels()
    order = np.argsort(labels)
    figure.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="outside upper center",
        ncols=3,
        markerscale=2.5,
    )
    return figure


@drawing
def mean_surfaces(maps: Sequence[GateMap]) -> Figure:
    """E[y | x] over the plane, one panel a gate norm, with the edges of the gate's regions."""
    figure, grid = subplots(1, len(maps), height=2.7, sharey=True)
    top = max(float(drawn.mean.abs().max()) for drawn in maps)
    levels = np.linspace(-top, top, 17)
    for axes, drawn in zip(grid[0], maps, strict=True):
        filled = axes.contourf(drawn.axis, drawn.axis, drawn.mean, levels, cmap=DIVERGING)
        axes.contour(
            drawn.axis,
            drawn.axis,
            drawn.mean,
            levels,
            colors="black",
            linewidths=0.3,
            linestyles="solid",
        )
        _boundaries(axes, drawn)
        axes.set(title=f"gate norm {drawn.gate_norm:g}", xlabel="$x_1$", aspect="equal")
        axes.set_xticks([-2, 0, 2])
        axes.set_yticks([-2, 0, 2])
        axes.grid(False)
    grid[0, 0].set_ylabel("$x_2$")
    figure.colorbar(
        filled, ax=list(grid[0]), shrink=0.8, label=r"$\mathbb{E}[y\,|\,x]$ (1)", ticks=[-3, 0, 3]
    )
    return figure
