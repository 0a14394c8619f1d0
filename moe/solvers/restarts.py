"""Random starts of EM, annealed expert by expert, in batches until one has found the truth."""

from __future__ import annotations

import torch
from torch import Tensor

from moe.nonlinearity import Nonlinearity
from moe.solvers.em import EMResult, expectation_maximisation

_BATCH = 4
_ROUND = 20
_ALIKE = 2.0


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
    of 2) has arrived, and the race ends: starts advance together in batches of 4, 8, ..., every 20
    iterations the worse half of those still running is dropped, and the next batch is drawn only if
    nobody has arrived. Where the noise is as large as the signal all sigma_i are alike anyway; then
    the first batch decides by its likelihood.

    x (n, d), y (n,). The result has S = 1, its sigma (1, k), its gating zero.
    """
    d, spent, size = x.shape[1], 0, _BATCH
    best: EMResult | None = None
    while spent < starts:
        size = min(size, starts - spent)
        rows = torch.randn(size, k, d, generator=generator, dtype=x.dtype) / d**0.5
        fit = _heat(x, y, rows, nonlinearity, iterations, tolerance)
        if best is None or float(fit.log_likelihood) > float(best.log_likelihood):
            best = fit
        if alike(best.sigma[0]):
            break
        spent, size = spent + size, 2 * size
    assert best is not None
    return best


def alike(sigmas: Tensor) -> bool:
    """Whether the experts' own noise levels (k,) lie within a factor of two of one another."""
    return float(sigmas.max()) <= _ALIKE * float(sigmas.min())


def _heat(
    x: Tensor,
    y: Tensor,
    regressors: Tensor,
    nonlinearity: Nonlinearity,
    iterations: int,
    tolerance: float,
) -> EMResult:
    """One batch: rounds of 20 iterations until a start has arrived or all have converged."""
    sigma = y.std().expand(regressors.shape[:2])
    ended: list[EMResult] = []
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
        ended += [_only(fit, index) for index in fit.converged.nonzero()[:, 0].tolist()]
        running = (~fit.converged).nonzero()[:, 0]
        if len(running) == 0 or any(alike(end.sigma[0]) for end in ended):
            break
        order = fit.log_likelihood[running].argsort(descending=True)
        running = running[order[: (len(running) + 1) // 2]]
        regressors, sigma = fit.regressors[running], fit.sigma[running]
    else:
        ended.append(_only(fit, int(fit.log_likelihood.argmax())))
    return max(ended, key=lambda end: float(end.log_likelihood))


def _only(fit: EMResult, index: int) -> EMResult:
    """The start ``index`` alone."""
    part = slice(index, index + 1)
    return EMResult(
        fit.regressors[part],
        fit.gating[part],
        fit.sigma[part],
        fit.log_likelihood[part],
        fit.iterations[part],
        fit.converged[part],
        fit.trace[:, part],
    )
