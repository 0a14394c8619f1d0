"""The softmax likelihood as one more candidate: efficient where the gate is softmax, and taken only
where it agrees with what is right for every gate."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from moe.likelihood.cells import profiled
from moe.likelihood.hausman import Hausman, hausman
from moe.metrics import match
from moe.model.mixture import MoE
from moe.recovery.arguments import Task
from moe.recovery.plan import carried_out
from moe.recovery.results import Origin
from moe.recovery.starts import Options, Problem, Starts
from moe.solvers.em.cells import CellFit


@dataclass(frozen=True, eq=False)
class SoftmaxGate:
    """p_i(x) = exp<w_i, x> / sum_j exp<w_j, x>; weights (k, d), the last row zero."""

    weights: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """p(x), (n, d) -> (n, k); rows sum to one."""
        return torch.softmax(x @ self.weights.T, 1)

    def reordered(self, order: Tensor) -> SoftmaxGate:
        """Of the experts in this order (k,)."""
        rows = self.weights[order]
        return SoftmaxGate(rows - rows[-1])

    def through(self, basis: Tensor) -> SoftmaxGate:
        """The same gate of x, where this one is of x basis."""
        return SoftmaxGate(self.weights @ basis.T)


@dataclass(frozen=True, eq=False)
class SoftmaxFit:
    """A maximum of the softmax likelihood: its proportions (1, k) are the experts' shares of the
    samples; gain: over constant proportions, in nats, less the parameters that it has more."""

    fit: CellFit
    gate: SoftmaxGate
    gain: float


def softmax_fit(task: Task, begin: CellFit) -> SoftmaxFit | None:
    """As softmax ``recover`` fits it, from the fit with constant proportions, its experts in the
    order of that. None where it has as many parameters as there are samples."""
    problem = replace(task.problem, gated=True)
    k, d = begin.regressors.shape
    if len(problem.y) <= problem.weights + 1:
        return None

    def start(full: Problem, part: Problem, options: Options, random: torch.Generator) -> Starts:
        rows, level = begin.regressors[None], begin.regressors.new_tensor([begin.sigma])
        flat = torch.zeros_like(rows)
        return Starts(Origin.GIVEN, rows, flat, level, begin.proportions[0])

    task = replace(task, problem=problem, options=replace(task.options, newton=True))
    end = carried_out(task, ((start, lambda so_far, options: True),)).fit
    order = match(end.regressors[0], begin.regressors)
    model = end.model(0, problem.g).reordered(order)
    shares = model.responsibilities(problem.x, problem.y).mean(0, keepdim=True)
    value, converged = float(end.log_likelihood), bool(end.converged)
    fit = CellFit(model.regressors, model.sigma, shares, value, end.passes, converged)
    more = (k - 1) * (d - 1) - (problem.sigma is not None)  # constant proportions learn sigma
    gain = value - begin.log_likelihood - more
    return SoftmaxFit(fit, SoftmaxGate(model.gating), gain)


def agreement(
    problem: Problem, found: SoftmaxFit, cells: Tensor, right: CellFit
) -> tuple[Hausman, Tensor] | None:
    """Hausman's test of a softmax fit against one that is right for every gate, and the covariance
    of the former; None where one of them is no definite maximum."""
    x, y = problem.x, problem.y
    at = (right.regressors, right.sigma, right.proportions, cells, problem.g)
    model = MoE(found.fit.regressors, found.gate.weights, found.fit.sigma, problem.g)
    try:
        profile = profiled(x, y, *at)
        return hausman(profile, cells, model, x, y, sigma_known=problem.sigma is not None)
    except ValueError:
        return None
