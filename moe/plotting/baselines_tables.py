"""Tables of the baselines chapter, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from moe.experiments.contest import Row
from moe.experiments.random_starts import Share
from moe.experiments.transition import Threshold
from moe.plotting.baselines import label


def board(rows: Sequence[Row]) -> str:
    """Success, errors and work of every method on one setting; time as a multiple of the oracle's.

    Raises StopIteration without an oracle among the rows.
    """
    unit = next(row for row in rows if row.method == "oracle").seconds
    gated = any(not math.isnan(row.gate_error) for row in rows)
    head = ["method", "succeeds", "95 % interval", "median $E_{\\rm reg}$"]
    head += ["median $E_{\\rm gate}$"] * gated + ["passes", "time"]
    lines = []
    for row in rows:
        cells = [label(row.method), f"{row.share.successes} of {row.share.trials}"]
        cells += [interval(row.share), f"{row.error:.1e}"]
        cells += [f"{row.gate_error:.2f}"] * gated
        lines.append([*cells, f"{row.passes:.0f}", f"{row.seconds / unit:.1f}"])
    return markdown(head, lines)


def smallest(ends: Sequence[Threshold]) -> str:
    """The smallest sufficient n, methods down and k across; a dash where it was not run."""
    crowds = sorted({end.search.setting.k for end in ends})
    methods = list(dict.fromkeys(end.search.method for end in ends))
    by_cell = {(end.search.method, end.search.setting.k): end for end in ends}
    lines = [
        [label(method), *(_size(by_cell.get((method, k))) for k in crowds)] for method in methods
    ]
    return markdown(["method, $k$ =", *(f"{k}" for k in crowds)], lines)


def _size(end: Threshold | None) -> str:
    if end is None:
        return "–"
    return f"{end.smallest:,.0f}" if math.isfinite(end.smallest) else f"> {end.search.sizes[-1]:,}"


def interval(share: Share) -> str:
    """Wilson's 95 % interval, in per cent."""
    low, high = share.interval()
    return f"{low:.0%} – {high:.0%}"


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
