"""How an error in the regressors passes into the gates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from moe.experiments.gating_loss.information import best_gates
from moe.likelihood.information import information
from moe.model.mixture import MoE, random_moe
from moe.randomness import stream
from moe.solvers.em import expectation_maximisation


@dataclass(frozen=True)
class TransferSpec:
    """Regressors moved by ``shifts`` times sigma in random directions, gates refitted on each."""

    sigmas: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    shifts: tuple[float, ...] = tuple(10 ** (i / 2 - 3) for i in range(9))
    k: int = 3
    d: int = 10
    n: int = 10_000
    gate_norm: float = 1.0
    trials: int = 6
    large: int = 100_000
    large_trials: int = 2
    seed: int = 0


@dataclass(frozen=True, eq=False)
class TransferRecord:
    """moved (sigmas, shifts, trials): |W_hat(A) - W_hat(A*)|_F with |a_i - a*_i| = shift sigma;
    slope (sigmas, trials): its derivative in |a_i - a*_i|, predicted from the information;
    large (sigmas, large_trials): the same from ``spec.large`` samples at the truth;
    worst, worst_large: the same two for the worst directions instead of random ones;
    moved_worst (sigmas, trials): the shift for the worst directions at |a_i - a*_i| = sigma / 10;
    statistical (sigmas, trials): |W_hat(A*) - W*|_F, the error that exact regressors leave;
    held, learned (sigmas, trials): the error |W - W*|_F at |a_i - a*_i| = 2 sigma, random
    directions, with sigma held at its true value and learned together with the gates."""

    spec: TransferSpec
    moved: Tensor
    slope: Tensor
    large: Tensor
    worst: Tensor
    worst_large: Tensor
    moved_worst: Tensor
    statistical: Tensor
    held: Tensor
    learned: Tensor


def response_matrix(model: MoE, x: Tensor, y: Tensor) -> Tensor:
    """dW / dA of the minimiser of L_log(.; A): -I_WW^-1 I_WA, ((k - 1) d, k d), the observed
    information at the minimiser, by the implicit function theorem (derived). ``model`` holds A and
    that minimiser."""
    size = model.k * model.d
    observed = information(model, x, y)[2]
    return -torch.linalg.solve(observed[size:-1, size:-1], observed[size:-1, :size])


def gate_response(model: MoE, x: Tensor, y: Tensor, direction: Tensor) -> Tensor:
    """Derivative of the minimiser of L_log(.; A) along dA = direction (k, d): (k - 1, d)."""
    moved = response_matrix(model, x, y) @ direction.flatten()
    return moved.view(model.k - 1, model.d)


def compare_derivative(
    model: MoE, x: Tensor, y: Tensor, h: float = 1e-5, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """``gate_response`` in a random direction, and the same by refits at both ends of 2 h: (k - 1,
    d) each."""
    best = best_gates(model, x, y)
    ways = stream("directions", seed)
    direction = torch.randn(model.k, model.d, generator=ways, dtype=torch.float64)
    wrong = (replace(best, regressors=best.regressors + s * h * direction) for s in (1, -1))
    ends = [best_gates(start, x, y).gating[:-1] for start in wrong]
    return gate_response(best, x, y, direction), (ends[0] - ends[1]) / (2 * h)


def worst_direction(response: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Unit rows (k, d) that ``response`` ((k - 1) d, k d) moves furthest: fixed-point iteration of
    the convex maximum from 8 random starts, the best of which is kept. A lower bound of the worst
    case; sqrt(k) times the largest singular value is an upper one."""
    d = response.shape[1] // k
    rows = torch.randn(8, k, d, generator=generator, dtype=torch.float64)
    for _ in range(100):
        rows = rows / rows.norm(dim=-1, keepdim=True)
        rows = (rows.flatten(1) @ response.T @ response).view_as(rows)
    rows = rows / rows.norm(dim=-1, keepdim=True)
    return rows[(rows.flatten(1) @ response.T).norm(dim=1).argmax()]


def run(spec: TransferSpec) -> TransferRecord:
    """Refit the gates for every shift at once, from the minimiser for the true regressors."""
    by_trial: list[Tensor] = []
    moved, large = [], []
    for sigma in spec.sigmas:
        for trial in range(spec.trials):
            own = stream("truth", spec.seed, trial)
            truth = random_moe(spec.k, spec.d, sigma=sigma, gate_norm=spec.gate_norm, generator=own)
            x, y = truth.sample(spec.n, stream("data", spec.seed, trial))
            ways = stream("directions", spec.seed, trial)
            direction = torch.randn(spec.k, spec.d, generator=ways, dtype=torch.float64)
            direction = direction / direction.norm(dim=1, keepdim=True)
            lengths = sigma * torch.tensor(spec.shifts, dtype=torch.float64)[:, None, None]
            best = best_gates(truth, x, y)
            response = response_matrix(best, x, y)
            worst = worst_direction(response, spec.k, ways)
            changes = torch.cat([lengths * direction, 0.1 * sigma * worst[None]])
            shifts = _refitted(best, x, y, changes)
            moved.append(shifts[:-1])
            sizes = [(response @ way.flatten()).norm() for way in (direction, worst)]
            error = (best.gating - truth.gating).norm()
            wrong = replace(best, regressors=best.regressors + 2 * sigma * direction)
            ends = [_gates(wrong, x, y, *also) - truth.gating for also in ((), ("sigma",))]
            by_trial.append(torch.stack([*sizes, shifts[-1], error, *(e.norm() for e in ends)]))
            if trial < spec.large_trials:
                many = truth.sample(spec.large, stream("fresh", spec.seed, trial))
                response = response_matrix(truth, *many)
                worst = worst_direction(response, spec.k, ways)
                sizes = [(response @ way.flatten()).norm() for way in (direction, worst)]
                large.append(torch.stack(sizes))
    shape = (len(spec.sigmas), spec.trials)
    slope, worst_slope, *others = torch.stack(by_trial, dim=1).view(6, *shape)
    slope_large, worst_large = torch.stack(large, dim=1).view(2, len(spec.sigmas), -1)
    return TransferRecord(
        spec,
        torch.stack(moved).view(*shape, -1).transpose(1, 2),
        slope,
        slope_large,
        worst_slope,
        worst_large,
        *others,
    )


def _gates(start: MoE, x: Tensor, y: Tensor, *also: str) -> Tensor:
    """The gates (k, d) where EM ends that learns them and ``also``, the regressors held."""
    fit = expectation_maximisation(
        x,
        y,
        start.regressors,
        start.gating,
        start.sigma,
        start.nonlinearity,
        learn=("gating", *also),
    )
    return fit.gating[0]


def _refitted(best: MoE, x: Tensor, y: Tensor, changes: Tensor) -> Tensor:
    """|W_hat(A + change) - W_hat(A)|_F for each of ``changes`` (C, k, d): (C,)."""
    fit = expectation_maximisation(
        x,
        y,
        best.regressors + changes,
        best.gating.expand(len(changes), -1, -1),
        best.sigma,
        best.nonlinearity,
        learn=("gating",),
        tolerance=1e-12,
    )
    return (fit.gating - best.gating).flatten(1).norm(dim=1)
