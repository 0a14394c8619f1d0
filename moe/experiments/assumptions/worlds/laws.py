"""Laws of inputs and of noise: what is drawn instead of a Gaussian."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import roots_genlaguerre
from torch import Tensor

Inputs = Callable[[int, int, torch.Generator], Tensor]
"""(n, d, randomness) -> x (n, d), every column of mean zero and variance one."""
Noise = Callable[[int, torch.Generator], Tensor]
"""(n, randomness) -> xi (n,); y = g(<a, x>) + sigma xi."""


def normal(*shape: int, generator: torch.Generator) -> Tensor:
    """N(0, 1) in float64."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def gaussian_inputs(n: int, d: int, generator: torch.Generator) -> Tensor:
    """N(0, I_d): the assumption."""
    return normal(n, d, generator=generator)


def gaussian_noise(n: int, generator: torch.Generator) -> Tensor:
    """N(0, 1): the assumption."""
    return normal(n, generator=generator)


@dataclass(frozen=True)
class Correlated:
    """N(0, Sigma), Sigma_ij = rho^|i - j|."""

    rho: float

    def covariance(self, d: int) -> Tensor:
        """Sigma (d, d)."""
        places = torch.arange(d, dtype=torch.float64)
        return self.rho ** (places[:, None] - places).abs()

    def __call__(self, n: int, d: int, generator: torch.Generator) -> Tensor:
        factor = torch.linalg.cholesky(self.covariance(d))
        return normal(n, d, generator=generator) @ factor.T


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """A density on the line, sum_j w_j N(location_j, scale_j^2): shares, locations, scales (c,)."""

    shares: Tensor
    locations: Tensor
    scales: Tensor

    def scores(self, x: Tensor, orders: int = 2) -> Tensor:
        """(-1)^m p^(m)(x) / p(x) for m = 1..orders: (n,) -> (orders, n) (derived).

        The m-th derivative of N(l, s^2) is (-1)^m He_m((x - l) / s) / s^m times it, so each is a
        mean of those over the components, weighted by how likely each made x.
        """
        u = (x[:, None] - self.locations) / self.scales
        logs = (self.shares / self.scales).log() - 0.5 * u.square()
        weights = torch.softmax(logs, 1)
        before, here, out = torch.ones_like(u), u, []
        for m in range(1, orders + 1):
            out.append((weights * here / self.scales**m).sum(1))
            before, here = here, u * here - m * before
        return torch.stack(out)


@dataclass(frozen=True)
class Smoothed:
    """Independent columns sqrt(1 - t^2) z + t c: z standard normal, c of variance one and either
    +-1 ("clusters": a mixture of two Gaussians, a binary column for t = 1) or "uniform"."""

    kind: str
    t: float

    def __call__(self, n: int, d: int, generator: torch.Generator) -> Tensor:
        uniform = torch.rand(n, d, generator=generator, dtype=torch.float64)
        two = self.kind == "clusters"
        rough = 2.0 * (uniform > 0.5).double() - 1 if two else math.sqrt(3) * (2 * uniform - 1)
        smooth = normal(n, d, generator=generator)
        return math.sqrt(1 - self.t**2) * smooth + self.t * rough

    @property
    def excess(self) -> float:
        """The fourth cumulant of a column."""
        return self.t**4 * {"clusters": -2.0, "uniform": -1.2}[self.kind]

    def density(self) -> GaussianMixture:
        """Of a column, for t < 1 (uniform: by Gauss-Legendre). Raises ValueError at t = 1, where
        there is none, or none with derivatives."""
        if self.t >= 1:
            raise ValueError(f"t: expected t < 1, where the density is smooth, got {self.t}")
        if self.kind == "clusters":
            nodes, weights = np.array([-1.0, 1.0]), np.array([0.5, 0.5])
        else:
            points, weights = np.polynomial.legendre.leggauss(24)
            nodes, weights = math.sqrt(3) * points, weights / 2
        scale = torch.full((len(nodes),), math.sqrt(1 - self.t**2), dtype=torch.float64)
        return GaussianMixture(torch.from_numpy(weights), self.t * torch.from_numpy(nodes), scale)


@dataclass(frozen=True)
class Student:
    """Independent columns, t with nu > 2 degrees of freedom over its standard deviation."""

    nu: float

    def one(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Draws of any shape: a normal over the root of a chi-squared mean."""
        top = normal(*shape, generator=generator)
        half = torch.full(shape, self.nu / 2, dtype=torch.float64)
        below = torch._standard_gamma(half, generator=generator)
        return top * ((self.nu - 2) / (2 * below)).sqrt()

    def __call__(self, n: int, d: int, generator: torch.Generator) -> Tensor:
        return self.one(n, d, generator=generator)

    @property
    def excess(self) -> float:
        """The fourth cumulant of a column, infinite for nu <= 4."""
        return 6.0 / (self.nu - 4) if self.nu > 4 else math.inf

    def density(self) -> GaussianMixture:
        """Of a column: a mixture of N(0, s^2) over s, by generalised Gauss-Laguerre."""
        nodes, weights = roots_genlaguerre(40, self.nu / 2 - 1)
        kept = weights > 0
        scale = torch.from_numpy(np.sqrt((self.nu - 2) / (2 * nodes[kept])))
        shares = torch.from_numpy(weights[kept] / weights[kept].sum())
        return GaussianMixture(shares, torch.zeros_like(scale), scale)


@dataclass(frozen=True)
class StudentNoise:
    """t with nu degrees of freedom, of variance one for nu > 2."""

    nu: float

    def __call__(self, n: int, generator: torch.Generator) -> Tensor:
        return Student(self.nu).one(n, generator=generator)


@dataclass(frozen=True)
class Outliers:
    """N(0, 1), but a share of N(0, size^2)."""

    share: float
    size: float = 20.0

    def __call__(self, n: int, generator: torch.Generator) -> Tensor:
        wild = torch.rand(n, generator=generator, dtype=torch.float64) < self.share
        return normal(n, generator=generator) * torch.where(wild, self.size, 1.0)


@dataclass(frozen=True)
class SomeBinary:
    """The first ``columns`` of the d columns are +-1 with equal chances, the others N(0, 1)."""

    columns: int

    def __call__(self, n: int, d: int, generator: torch.Generator) -> Tensor:
        x = normal(n, d, generator=generator)
        x[:, : self.columns] = torch.where(x[:, : self.columns] < 0, -1.0, 1.0).double()
        return x
