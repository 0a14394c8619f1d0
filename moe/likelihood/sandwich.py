"""Information and covariance of ``Regressions``: weighted samples, two designs, a sigma each.

As in ``likelihood.information`` all parameters act through linear predictors: eta_i = <a_i, x>,
omega_i = <w_i, z>, tau_i = log sigma_i. The parameter vector is
theta = (a_1, ..., a_k, w_1, ..., w_{k-1}, tau_1, ..., tau_k), P = k p + (k - 1) q + k. What is held
or shared is a linear map of fewer parameters, theta = T phi: the information of phi is T' I T.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.model.regressions import Regressions

_CHUNK = 16_384


@dataclass(frozen=True, eq=False)
class Curvature:
    """Summed over samples: information (P, P), minus the Hessian of sum_n w_n log P(y_n | x_n);
    outer (P, P), the sum of w_n score score' (a weight of 2 is the sample twice); gradient (P,)."""

    information: Tensor
    outer: Tensor
    gradient: Tensor


def _predictors(law: Regressions, x: Tensor, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Per-sample score (Q, n) and observed curvature (Q, Q, n) in the Q = 3k - 1 predictors."""
    k, n, variance = law.k, len(x), law.sigmas.square()[:, None]
    g, eta = law.nonlinearity, (x @ law.experts.T).T
    r, p = law.responsibilities(x, z, y).T, law.gate(z).T
    slope, residual = g.derivative(eta), y - g(eta)
    in_eta = residual * slope / variance
    in_tau = residual.square() / variance - 1.0
    experts, gates, noise = (
        torch.arange(k),
        torch.arange(k, 2 * k - 1),
        torch.arange(2 * k - 1, 3 * k - 1),
    )
    curvature = x.new_zeros(3 * k - 1, 3 * k - 1, n)
    bend = residual * g.second_derivative(eta)
    curvature[experts, experts] = r * (slope.square() - bend) / variance
    curvature[experts, noise] = curvature[noise, experts] = 2 * r * in_eta
    curvature[noise, noise] = 2 * r * (in_tau + 1)
    curvature[k : 2 * k - 1, k : 2 * k - 1] = -p[:-1, None] * p[None, :-1]
    curvature[gates, gates] += p[:-1]
    gradient = x.new_zeros(k, 3 * k - 1, n)
    gradient[experts, experts] = in_eta
    gradient[experts[:-1], gates] = 1.0
    gradient[experts, noise] = in_tau
    mean = (r[:, None] * gradient).sum(0)
    curvature -= torch.einsum("in,ian,ibn->abn", r, gradient, gradient) - mean[:, None] * mean
    mean[k : 2 * k - 1] -= p[:-1]
    return mean, curvature


def curvature(law: Regressions, x: Tensor, z: Tensor, y: Tensor, weights: Tensor) -> Curvature:
    """Information and outer products of the scores at ``law``: x (n, p), z (n, q), y (n,), weights
    (n,). Cost O(n k^2 (p + q)^2); memory bounded by chunks."""
    k, p, q = law.k, x.shape[1], z.shape[1]
    size = k * p + (k - 1) * q + k
    information, outer = x.new_zeros(size, size), x.new_zeros(size, size)
    gradient = x.new_zeros(size)
    edges = [0, *torch.tensor([p] * k + [q] * (k - 1) + [1] * k).cumsum(0).tolist()]
    for rows in torch.arange(len(x)).split(_CHUNK):
        ones = torch.ones_like(y[rows, None])
        designs = [x[rows]] * k + [z[rows]] * (k - 1) + [ones] * k
        score, bends = _predictors(law, x[rows], z[rows], y[rows])
        for a in range(len(designs)):
            for b in range(a, len(designs)):
                block = (designs[a] * (weights[rows] * bends[a, b])[:, None]).T @ designs[b]
                here, there = slice(*edges[a : a + 2]), slice(*edges[b : b + 2])
                information[here, there] += block
                if b > a:
                    information[there, here] += block.T
        scores = torch.cat([s[:, None] * each for s, each in zip(score, designs, strict=True)], 1)
        counted = weights[rows, None] * scores
        outer += counted.T @ scores
        gradient += counted.sum(0)
    return Curvature(information, outer, gradient)


def covariance(of: Curvature, free: Tensor, *, robust: bool = False) -> Tensor:
    """The covariance (P, P) of the estimate theta = T phi, T = ``free`` (P, F).

    T (T' I T)^-1 T', or with ``robust`` the sandwich T (T' I T)^-1 T' O T (T' I T)^-1 T', which
    does not take the model for true (Huber 1967; White 1982). Raises ValueError where T' I T is not
    positive definite: the parameters are then not identified.
    """
    inverse = inverted(free.T @ of.information @ free, "covariance")
    bread = free @ inverse @ free.T
    return bread @ of.outer @ bread if robust else bread


def inverted(information: Tensor, name: str) -> Tensor:
    """The inverse (P, P) of an information matrix, whatever the units of its parameters.

    Raises ValueError, which begins with ``name``, where the matrix is not finite, or not positive
    definite once its diagonal is one: the parameters are then not identified.
    """
    root = information.diagonal().clamp_min(torch.finfo(information.dtype).tiny).sqrt()
    unit = information / root / root[:, None]
    if not bool(torch.isfinite(unit).all()):
        raise ValueError(f"{name}: expected a finite information matrix; scale x or y")
    least = float(torch.linalg.eigvalsh(unit)[0])
    if not least > len(unit) * torch.finfo(unit.dtype).eps:
        raise ValueError(
            f"{name}: expected a positive definite information matrix, got smallest eigenvalue "
            f"{least:.3g} once its diagonal is one: the parameters are not identified here (two "
            "experts alike, an expert without samples, gates that separate the samples, or not a "
            "maximum of the likelihood)"
        )
    return torch.cholesky_inverse(torch.linalg.cholesky(unit)) / root / root[:, None]
