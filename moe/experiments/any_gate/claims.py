"""What chapter 10 claims, decided from its records."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from moe.experiments.any_gate.likelihood.coverage import Covered
from moe.experiments.any_gate.likelihood.curves import (
    CONSTANT,
    DOUBTED,
    L4,
    OFFSETS,
    RECOVER,
    SOFTMAX,
    Record,
)
from moe.experiments.any_gate.likelihood.limits import Limits
from moe.experiments.any_gate.moments import Agreement
from moe.experiments.any_gate.saddles import Left
from moe.experiments.any_gate.scores import SHARPENED, Score
from moe.experiments.common.claims import Finding, geometric_mean, over_clusters

FAR_FROM_SOFTMAX = ("quadrants", "shells")
_RIGHT, _NEARLY = "softmax", "top-1"
_EXACT, _QUADRATURE = 1e-10, 1e-5


def moments_hold(found: Sequence[Agreement]) -> Finding:
    """Every identity to rounding; without the transform some of each degree fail (for linear g the
    square needs none)."""
    worst = max(each.transformed for each in found)
    degrees = {each.degree for each in found if each.degree > 2}
    plain = [max(a.plain for a in found if a.degree == degree) for degree in degrees]
    return Finding(worst < _EXACT and min(plain) > 1e-2, worst)


def breaks(difference: float, error: float) -> Finding:
    """A difference beyond ten standard errors and a twentieth in size."""
    interval = (difference - 1.96 * error, difference + 1.96 * error)
    return Finding(difference > 10 * error and difference > 0.05, difference, interval)


def stationary(found: Sequence[Score], odd: bool) -> Finding:
    """Calibrated gates: no expected score inside the span, nor, for odd g, outside of it; for
    another g some outside; gates that are not calibrated have one inside."""
    right = [each for each in found if each.fitted != SHARPENED]
    wrong = [each for each in found if each.fitted == SHARPENED]
    inside = max(max(each.inside, each.level) for each in right)
    outside = [each.outside for each in right]
    fine = max(outside) < _QUADRATURE if odd else max(outside) > 100 * _QUADRATURE
    broken = all(each.inside > 100 * _QUADRATURE for each in wrong)
    return Finding(inside < _QUADRATURE and fine and broken, max([inside, *outside * odd]))


def ratio(
    record: Record, sigma: float, above: str, below: str, n: int, kinds: Sequence[str]
) -> Finding:
    """Geometric mean over mixtures of E_reg of one method over that of another, with its interval
    over mixtures; holds where the interval lies above one."""
    logs = torch.cat(
        [
            (record.at(kind, sigma, above, n) / record.at(kind, sigma, below, n)).log()
            for kind in kinds
        ]
    )
    seen = logs[logs.isfinite()].tolist()
    if not seen:
        return Finding(None)
    value, ends = geometric_mean([[value] for value in seen])
    return Finding(ends[0] > 1, value, ends)


def falls(record: Record, sigma: float, method: str, first: int, last: int) -> Finding:
    """The exponent of n in E_reg between two sizes, mean over the gates far from softmax; holds for
    an interval below -1/2."""
    slopes = torch.cat([_slope(record, kind, sigma, method, first, last) for kind in _far(record)])
    seen = slopes[slopes.isfinite()].tolist()
    if not seen:
        return Finding(None)
    middle, interval = over_clusters([[value] for value in seen])
    return Finding(interval[1] < -0.5, middle, interval)


def levels_off(record: Record, sigma: float, method: str, first: int, last: int) -> Finding:
    """Of the gates far from softmax: the geometric mean of a method's error over that of constant
    proportions at ``last`` samples. Holds where its interval lies above two, and the power of n
    with which the error goes has an interval above -1."""
    slope = falls(record, sigma, method, first, last)
    above = ratio(record, sigma, method, CONSTANT, last, _far(record))
    if slope.interval is None or above.interval is None:
        return Finding(None)
    return Finding(above.interval[0] > 2 and slope.interval[0] > -1, above.value, above.interval)


def wrong_gates_are_doubted(record: Record, sigma: float, n: int) -> Finding:
    """Softmax ``recover``: every fit under a gate that is not (nearly) softmax doubts itself, and
    none under softmax. None where the record lacks one of the two; the value counts them, and those
    under top-1, which is nearly softmax."""
    doubted = {kind: record.at(kind, sigma, DOUBTED, n) > 0 for kind in record.spec.kinds}
    wrong = [each for kind, each in doubted.items() if kind not in (_RIGHT, _NEARLY)]
    if not wrong or _RIGHT not in doubted:
        return Finding(None, "")
    told = [
        ("wrong", torch.cat(wrong)),
        *((k, doubted[k]) for k in (_RIGHT, _NEARLY) if k in doubted),
    ]
    words = ", ".join(f"{name} {int(each.sum())} of {len(each)}" for name, each in told)
    return Finding(bool(torch.cat(wrong).all()) and not bool(doubted[_RIGHT].any()), words)


def _far(record: Record) -> list[str]:
    return [kind for kind in record.spec.kinds if kind in FAR_FROM_SOFTMAX]


def _slope(record: Record, kind: str, sigma: float, method: str, first: int, last: int) -> Tensor:
    change = record.at(kind, sigma, method, last) / record.at(kind, sigma, method, first)
    return change.log() / math.log(last / first)


def wins(record: Record, method: str, over: str, n: int) -> dict[tuple[str, float], bool]:
    """For every gate and sigma: whether the median E_reg of the one method is below the other's."""
    return {
        cell: bool(record.at(*cell, method, n).nanmedian() < record.at(*cell, over, n).nanmedian())
        for cell in record.errors
    }


