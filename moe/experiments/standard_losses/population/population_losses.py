"""Population losses by quadrature, with exact gradients and Hessians, for certificates of minima.

Each loss is E l(z; y), z = (eta_1..eta_k, omega_1..omega_{k-1}) the linear predictors <a_i, x> and
<w_i, x> of linear experts. Parameters are one vector theta = (a_1, ..., a_k, w_1, ..., w_{k-1}).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from moe.experiments.common.gaussian_integrals import grid_rule
from moe.experiments.standard_losses.population.pointwise import (
    belief,
    mean_slope,
    minus_log,
    squared,
)
from moe.model.mixture import MoE, full_gating

_CHUNK, _ENTRIES = 2_000, 64_000
_STEP = 1e-4
_RADII = (0.0, 0.3, 0.8, 1.5, 2.5, 4.0, 8.5)


@dataclass(frozen=True, eq=False)
class Population:
    """sum_n weights_n l(z(x_n); y_n), an expectation over the truth's law up to quadrature error.

    x (N, d), y (N,), weights (N,) summing to one; sigma None: l is the squared error of the mean
    (y_n the true mean), a number: minus the log-density with the noise held at sigma.
    """

    truth: MoE
    x: Tensor
    y: Tensor
    weights: Tensor
    sigma: float | None

    def values(self, theta: Tensor) -> Tensor:
        """The loss at theta (B, P): (B,). Differentiable."""
        k, rows = self.truth.k, theta.unflatten(-1, (-1, self.truth.d))
        total = theta.new_zeros(len(theta))
        for x, y, weight in self._chunks(max(1, _ENTRIES // (k * len(theta)))):
            z = (rows.flatten(0, 1) @ x.T).unflatten(0, rows.shape[:2])
            if self.sigma is None:
                each = (mean_slope(z, k)[0] - y).square()
            else:
                each = belief(z, y, k, self.sigma)[0]
            total = total + each @ weight
        return total

    def noise_slope(self, theta: Tensor) -> float:
        """Derivative of the likelihood's loss in log sigma at theta (P,)."""
        k, total = self.truth.k, 0.0
        if self.sigma is None:
            raise ValueError("noise_slope: expected a likelihood, got the squared loss")
        for x, y, weight in self._chunks(_CHUNK):
            z = theta.view(-1, self.truth.d) @ x.T
            r = belief(z, y, k, self.sigma)[2]
            squares = ((y - z[:k]) / self.sigma).square()
            total += float((1 - (r * squares).sum(0)) @ weight)
        return total

    def derivatives(self, theta: Tensor) -> tuple[float, Tensor, Tensor, Tensor]:
        """Value, gradient (P,), Hessian (P, P) at theta (P,), and the predictors' mean curvature
        E[l''(z)] (2k - 1, 2k - 1): the Hessian in the directions that one more input would add."""
        q, d = 2 * self.truth.k - 1, self.truth.d
        rows = theta.view(q, d)
        value, gradient = 0.0, torch.zeros_like(rows)
        sums = theta.new_zeros(q * q, d * d + 1)
        for x, y, weight in self._chunks(_CHUNK):
            each, slope, curvature = self._at(rows @ x.T, y)
            value += float(each @ weight)
            gradient += (slope * weight) @ x
            sums += curvature.flatten(0, 1) @ (weight[:, None] * _products(x, 2))
        extra, hessian = sums[:, 0].view(q, q), sums[:, 1:].view(q, q, d, d)
        return value, gradient.flatten(), hessian.transpose(1, 2).reshape(q * d, q * d), extra

    def third_derivatives(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """D^3 of the loss (P, P, P), and the derivative of E[l''(z)] in theta (q, q, P);
        the third derivatives in z by central differences of the second."""
        q, d = 2 * self.truth.k - 1, self.truth.d
        rows = theta.view(q, d)
        ways = _STEP * torch.eye(q, dtype=theta.dtype)
        whole, extra = theta.new_zeros(q, q * q, d**3), theta.new_zeros(q, q * q, d)
        for x, y, weight in self._chunks(_CHUNK):
            z, scale = rows @ x.T, (weight / (2 * _STEP))[:, None]
            lines, triples = scale * x, scale * _products(x, 3)[:, 1:]
            for j, way in enumerate(ways):
                bend = self._at(z + way[:, None], y)[2] - self._at(z - way[:, None], y)[2]
                whole[j] += bend.flatten(0, 1) @ triples
                extra[j] += bend.flatten(0, 1) @ lines
        cube = whole.view(q, q, q, d, d, d).permute(1, 3, 2, 4, 0, 5)
        bends = extra.view(q, q, q, d).permute(1, 2, 0, 3)
        return cube.reshape(q * d, q * d, q * d), bends.reshape(q, q, q * d)

    def _chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        parts = (part.split(size) for part in (self.x, self.y, self.weights))
        return zip(*parts, strict=True)

    def _at(self, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """l (n,), l' (q, n), l'' (q, q, n) at the predictors z (q, n)."""
        k = self.truth.k
        return squared(z, y, k) if self.sigma is None else minus_log(z, y, k, self.sigma)


def _products(x: Tensor, degree: int) -> Tensor:
    """One and all products of that many coordinates: (n, 1 + d^degree)."""
    products = x
    for _ in range(degree - 1):
        products = (products[:, :, None] * x[:, None, :]).flatten(1)
    return torch.cat([torch.ones_like(x[:, :1]), products], 1)


def stack(model: MoE) -> Tensor:
    """theta (P,) of a model."""
    return torch.cat([model.regressors, model.gating[:-1]]).flatten()


def unstack(theta: Tensor, like: MoE) -> tuple[Tensor, Tensor]:
    """Regressors and gating (..., k, d) of theta (..., P)."""
    rows = theta.unflatten(-1, (2 * like.k - 1, like.d))
    return rows[..., : like.k, :], full_gating(rows[..., like.k :, :])


def squared_population(truth: MoE, nodes: int) -> Population:
    """E (m(x) - m*(x))^2, the squared loss less its least value E var(y | x).

    Gauss-Hermite product rule with that many nodes an axis; nodes of negligible weight dropped.
    """
    x, weights = grid_rule(truth.d, nodes)
    keep = weights > 1e-15
    x, weights = x[keep], weights[keep] / weights[keep].sum()
    return Population(truth, x, truth.mean(x), weights, None)


def log_population(truth: MoE, sigma: float, nodes: int) -> Population:
    """-E log P(y | x) in nats with the noise held at sigma, for d = 2 and linear experts.

    x in polar coordinates: ``nodes`` equal angles, Gauss-Legendre panels in the radius; y as the
    exact sum over true experts with Gauss-Hermite nodes for the noise. Raises ValueError if d != 2.
    """
    if truth.d != 2:
        raise ValueError(f"truth: expected d = 2 for the polar rule, got d = {truth.d}")
    points, lengths = np.polynomial.legendre.leggauss(max(5, nodes // 40))
    half = np.diff(_RADII)[:, None] / 2
    radius = torch.from_numpy((np.array(_RADII[:-1])[:, None] + half * (1 + points)).ravel())
    radial = torch.from_numpy((half * lengths).ravel()) * radius * (-0.5 * radius**2).exp()
    angle = 2 * math.pi * (torch.arange(nodes, dtype=torch.float64) + 0.5) / nodes
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    x = (radius[:, None, None] * circle).reshape(-1, 2)
    noise, share = grid_rule(1, max(6, nodes // 25))
    y = truth.expert_means(x)[:, :, None] + truth.sigma * noise[:, 0]
    weights = (radial / radial.sum())[:, None, None, None] / nodes
    weights = weights * truth.gate(x).view(len(radius), nodes, -1, 1) * share
    x = x[:, None, None, :].expand(-1, truth.k, len(noise), -1).reshape(-1, 2)
    keep = weights.flatten() > 1e-15
    return Population(truth, x[keep], y.flatten()[keep], weights.flatten()[keep], sigma)


def newton(loss: Population, theta: Tensor, iterations: int = 10, goal: float = 1e-12) -> Tensor:
    """Newton's method on the gradient, steps halved until its norm falls; stops where it cannot."""
    _, gradient, hessian, _ = loss.derivatives(theta)
    for _ in range(iterations):
        if float(gradient.norm()) <= goal:
            break
        step = torch.linalg.solve(hessian, gradient)
        for halving in range(5):
            trial = theta - 0.5**halving * step
            _, slope, curvature, _ = loss.derivatives(trial)
            if float(slope.norm()) < float(gradient.norm()):
                theta, gradient, hessian = trial, slope, curvature
                break
        else:
            break
    return theta


def levenberg_marquardt(
    loss: Population, theta: Tensor, iterations: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Damped Gauss-Newton on a squared population loss from S starts: theta, values, |gradient|."""
    k, d = loss.truth.k, loss.truth.d
    q, x = 2 * k - 1, loss.x
    row, column = torch.triu_indices(q, q)
    left, right = torch.triu_indices(d, d)
    pairs = x[:, left] * x[:, right]

    def look(theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        starts = len(theta)
        value, gradient = theta.new_zeros(starts), theta.new_zeros(starts, q, d)
        blocks = theta.new_zeros(starts, len(row), len(left))
        size = max(1, _ENTRIES // (q * starts))
        for part in zip(*(t.split(size) for t in (x, loss.y, loss.weights, pairs)), strict=True):
            x_, y, weights, pairs_ = part
            mean, slope = mean_slope((theta.view(-1, d) @ x_.T).view(starts, q, -1), k)
            residual = mean - y
            value += residual.square() @ weights
            gradient += (slope * (residual * weights)[:, None]) @ x_
            blocks += (slope[:, row] * slope[:, column]) @ (pairs_ * weights[:, None])
        matrix = theta.new_empty(starts, q, q, d, d)
        matrix[:, row[:, None], column[:, None], left, right] = blocks
        matrix[:, row[:, None], column[:, None], right, left] = blocks
        matrix[:, column, row] = matrix[:, row, column]
        return value, gradient.flatten(1), matrix.transpose(2, 3).reshape(starts, q * d, q * d)

    theta = theta.clone()
    damping = torch.full((len(theta),), 1e-2, dtype=theta.dtype)
    value, gradient, matrix = look(theta)
    active = torch.arange(len(theta))
    identity = torch.eye(q * d, dtype=theta.dtype)
    for _ in range(iterations):
        system = matrix[active] + damping[active, None, None] * identity
        trial = theta[active] - torch.linalg.solve(system, gradient[active])
        reached = look(trial)
        lower = reached[0] < value[active]
        moved = active[lower]
        theta[moved] = trial[lower]
        for mine, new in zip((value, gradient, matrix), reached, strict=True):
            mine[moved] = new[lower]
        damping[active] = (damping[active] * torch.where(lower, 0.25, 4.0)).clamp_min(1e-9)
        going = (gradient[active].norm(dim=1) > 1e-11) & (damping[active] < 1e8)
        active = active[going & (value[active] > 1e-18)]
        if len(active) == 0:
            break
    return theta, value, 2 * gradient.norm(dim=1)
