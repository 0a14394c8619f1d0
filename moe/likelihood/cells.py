"""Scores and covariance of experts whose gate is constant on cells (``moe.solvers.em.cells``).

The sandwich is H^-1 J H^-1 (Huber 1967; White 1982), H minus the Hessian of the log-likelihood in
(A, log sigma) once the proportions of every cell are maximised out, J the sum of the outer products
of the scores that remain. A gate with cells is as a rule too coarse to be the true one, so H^-1
alone would not do (derived: book, chapter 10).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from moe.likelihood.grams import Grams
from moe.model.nonlinearity import Nonlinearity

ROWS, _RANK = 1 << 14, 1e-9
_LEAST = 0.1


def cell_covariance(
    x: Tensor,
    y: Tensor,
    regressors: Tensor,
    sigma: float,
    proportions: Tensor,
    cells: Tensor,
    g: Nonlinearity,
) -> tuple[Tensor, Tensor]:
    """Covariance (k d + 1, k d + 1) of (A, log sigma): the sandwich, and the plain inverse H^-1.

    x (n, d), y (n,), regressors (k, d), proportions (C, k), cells (n,).
    Raises ValueError where H is not positive definite.
    """
    profile = profiled(x, y, regressors, sigma, proportions, cells, g)
    outer = torch.zeros_like(profile.inverse)
    for part in zip(x.split(ROWS), y.split(ROWS), cells.split(ROWS), strict=True):
        scores = profile.scores(*part)
        outer += scores.T @ scores
    return profile.inverse @ outer @ profile.inverse, profile.inverse


@dataclass(frozen=True, eq=False)
class Profile:
    """The likelihood at experts, sigma and proportions (C, k), the latter maximised out: curvature
    (k d + 1, k d + 1), minus its Hessian in (A, log sigma)."""

    regressors: Tensor
    sigma: float
    proportions: Tensor
    nonlinearity: Nonlinearity
    curvature: Tensor
    _projection: Tensor

    @cached_property
    def inverse(self) -> Tensor:
        """H^-1: times the score of a sample its influence on the maximum, to first order. Raises
        ValueError where H is not positive definite."""
        factor, failed = torch.linalg.cholesky_ex(self.curvature)
        if int(failed):
            raise ValueError("model: expected a maximum of the likelihood with a definite Hessian")
        return torch.cholesky_inverse(factor)

    def scores(self, x: Tensor, y: Tensor, cells: Tensor) -> Tensor:
        """Of every sample, in (A, log sigma), less their regression on those in the proportions of
        its cell: x (n, d), y (n,), cells (n,) -> (n, k d + 1)."""
        at = self.regressors, self.sigma, self.proportions, self.nonlinearity
        own, shares = _Terms(x, y, cells, *at).scores()
        return own - (self._projection[cells] @ shares[..., None])[..., 0]


def profiled(
    x: Tensor,
    y: Tensor,
    regressors: Tensor,
    sigma: float,
    proportions: Tensor,
    cells: Tensor,
    g: Nonlinearity,
) -> Profile:
    """The profile likelihood there; arguments as for ``cell_covariance``. Changes of a cell's
    log-proportions on which there is information of less than a tenth, errors above three, are
    held: those of an expert that hardly answers there lie on the border of what is possible, and
    their likelihood is no parabola."""
    k, d = regressors.shape
    groups = len(proportions)
    hessian = x.new_zeros(k * d + 1, k * d + 1)
    cross = x.new_zeros(groups, (k * d + 1) * k)
    inner = x.new_zeros(groups, k * k)
    for part in zip(x.split(ROWS), y.split(ROWS), cells.split(ROWS), strict=True):
        terms = _Terms(*part, regressors, sigma, proportions, g)
        hessian += terms.hessian()
        cross.index_add_(0, part[2], terms.cross())
        inner.index_add_(0, part[2], terms.inner())
    mixed = cross.view(groups, k * d + 1, k)
    inverse = torch.linalg.pinv(inner.view(groups, k, k), hermitian=True, atol=_LEAST, rtol=_RANK)
    projection = mixed @ inverse
    profile = hessian - torch.einsum("cpf,cqf->pq", projection, mixed)
    return Profile(regressors, sigma, proportions, g, (profile + profile.T) / 2, projection)


class _Terms:
    """Scores and minus second derivatives of log sum_i q_ci N(y; g(eta_i), sigma^2), a chunk; the
    q_c in their log-proportions, of which there is one too many."""

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        cells: Tensor,
        regressors: Tensor,
        sigma: float,
        proportions: Tensor,
        g: Nonlinearity,
    ) -> None:
        eta = x @ regressors.T
        residual, slope = y[:, None] - g(eta), g.derivative(eta)
        self.x, self.q = x, proportions[cells]
        self.in_eta = residual * slope / sigma**2
        self.in_tau = (residual / sigma).square() - 1.0
        joint = self.q.log() - 0.5 * (self.in_tau + 1.0) - math.log(sigma)
        self.r = torch.softmax(joint, 1)
        self.bend = (slope.square() - residual * g.second_derivative(eta)) / sigma**2
        self.pull = self.r * self.in_eta
        self.mean = (self.r * self.in_tau).sum(1, keepdim=True)

    def scores(self) -> tuple[Tensor, Tensor]:
        """In (A, log sigma), (n, k d + 1), and in the cell's proportions, (n, k)."""
        experts = (self.pull[:, :, None] * self.x[:, None]).flatten(1)
        return torch.cat([experts, self.mean], 1), self.r - self.q

    def hessian(self) -> Tensor:
        """Minus the second derivatives in (A, log sigma), summed."""
        k, d = self.r.shape[1], self.x.shape[1]
        curvature = self.pull[:, :, None] * self.pull[:, None]
        diagonal = self.r * self.bend - self.pull * self.in_eta
        curvature.diagonal(dim1=1, dim2=2).add_(diagonal)
        blocks = Grams(self.x)(curvature.flatten(1).T.contiguous()).view(k, k, d, d)
        with_tau = 2 * self.pull - self.pull * (self.in_tau - self.mean)
        whole = self.x.new_zeros(k * d + 1, k * d + 1)
        whole[:-1, :-1] = blocks.permute(0, 2, 1, 3).reshape(k * d, k * d)
        whole[:-1, -1] = whole[-1, :-1] = (with_tau.T @ self.x).flatten()
        spread = (self.r * self.in_tau.square()).sum(1, keepdim=True) - self.mean.square()
        whole[-1, -1] = (2 * (self.mean + 1) - spread).sum()
        return whole

    def cross(self) -> Tensor:
        """Minus those in (A, log sigma) and the proportions, (n, (k d + 1) k)."""
        own = self.pull[:, :, None] * self.r[:, None]
        own.diagonal(dim1=1, dim2=2).sub_(self.pull)
        experts = (own[:, :, None] * self.x[:, None, :, None]).flatten(1)
        level = self.r * (self.mean - self.in_tau)
        return torch.cat([experts, level], 1)

    def inner(self) -> Tensor:
        """Minus those in the proportions, (n, k^2)."""
        r, q = self.r, self.q
        value = r[:, :, None] * r[:, None] - q[:, :, None] * q[:, None]
        value.diagonal(dim1=1, dim2=2).add_(q - r)
        return value.flatten(1)