def depends_on_the_gate(
    record: Record, n: int, above: Sequence[str], below: Sequence[str], least: float
) -> Finding:
    """Medians over mixtures of softmax's E_reg over that of constant proportions: above one under
    the gates ``above``, at every sigma from ``least`` on, and below one under ``below`` at every
    sigma. None where a gate did not run; the value has the least and the largest."""
    if not set(record.spec.kinds) >= {*above, *below}:
        return Finding(None)

    def medians(kinds: Sequence[str], sigmas: Sequence[float]) -> list[float]:
        cells = [(kind, sigma) for kind in kinds for sigma in sigmas]
        ratios = [record.at(*c, SOFTMAX, n) / record.at(*c, CONSTANT, n) for c in cells]
        return [float(ratio.nanmedian()) for ratio in ratios]

    sigmas = record.spec.sigmas
    low = min(medians(above, [sigma for sigma in sigmas if sigma >= least]))
    high = max(medians(below, sigmas))
    return Finding(low > 1 > high, f"{low:.2g} and {high:.2g}")


def always_better(record: Record, n: int, times: float = 1.0) -> Finding:
    """The constant gate's E_reg is below ``times`` that of L_4 in all trials that have both."""
    ratios = torch.cat(
        [record.at(*cell, CONSTANT, n) / record.at(*cell, L4, n) for cell in record.errors]
    )
    seen = ratios[ratios.isfinite()]
    return Finding(bool((seen < times).all()), float(seen.max())) if len(seen) else Finding(None)


def offsets_explain(record: Record, sigma: float, n: int) -> Finding:
    """How many times offsets lower softmax's error, far from softmax."""
    return ratio(record, sigma, SOFTMAX, OFFSETS, n, _far(record))


def against_recover(record: Record, sigma: float, n: int) -> Finding:
    """softmax ``recover`` over the constant gate, far from softmax; the interval above two."""
    found = ratio(record, sigma, RECOVER, CONSTANT, n, _far(record))
    if found.interval is None:
        return found
    return Finding(found.interval[0] > 2, found.value, found.interval)


def inconsistent(limits: Limits, kinds: Sequence[str]) -> Finding:
    """The limit of softmax fits is the truth (1e-6) for the softmax gate; for every mixture of
    these kinds it errs, by more than 1e-3. None where one lies less than four times as far from
    the truth as from itself by other points, or no maximum was reached. The value is the range over
    them."""
    right = float(limits.errors["softmax"].max()) < 1e-6
    off = torch.cat([limits.errors[kind].amin(0) for kind in kinds])
    apart = torch.cat([limits.apart[kind] for kind in kinds])
    most = max(float(limits.errors[kind].max()) for kind in kinds)
    value = f"{float(off.min()):.2g} to {most:.2g}"
    if right and not bool((off > 4 * apart).all()):
        return Finding(None, value)
    return Finding(right and bool((off > 1e-3).all()), value)


def falls_everywhere(record: Record, sigma: float, method: str, first: int, last: int) -> Finding:
    """Under every gate the mixtures that ran at both sizes have a smaller error at the last; the
    value is the slowest power of n. Not where none ran under some gate."""
    slopes = [_slope(record, kind, sigma, method, first, last) for kind in record.spec.kinds]
    seen = [slope[slope.isfinite()] for slope in slopes]
    slowest = max((float(each.max()) for each in seen if len(each)), default=math.nan)
    return Finding(all(len(each) and float(each.max()) < 0 for each in seen), slowest)


def covers(found: Sequence[Covered], name: str, low: float, high: float) -> Finding:
    """Mean coverage over the kinds of gate, clusters are data sets, between the bounds."""
    sets = [value for each in found for value in getattr(each, name).tolist()]
    middle, interval = over_clusters(sets)
    return Finding(low < middle < high, middle, interval)


def no_more_often(found: Sequence[Covered], name: str, other: str) -> Finding:
    """Coverage by the one is nowhere above that by the other by more than chance: the interval over
    data sets of their paired difference does not lie above zero; the value is the one's."""
    pairs = [(getattr(each, name), getattr(each, other)) for each in found]
    _, interval = over_clusters([v for a, b in pairs for v in (a - b).tolist()])
    value, own = over_clusters([v for a, _ in pairs for v in a.tolist()])
    return Finding(interval[0] <= 0, value, own)


def leaves(found: Sequence[Left]) -> Finding:
    """Some mixture is left by more than 0.1, and in the span none by a fiftieth and more."""
    free = sum(each.free > 0.1 for each in found)
    inside = max(each.in_span for each in found)
    return Finding(free > 0 and inside < 0.02, f"{free} of {len(found)}")
