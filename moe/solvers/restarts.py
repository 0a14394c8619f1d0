"""Random starts of EM, annealed expert by expert, in batches until two agree on the best end."""

from __future__ import annotations

import torch
from torch import Tensor

from moe.metrics import regressor_error_of
from moe.nonlinearity import Nonlinearity
from moe.solvers.em import EMResult, expectation_maximisation

_BATCH = 4
_ROUND = 20
_ALIKE, _SMALL = 2.0, 0.15
_FINALISTS = 4
_PAIR, _SAME = 2, 0.02


def race(
    x: Tensor,
    y: Tensor,
    k: int,
    nonlinearity: Nonlinearity,
    generator: torch.Generator,
    *,
    starts: int = 24,
    iterations: int = 300,
    tolerance: float = 1.0,
) -> EMResult:
    """The best of up to ``starts`` random starts of EM in which each expert has its own noise.

    Every sigma_i starts at the spread of y and is learned, so that the responsibilities are broad
    at first and sharp later: annealing. With ONE sigma for all experts it falls only as fast as the
    worst of them allows, and the run ends where two experts share a truth. With one each, an expert
    that has found its truth turns sharp and leaves the rest of the samples to the others (derived;
    book, chapter 8). The weights are held equal, which makes an iteration cheap; gates come later.

    The truth has one sigma. So a start that has converged with its sigma_i alike (within a factor
    of 2) and small (0.15 of y's spread) has arrived. With few samples a wrong end can look so too;
    but wrong ends are many, and two starts seldom meet in one of them. The race ends when the best
    start has arrived and a second one ``agrees`` with it: starts advance together in batches of 4,
    8, ..., every 20 iterations the worse half of those still running is dropped, down to two, and
    the next batch is drawn only if there is no such pair. Where the noise is large all sigma_i are
    alike anyway, nobody is seen to arrive, and all ``starts`` are run.

    x (n, d), y (n,). Returned are the S <= 4 best ends, best first: sigma (S, k), gating zero.
    """
    d, spent, size = x.shape[1], 0, _BATCH
    ends: list[EMResult] = []
    while spent < starts and not _settled(ends, y):
        size = min(size, starts - spent)
        rows = torch.randn(size, k, d, generator=generator, dtype=x.dtype) / d**0.5
        ends = _heat(x, y, rows, nonlinearity, iterations, tolerance, ends)
        spent, size = spent + size, 2 * size
    return _together(ends[:_FINALISTS])


def agree(one: Tensor, other: Tensor) -> bool:
    """Whether regressors (k, d) are the same up to order, sign and length: 1 - |cos| < 0.02."""
    return regressor_error_of(one, other) < _SAME


def _settled(ends: list[EMResult], y: Tensor) -> bool:
    """Whether the first of ``ends``, best first, has arrived, and another agrees with it."""
    if len(ends) < 2 or not arrived(ends[0].sigma[0], y):
        return False
    best, *others = (end.regressors[0] for end in ends)
    return any(agree(best, other) for other in others)


def arrived(sigmas: Tensor, y: Tensor) -> bool:
    """Whether the experts' own noise levels (k,) lie within a factor of two of one another, and all
    below 0.15 of the spread of y: a compromise between two experts would stand out."""
    least, most = float(sigmas.min()), float(sigmas.max())
    return most <= _ALIKE * least and most <= _SMALL * float(y.std())


def _heat(
    x: Tensor,
    y: Tensor,
    regressors: Tensor,
    nonlinearity: Nonlinearity,
    iterations: int,
    tolerance: float,
    ends: list[EMResult],
) -> list[EMResult]:
    """``ends`` and those of one batch, best first: rounds of 20 iterations until all is settled or
    all have ended."""
    sigma = y.std().expand(regressors.shape[:2])
    for spent in range(0, iterations, _ROUND):
        fit = expectation_maximisation(
            x,
            y,
            regressors,
            torch.zeros_like(regressors),
            sigma,
            nonlinearity,
            learn=("regressors", "sigmas"),
            iterations=min(_ROUND, iterations - spent),
            tolerance=tolerance,
        )
        last = spent + _ROUND >= iterations
        ended = fit.converged | last
        ends = ends + [fit[[index]] for index in ended.nonzero()[:, 0].tolist()]
        ends.sort(key=lambda end: float(end.log_likelihood), reverse=True)
        running = (~ended).nonzero()[:, 0]
        if len(running) == 0 or _settled(ends, y):
            break
        order = fit.log_likelihood[running].argsort(descending=True)
        running = running[order[: max(_PAIR, (len(running) + 1) // 2)]]
        regressors, sigma = fit.regressors[running], fit.sigma[running]
    return ends


def _together(ends: list[EMResult]) -> EMResult:
    """Single ends as the starts of one result, without their traces."""
    return EMResult(
        torch.cat([end.regressors for end in ends]),
        torch.cat([end.gating for end in ends]),
        torch.cat([end.sigma for end in ends]),
        torch.cat([end.log_likelihood for end in ends]),
        torch.cat([end.iterations for end in ends]),
        torch.cat([end.converged for end in ends]),
        torch.stack([end.trace[-1] for end in ends], dim=1),
    )
