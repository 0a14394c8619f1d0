"""What chapter 12 claims, decided from its records."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from moe.experiments.assumptions.inputs import Moment
from moe.experiments.assumptions.limits import Agreement
from moe.experiments.assumptions.outputs import Reweighted, Tails, ToldSigma
from moe.experiments.assumptions.sweeps import (
    EM,
    FAR,
    L4,
    ORACLE,
    RECOVER,
    REPAIRED,
    Judged,
    Record,
)
from moe.experiments.assumptions.worlds.violations import VIOLATIONS
from moe.experiments.common.claims import Finding, geometric_mean, over_clusters
from moe.experiments.engine.sweep import Trial

_ERRORS = 6.0
_EXACT = 1e-6
SEES_WRONG = (
    "sigma told too large",
    "outliers",
    "wrong nonlinearity",
    "too few experts",
    "a gate bias",
)
"""Violations that carry the likelihood's own maximum away; chosen after the fact."""


def formulas_hold(found: Sequence[Agreement]) -> Finding:
    """No entry is off by more than six standard errors, and some moments change by a quarter."""
    worst = max(each.standard_errors for each in found)
    return Finding(worst < _ERRORS and max(each.size for each in found) > 0.25, worst)


def directions_stay(found: Sequence[Reweighted], negative: Sequence[Reweighted]) -> Finding:
    """With positive factors every minimum is the truth, and lengths and whitener tell what they
    should; with a negative one no longer."""
    worst = max(max(each.error, each.proportions, each.told) for each in found)
    broken = min(each.error for each in negative)
    return Finding(worst < _EXACT and broken > 0.01, worst)


def averages_follow(found: Sequence[Moment]) -> Finding:
    """The plain average's bias is as the formula says, and more than a fifth of M for some law."""
    worst = max(each.errors[0] for each in found)
    return Finding(worst < _ERRORS and max(each.formula for each in found) > 0.2, worst)


def least_squares_is_exact(found: Sequence[Moment]) -> Finding:
    """Constant gates: no bias of least squares where it exists, where averages have one."""
    seen = [each.errors[1] for each in found if not math.isnan(each.errors[1])]
    return Finding(bool(seen) and max(seen) < _ERRORS, max(seen, default=math.nan))


def binary_is_refused(found: Sequence[Moment]) -> Finding:
    """Least squares has no answer exactly where a column is binary."""
    right = all(math.isnan(each.least_squares) == ("binary" in each.law) for each in found)
    return Finding(right, sum("binary" in each.law for each in found))


def geometric(above: Tensor, below: Tensor) -> Finding:
    """Geometric mean over mixtures of a ratio of errors, (mixtures,) or (mixtures, runs) each;
    holds for an interval above one, which draws mixtures anew. A NaN, no answer, counts as one, the
    largest error there is, above and below. None for fewer than two mixtures."""
    logs = (above.nan_to_num(nan=1.0) / below.nan_to_num(nan=1.0)).log()
    if len(logs) < 2:
        return Finding(None)
    value, ends = geometric_mean(logs.reshape(len(logs), -1).tolist())
    return Finding(ends[0] > 1, value, ends)


def better_way(trials: Sequence[Trial], law: str, worse: str, better: str) -> Finding:
    """Of two ways to estimate moments under a law of inputs, all nonlinearities together: those of
    one seed share experts, gates and inputs and are one cluster."""
    own = [t for t in trials if t.spec.law == law]
    seeds = list(dict.fromkeys(t.seed for t in own))
    first, second = (
        torch.tensor([[t.result[way] for t in own if t.seed == s] for s in seeds]).double()
        for way in (worse, better)
    )
    return geometric(first, second)


def told_more_is_better(found: ToldSigma, factor: float) -> Finding:
    """E_reg when told the true sigma, over that when told ``factor`` times it."""
    place = found.factors.index(factor)
    return geometric(found.errors[found.factors.index(1.0)], found.errors[place])


def tails_grow(found: Tails) -> Finding:
    """The power of n with which the plain average's error goes: mean over data sets, interval over
    them; holds where it is not falling as n^(-1/2) does, and that of clipped outputs is."""
    span = math.log(found.sizes[-1] / found.sizes[0])
    plain, clipped = (
        [[v] for v in ((each[-1] / each[0]).log() / span).tolist()]
        for each in (found.plain, found.clipped)
    )
    value, interval = over_clusters(plain)
    fair, upper = over_clusters(clipped)
    return Finding(interval[0] > -0.1 and upper[1] < -0.25 and fair < value, value, interval)


