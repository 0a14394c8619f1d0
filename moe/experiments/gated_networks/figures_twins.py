"""How little the squared prediction error sees of a twin, and how much the likelihood does."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from moe.experiments.gated_networks.twins import TwinRecord
from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, band, drawing, subplots

_TICKS = [0.25, 0.5, 1.0, 2.0, 4.0]


@drawing
def twins(record: TwinRecord) -> Figure:
    """Excess squared error relative to the truth's; log-likelihood lost a sample; samples after
    which each of the two tells the models apart."""
    figure, ((left, right, last),) = subplots(1, 3, height=3.0, width=8.6)
    norms = record.spec.norms
    relative = record.excess / record.noise
    small = [i for i, norm in enumerate(norms) if norm <= 1.0]
    left.loglog(norms, relative, color=COLOURS["blue"], marker="o", label="exact")
    left.loglog(
        [norms[i] for i in small],
        (record.leading / record.noise)[small],
        color=COLOURS["vermilion"],
        linestyle="--",
        label=r"$|w|^6\,|\delta|^2/48$",
    )
    left.axhline(0.01, color=COLOURS["grey"], linestyle=":", label=hidden("1 %"))
    left.text(norms[-1], 0.012, "1 %", ha="right", size=9)
    left.set(ylabel="excess squared error / truth's (1)")
    left.legend(loc="lower right", fontsize=8)
    band(right, norms, record.gap, colour=COLOURS["blue"], label="twin, best $\\sigma$")
    right.set(xscale="log", ylabel="log-likelihood lost (nats)")
    right.set_ylim(0, 1.25 * float(record.gap.max()))
    band(last, norms, record.in_square, colour=COLOURS["vermilion"], label="squared error")
    band(
        last,
        norms,
        record.in_likelihood,
        colour=COLOURS["blue"],
        linestyle="--",
        label="likelihood",
    )
    last.set(xscale="log", yscale="log", ylabel="samples to tell them apart")
    last.legend(loc="upper right", fontsize=9)
    for axes in (left, right, last):
        axes.set_xlabel(r"gate norm $|w|$ (1)")
        axes.xaxis.set_major_locator(FixedLocator(_TICKS))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([f"{tick:g}" for tick in _TICKS])
    return figure
