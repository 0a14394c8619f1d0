"""The curvature of L_log at random gates, and where EM goes from there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.gating_loss.information import best_gates, gate_information
from moe.model.mixture import MoE, random_moe
from moe.randomness import stream
from moe.solvers.em import expectation_maximisation


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
