"""How many experts: eigenvalues of M and held-out likelihood."""

from __future__ import annotations

from matplotlib.figure import Figure

from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, drawing, subplots
from moe.recovery.selection import Choice


@drawing
def evidence(choice: Choice) -> Figure:
    """Left: eigenvalues of M beside the noise. Right: held-out log-likelihood below its best."""
    figure, axes = subplots(1, 2, height=3.0)
    left, right = axes[0]
    order = range(1, len(choice.eigenvalues) + 1)
    left.plot(order, choice.eigenvalues, "o", color=COLOURS["blue"], label=hidden("eigenvalues"))
    left.axhline(choice.noise, color=COLOURS["vermilion"], linestyle="--", label="noise alone")
    left.axvline(choice.k, color=COLOURS["grey"], linestyle=":", label="chosen $k$")
    left.set(xlabel="index", ylabel=r"eigenvalue of $\hat M$", xticks=list(order))
    left.legend(loc="upper right", fontsize=9, handlelength=1.6)
    best = max(choice.held_out.values())
    sizes = sorted(choice.held_out)
    right.plot(sizes, [best - choice.held_out[k] for k in sizes], "o-", color=COLOURS["blue"],
               label=hidden("held out"))  # fmt: skip
    right.axvline(choice.k, color=COLOURS["grey"], linestyle=":", label=hidden("chosen $k$"))
    right.set_yscale("symlog", linthresh=0.003)
    right.set_ylim(-0.001, 2 * max(best - value for value in choice.held_out.values()))
    right.set(
        xlabel="experts $k$", ylabel="held-out nats per sample\nbelow the best $k$", xticks=sizes
    )
    return figure
