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
from moe.model.mixture import MoE, gaussian_log_density, log_gate

_CHUNK = 40_000
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
        regressors, gating = unstack(theta, self.truth)
        total = theta.new_zeros(len(theta))
        size = max(1, 5 * _CHUNK // len(theta))
        for x, y, weight in self._chunks(size):
            eta, gate = x @ regressors.mT, log_gate(gating, x)
            if self.sigma is None:
                each = ((gate.exp() * eta).sum(-1) - y).square()
            else:
                each = -torch.logsumexp(
                    gate + gaussian_log_density(y[:, None] - eta, self.sigma), -1
                )
            total = total + each @ weight
        return total

    def derivatives(self, theta: Tensor) -> tuple[float, Tensor, Tensor, Tensor]:
        """Value, gradient (P,), Hessian (P, P) at theta (P,), and the predictors' mean curvature
        E[l''(z)] (2k - 1, 2k - 1): the Hessian in the directions that one more input would add."""
        regressors, gating = unstack(theta, self.truth)
        rows = torch.cat([regressors, gating[:-1]])
        q, d = rows.shape
        value, gradient = 0.0, torch.zeros_like(rows)
        hessian, extra = theta.new_zeros(q, q, d, d), theta.new_zeros(q, q)
        for x, y, weight in self._chunks(_CHUNK):
            each, slope, curvature = self._at(x @ regressors.T, log_gate(gating, x), y)
            curvature = curvature * weight[:, None, None]
            value += float(each @ weight)
            gradient += (slope * weight[:, None]).T @ x
            extra += curvature.sum(0)
            pairs = (x[:, :, None] * x[:, None, :]).flatten(1)
            hessian += (curvature.flatten(1).T @ pairs).view(q, q, d, d)
        return value, gradient.flatten(), hessian.transpose(1, 2).reshape(q * d, q * d), extra

    def third_derivatives(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """D^3 of the loss (P, P, P), and the derivative of E[l''(z)] in theta (q, q, P);
        the third derivatives in z by central differences of the second."""
        regressors, gating = unstack(theta, self.truth)
        k, (q, d) = self.truth.k, (2 * self.truth.k - 1, self.truth.d)
        whole, extra = theta.new_zeros(q**3, d**3), theta.new_zeros(q**3, d)
        for x, y, weight in self._chunks(_CHUNK // 4):

            def curvature(z: Tensor, y: Tensor = y) -> Tensor:
                logits = torch.nn.functional.pad(z[:, k:], (0, 1))
                return self._at(z[:, :k], logits.log_softmax(1), y)[2]

            z = torch.cat([x @ regressors.T, x @ gating[:-1].T], 1)
            ways = _STEP * torch.eye(q, dtype=z.dtype)
            bends = [curvature(z + way) - curvature(z - way) for way in ways]
            bend = torch.stack(bends, -1) * (weight / (2 * _STEP))[:, None, None, None]
            bend = bend.flatten(1)
            pairs = (x[:, :, None] * x[:, None, :]).flatten(1)
            whole += bend.T @ (pairs[:, :, None] * x[:, None, :]).flatten(1)
            extra += bend.T @ x
        cube = whole.view(q, q, q, d, d, d).permute(0, 3, 1, 4, 2, 5)
        return cube.reshape(q * d, q * d, q * d), extra.view(q, q, q * d)

    def _chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        parts = (part.split(size) for part in (self.x, self.y, self.weights))
        return zip(*parts, strict=True)

    def _at(self, eta: Tensor, gate: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """l, l' (n, q), l'' (n, q, q) in z at predictors eta (n, k) and log-gates (n, k)."""
        k, p = self.truth.k, gate.exp()
        softmax_curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        if self.sigma is None:
            mean = (p * eta).sum(-1, keepdim=True)
            off, residual = eta - mean, mean[:, 0] - y
            slope = torch.cat([p, p * off], 1)
            bend = eta.new_zeros(len(y), 2 * k, 2 * k)
            bend[:, :k, k:] = softmax_curvature
            bend[:, k:, :k] = softmax_curvature
            bend[:, k:, k:] = torch.diag_embed(p * off) - p[:, :, None] * p[:, None, :] * (
                off[:, :, None] + off[:, None, :]
            )
            curvature = slope[:, :, None] * slope[:, None, :] + residual[:, None, None] * bend
            value, slope, curvature = (
                residual.square(),
                2 * residual[:, None] * slope,
                2 * curvature,
            )
        else:
            pull = (y[:, None] - eta) / self.sigma**2
            joint = gate + gaussian_log_density(y[:, None] - eta, self.sigma)
            value = -torch.logsumexp(joint, 1)
            r = (joint + value[:, None]).exp()
            slope = torch.cat([-r * pull, p - r], 1)
            spread = torch.diag_embed(r) - r[:, :, None] * r[:, None, :]
            in_z = torch.cat([pull, torch.ones_like(pull)], 1)
            curvature = -spread.repeat(1, 2, 2) * in_z[:, :, None] * in_z[:, None, :]
            curvature[:, :k, :k] += torch.diag_embed(r) / self.sigma**2
            curvature[:, k:, k:] += softmax_curvature
        return value, slope[:, :-1], curvature[:, :-1, :-1]


def stack(model: MoE) -> Tensor:
    """theta (P,) of a model."""
    return torch.cat([model.regressors, model.gating[:-1]]).flatten()


def unstack(theta: Tensor, like: MoE) -> tuple[Tensor, Tensor]:
    """Regressors and gating (..., k, d) of theta (..., P)."""
    rows = theta.unflatten(-1, (2 * like.k - 1, like.d))
    return rows[..., : like.k, :], torch.nn.functional.pad(rows[..., like.k :, :], (0, 0, 0, 1))


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
