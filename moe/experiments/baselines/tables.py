"""Tables of the baselines chapter, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from moe.experiments.baselines.contest import Row
from moe.experiments.baselines.figures import label
from moe.experiments.baselines.transition import Curve
from moe.experiments.common.shares import Share


def board(rows: Sequence[Row]) -> str:
    """Success, errors and work of every method on one setting."""
    gated = any(not math.isnan(row.gate_error) for row in rows)
    head = ["method", "succeeds", "95 % interval", "median $E_{\\rm reg}$"]
    head += ["median $E_{\\rm gate}$"] * gated + ["median passes"]
    lines = []
    for row in rows:
        cells = [label(row.method), f"{row.share.successes} of {row.share.trials}"]
        cells += [interval(row.share), f"{row.error:.1e}"]
        cells += [f"{row.gate_error:.2f}"] * gated
        lines.append([*cells, f"{row.passes:.0f}"])
    return markdown(head, lines)


def sizes(curves: Sequence[Curve], level: float) -> str:
    """Samples per weight at which success has probability ``level``, with 95 % intervals; methods
    down, k (or d, where k is one) across. Where the largest size does not do: successes there."""
    over = "k" if len({curve.setting.k for curve in curves}) > 1 else "d"
    across = sorted({getattr(curve.setting, over) for curve in curves})
    methods = list(dict.fromkeys(curve.method for curve in curves))
    by_cell = {(curve.method, getattr(curve.setting, over)): curve for curve in curves}
    lines = [[label(m), *(_size(by_cell.get((m, a)), level) for a in across)] for m in methods]
    return markdown([f"method, ${over}$ =", *(f"{a}" for a in across)], lines)


def _size(curve: Curve | None, level: float) -> str:
    if curve is None:
        return "–"
    if curve.below(level):
        n = min(curve.shares)
        return f"under {_digits(n / curve.unit)}"
    if not curve.reached(level):
        n, share = curve.at_cap
        return f"{share.successes} of {share.trials} at {n / curve.unit:.0f}"
    size = curve.n50 if level == 0.5 else curve.n95
    value, low, high = (_digits(n / curve.unit) for n in (size.value, *size.interval()))
    return f"{value} ({low}–{high})"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def interval(share: Share) -> str:
    """Wilson's 95 % interval, in per cent."""
    low, high = share.interval()
    return f"{low:.0%} – {high:.0%}"


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
