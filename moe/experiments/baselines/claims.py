"""Decides the claims of the chapter on baselines."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import binomtest

from moe.experiments.baselines.contest import Row, Trust
from moe.experiments.baselines.searches import Effort, Ends
from moe.experiments.baselines.thresholds.climbs import Curve
from moe.experiments.baselines.thresholds.success_curves import DRAWS, Draws, combined
from moe.experiments.baselines.tuning import Outcome
from moe.experiments.common.claims import Finding, share
from moe.experiments.common.problems import Setting
from moe.experiments.common.shares import Share
from moe.randomness import stream


@dataclass(frozen=True, eq=False)
class Ratio:
    """Samples that one method needs over those of another, on problems of one kind."""

    title: str
    k: int
    d: int
    draws: Draws


def ratios(
    records: Mapping[str, Sequence[Curve]],
    above: str,
    below: str,
    *,
    level: float = 0.5,
    crowds: Collection[int] | None = None,
) -> list[Ratio]:
    """For all kinds of problems on which both get to that level within the range, each once."""
    found: dict[Setting, Ratio] = {}
    for title, curves in records.items():
        by_cell = {(curve.method, curve.setting): curve for curve in curves}
        for (method, setting), curve in by_cell.items():
            other = by_cell.get((below, setting))
            if method != above or other is None or (crowds and setting.k not in crowds):
                continue
            if curve.reached(level) and other.reached(level):
                sizes = [c.n50 if level == 0.5 else c.n95 for c in (curve, other)]
                one = Ratio(title, setting.k, setting.d, sizes[0] - sizes[1])
                found.setdefault(setting, one)
    return list(found.values())


def per_weight(curves: Sequence[Curve]) -> list[Ratio]:
    """n50 over the number of weights."""
    shift = [math.log(curve.unit) for curve in curves]
    return [
        Ratio("", c.setting.k, c.setting.d, Draws(*(part - s for part in vars(c.n50).values())))
        for c, s in zip(curves, shift, strict=True)
    ]


def mean(found: Sequence[Ratio]) -> Draws:
    """Of the geometric mean of the ratios."""
    return combined([1 / len(found)] * len(found), [one.draws for one in found])


def between(found: Sequence[Ratio], least: float, most: float = np.inf) -> Finding:
    """Whether the geometric mean of the ratios lies between the two with its whole interval."""
    if not found:
        return Finding(None)
    draws = mean(found)
    low, high = draws.interval()
    return Finding(least < low and high < most, draws.value, (low, high))


def growth(found: Sequence[Ratio], over: str = "k") -> Draws:
    """Of e to the slope of log ratio against log k (or d): exponent ``log``; NaN of a single k."""
    x = np.log([getattr(one, over) for one in found])
    if len(set(x)) < 2:
        unknown = torch.full((DRAWS,), math.nan, dtype=torch.float64)
        return Draws(math.nan, unknown, unknown)
    centred = x - x.mean()
    return combined(list(centred / (centred**2).sum()), [one.draws for one in found])


def span(found: Sequence[Ratio]) -> str:
    """The smallest and the largest of the ratios, in words."""
    values = [one.draws.value for one in found]
    return f"{min(values):.1f} to {max(values):.1f} times" if values else "none to compare"


def no_better(chosen: Outcome, others: Sequence[Outcome]) -> Finding:
    """No other choice wins on significantly more of the same data sets than the chosen one (exact
    McNemar tests, 5 % over all of them together). The value is the smallest p, times their number.
    """
    smallest = min(_more_often(other.won, chosen.won) for other in others) * len(others)
    return Finding(smallest > 0.05, min(1.0, smallest))


def _more_often(one: Sequence[bool], other: Sequence[bool]) -> float:
    """p of the hypothesis that ``one`` does not win more often than ``other``, data sets paired."""
    pairs = list(zip(one, other, strict=True))
    gained, lost = (sum(a and not b for a, b in p) for p in (pairs, [(b, a) for a, b in pairs]))
    if gained + lost == 0:
        return 1.0
    return float(binomtest(gained, gained + lost, alternative="greater").pvalue)


def all_fail(rows: Sequence[Row], methods: Collection[str], most: float = 0.5) -> Finding:
    """Every one of the methods recovers less than that share, with the whole of its interval."""
    mine = [row for row in rows if row.method in methods]
    worst = max(mine, key=lambda row: row.share.value)
    low, high = worst.share.interval()
    return Finding(high < most, worst.share.value, (low, high))


def at_the_oracles(rows: Sequence[Row], methods: Collection[str], within: float = 0.05) -> Finding:
    """Every one of the methods recovers always, with the oracle's median error up to that part."""
    oracle = next(row for row in rows if row.method == "oracle")
    mine = [row for row in rows if row.method in methods]
    apart = max(abs(row.error / oracle.error - 1) for row in mine)
    won = all(row.share.value == 1 for row in mine)
    return Finding(won and apart < within, f"errors within {apart:.1%}")


