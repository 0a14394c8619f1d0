"""Random starts of joint EM, annealed, raced as one batch on a subsample."""

from __future__ import annotations

import torch
from torch import Tensor

from moe.nonlinearity import Nonlinearity
from moe.solvers.em import EMResult, expectation_maximisation

_ROUND = 15


def race(
    x: Tensor,
    y: Tensor,
    k: int,
    nonlinearity: Nonlinearity,
    generator: torch.Generator,
    *,
    starts: int = 24,
    iterations: int = 500,
    tolerance: float = 1e-6,
) -> EMResult:
    """The best of ``starts`` random starts of joint EM with sigma learned from the spread of y.

    A large first sigma makes the responsibilities broad at first and sharp later: annealing. All
    starts advance together; every 15 iterations the worse half (by likelihood) is dropped, until
    one is left, which runs until it converges. x (n, d), y (n,); the result has S = 1.
    """
    d = x.shape[1]
    regressors = torch.randn(starts, k, d, generator=generator, dtype=x.dtype) / d**0.5
    gating = torch.zeros_like(regressors)
    sigma = y.std().expand(starts)
    while len(regressors) > 1:
        fit = expectation_maximisation(
            x,
            y,
            regressors,
            gating,
            sigma,
            nonlinearity,
            iterations=_ROUND,
            tolerance=tolerance,
        )
        best = fit.log_likelihood.argsort(descending=True)[: len(regressors) // 2]
        regressors, gating, sigma = (
            fit.regressors[best],
            fit.gating[best],
            fit.sigma[best],
        )
    return expectation_maximisation(
        x,
        y,
        regressors,
        gating,
        sigma,
        nonlinearity,
        iterations=iterations,
        tolerance=tolerance,
    )
