"""The losses at one sample as functions of its linear predictors, with their derivatives.

z (..., q, n), q = 2k - 1, holds eta_i = <a_i, x>, i = 1..k, and omega_i = <w_i, x>, i < k, of n
samples x; y (n,). The components come first, so that all sums over the samples are contiguous.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moe.model.mixture import full_gating, gaussian_log_density

_LEAST_EXPONENT = -300.0  # smaller shares change no sum, and numbers below normal ones are slow


def mean_slope(z: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The mean m = sum_i p_i eta_i (..., n) and its derivative in z (..., q, n)."""
    p = _padded(z[..., k:, :]).softmax(-2)
    mean = (p * z[..., :k, :]).sum(-2)
    tilt = p[..., :-1, :] * (z[..., : k - 1, :] - mean[..., None, :])
    return mean, torch.cat([p, tilt], -2)


def belief(z: Tensor, y: Tensor, k: int, sigma: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """-log P(y | x) in nats (..., n), the gate p and the responsibilities r (..., k, n) at noise
    sigma, a number or (..., 1, 1)."""
    gate = _padded(z[..., k:, :]).log_softmax(-2)
    joint = gate + gaussian_log_density(y - z[..., :k, :], sigma)
    most = joint.amax(-2, keepdim=True)
    share = (joint - most).clamp_min(_LEAST_EXPONENT).exp()
    total = share.sum(-2, keepdim=True)
    return -(most + total.log())[..., 0, :], gate.exp(), share / total


def squared(z: Tensor, y: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """(m - y)^2 (n,), its gradient (q, n) and Hessian (q, q, n) in z (q, n)."""
    mean, slope = mean_slope(z, k)
    residual = mean - y
    p, tilt = slope[:k], slope[k:]
    free = p[:-1]
    curvature = slope[:, None] * slope
    mixed = -p[:, None] * free
    mixed.diagonal().add_(free.T)
    mixed *= residual
    gates = -tilt[:, None] * free
    gates = gates + gates.transpose(0, 1)
    gates.diagonal().add_(tilt.T)
    curvature[:k, k:] += mixed
    curvature[k:, :k] += mixed.transpose(0, 1)
    curvature[k:, k:] += residual * gates
    return residual.square(), 2 * residual * slope, curvature.mul_(2)


def minus_log(z: Tensor, y: Tensor, k: int, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
    """-log P(y | x) (n,), its gradient (q, n) and Hessian (q, q, n) in z (q, n)."""
    value, p, r = belief(z, y, k, sigma)
    pull, free = (y - z[:k]) / sigma**2, p[:-1]
    tied = torch.cat([r * pull, r[:-1]])
    curvature = tied[:, None] * tied
    curvature.diagonal()[:, :k] += (r / sigma**2 - r * pull.square()).T
    curvature[:k, k:].diagonal().sub_(tied[: k - 1].T)
    curvature[k:, :k].diagonal().sub_(tied[: k - 1].T)
    curvature[k:, k:].diagonal().add_((free - r[:-1]).T)
    curvature[k:, k:] -= free[:, None] * free
    return value, torch.cat([-tied[:k], free - r[:-1]]), curvature


def _padded(logits: Tensor) -> Tensor:
    return full_gating(logits)
