"""Random starts of EM, annealed expert by expert: a few, and if these disagree, many recombined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from moe.model.mixture import random_rows
from moe.model.nonlinearity import Nonlinearity
from moe.recovery.recombination import agree, anneal, joined, recombine
from moe.recovery.repair import LITTER, SMALL, enough, repaired
from moe.solvers.em import EMResult, expectation_maximisation

BATCH = 4
_ROUND = 20
_ALIKE = 2.0
_LAST = 2
_SCARCE, _PATIENCE = 10, 3
_VERY_SCARCE = 5
_AMPLE, _FEW = 2.5, 16
_MENDED, _PART, _MANY = 3, 3, 8
_GATED, _FIRST, _STEEP = 8, 15, 5.0
_JOINT, _TOGETHER, _TIGHT = 20, 20, 0.5


def race(
    x: Tensor,
    y: Tensor,
    k: int,
    nonlinearity: Nonlinearity,
    generator: torch.Generator,
    *,
    starts: int = 300,
    iterations: int = 300,
    tolerance: float = 1.0,
) -> EMResult:
    """The best of up to ``starts`` starts of EM in which each expert has its own noise.

    Every sigma_i starts at the spread of y and is learned, so that the responsibilities are broad
    at first and sharp later: annealing. With ONE sigma for all experts it falls only as fast as the
    worst of them allows, and the run ends where two experts share a truth. With one each, an expert
    that has found its truth turns sharp and leaves the rest of the samples to the others (derived;
    book, chapter 8). The weights are held equal, which makes an iteration cheap; gates come later.

    The truth has one sigma. So a start that has converged with its sigma_i alike (within a factor
    of 2) and small (0.15 of y's spread) has arrived. With few samples a wrong end can look so too;
    but wrong ends are many, and two starts seldom meet in one of them. Four random starts advance
    together; every 20 iterations the worse half of those still running is dropped, down to two. As
    experts turn sharp they advance on fewer samples (``repair.enough``), at last on all. If the
    best of them has arrived, a second one agrees with it, and there are ten samples a weight, that
    is all. If not, and there are ten samples a weight and eight experts or more (with fewer it does
    not pay), the two best are mended, each alone, up to three times (``repair.repaired``; no more
    than a third of ``starts``), until they agree. That is all if the better has arrived or samples
    are ample (``ample``). Otherwise they and further random starts are recombined
    (``recombination.recombine``) until two populations agree, with fewer than ten samples a weight
    for three generations more, and with fewer than five until all starts are spent: there a wrong
    end may draw both populations before either has seen the right one.

    x (n, d), y (n,). Returned are S ends, best first, no two of one lineage: if two of them agree
    they have found the same thing apart. sigma (S, k), gating zero.
    """
    count, d = min(BATCH, starts), x.shape[1]
    rows = random_rows(count, k, d, generator, x.dtype)
    ends = _heat(x, y, rows, nonlinearity, iterations, tolerance)
    if starts < count + 2:
        return ends
    share = len(y) / (k * d)
    if (pair := _pair(ends, y)) and share >= _SCARCE:
        return ends[pair]
    many = k >= _MANY and share >= _SCARCE
    rounds = _MENDED if many and len(ends.sigma) > 1 else 0
    for _ in range(rounds):
        if _PART * (count + 2 * LITTER) > starts:
            break
        count += 2 * LITTER
        ends = repaired(x, y, nonlinearity, generator, ends[:2], tolerance=tolerance)
        if agree(*ends.regressors):
            if share >= ample(k) or arrived(ends.sigma[0], y):
                return ends
            break
    patience = starts if share < _VERY_SCARCE else _PATIENCE if share < _SCARCE else 0
    return recombine(
        x,
        y,
        k,
        nonlinearity,
        generator,
        ends,
        starts=starts - count,
        patience=patience,
        tolerance=tolerance,
    )


def ample(k: int) -> float:
    """Samples of each of k d weights with which most random starts find most experts: 2.5 k, at
    least 40 (measured without mending: with half as many a search took four times as long at
    k = 16, with a third as many 14 times as long at k = 24). Before experts
    are sharp each sees its share 1/k of what y tells, beside noise of (d / n)^(1/2): n has to be of
    the order of k^2 d (a heuristic)."""
    return _AMPLE * max(k, _FEW)


def race_gates(
    x: Tensor,
    y: Tensor,
    k: int,
    nonlinearity: Nonlinearity,
    generator: torch.Generator,
    *,
    iterations: int = 100,
    tolerance: float = 1.0,
) -> EMResult:
    """The two best of eight starts of EM with random gates, which are learned from the start.

    With flat gates, as in ``race``, experts that overlap and are told apart by x alone (a change
    point in time, say) look like one broad expert, and the search ends in a compromise that the
    gates can no longer leave. Regressors N(0, I/d), gates five times as long, a sigma each from the
    spread of y; after 15 iterations the two best go on.

    x (n, d), y (n,) -> ends, best first; sigma (2, k).
    """
    shape = (_GATED, k, x.shape[1])
    rows = random_rows(*shape, generator, x.dtype)
    gates = _STEEP * random_rows(*shape, generator, x.dtype)
    gates, sigma = gates - gates[:, -1:], y.std().expand(shape[:2])
    passes = 0
    for budget in (_FIRST, iterations):
        fit = expectation_maximisation(
            x,
            y,
            rows,
            gates,
            sigma,
            nonlinearity,
            learn=("regressors", "gating", "sigmas"),
            iterations=budget,
            tolerance=tolerance,
        )
        passes += fit.passes
        fit = joined([fit])[:_LAST]
        rows, gates, sigma = fit.regressors, fit.gating, fit.sigma
    return replace(fit, passes=passes)


def race_jointly(
    x: Tensor,
    y: Tensor,
    k: int,
    nonlinearity: Nonlinearity,
    generator: torch.Generator,
    *,
    starts: int = _JOINT,
    kept: int = 3,
    iterations: int = 300,
    tolerance: float = 1.0,
    learn: Sequence[str] = ("regressors", "gating", "sigma"),
) -> EMResult:
    """The best, as many as are to be ``kept``, of up to twenty starts of joint EM: experts
    N(0, I/d), flat gates, and sigma, one or one each ("sigmas"), from half the spread of y, all
    that is to be learned from the start; after 20 iterations the better half goes on.

    For samples that no mixture of k describes. There the likelihood has many maxima, and none that
    a search without gates, or with a noise level an expert, would know for the right one.

    x (n, d), y (n,) -> ends, best first; sigma (kept,), or (kept, k).
    """
    count = min(_JOINT, starts)
    rows = random_rows(count, k, x.shape[1], generator, x.dtype)
    shape = (count, k) if "sigmas" in learn else (count,)
    gates, sigma, passes = torch.zeros_like(rows), _TIGHT * y.std().expand(shape), 0
    for budget, most in ((_TOGETHER, (count + 1) // 2), (iterations, kept)):
        fit = expectation_maximisation(
            *(x, y, rows, gates, sigma, nonlinearity),
            learn=learn,
            iterations=budget,
            tolerance=tolerance,
        )
        passes += fit.passes
        fit = joined([fit])[: max(1, most)]
        rows, gates, sigma = fit.regressors, fit.gating, fit.sigma
    return replace(fit, passes=passes)


def _pair(ends: EMResult, y: Tensor) -> list[int]:
    """The first of ``ends``, best first, and the next that agrees with it; empty unless the first
    has arrived and there is such a one."""
    if len(ends.sigma) == 0 or not arrived(ends.sigma[0], y):
        return []
    best, *others = ends.regressors
    return next(([0, i] for i, other in enumerate(others, 1) if agree(best, other)), [])


def arrived(sigmas: Tensor, y: Tensor) -> bool:
    """Whether the experts' own noise levels (k,) lie within a factor of two of one another, and all
    below 0.15 of the spread of y: a compromise between two experts would stand out."""
    least, most = float(sigmas.min()), float(sigmas.max())
    return most <= _ALIKE * least and most <= SMALL * float(y.std())


def _heat(
    x: Tensor,
    y: Tensor,
    regressors: Tensor,
    nonlinearity: Nonlinearity,
    iterations: int,
    tolerance: float,
) -> EMResult:
    """The ends of one batch, best first: rounds of 20 iterations until it is settled or all have
    ended. Rounds on as many samples as they need (``repair.enough``), the last steps on all."""
    sigma, passes = y.std().expand(regressors.shape[:2]), 0
    ended: list[EMResult] = []
    for spent in range(0, iterations, _ROUND):
        left, rows = min(_ROUND, iterations - spent), enough(sigma, y, regressors.shape[2])
        fit = anneal(x[:rows], y[:rows], regressors, sigma, nonlinearity, left, tolerance)
        passes += round(fit.passes * rows / len(y))
        done = fit.converged | (spent + _ROUND >= iterations)
        if rows < len(y) and bool(done.any()):
            last = fit[done.nonzero()[:, 0]]
            last = anneal(x, y, last.regressors, last.sigma, nonlinearity, _ROUND, tolerance)
            ended, passes = [*ended, last], passes + last.passes
        else:
            ended.append(fit[done.nonzero()[:, 0]])
        running = (~done).nonzero()[:, 0]
        if len(running) == 0 or _pair(joined(ended), y):
            break
        order = fit.log_likelihood[running].argsort(descending=True)
        running = running[order[: max(_LAST, (len(running) + 1) // 2)]]
        regressors, sigma = fit.regressors[running], fit.sigma[running]
    return replace(joined(ended), passes=passes)