def below_oracle(
    curves: Sequence[Curve], least: float, most: float = np.inf, crowd: int = 0
) -> tuple[int, int]:
    """Failed runs with that many samples a weight and that many experts or more that end at a lower
    likelihood than the oracle, and failed runs in all."""
    ahead = [
        higher
        for curve in curves
        if curve.setting.k >= crowd
        for n, higher in curve.ahead
        if least <= n / curve.unit < most
    ]
    return len(ahead) - sum(ahead), len(ahead)


def more_often_right(records: Sequence[Ends], lead: float, draws: int = 2_000) -> Finding:
    """Of experts that two wrong ends share a larger share is right than of all of their experts, by
    ``lead`` at least, in every record with the whole of its interval (data sets drawn anew). The
    value is the smallest lead."""
    found = []
    for record in records:
        counts = np.array([record.experts, record.rights, record.shared, record.rights_of_shared])
        picks = torch.randint(
            counts.shape[1], (draws, counts.shape[1]), generator=stream("resampling", 8)
        ).numpy()
        experts, rights, shared, both = counts[:, picks].sum(2)
        leads = both / np.maximum(shared, 1) - rights / np.maximum(experts, 1)
        low, high = np.quantile(leads, [0.025, 0.975])
        found.append((record.right_of_shared - record.right, (float(low), float(high))))
    value, interval = min(found)
    return Finding(min(low for _, (low, _) in found) > lead, value, interval)


def searches_better(record: Effort) -> Finding:
    """``recover`` wins on more of the same data sets than the best of all random starts (p < 0.01),
    with fewer passes."""
    ours, best = (
        max((p for p in record.points if p.searcher == name), key=lambda point: point.starts)
        for name in ("recover", "best")
    )
    p = _more_often(ours.won, best.won)
    text = f"{sum(ours.won)} against {sum(best.won)} of {len(best.won)}"
    text += f", with {ours.passes:,.0f} against {best.passes:,.0f} passes"
    return Finding(p < 0.01 and ours.passes < best.passes, text)


def misplaced(answers: Sequence[Trust], least: float, most: float) -> Finding:
    """Of the answers that are called converged a share between the two is wrong, with the whole of
    its interval; every answer is of another data set or another setting."""
    wrong, called = (sum(getattr(t, name) for t in answers) for name in ("wrong", "called"))
    value, (low, high) = share(wrong, called)
    return Finding(least < low and high < most, value, (low, high))


def mostly(those: Share, others: Share) -> Finding:
    """More than half of those arrive and fewer than half of the others, each with the whole of its
    interval."""
    low, high = those.interval()
    return Finding(low > 0.5 > others.interval()[1], those.value, (low, high))


def on_fresh(same: Share, more: Share) -> Finding:
    """On as many fresh samples fewer than half arrive, within chance of one half; on more of them
    at least nine in ten, with an interval that lies above the other's."""
    upper = same.interval()[1]
    text = f"{same.successes} and {more.successes} of {same.trials}"
    return Finding(same.value < 0.5 < upper < more.interval()[0] and more.value >= 0.9, text)


def as_on_slides(
    errors: Mapping[int, tuple[float, float]], slides: Mapping[str, Mapping[int, float]]
) -> Finding:
    """Mean errors by k, (from random, from spectral starts): the spectral one is the smaller by
    three tenths or more for every k, but for four mixtures their quotient is more than twice the
    slides'."""
    if not errors:
        return Finding(None)
    held, spectral = errors[4]
    shown, lower = slides["EM"][4], slides["spectral + EM"][4]
    text = f"with four mixtures {spectral:.2f} against {held:.2f}"
    text += f", on the slides {lower:.2f} against {shown:.2f}"
    order = all(low < 0.7 * high for high, low in errors.values())
    return Finding(order and spectral / held > 2 * lower / shown, text)
