"""Maximum likelihood of a mixture of regressions whose proportions do not depend on the inputs."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from moe.model.nonlinearity import Nonlinearity
from moe.solvers.em.cells import CellFit, cell_em
from moe.solvers.newton import affordable, newton_climb

_DECIDED, _NEWTON = 1.0, 100


def climb_constant_gate(
    x: Tensor,
    y: Tensor,
    regressors: Tensor,
    sigma: float,
    proportions: Tensor,
    nonlinearity: Nonlinearity,
    *,
    iterations: int = 500,
    tolerance: float = 1e-2,
) -> CellFit:
    """Where ``cell_em`` with one cell leads, from the same arguments; proportions (k,).

    EM's last steps are its slowest where an expert is rare and near another: hundreds, and it may
    stop nats below the maximum. So EM runs until it gains less than a nat, then Newton's method,
    where it is ``affordable``, until less than ``tolerance`` is left to gain; where that finds no
    maximum EM goes on.
    """

    def by_em(at: CellFit, least: float) -> CellFit:
        begin, left = (at.regressors, at.sigma, at.proportions), max(iterations - at.passes, 1)
        fit = cell_em(x, y, *begin, nonlinearity, iterations=left, tolerance=least)
        return replace(fit, passes=at.passes + fit.passes)

    begin = CellFit(regressors, sigma, proportions[None], -math.inf, 0, False)
    weights = len(regressors) * (x.shape[1] + 1)
    if tolerance >= _DECIDED or not affordable(x, weights, nonlinearity):
        return by_em(begin, tolerance)
    first = by_em(begin, _DECIDED)
    fit = _newton(x, y, first, iterations, tolerance)
    return fit if fit.converged else by_em(fit, tolerance)


def _newton(x: Tensor, y: Tensor, fit: CellFit, iterations: int, tolerance: float) -> CellFit:
    """With a column of ones, which the gate sees alone and the experts do not."""
    k, d = fit.regressors.shape
    logs = fit.proportions[0].log()
    gates = torch.cat([fit.regressors.new_zeros(k, d), (logs - logs[-1])[:, None]], 1)
    run, _ = newton_climb(
        torch.cat([x, torch.ones_like(x[:, :1])], 1),
        y,
        torch.nn.functional.pad(fit.regressors, (0, 1))[None],
        gates[None],
        torch.tensor([fit.sigma], dtype=x.dtype),
        iterations=min(max(iterations - fit.passes, 1), _NEWTON),
        tolerance=tolerance,
        columns=(torch.arange(d), torch.tensor([d])),
    )
    return CellFit(
        run.regressors[0, :, :d],
        float(run.sigma[0]),
        torch.softmax(run.gating[0, :, d], 0)[None],
        float(run.log_likelihood[0]),
        fit.passes + run.passes,
        bool(run.converged[0]),
    )
