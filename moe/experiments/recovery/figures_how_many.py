"""How many experts: eigenvalues of M and held-out likelihood."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from moe.experiments.common.style import COLOURS, drawing, subplots
from moe.experiments.engine.sweep import Trial
from moe.recovery.selection import Choice


@drawing
def evidence(choice: Choice) -> Figure:
    """Left: eigenvalues of M beside the noise. Right: held-out log-likelihood below its best."""
    figure, axes = subplots(1, 2, height=3.0)
    left, right = axes[0]
    order = range(1, len(choice.eigenvalues) + 1)
    left.plot(order, choice.eigenvalues, "o", color=COLOURS["blue"])
    left.axhline(choice.noise, color=COLOURS["vermilion"], linestyle="--", label="noise alone")
    left.axvline(choice.k + 0.5, color=COLOURS["grey"], linestyle=":", label="chosen $k$")
    left.set(xlabel="index", ylabel=r"eigenvalue of $\hat M$", xticks=list(order))
    left.legend()
    best = max(choice.held_out.values())
    sizes = sorted(choice.held_out)
    right.plot(sizes, [best - choice.held_out[k] for k in sizes], "o-", color=COLOURS["blue"])
    right.axvline(choice.k, color=COLOURS["grey"], linestyle=":")
    right.set_yscale("symlog", linthresh=0.003)
    right.set_ylim(bottom=-0.001)
    right.set(
        xlabel="experts $k$", ylabel="held-out nats per sample\nbelow the best $k$", xticks=sizes
    )
    return figure


def found(trials: Sequence[Trial]) -> str:
    """For each true k and number of samples an expert: eigenvalues above the noise, and in how many
    data sets k was found, as a Markdown table."""
    sizes = sorted({t.spec.samples_per_expert for t in trials})
    heads = [f"{n} samples an expert: eigenvalues, found" for n in sizes]
    lines = [f"| true $k$ | {' | '.join(heads)} |", "|---" * (1 + len(sizes)) + "|"]
    for k in sorted({t.spec.k for t in trials}):
        cells = []
        for n in sizes:
            own = [t for t in trials if t.spec.k == k and t.spec.samples_per_expert == n]
            above = [int(t.result["distinct"]) for t in own]
            right = sum(t.result["chosen"] == k for t in own)
            low, high = min(above), max(above)
            text = f"{low}" if low == high else f"{low} to {high}"
            cells.append(f"{text}; {right} of {len(own)}")
        lines.append(f"| {k} | {' | '.join(cells)} |")
    return "\n".join(lines)
