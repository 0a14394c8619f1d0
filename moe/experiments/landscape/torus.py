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
    shares = torch.tensor([p, 1 - p], dtype=angles.dtype)
    q = torch.stack([angles.cos(), angles.sin()], -1).square()
    alpha = lam - mu * (q.square() / shares).sum(-1)
    cross = (q[..., 0, :] * q[..., 1, :] / shares).sum(-1)
    first, second = alpha.unbind(-1)
    determinant = first * second - cross.square()
    lengths = lam * (alpha.flip(-1) - cross.unsqueeze(-1)) / determinant.unsqueeze(-1)
    inside = (determinant > 0) & (lengths > 0).all(-1)
    one_row = 2 * lam - lam**2 / torch.minimum(first, second)
    both = 2 * lam - lam * lengths.sum(-1)
    value = torch.where(inside, both, one_row)
    infinity = torch.full_like(value, -torch.inf)
    return torch.where((alpha > 0).all(-1), value, infinity)


@dataclass(frozen=True)
class Spec:
    """Weights to draw, each with proportions (p, 1 - p); resolution points an axis."""

    weights: tuple[tuple[float, float], ...] = ((0.5, 2.5), (2.0, 5.0), (2.0, 9.0), (2.0, 3.6))
    p: float = 0.5
    resolution: int = 121


@dataclass(frozen=True, eq=False)
class Record:
    """angles (resolution,) in radians; values (weights, resolution, resolution), [.., i, j] at
    theta_1 = angles[i], theta_2 = angles[j]; regimes (weights,); zero_at_crosses (weights,): with
    both rows at expert 1, whether one's best length is zero; None where there is no minimum."""

    spec: Spec
    angles: Tensor
    values: Tensor
    regimes: tuple[str, ...]
    zero_at_crosses: tuple[bool | None, ...]


def run(spec: Spec) -> Record:
    """The surface over a full period, 0 to pi, of both angles."""
    angles = torch.linspace(-math.pi / 4, 3 * math.pi / 4, spec.resolution, dtype=torch.float64)
    grid = torch.cartesian_prod(angles, angles)
    shape = (spec.resolution, spec.resolution)
    values = [over_lengths(grid, spec.p, mu, lam).view(shape) for mu, lam in spec.weights]
    shares = torch.tensor([spec.p, 1 - spec.p], dtype=torch.float64)
    kinds = tuple(regime(shares, mu, lam) for mu, lam in spec.weights)
    crosses = tuple(
        None if lam <= mu / spec.p else lam < (mu + 1) / spec.p for mu, lam in spec.weights
    )
    return Record(spec, angles, torch.stack(values), kinds, crosses)
