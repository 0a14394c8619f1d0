"""L_4 for k = d = 2 as a function of the two rows' directions alone (book, chapter 5).

Row i is sqrt(R_i) (cos theta_i, sin theta_i) in whitened coordinates. With
q_i = (cos^2 theta_i, sin^2 theta_i), c_i = sum_m q_im^2 / p_m and e = sum_m q_1m q_2m / p_m,

    L_4 = sum_i (lambda - mu c_i) R_i^2 + 2 e R_1 R_2 - 2 lambda (R_1 + R_2) + 2 lambda,

a quadratic form in the squared lengths, whose minimum over R_1, R_2 >= 0 is explicit (derived).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.landscape.lists import regime


def over_lengths(angles: Tensor, p: float, mu: float, lam: float) -> Tensor:
    """min of L_4 over both rows' lengths at angles (..., 2); minus infinity where it has none.

    Proportions (p, 1 - p). A strict local minimum of the result is one of L_4, and so is every one
    at which both lengths are positive. Where a length is zero the result does not depend on that
    row's angle, and may have flat local minima that L_4 has not.
    """
    return 2 * lam - lam * best_lengths(angles, p, mu, lam).sum(-1)


def best_lengths(angles: Tensor, p: float, mu: float, lam: float) -> Tensor:
    """The squared lengths (R_1, R_2) at which that minimum is taken, (..., 2); one is zero where
    the other row does better alone. Infinite where there is no minimum."""
    shares = torch.tensor([p, 1 - p], dtype=angles.dtype)
    q = torch.stack([angles.cos(), angles.sin()], -1).square()
    alpha = lam - mu * (q.square() / shares).sum(-1)
    cross = (q[..., 0, :] * q[..., 1, :] / shares).sum(-1)
    determinant = (alpha.prod(-1) - cross.square()).unsqueeze(-1)
    both = lam * (alpha.flip(-1) - cross.unsqueeze(-1)) / determinant
    inside = (determinant > 0) & (both > 0).all(-1, keepdim=True)
    first = (alpha[..., :1] <= alpha[..., 1:]).to(alpha.dtype)
    alone = lam / alpha * torch.cat([first, 1 - first], -1)
    lengths = torch.where(inside, both, alone)
    infinity = torch.full_like(lengths, torch.inf)
    return torch.where((alpha > 0).all(-1, keepdim=True), lengths, infinity)


@dataclass(frozen=True)
class Spec:
    """Weights to draw, each with proportions (p, 1 - p); resolution points an axis."""

    weights: tuple[tuple[float, float], ...] = ((0.5, 2.5), (2.0, 5.0), (2.0, 9.0), (2.0, 3.6))
    p: float = 0.5
    resolution: int = 121


@dataclass(frozen=True, eq=False)
class Record:
    """angles (resolution,) in radians; values (weights, resolution, resolution), [.., i, j] at
    theta_1 = angles[i], theta_2 = angles[j]; regimes (weights,); lengths_at_cross
    (weights, 2): the best squared lengths with both rows at expert 1."""

    spec: Spec
    angles: Tensor
    values: Tensor
    regimes: tuple[str, ...]
    lengths_at_cross: Tensor


def run(spec: Spec) -> Record:
    """The surface over a full period, 0 to pi, of both angles."""
    angles = torch.linspace(-math.pi / 4, 3 * math.pi / 4, spec.resolution, dtype=torch.float64)
    grid = torch.cartesian_prod(angles, angles)
    shape = (spec.resolution, spec.resolution)
    values = [over_lengths(grid, spec.p, mu, lam).view(shape) for mu, lam in spec.weights]
    shares = torch.tensor([spec.p, 1 - spec.p], dtype=torch.float64)
    kinds = tuple(regime(shares, mu, lam) for mu, lam in spec.weights)
    cross = torch.zeros(2, dtype=torch.float64)
    lengths = [best_lengths(cross, spec.p, mu, lam) for mu, lam in spec.weights]
    return Record(spec, angles, torch.stack(values), kinds, torch.stack(lengths))
