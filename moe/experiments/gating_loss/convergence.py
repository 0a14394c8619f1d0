"""L_log with the regressors held: how EM and gradient descent converge."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.gating_loss.information import (
    GateInformation,
    best_gates,
    gate_information,
)
from moe.losses import log_loss
from moe.model.mixture import MoE, full_gating, random_moe
from moe.randomness import stream
from moe.solvers.em import expectation_maximisation
from moe.solvers.gradient import gradient_descent

_FLOOR = 1e-10


def em_path(model: MoE, x: Tensor, y: Tensor, start: Tensor, iterations: int) -> Tensor:
    """The gating after 0, 1, ..., ``iterations`` steps of EM for the gates alone, (T, k, d)."""
    fit = expectation_maximisation(
        x,
        y,
        model.regressors,
        start,
        model.sigma,
        model.nonlinearity,
        learn=("gating",),
        iterations=iterations,
        tolerance=-math.inf,
        record=True,
    )
    return torch.stack([gating[0] for _, gating, _ in fit.path])


def descent_path(
    model: MoE, x: Tensor, y: Tensor, start: Tensor, iterations: int, step: float
) -> Tensor:
    """The gating after 0, 1, ... steps of gradient descent on L_log, (T, k, d)."""

    def loss(free: Tensor) -> Tensor:
        gating = full_gating(free)
        return log_loss(gating, model.regressors, model.sigma, x, y, model.nonlinearity)

    run = gradient_descent(
        loss,
        [start[None, :-1]],
        step=step,
        iterations=iterations,
        observe=lambda free: free[0].clone(),
    )
    return full_gating(run.observed)


def distances(path: Tensor, end: Tensor) -> Tensor:
    """|W_t - W|_F: (T, k, d), (k, d) -> (T,)."""
    return (path - end).flatten(1).norm(dim=1)


def measured_rate(errors: Tensor) -> float:
    """The mean factor per step over the later half of the descent (T,) to 1e-10."""
    last = int((errors > _FLOOR).nonzero()[-1])
    first = last // 2
    return float((errors[last] / errors[first]) ** (1 / (last - first)))


@dataclass(frozen=True)
class ConvergenceSpec:
    """EM and gradient descent on L_log from W = 0, one random problem a trial."""

    k: int = 3
    d: int = 10
    n: int = 5_000
    sigma: float = 0.3
    gate_norm: float = 1.0
    trials: int = 6
    seed: int = 0


@dataclass(frozen=True, eq=False)
class ConvergenceRecord:
    """em, descent (T, trials): distance to the minimiser of L_log; to_truth: EM's distance to W*;
    rates (trials,): predicted from the information at the minimiser, and measured; floor (trials,):
    (tr H^-1 / n)^1/2, the distance of minimiser and W* that many samples lead to expect."""

    spec: ConvergenceSpec
    em: Tensor
    descent: Tensor
    to_truth: Tensor
    em_predicted: Tensor
    em_measured: Tensor
    descent_predicted: Tensor
    descent_measured: Tensor
    floor: Tensor


def run_convergence(spec: ConvergenceSpec) -> ConvergenceRecord:
    """Errors by iteration, with the slopes that the information matrices predict.

    As many iterations as those slopes ask for to reach 1e-11 in the slowest trial, 3,000 at most.
    """
    problems = [_problem(spec, trial) for trial in range(spec.trials)]
    em_predicted = _numbers([at_best.em_rate for *_, at_best in problems])
    descent_predicted = _numbers([at_best.gradient_rate for *_, at_best in problems])
    em, descent, to_truth = [], [], []
    for truth, x, y, best, at_best in problems:
        start = torch.zeros_like(truth.gating)
        path = em_path(truth, x, y, start, _enough(em_predicted))
        down = descent_path(truth, x, y, start, _enough(descent_predicted), at_best.best_step)
        em.append(distances(path, best.gating))
        descent.append(distances(down, best.gating))
        to_truth.append(distances(path, truth.gating))
    return ConvergenceRecord(
        spec,
        torch.stack(em, dim=1),
        torch.stack(descent, dim=1),
        torch.stack(to_truth, dim=1),
        em_predicted,
        _numbers([measured_rate(run) for run in em]),
        descent_predicted,
        _numbers([measured_rate(run) for run in descent]),
        _numbers([_floor(at_best, spec.n) for *_, at_best in problems]),
    )


def _floor(information: GateInformation, n: int) -> float:
    return float((torch.linalg.inv(information.observed).trace() / n).sqrt())


def _problem(spec: ConvergenceSpec, trial: int) -> tuple[MoE, Tensor, Tensor, MoE, GateInformation]:
    truth = random_moe(
        spec.k,
        spec.d,
        sigma=spec.sigma,
        gate_norm=spec.gate_norm,
        generator=stream("truth", spec.seed, trial),
    )
    x, y = truth.sample(spec.n, stream("data", spec.seed, trial))
    best = best_gates(truth, x, y)
    return truth, x, y, best, gate_information(best, x, y)


def _numbers(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _enough(rates: Tensor) -> int:
    return min(3_000, math.ceil(math.log(1e-11) / math.log(float(rates.max()))))
