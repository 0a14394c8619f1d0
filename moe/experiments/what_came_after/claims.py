"""What chapter 13 claims, decided from its records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from moe.experiments.common.claims import Finding, geometric_mean, over_clusters, share
from moe.experiments.common.shares import Share
from moe.experiments.what_came_after.mirror import Identity, Rates
from moe.experiments.what_came_after.too_many import rates, rows
from moe.experiments.what_came_after.too_many.students import Row as Student

_ROUNDING = 1e-12


def powers(sizes: Sequence[int], values: Tensor) -> Tensor:
    """For every data set the power of n in its errors, by least squares on logarithms: values
    (sizes, data sets) -> (data sets,)."""
    x = torch.tensor(sizes, dtype=torch.float64).log()
    x = x - x.mean()
    return x @ values.clamp_min(1e-300).log() / x.square().sum()


def power(sizes: Sequence[int], values: Tensor) -> tuple[float, tuple[float, float]]:
    """Their mean, with its 95 % interval over data sets."""
    return over_clusters([[value] for value in powers(sizes, values).tolist()])


def mirror_holds(found: Sequence[Identity]) -> Finding:
    """Objectives equal up to a constant and divergences equal, to rounding; where the steps were
    computed, they agree as well as the minimiser stops."""
    worst = max(max(each.spread, each.bregman) for each in found)
    steps = [each.steps for each in found if math.isfinite(each.steps)]
    return Finding(worst < _ROUNDING and max(steps) < 1e-6, worst)


def rates_agree(found: Sequence[Rates], within: float = 0.03) -> Finding:
    """Measured over predicted contraction: the one farthest from one."""
    ratios = [each.measured / each.predicted for each in found]
    worst = max(ratios, key=lambda ratio: abs(ratio - 1))
    return Finding(abs(worst - 1) < within and min(e.measured for e in found) > 0.1, worst)


def orders_agree(found: Mapping[str, float]) -> Finding:
    """The powers of the step in the Hellinger distance, 1, 2 and 4, within a tenth each."""
    worst = max(abs(found[kind] - order) for kind, order in rates.ORDERS.items())
    return Finding(worst < 0.1, ", ".join(f"{found[kind]:.2f}" for kind in rates.KINDS))


def falls_like(
    sizes: Sequence[int], values: Tensor, expected: float, within: float = 0.15
) -> Finding:
    """The power of n: its interval comes within 0.05 of the expected one, and its mean within a
    bound."""
    mean, interval = power(sizes, values)
    meets = interval[0] - 0.05 <= expected <= interval[1] + 0.05
    return Finding(meets and abs(mean - expected) < within, mean, interval)


def slower(sizes: Sequence[int], values: Tensor, others: Tensor) -> Finding:
    """How much larger the power of n is than the others', pairs of the same truth: the interval
    lies above zero."""
    gaps = powers(sizes, values) - powers(sizes, others)
    mean, interval = over_clusters([[gap] for gap in gaps.tolist()])
    return Finding(interval[0] > 0, mean, interval)


def slower_than(sizes: Sequence[int], values: Tensor, power_of_n: float = -0.5) -> Finding:
    """The power of n: its interval lies above the given one."""
    mean, interval = power(sizes, values)
    return Finding(interval[0] > power_of_n, mean, interval)


def larger(values: Tensor, others: Tensor, times: float = 1.5) -> Finding:
    """How many times larger errors are at the last size, geometric mean over data sets: the
    interval lies above ``times``."""
    logs = (values[-1] / others[-1]).log().tolist()
    mean, ends = geometric_mean([[value] for value in logs])
    return Finding(ends[0] > times, mean, ends)


def costs_more(
    values: Tensor, base: Tensor, others: Tensor, others_base: Tensor, times: float = 1.5
) -> Finding:
    """By how many times more the first errors exceed their base than the others theirs, at the last
    size, geometric mean over data sets: the interval lies above ``times``."""
    return larger(values / base, others / others_base, times)


def converged(gradients: Mapping[object, Tensor], bound: float = 1e-5) -> Finding:
    """The largest gradient at the end of any fit."""
    worst = max(float(each.max()) for each in gradients.values())
    return Finding(worst < bound, worst)


def rescued(small: Student, large: Student) -> Finding:
    """The larger student recovers at least four fifths of the teachers, and a fifth more of them
    than the smaller one; the value is its share, with its interval."""
    value, interval = share(large.found.successes, large.found.trials)
    return Finding(value >= 0.8 and value - small.found.value >= 0.2 - 1e-9, value, interval)


def as_good(first: Student, second: Student, within: int = 1) -> Finding:
    """The first succeeds as often as the second, but for so many teachers."""
    value, interval = share(first.found.successes, first.found.trials)
    return Finding(first.found.successes >= second.found.successes - within, value, interval)


def found_always(shares: Sequence[Share], least: float = 0.8) -> Finding:
    """Of all trials together."""
    value, interval = share(sum(s.successes for s in shares), sum(s.trials for s in shares))
    return Finding(value >= least, value, interval)


def rows_follow_dimension(found: Sequence[rows.Row], n: int) -> Finding:
    """With k known the rows show k directions in at least two thirds of the data sets, and in one
    dimension less or more in at most a third."""
    row = next(each for each in found if each.spec.n == n)
    told, fewer, more = (row.right[name].value for name in (rows.TOLD, rows.FEWER, rows.MORE))
    value, interval = share(row.right[rows.TOLD].successes, row.right[rows.TOLD].trials)
    return Finding(told >= 2 / 3 and max(fewer, more) <= 1 / 3, value, interval)
