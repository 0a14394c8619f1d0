"""The climb from a start to a maximum of the joint likelihood."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor

from moe.recovery.starts import Problem
from moe.solvers.em import EMResult, expectation_maximisation
from moe.solvers.newton import affordable, newton_climb

_DECIDED, _NEWTON = 1.0, 100

State = tuple[Tensor, Tensor, Tensor]
"""Regressors and gating (S, k, d), sigma (S,)."""


def climbed(
    problem: Problem,
    state: State,
    learn: Collection[str],
    iterations: int,
    tolerance: float,
    *,
    newton: bool,
    rival: float = -math.inf,
) -> EMResult:
    """Joint EM from S starts as one batch, until an iteration gains less than ``tolerance`` nats.

    ``newton``: EM only until it gains less than a nat, when as a rule its maximum is decided; then
    Newton's method, where it costs no more than EM (``affordable``), until less than ``tolerance``
    is left to gain; starts that stay far behind the best, or behind ``rival``, are given up, not
    ``converged``. One that it cannot finish in a hundred steps (most take ten to thirty) is EM's
    again.
    """
    by_newton = (
        newton and tolerance < _DECIDED and affordable(problem.x, problem.weights, problem.g)
    )
    first = _by_em(problem, state, learn, iterations, _DECIDED if by_newton else tolerance)
    if not by_newton:
        return first
    then, behind = newton_climb(
        problem.x,
        problem.y,
        first.regressors,
        first.gating,
        first.sigma,
        learn=learn,
        iterations=min(iterations, _NEWTON),
        tolerance=tolerance,
        rival=rival,
        **problem.terms,
    )
    fit = _continued(first, torch.arange(len(first.sigma)), then)
    left = (~then.converged & ~behind).nonzero()[:, 0]
    if len(left) == 0:
        return fit
    state = fit.regressors[left], fit.gating[left], fit.sigma[left]
    return _continued(fit, left, _by_em(problem, state, learn, iterations, tolerance))


def _by_em(
    problem: Problem, state: State, learn: Collection[str], iterations: int, tolerance: float
) -> EMResult:
    return expectation_maximisation(
        problem.x,
        problem.y,
        *state,
        problem.g,
        learn=learn,
        iterations=iterations,
        tolerance=tolerance,
        **problem.terms,
    )


def _continued(fit: EMResult, places: Tensor, more: EMResult) -> EMResult:
    """The starts in ``places`` went on from where they had come to."""
    names = ("regressors", "gating", "sigma", "log_likelihood", "converged")
    ends = {name: getattr(fit, name).index_copy(0, places, getattr(more, name)) for name in names}
    still = fit.trace[-1].expand(len(more.trace) - 1, -1)
    return replace(
        fit,
        **ends,
        iterations=fit.iterations.index_add(0, places, more.iterations),
        trace=torch.cat([fit.trace, still.index_copy(1, places, more.trace[1:])]),
        passes=fit.passes + more.passes,
    )
