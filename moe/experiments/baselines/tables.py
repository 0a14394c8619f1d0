"""Tables of the baselines chapter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from moe.experiments.baselines.contest import Row, Trust
from moe.experiments.baselines.figures import label
from moe.experiments.baselines.searches import Effort, Ends
from moe.experiments.baselines.thresholds.climbs import Curve
from moe.experiments.baselines.thresholds.success_curves import over_of
from moe.experiments.baselines.tuning import Outcome
from moe.experiments.common.shares import Share
from moe.experiments.shown.tables import Table, show, table

INTERVAL = "95 % interval"


def board(rows: Sequence[Row]) -> Table:
    """Success, errors and work of every method on one setting."""
    gated = any(not math.isnan(row.gate_error) for row in rows)
    head = ["method", "succeeds", INTERVAL, "median $E_{\\rm reg}$"]
    head += ["median $E_{\\rm gate}$"] * gated + ["median passes"]
    lines = [
        [row.method, row.share, row.share.interval(), row.error]
        + [row.gate_error] * gated
        + [row.passes]
        for row in rows
    ]
    return table(head, lines, [label, None, ".0%", ".1e", *[".2f"] * gated, ".0f"])


def sizes(curves: Sequence[Curve], level: float) -> Table:
    """Samples per weight at which success has probability ``level``, with 95 % intervals; methods
    down, k (or d, where k is one) across. Where the largest size does not do: successes there."""
    over = over_of([curve.setting for curve in curves])
    across = sorted({getattr(curve.setting, over) for curve in curves})
    methods = list(dict.fromkeys(curve.method for curve in curves))
    by_cell = {(curve.method, getattr(curve.setting, over)): curve for curve in curves}
    lines = [[m, *(_size(by_cell.get((m, a)), level) for a in across)] for m in methods]
    head = [f"method, ${over}$ =", *(f"{a}" for a in across)]
    return table(head, lines, [label, *[_sized] * len(across)])


def _size(curve: Curve | None, level: float) -> tuple[float, float, float] | str | None:
    if curve is None:
        return None
    if curve.below(level):
        return f"under {_digits(min(curve.shares) / curve.unit)}"
    if not curve.reached(level):
        n, share = curve.at_cap
        return f"{share} at {n / curve.unit:.0f}"
    size = curve.n50 if level == 0.5 else curve.n95
    low, high = size.interval()
    return size.value / curve.unit, low / curve.unit, high / curve.unit


def _sized(value: Any) -> str:
    if not isinstance(value, tuple):
        return show(value)
    size, low, high = map(_digits, value)
    return f"{size} ({low} to {high})"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def arrivals(head: str, name: str, shares: Mapping[str, Share]) -> Table:
    """Shares across, with their intervals below."""
    ends = [share.interval() for share in shares.values()]
    lines: list[list[Any]] = [[name, *shares.values()], [INTERVAL, *ends]]
    return table([head, *shares], lines, [None, *[_shared] * len(shares)])


def _shared(value: Share | tuple[float, float]) -> str:
    return show(value, None if isinstance(value, Share) else ".0%")


def exits(shares: Mapping[str, Share]) -> Table:
    """Shares of stuck runs that arrive, by the way they go on."""
    head = ["a stuck run goes on with", "and arrives", INTERVAL]
    lines = [[way, share, share.interval()] for way, share in shares.items()]
    return table(head, lines, [None, None, ".0%"])


OPTIMISERS = {"sgd": "SGD", "adam": "Adam"}


def steps(
    first: Mapping[tuple[str, str], float], descents: Mapping[tuple[str, str], Sequence[Outcome]]
) -> Table:
    """Gradient descent with a third of the first step, the step, three times it; and longer."""
    head = ["loss, optimiser", "step", "a third of it", "the step", "three times it"]
    head.append("the step, longer")
    lines = [
        [f"{loss}, {OPTIMISERS[by]}", first[loss, by], *mine, *[None] * (4 - len(mine))]
        for (loss, by), mine in descents.items()
    ]
    return table(head, lines, [None, "g"])


def begins(found: Mapping[tuple[str, float, float], Outcome]) -> Table:
    """EM by where it begins: {(noise, spread, length of the rows): what came of it}."""
    named = {
        "held": "held at the truth",
        "one": "learned, one for all",
        "each": "learned, one each",
    }
    scales = list(dict.fromkeys(scale for *_, scale in found))
    head = ["$\\sigma$", "begins at, over sd($y$)", *(f"rows of length {s:g}" for s in scales)]
    lines = [
        [named[noise], None if noise == "held" else spread]
        + [found[noise, spread, scale].share for scale in scales]
        for noise, spread in dict.fromkeys((noise, spread) for noise, spread, _ in found)
    ]
    return table(head, lines, [None, "g"])


def below(counted: Mapping[str, tuple[int, int]]) -> Table:
    """Failed runs below the oracle's likelihood, of failed runs in all, by samples per weight."""
    line = ["failed runs below the oracle", *(f"{b} of {f}" for b, f in counted.values())]
    return table(["samples per weight", *counted], [line])


def shared(records: Sequence[Ends]) -> Table:
    """How many experts of wrong ends are right, of all and of those that two ends share."""
    head = ["$k$", "samples per weight", "right, of all", "right, of those that two share"]
    lines = [
        [r.spec.setting.k, _ratio(r.spec.setting), r.right, r.right_of_shared] for r in records
    ]
    return table(head, lines, ["d", "d", ".0%", ".0%"])


def trust(answers: Sequence[Trust]) -> Table:
    """What ``recover`` says of its answers, by outcome; a column a setting."""
    lines: list[list[Any]] = []
    for name, text in _OUTCOMES.items():
        lines.append([text, *(getattr(t, name) for t in answers)])
    lines.append(["wrong, of the converged", *map(lies, answers)])
    names = (f"{t.setting.k}, {_ratio(t.setting)}" for t in answers)
    return table(["$k$, samples per weight", *names], lines)


_OUTCOMES = {
    "right": "right, converged",
    "right_doubted": "right, not converged",
    "wrong_doubted": "wrong, not converged",
    "wrong": "wrong, converged",
    "ahead": "of these above the oracle",
}


def lies(answer: Trust) -> str:
    """Wrong ones among those called converged, with Wilson's interval."""
    chance = (answer.misplaced.value, *answer.misplaced.interval()) if answer.called else None
    return show(chance, ".0%")


def _ratio(setting: Any) -> int:
    return int(setting.n // (setting.k * setting.d))


def best_of(record: Effort) -> Table:
    """The best of m starts, predicted from the share that arrives and measured."""
    p = record.hits
    mean = sum(p) / len(p)
    lines = [
        [
            point.starts,
            1 - (1 - mean) ** point.starts,
            sum(1 - (1 - one) ** point.starts for one in p) / len(p),
            point.share.value,
            point.share.interval(),
        ]
        for point in record.points
        if point.searcher == "best"
    ]
    head = ["$m$", "by the mean of $p$", "by each $p$", "measured", INTERVAL]
    return table(head, lines, ["d", ".2f", ".2f", ".2f", ".0%"])
