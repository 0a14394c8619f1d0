"""How an error in the regressors passes into the gates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.gating_loss import best_gates
from moe.likelihood import information
from moe.model import MoE, random_moe
from moe.randomness import stream
from moe.solvers.em import expectation_maximisation


@dataclass(frozen=True)
class TransferSpec:
    """Regressors moved by ``shifts`` times sigma in random directions, gates refitted on each."""

    sigmas: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    shifts: tuple[float, ...] = tuple(10 ** (i / 4 - 3) for i in range(17))
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
    statistical (sigmas, trials): |W_hat(A*) - W*|_F, the error that exact regressors leave."""

    spec: TransferSpec
    moved: Tensor
    slope: Tensor
    large: Tensor
    statistical: Tensor


def gate_response(model: MoE, x: Tensor, y: Tensor, direction: Tensor) -> Tensor:
    """Derivative of the minimiser of L_log(.; A) along dA = direction (k, d): (k - 1, d).

    dW = - I_WW^-1 I_WA dA with the observed information at the minimiser, by the implicit function
    theorem (derived). ``model`` holds A and that minimiser.
    """
    size = model.k * model.d
    observed = information(model, x, y)[2]
    cross = observed[size:-1, :size] @ direction.flatten()
    return -torch.linalg.solve(observed[size:-1, size:-1], cross).view(model.k - 1, model.d)


def run(spec: TransferSpec) -> TransferRecord:
    """Refit the gates for every shift at once, from W*."""
    shape = (len(spec.sigmas), spec.trials)
    moved, slope, large, statistical = [], [], [], []
    for sigma in spec.sigmas:
        for trial in range(spec.trials):
            own = stream("truth", spec.seed, trial)
            truth = random_moe(spec.k, spec.d, sigma=sigma, gate_norm=spec.gate_norm, generator=own)
            x, y = truth.sample(spec.n, stream("data", spec.seed, trial))
            ways = stream("directions", spec.seed, trial)
            direction = torch.randn(spec.k, spec.d, generator=ways, dtype=torch.float64)
            direction = direction / direction.norm(dim=1, keepdim=True)
            lengths = sigma * torch.tensor(spec.shifts, dtype=torch.float64)
            best = best_gates(truth, x, y)
            fit = expectation_maximisation(
                x,
                y,
                truth.regressors + lengths[:, None, None] * direction,
                best.gating.expand(len(lengths), -1, -1),
                sigma,
                truth.nonlinearity,
                learn=("gating",),
                tolerance=1e-12,
            )
            moved.append((fit.gating - best.gating).flatten(1).norm(dim=1))
            slope.append(gate_response(best, x, y, direction).norm())
            statistical.append((best.gating - truth.gating).norm())
            if trial < spec.large_trials:
                many = truth.sample(spec.large, stream("fresh", spec.seed, trial))
                large.append(gate_response(truth, *many, direction).norm())
    return TransferRecord(
        spec,
        torch.stack(moved).view(*shape, -1).transpose(1, 2),
        torch.stack(slope).view(shape),
        torch.stack(large).view(len(spec.sigmas), -1),
        torch.stack(statistical).view(shape),
    )
