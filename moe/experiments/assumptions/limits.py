"""What moments converge to where an assumption does not hold: formulas beside large samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from numpy.polynomial.hermite_e import hermevander
from scipy.special import gammaln
from torch import Tensor

from moe.experiments.assumptions.worlds.laws import (
    Outliers,
    StudentNoise,
)
from moe.experiments.assumptions.worlds.violations import VIOLATIONS
from moe.experiments.assumptions.worlds.world import World, world_that_holds
from moe.experiments.common.gaussian_integrals import line_rule
from moe.moments.hermite import score_tensor
from moe.moments.transforms import solved_transform
from moe.randomness import stream

Outputs = Callable[[Tensor], Tensor]
_PARTS = 20


@dataclass(frozen=True)
class Agreement:
    """A limit by formula beside a large sample.

    name; degree of the moment; standard_errors: the largest difference of an entry, in standard
    errors of the sample's; entries: their number; size: the largest difference of the limit from
    the moment of the theory, relative to its norm.
    """

    name: str
    degree: int
    standard_errors: float
    entries: int
    size: float


def expert_factors(world: World, outputs: Outputs, degree: int) -> Tensor:
    """kappa_i = E[Q(g(c_i z) + sigma xi) He_m(z)], c_i = |a_i|, by quadrature over z and xi: (k,).

    ``outputs``: Q, any function of y; m = ``degree``.
    """
    z, weights = line_rule(world.nonlinearity.kinks)
    hermite = torch.from_numpy(hermevander(z.numpy(), degree)[:, degree].copy())
    xi, shares = noise_rule(world.noise)
    found = []
    for norm in world.regressors.norm(dim=1):
        y = world.nonlinearity(norm * z)[:, None] + world.sigma * xi
        found.append(weights * hermite @ (outputs(y) @ shares))
    return torch.stack(found)


def noise_rule(noise: object) -> tuple[Tensor, Tensor]:
    """Nodes and weights of E f(xi): trapezoid in s, xi = sinh s, which reaches far into tails."""
    s = torch.linspace(-12, 12, 961, dtype=torch.float64)
    xi = torch.sinh(s)
    if isinstance(noise, StudentNoise):
        nu = noise.nu
        t = xi / math.sqrt((nu - 2) / nu)
        level = float(gammaln((nu + 1) / 2) - gammaln(nu / 2)) - 0.5 * math.log(nu * math.pi)
        logs = level - (nu + 1) / 2 * torch.log1p(t.square() / nu) - 0.5 * math.log((nu - 2) / nu)
    else:
        share, size = (noise.share, noise.size) if isinstance(noise, Outliers) else (0.0, 1.0)
        narrow = (1 - share) * torch.exp(-0.5 * xi.square())
        wide = share / size * torch.exp(-0.5 * (xi / size).square())
        logs = ((narrow + wide) / math.sqrt(2 * math.pi)).log()
    weights = logs.exp() * torch.cosh(s) * (s[1] - s[0])
    return xi, weights


def power(rows: Tensor, weights: Tensor, degree: int) -> Tensor:
    """sum_i w_i a_i^(m): rows (k, d), weights (..., k) -> (..., d, ..., d)."""
    total = weights
    letters = "abcd"[:degree]
    factors = ",".join(f"i{letter}" for letter in letters)
    return torch.einsum(f"...i,{factors}->...{letters}", total, *[rows] * degree)


@dataclass(frozen=True)
class Case:
    """A world whose assumption only reweighs; Q_m for m = 2, 4 of what is told."""

    name: str
    world: World
    clip: float = math.inf

    def outputs(self, degree: int) -> Outputs:
        """Q_m(y), of clipped outputs where there is a clip."""
        told, world = self.world.told, self.world
        level = world.sigma if told.sigma is None else told.sigma
        transform = solved_transform(told.nonlinearity, level, degree)
        return lambda y: transform(y.clamp(-self.clip, self.clip)) / transform.normaliser


def reweighted_cases(seed: int, sigma: float = 0.5) -> list[Case]:
    """Worlds in which gates are orthogonal and inputs Gaussian, but something else is broken."""

    def broken(name: str, degree: float, g: str = "linear") -> World:
        world = world_that_holds(3, 7, sigma, 2.0, seed, g)
        return VIOLATIONS[name].change(world, degree, stream("violation", seed))

    skewed = replace(broken("unequal norms", 0.0), noise=_skewed)
    return [
        Case("norms 1 : 4, tanh experts", broken("unequal norms", 2.0, "tanh")),
        Case(
            r"$\sigma$ told eight-fold, rectified experts",
            broken("sigma told too large", 3.0, "relu"),
        ),
        Case(r"$\sigma$ told an eighth, tanh experts", broken("sigma told too small", 3.0, "tanh")),
        Case(
            r"Student noise, $\nu = 2.5$, clipped outputs", broken("heavy-tailed noise", 0.4), 3.0
        ),
        Case("one outlier in ten, clipped outputs", broken("outliers", 0.1), 3.0),
        Case("bent experts taken for linear", broken("wrong nonlinearity", 0.9)),
        Case("skewed noise", skewed),
        Case("a gate bias", broken("a gate bias", 2.0)),
    ]


def _skewed(n: int, generator: torch.Generator) -> Tensor:
    """Exponential less its mean."""
    uniform = torch.rand(n, generator=generator, dtype=torch.float64)
    return -torch.log1p(-uniform) - 1


def in_the_span(case: Case, degree: int, n: int, seed: int) -> Agreement:
    """E[Q_m(y) S_m(B'x)] of n samples, B a basis of the experts' span, beside
    sum_i pbar_i kappa_i a_i^(m), a_i the directions; differences are taken sample by sample."""
    world, outputs = case.world, case.outputs(degree)
    basis = torch.linalg.qr(world.regressors.T).Q
    rows = world.regressors / world.regressors.norm(dim=1, keepdim=True) @ basis
    factors = expert_factors(world, outputs, degree) if world.noise is not _skewed else None
    if factors is None:
        factors = _skewed_factors(world, outputs, degree)
    gaps = []
    for part in range(_PARTS):
        x, y = world.sample(n // _PARTS, stream("data", seed, part))
        q = outputs(y)
        # of Q - E Q, which changes no expectation
        scores = score_tensor(x @ basis, degree)
        moment = torch.tensordot(q - q.mean(), scores, dims=1) / len(y)
        gaps.append(moment - power(rows, world.gate(x).mean(0) * factors, degree))
    limit = power(rows, world.gate(x).mean(0) * factors, degree)
    plain = power(rows, world.gate(x).mean(0), degree)
    worst = _standard_errors(torch.stack(gaps))
    return Agreement(
        case.name, degree, worst, limit.numel(), float((limit - plain).norm() / plain.norm())
    )


def _standard_errors(gaps: Tensor) -> float:
    """The largest mean of (parts, ...) in its own standard errors."""
    return float((gaps.mean(0) / (gaps.std(0) / len(gaps) ** 0.5)).abs().max())


def _skewed_factors(world: World, outputs: Outputs, degree: int) -> Tensor:
    """As ``expert_factors``, with xi = e - 1, e exponential: by Gauss-Laguerre."""
    from scipy.special import roots_laguerre

    nodes, shares = (torch.from_numpy(part) for part in roots_laguerre(40))
    z, weights = line_rule(world.nonlinearity.kinks)
    hermite = torch.from_numpy(hermevander(z.numpy(), degree)[:, degree].copy())
    y = world.nonlinearity(world.regressors.norm(dim=1)[:, None] * z)[..., None]
    return (outputs(y + world.sigma * (nodes - 1)) @ shares) @ (weights * hermite)
