"""The trap of near-twins with all assumptions, on large samples in five dimensions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.losses import log_loss
from moe.metrics import regressor_error_of
from moe.model.mixture import MoE, full_gating
from moe.randomness import stream
from moe.solvers.em import EMResult, expectation_maximisation


@dataclass(frozen=True, eq=False)
class Lifted:
    """The trap under the assumptions, on a sample: with sigma held, then learned, where EM ends
    from one row for both twins; excess over EM from the truth (nats a sample), least curvature of
    the sample's loss (sigma included where learned), E_reg, sigma."""

    n: int
    excess: tuple[float, float]
    curvature: tuple[float, float]
    error: tuple[float, float]
    sigma: tuple[float, float]


def lifted_twins(separation: float = 20.0, sigma: float = 0.1) -> MoE:
    """k = 3, d = 5: unit, independent regressors in the first three inputs, two of them at that
    angle; gates of norm one at 120 degrees in the other two."""
    half = math.radians(separation / 2)
    regressors = torch.zeros(3, 5, dtype=torch.float64)
    regressors[0, 2] = 1.0
    regressors[1:, 0] = math.cos(half)
    regressors[1, 1], regressors[2, 1] = math.sin(half), -math.sin(half)
    gating = torch.zeros(3, 5, dtype=torch.float64)
    gating[0, 3] = 1.0
    gating[1, 3], gating[1, 4] = -0.5, math.sqrt(0.75)
    return MoE(regressors, gating, sigma)


def lifted(n: int, seed: int = 0) -> Lifted:
    """EM from the designed trap and from the truth on n samples, in d = 5 with all assumptions."""
    truth = lifted_twins()
    x, y = truth.sample(n, stream("data", seed))
    first, twins = truth.regressors[0], truth.regressors[1:].mean(0)
    turn = 0.05 * torch.nn.functional.normalize(twins - (twins @ first) * first, dim=0)
    rows = torch.stack([twins, first - turn, first + turn])
    ends = []
    for learn in (("regressors", "gating"), ("regressors", "gating", "sigma")):
        fit, best = (
            expectation_maximisation(x, y, a, w, truth.sigma, truth.nonlinearity, learn=learn)
            for a, w in ((rows, torch.zeros_like(rows)), (truth.regressors, truth.gating))
        )
        lost = float(best.log_likelihood - fit.log_likelihood) / n
        curvature = _sample_curvature(truth, fit, x, y, len(learn) == 3)
        error = regressor_error_of(fit.regressors[0], truth.regressors)
        ends.append((lost, curvature, error, float(fit.sigma)))
    excess, curvatures, errors, sigmas = zip(*ends, strict=True)
    return Lifted(n, excess, curvatures, errors, sigmas)


def _sample_curvature(truth: MoE, fit: EMResult, x: Tensor, y: Tensor, free: bool) -> float:
    """Least eigenvalue of the Hessian of the loss per sample in (A, W), and log sigma if free."""
    shape = (2 * truth.k - 1, truth.d)
    theta = torch.cat([fit.regressors[0], fit.gating[0, :-1] - fit.gating[0, -1]]).flatten()
    point = torch.cat([theta, fit.sigma.log()]) if free else theta

    def loss(point: Tensor) -> Tensor:
        rows = point[: theta.numel()].view(shape)
        gating = full_gating(rows[truth.k :])
        sigma = point[-1].exp() if free else fit.sigma[0]
        return log_loss(gating, rows[: truth.k], sigma, x, y, truth.nonlinearity)

    return float(torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, point))[0])
