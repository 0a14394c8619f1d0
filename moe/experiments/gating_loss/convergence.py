"""L_log with the regressors held: how EM and gradient descent converge, and its curvature."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from moe.likelihood.information import em_rate
from moe.losses import log_loss
from moe.model.mixture import MoE, random_moe
from moe.randomness import stream
from moe.solvers.em import expectation_maximisation
from moe.solvers.gradient import gradient_descent

_FLOOR = 1e-10


@dataclass(frozen=True, eq=False)
class GateInformation:
    """Information of the free gating rows, per sample, ((k-1) d, (k-1) d): observed = complete -
    missing is the Hessian of L_log."""

    complete: Tensor
    missing: Tensor

    @property
    def observed(self) -> Tensor:
        return self.complete - self.missing

    @property
    def em_rate(self) -> float:
        """rho(I_complete^-1 I_missing): the factor by which EM's error shrinks in a step."""
        return em_rate(self.complete, self.missing)

    @property
    def slowest(self) -> Tensor:
        """The direction v of EM's rate, in which v' missing v / v' complete v is largest."""
        factor = torch.linalg.cholesky(self.complete)
        half = torch.linalg.solve_triangular(factor, self.missing, upper=False)
        both = torch.linalg.solve_triangular(factor, half.mT, upper=False)
        top = torch.linalg.eigh(both).eigenvectors[:, -1:]
        return torch.linalg.solve_triangular(factor.mT, top, upper=True)[:, 0]

    @property
    def best_step(self) -> float:
        """2 / (h_min + h_max): the fixed step of the fastest gradient descent."""
        curvature = torch.linalg.eigvalsh(self.observed)
        return float(2 / (curvature[0] + curvature[-1]))

    @property
    def gradient_rate(self) -> float:
        """(h_max - h_min) / (h_max + h_min): gradient descent's factor with that step."""
        curvature = torch.linalg.eigvalsh(self.observed)
        return float((curvature[-1] - curvature[0]) / (curvature[-1] + curvature[0]))


def shared_curvature(x: Tensor, share: Tensor, weight: Tensor) -> Tensor:
    """sum_n weight_n Cov(share_n) (x) x_n x_n' of the free rows: x (n, d), share (n, k), weight
    (n,) -> ((k - 1) d, (k - 1) d)."""
    free, d = share.shape[1] - 1, x.shape[1]
    blocks = x.new_zeros(free, d, free, d)
    for i in range(free):
        for j in range(i, free):
            entry = share[:, i] * (float(i == j) - share[:, j])
            blocks[i, :, j] = blocks[j, :, i] = (x * (weight * entry)[:, None]).T @ x
    return blocks.reshape(free * d, free * d)


def gate_information(model: MoE, x: Tensor, y: Tensor) -> GateInformation:
    """The gates' block of the complete and missing information at ``model``, per sample."""
    weight = torch.full_like(y, 1 / len(y))
    shares = (model.gate(x), model.responsibilities(x, y))
    return GateInformation(*(shared_curvature(x, share, weight) for share in shares))


def best_gates(model: MoE, x: Tensor, y: Tensor) -> MoE:
    """``model`` with the gating that minimises L_log on x, y: EM, then Newton to rounding error."""
    fit = expectation_maximisation(
        x,
        y,
        model.regressors,
        model.gating,
        model.sigma,
        model.nonlinearity,
        learn=("gating",),
        tolerance=1e-8,
    )
    gating = fit.gating[0]
    for _ in range(3):
        here = MoE(model.regressors, gating, model.sigma, model.nonlinearity)
        change = (here.responsibilities(x, y) - here.gate(x))[:, :-1]
        ascent = (change.T @ x / len(x)).flatten()
        step = torch.linalg.solve(gate_information(here, x, y).observed, ascent)
        gating = gating + pad(step.view(model.k - 1, model.d), (0, 0, 0, 1))
    return MoE(model.regressors, gating, model.sigma, model.nonlinearity)


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
        gating = pad(free, (0, 0, 0, 1))
        return log_loss(gating, model.regressors, model.sigma, x, y, model.nonlinearity)

    run = gradient_descent(
        loss,
        [start[None, :-1]],
        step=step,
        iterations=iterations,
        observe=lambda free: free[0].clone(),
    )
    return pad(run.observed, (0, 0, 0, 1))


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


@dataclass(frozen=True)
class ConvexitySpec:
    """Curvature of L_log at random gates of each norm, and EM started from them."""

    norms: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
    sigmas: tuple[float, ...] = (0.1, 0.3, 1.0)
    k: int = 3
    d: int = 5
    n: int = 2_000
    points: int = 8
    trials: int = 6
    seed: int = 0


@dataclass(frozen=True, eq=False)
class ConvexityRecord:
    """lowest (sigmas, norms, trials, points): smallest eigenvalue of the Hessian of L_log at W;
    apart (sigmas, norms, trials, points): how far from the minimiser EM ends when started at W;
    at_minimum (sigmas, trials): the smallest eigenvalue at the minimiser."""

    spec: ConvexitySpec
    lowest: Tensor
    apart: Tensor
    at_minimum: Tensor


def run_convexity(spec: ConvexitySpec) -> ConvexityRecord:
    """The smallest eigenvalue of the Hessian over random W, and where EM goes from there."""
    count = len(spec.norms) * spec.points
    shape = (len(spec.sigmas), spec.trials, len(spec.norms), spec.points)
    lowest, apart, at_minimum = [], [], []
    for sigma in spec.sigmas:
        for trial in range(spec.trials):
            own = stream("truth", spec.seed, trial)
            truth = random_moe(spec.k, spec.d, sigma=sigma, generator=own)
            x, y = truth.sample(spec.n, stream("data", spec.seed, trial))
            best = best_gates(truth, x, y)
            points = _random_gates(spec, stream("starts", spec.seed, trial))
            for gating in points:
                here = MoE(truth.regressors, gating, sigma)
                observed = gate_information(here, x, y).observed
                lowest.append(torch.linalg.eigvalsh(observed)[0])
            fit = expectation_maximisation(
                x,
                y,
                truth.regressors.expand(count, -1, -1),
                points,
                sigma,
                truth.nonlinearity,
                learn=("gating",),
                iterations=2_000,
                tolerance=1e-7,
            )
            apart.append((fit.gating - best.gating).flatten(1).norm(dim=1))
            at_minimum.append(torch.linalg.eigvalsh(gate_information(best, x, y).observed)[0])
    return ConvexityRecord(
        spec,
        torch.stack(lowest).view(shape).transpose(1, 2),
        torch.stack(apart).view(shape).transpose(1, 2),
        torch.stack(at_minimum).view(shape[:2]),
    )


def _random_gates(spec: ConvexitySpec, generator: torch.Generator) -> Tensor:
    """Random gating rows of each norm, the last row zero: (norms * points, k, d)."""
    size = (len(spec.norms), spec.points, spec.k, spec.d)
    gating = torch.randn(size, generator=generator, dtype=torch.float64)
    gating *= torch.tensor(spec.norms)[:, None, None, None] / gating.norm(dim=-1, keepdim=True)
    gating[..., -1, :] = 0.0
    return gating.flatten(0, 1)
