"""Figures of chapter 9: squared error over the Cramer-Rao bound, and coverage."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from moe.experiments.sample_complexity.efficiency import Record
from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, DASHES, bars, drawing, subplots

_HUES, _MARKERS = ("blue", "orange", "vermilion"), "os^"


@drawing
def efficiency_figure(records: Sequence[Record]) -> Figure:
    """Mean squared error over its bound against n: regressors, gates; one line a noise level."""
    figure, axes = subplots(1, 2, height=3.4, sharey=True)
    sigmas = sorted({record.spec.sigma for record in records})
    for panel, (name, title) in zip(
        axes[0], (("regressors", "regressors"), ("gating", "gates")), strict=True
    ):
        panel.axhspan(
            0.9, 1.1, color=COLOURS["grey"], alpha=0.15, linewidth=0, label=hidden("within a tenth")
        )
        panel.axhline(1.0, color=COLOURS["grey"], linewidth=1, label=hidden("bound"))
        for index, sigma in enumerate(sigmas):
            chosen = sorted(
                (record for record in records if record.spec.sigma == sigma),
                key=lambda record: record.spec.n,
            )
            means = [record.mean(name) for record in chosen]
            places = [record.spec.n * (1 + 0.06 * (index - 1)) for record in chosen]
            colour, label = COLOURS[_HUES[index % 3]], rf"$\sigma = {sigma:g}$"
            low, high = [mean.low for mean in means], [mean.high for mean in means]
            bars(panel, places, low, high, colour=colour, label=label)
            panel.plot(
                places,
                [mean.value for mean in means],
                color=colour,
                marker=_MARKERS[index % 3],
                linestyle=DASHES[index % 3],
                markersize=5,
                label=label,
            )
        panel.set(xscale="log", xlabel="samples $n$", title=title)
        ticks = sorted({record.spec.n for record in records})
        panel.set_xticks(ticks, [f"{n:g}" for n in ticks], rotation=45, fontsize=9)
        panel.set_xticks([], minor=True)
    axes[0, 0].set_ylabel("mean squared error / bound (1)")
    axes[0, 0].legend()
    return figure
