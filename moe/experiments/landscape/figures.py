"""Pictures of the population L_4: the complete list, the torus, the phases, the conditioning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from moe.experiments.landscape import lists as landscape
from moe.experiments.landscape import phase as landscape_phase
from moe.experiments.landscape import stability as landscape_stability
from moe.experiments.landscape import torus as landscape_torus
from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, CYCLE, DASHES, SEQUENTIAL, drawing, subplots

_KINDS = {
    "truth": ("o", COLOURS["blue"]),
    "spurious minimum": ("X", COLOURS["vermilion"]),
    "strict saddle": (".", COLOURS["grey"]),
    "maximum": ("^", COLOURS["black"]),
    "degenerate": ("D", COLOURS["orange"]),
}
_LINES = (
    (r"$\lambda = \mu/\bar p_{\min}$", "-"),
    (r"$\mu = 1$", "--"),
    (r"$\lambda = (\mu+1)/\bar p_{\max}$", "-."),
)


@drawing
def complete_list(record: landscape.Record) -> Figure:
    """Every critical point of k = 2, 3, 4: index against value, and lowest curvature below it."""
    cases = [(k, case) for k, case in record.cases.items() if case.listed is not None]
    figure, axes = subplots(2, len(cases), height=2.5, sharex="col")
    for column, (k, case) in enumerate(cases):
        points = case.listed
        assert points is not None
        for kind, (marker, colour) in _KINDS.items():
            some = [i for i, name in enumerate(points.kinds) if name == kind]
            style: dict[str, Any] = {
                "marker": marker,
                "linestyle": "none",
                "color": colour,
                "markersize": 4 if kind == "strict saddle" else 8,
                "alpha": 0.5 if kind == "strict saddle" else 1.0,
                "rasterized": True,
                "label": hidden(kind),
            }
            if some:
                axes[0, column].plot(points.values[some], points.index[some], **style)
                axes[1, column].plot(points.values[some], points.lowest_curvature[some], **style)
        axes[0, column].set_title(f"$k = {k}$: {len(points):,} points")
        axes[1, column].axhline(
            0, color=COLOURS["black"], linestyle="-", linewidth=0.8, label=hidden("zero")
        )
        axes[1, column].set_xlabel("value of $L_4$ (1)")
    axes[0, 0].set_ylabel("index: downward\ndirections")
    axes[1, 0].set_ylabel("lowest curvature (1)")
    present = {kind for _, case in cases for kind in (case.listed.kinds if case.listed else ())}
    handles = [
        Line2D([], [], marker=marker, linestyle="none", color=colour, label=kind)
        for kind, (marker, colour) in _KINDS.items()
        if kind in present
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


@drawing
def torus(record: landscape_torus.Record) -> Figure:
    """Contours of min over lengths of L_4 by both angles, a panel for each pair of weights."""
    figure, axes = subplots(1, len(record.values), height=2.9, sharey=True)
    degrees = np.rad2deg(record.angles.numpy())
    for axis, values, (mu, lam), name in zip(
        axes[0], record.values.numpy(), record.spec.weights, record.regimes, strict=True
    ):
        finite = np.isfinite(values)
        floor = np.quantile(values[finite], 0.02)
        levels = np.linspace(floor, values[finite].max(), 18)
        # Gaps are filled with grey where L_4 falls for ever.
        axis.set_facecolor(COLOURS["grey"])
        axis.contourf(
            degrees, degrees, np.ma.masked_invalid(values.T), levels, cmap=SEQUENTIAL, extend="min"
        )
        for marker, colour, places, told in (
            ("o", COLOURS["sky"], ((0, 90), (90, 0)), "one expert each"),
            ("X", COLOURS["vermilion"], ((0, 0), (90, 90)), "both on one expert"),
        ):
            first, second = zip(*places, strict=True)
            style: Any = {"color": colour, "markeredgecolor": "white", "markersize": 8}
            axis.plot(first, second, marker, label=hidden(told), **style)
        axis.set(
            title=f"$\\mu = {mu:g}$, $\\lambda = {lam:g}$\n{name}",
            xlabel=r"$\theta_1$ (degrees)",
            aspect="equal",
            xticks=(0, 90),
            yticks=(0, 90),
        )
        axis.grid(False)
    axes[0, 0].set_ylabel(r"$\theta_2$ (degrees)")
    return figure


@drawing
def phases(record: landscape_phase.Record, here: tuple[int, float, float] | None = None) -> Figure:
    """Share of starts that reach the truth over (mu, lambda / k), with the three lines; here is
    the reader's (k, mu, lambda), marked where a panel has that k."""
    spec = record.spec
    figure, axes = subplots(len(spec.skews), len(spec.ks), height=2.7, sharex=True, sharey=True)
    mu = np.linspace(0.02, max(spec.mus) + 0.25, 300)
    mesh = None
    for row, skew in enumerate(spec.skews):
        for column, k in enumerate(spec.ks):
            axis: Axes = axes[row, column]
            mesh = axis.scatter(
                *np.meshgrid(spec.mus, spec.lams),
                c=record.truth[row, column].numpy(),
                cmap=_SHARES,
                vmin=0,
                vmax=1,
                s=46,
                edgecolor=COLOURS["black"],
                linewidth=0.5,
                zorder=3,
            )
            p = landscape.skewed_proportions(k, skew)
            low, high = float(p.min()) * k, float(p.max()) * k
            curves = ((mu, mu / low), None, (mu[mu >= 1], (mu[mu >= 1] + 1) / high))
            for curve, (label, dashes) in zip(curves, _LINES, strict=True):
                style: dict[str, Any] = {"color": COLOURS["black"], "linestyle": dashes}
                if curve is None:
                    axis.axvline(1.0, label=label, **style)
                else:
                    axis.plot(*curve, label=label, **style)
            if here is not None and here[0] == k and skew == spec.skews[-1]:
                axis.plot(
                    here[1],
                    here[2] / k,
                    "*",
                    color=COLOURS["orange"],
                    markeredgecolor=COLOURS["black"],
                    markersize=15,
                    zorder=4,
                    clip_on=False,
                    label=hidden("asked"),
                )
            shape = "uniform" if skew == 1 else f"skew {skew:g}"
            axis.set(
                title=f"$k = {k}$, {shape}",
                yscale="log",
                xlim=(0, float(mu[-1])),
                ylim=(0.8 * min(spec.lams), 1.3 * max(spec.lams)),
            )
    for axis in axes[-1]:
        axis.set_xlabel(r"$\mu$ (1)")
    for axis in axes[:, 0]:
        axis.set_ylabel(r"$\lambda / k$ (1)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    assert mesh is not None
    figure.colorbar(mesh, ax=axes, label="share of starts that reach the truth", shrink=0.7)
    return figure


_SHARES = LinearSegmentedColormap.from_list(
    "shares", [COLOURS["vermilion"], "#f7f7f7", COLOURS["blue"]]
)


@drawing
def conditioning(record: landscape_stability.Record) -> Figure:
    """Condition number over the margin; weakest escape over mu at each one's best lambda."""
    figure, ((left, right),) = subplots(1, 2, height=3.0)
    for i, mu in enumerate(record.spec.mus):
        left.loglog(
            record.spec.margins,
            record.condition[i],
            color=CYCLE[i],
            linestyle=DASHES[i],
            label=rf"$\mu = {mu:.2g}$",
        )
        left.plot(*record.best[i], "o", color=CYCLE[i], label=hidden(rf"best, $\mu = {mu:.2g}$"))
    _plain(left, (1, 2, 3, 5, 10, 20), (1, 2, 5, 10, 20, 50))
    left.set(
        xlabel=r"margin $\lambda\,\bar p_{\min}/\mu$ (1)",
        ylabel="condition number (1)",
        ylim=(1, 40),
    )
    left.legend()
    escape: Any = {"color": COLOURS["blue"], "marker": "o", "ms": 4}
    told = hidden("weakest way down")
    right.plot(record.spec.escape_mus, record.escape, label=told, **escape)
    right.axvline(1 / 3, color=COLOURS["black"], linestyle=":", label=hidden(r"$\mu = 1/3$"))
    right.text(0.35, 0.01, r"$\mu = 1/3$")
    right.set(
        xlabel=r"$\mu$ (1), each at its best $\lambda$",
        ylabel="weakest way down\nover $8\\lambda$ (1)",
        ylim=(0, None),
    )
    return figure


def _plain(axes: Axes, x: Sequence[float], y: Sequence[float]) -> None:
    """Plain numbers at the given places of logarithmic axes."""
    for axis, places in ((axes.xaxis, x), (axes.yaxis, y)):
        axis.set_major_locator(FixedLocator([float(place) for place in places]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