def stays_with_the_likelihood(record: Record, times: float = 2.0) -> Finding:
    """Where only the moments' assumptions fail: the largest ratio, over violations and mixtures, of
    the error of ``recover`` to that of EM from the truth."""
    names = [name for name in record.spec.violations if not VIOLATIONS[name].believed]
    worst = max(float((record.at(n, RECOVER) / record.at(n, ORACLE)).max()) for n in names)
    return Finding(worst < times, worst)


def wrong_is_noticed(record: Record, beyond: float = 0.01) -> Finding:
    """Fits of ``recover`` beyond that error, where the likelihood believes something wrong: doubted
    of all."""
    far = doubted = 0
    for name in record.spec.violations:
        if not VIOLATIONS[name].believed:
            continue
        for degree in record.degrees(name)[1:]:
            large = record.at(name, RECOVER, degree) > beyond
            far += int(large.sum())
            doubted += int((record.doubts(name, degree)[large] > 0).sum())
    return Finding(doubted == far if far else None, f"{doubted} of {far}")


def passes_unseen(found: Sequence[Judged]) -> Finding:
    """Some fit beyond 0.01 is doubted by no check. The words: how many, and their largest error."""
    unseen = torch.cat([each.unseen() for each in found])
    fits = sum(len(each.errors) for each in found)
    if len(unseen) == 0:
        return Finding(False, f"none of {fits}")
    return Finding(True, f"{len(unseen)} of {fits} fits, errors up to {float(unseen.max()):.2g}")


def oracle_is_lost(record: Record, times: float = 5.0) -> Finding:
    """Violations of ``SEES_WRONG``: EM from the truth errs ``times`` more than where all holds, on
    average over mixtures; the value is the smallest such ratio."""
    ratios = []
    for name in [name for name in SEES_WRONG if name in record.spec.violations]:
        log = (record.at(name, ORACLE) / record.at(name, ORACLE, 0.0)).log().mean()
        ratios.append(math.exp(float(log)))
    return Finding(min(ratios) > times, min(ratios))


def repairs_work(record: Record, below: float = 0.01) -> Finding:
    """Largest median error after the repair, violations of ``SEES_WRONG`` and too many experts."""
    names = [*SEES_WRONG, "sigma told too small", "too many experts"]
    worst = max(
        float(record.at(n, REPAIRED).nanmedian()) for n in names if n in record.spec.violations
    )
    return Finding(worst < below, worst)


def lost_in_population(record: Record, names: Sequence[str], times: float = 3.0) -> Finding:
    """L_4 of many samples: error more than ``times`` that where all holds (no minimum counts as
    one), mean log over mixtures; the value is the smallest ratio."""
    ratios = [_far_ratio(record, name) for name in names if name in record.spec.violations]
    return Finding(min(ratios) > times, min(ratios)) if ratios else Finding(None)


def kept_in_population(record: Record, names: Sequence[str], times: float = 3.0) -> Finding:
    """The opposite: the largest ratio is below ``times``."""
    ratios = [_far_ratio(record, name) for name in names if name in record.spec.violations]
    return Finding(max(ratios) < times, max(ratios)) if ratios else Finding(None)


def _far_ratio(record: Record, name: str) -> float:
    broken, whole = (record.at(name, FAR, degree).nan_to_num(nan=1.0) for degree in (None, 0.0))
    return math.exp(float((broken / whole).log().mean()))


def random_is_fair(record: Record, names: Sequence[str], times: float = 2.0) -> Finding:
    """EM from random starts over EM from the truth: the largest ratio of medians."""
    ratios = [float(record.at(n, EM).nanmedian() / record.at(n, ORACLE).nanmedian()) for n in names]
    return Finding(max(ratios) < times, max(ratios))


def l4_needs_more(record: Record) -> Finding:
    """Where all holds: E_reg of L_4 over that of ``recover``, same samples."""
    name = record.spec.violations[0]
    return geometric(record.at(name, L4, 0.0), record.at(name, RECOVER, 0.0))
