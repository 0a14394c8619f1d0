"""Certificates: a true minimum of a population loss near the point that Newton's method found.

Let eps bound the gradient's norm at theta, lam the Hessian's least eigenvalue from below, and K the
Hessian's Lipschitz constant on a ball. If h = eps K / lam^2 < 1/2, the ball of radius
r = (lam / K)(1 - sqrt(1 - 2 h)) holds exactly one critical point, a strict minimum with curvature
at least lam - K r (Newton, Kantorovich; the chapter has a short proof).

What bounds the quadrature error is *estimated*: the difference of two rules, of which the reported
one is much the finer. For the squared loss the form of K is derived: the norm of the third
derivatives at theta (coarse rule, a tenth added for its error: an allowance), and a bound of the
fourth for the rest of the ball. For the likelihood K is estimated too: twice the largest third
derivative seen at some points of the ball.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.polynomial import Polynomial
from torch import Tensor

from moe.experiments.common.gaussian_integrals import grid_rule
from moe.experiments.standard_losses.population.population_losses import (
    Population,
    newton,
    stack,
    unstack,
)
from moe.model.mixture import MoE
from moe.randomness import stream

ROUNDING = 1e-13
_STRIP = 0.8
_INERT_NODES = 3
_GATE_DERIVATIVES = (1.0, 1 / 2, 1 / 2, 7 / 8, 25 / 16)  # sum_i |p_i^(j)| <= this * range^j


@dataclass(frozen=True, eq=False)
class Enclosure:
    """A point and the ball around it that holds a minimum, if it does (derived).

    theta (P,); excess: loss above the truth's, and excess_error, the rule's; gradient: bound of its
    norm, the rule's error included; curvature: lower bound of the Hessian's least eigenvalue, less
    the rule's error; lipschitz: of the Hessian on the ball; extra_curvature and extra_lipschitz:
    the same of E l''(z), the block that one more input adds.
    """

    theta: Tensor
    excess: float
    excess_error: float
    gradient: float
    curvature: float
    lipschitz: float
    extra_curvature: float
    extra_lipschitz: float

    @property
    def quotient(self) -> float:
        """h: below 1/2 a minimum is near. Infinite where the Hessian is not known positive."""
        if self.curvature <= 0:
            return math.inf
        return self.gradient * self.lipschitz / self.curvature**2

    @property
    def radius(self) -> float:
        """Distance within which the minimum lies; infinite without one."""
        if not self.quotient < 0.5:
            return math.inf
        return 2 * self.gradient / self.curvature / (1 + math.sqrt(1 - 2 * self.quotient))

    @property
    def is_strict_minimum(self) -> bool:
        """h < 1/2, and the block of an added input is positive on the whole ball."""
        return (
            self.quotient < 0.5
            and self.extra_curvature - self.extra_lipschitz * self.radius > 0
            and self.curvature - self.lipschitz * self.radius > 0
        )

    @property
    def least_excess(self) -> float:
        """Lower bound of the minimum's excess: on the ball the loss is convex, so it lies at most
        |gradient| * radius below its value at theta."""
        return self.excess - self.excess_error - self.gradient * self.radius

    @property
    def is_spurious(self) -> bool:
        """A strict minimum whose value is above the truth's."""
        return self.is_strict_minimum and self.least_excess > 0


def lattice_rule(dim: int, step: float) -> tuple[Tensor, Tensor]:
    """E f(x), x ~ N(0, I), by the trapezoidal rule on the lattice step * Z^dim within a ball.

    For f analytic in a strip of half-width s the error falls like exp(-2 pi s / step) (classical);
    for a softmax gate w, s = pi / |w| or so. The ball's radius grows as the step shrinks, so that
    what is cut off falls alike. Nodes (N, dim), weights (N,) with sum one.
    """
    reach = math.sqrt(4 * math.pi * _STRIP / step)
    count = math.floor(reach / step)
    line = step * torch.arange(-count, count + 1, dtype=torch.float64)
    nodes = torch.cartesian_prod(*[line] * dim).reshape(-1, dim)
    nodes = nodes[nodes.square().sum(1) <= reach**2]
    weights = (-nodes.square().sum(1) / 2).exp()
    return nodes, weights / weights.sum()


def lattice_population(truth: MoE, theta: Tensor, step: float) -> Population:
    """E (m - m*)^2 with the lattice in the directions of the gates, theta's and the truth's.

    In the others the integrand and its derivatives are polynomials of degree at most five, so that
    few Gauss-Hermite nodes are exact.
    """
    gates = torch.cat([unstack(theta, truth)[1][:-1], truth.gating[:-1]])
    _, sizes, right = torch.linalg.svd(gates, full_matrices=True)
    rank = int((sizes > 1e-9 * sizes[0]).sum())
    own, inert = _rules(rank, step), grid_rule(truth.d - rank, _INERT_NODES)
    pick = torch.cartesian_prod(torch.arange(len(own[0])), torch.arange(len(inert[0])))
    x = torch.cat([own[0][pick[:, 0]], inert[0][pick[:, 1]]], 1) @ right
    weights = own[1][pick[:, 0]] * inert[1][pick[:, 1]]
    return Population(truth, x, truth.mean(x), weights, None)


@cache
def _rules(dim: int, step: float) -> tuple[Tensor, Tensor]:
    return lattice_rule(dim, step)


def certify_squared(truth: MoE, theta: Tensor, steps: tuple[tuple[float, float], ...]) -> Enclosure:
    """``enclose`` on lattices of two steps (coarse, fine); the next pair where one does not do."""
    for pair in steps:
        theta = newton(lattice_population(truth, theta, pair[0]), theta, 15)
        coarse, fine = (lattice_population(truth, theta, step) for step in pair)
        enclosure = enclose(theta, coarse, fine)
        if enclosure.is_strict_minimum:
            break
    return enclosure


def enclose(theta: Tensor, coarse: Population, fine: Population) -> Enclosure:
    """Both rules at theta, where Newton's method ended under the coarse one; then the bounds."""
    own = stack(fine.truth)[None]
    (value, gradient, hessian, extra), rough = fine.derivatives(theta), coarse.derivatives(theta)
    excess = value - float(fine.values(own))
    rough_excess = rough[0] - float(coarse.values(own))
    eps = float(gradient.norm() + (gradient - rough[1]).norm()) + ROUNDING
    curvature = _least(hessian, rough[2])
    ball = 2 * eps / curvature if curvature > 0 else 0.0
    lipschitz, extra_lipschitz = lipschitz_constants(theta, ball, coarse)
    return Enclosure(
        theta,
        excess,
        abs(excess - rough_excess) + ROUNDING,
        eps,
        curvature,
        lipschitz,
        _least(extra, rough[3]),
        extra_lipschitz,
    )


def _least(matrix: Tensor, rough: Tensor) -> float:
    """Least eigenvalue, less the norm of the difference of the rules."""
    off = float(torch.linalg.matrix_norm(matrix - rough, 2)) + ROUNDING
    return float(torch.linalg.eigvalsh(matrix)[0]) - off


def lipschitz_constants(theta: Tensor, ball: float, rule: Population) -> tuple[float, float]:
    """Of the Hessian and of E l''(z) on the ball around theta.

    Squared loss: the norms of the third derivatives at theta, a tenth added for the rule's error,
    plus ball * ``fourth_bound``. Likelihood: twice the largest norm at theta and at four points of
    the sphere (an estimate).
    """
    if rule.sigma is None:
        rest = ball * fourth_bound(rule.truth, theta, ball)
        first, second = (1.1 * _norm(part) + rest for part in rule.third_derivatives(theta))
        return first, second
    way = torch.randn(4, len(theta), generator=stream("sphere"), dtype=theta.dtype)
    points = torch.cat([theta[None], theta + ball * way / way.norm(dim=1, keepdim=True)])
    norms = [[_norm(part) for part in rule.third_derivatives(point)] for point in points]
    first, second = (2 * max(column) for column in zip(*norms, strict=True))
    return first, second


def _norm(third: Tensor) -> float:
    """sup over unit v of the operator norm of third[..., v], bounded by the unfolding's norm."""
    return float(torch.linalg.matrix_norm(third.flatten(0, 1), 2))


def fourth_bound(truth: MoE, theta: Tensor, ball: float) -> float:
    """Bound of D^4 E (m - m*)^2 [v, v, v, v] over unit v and the ball, one more input included.

    Along theta + t v put R = |x|; |<v_i, x>| <= R, the logits' slopes have range at most sqrt(2) R,
    and |eta_i| <= S R with S = max |a_i| + ball. Then sum_i |p_i^(j)| <= c_j (sqrt(2) R)^j (by the
    cumulants of the slopes), hence |m^(j)| <= S c_j 2^(j/2) R^(j+1) + j c_(j-1) 2^((j-1)/2) R^j,
    and (m - m*)^2 has the fourth derivative 2 (m - m*) m'''' + 8 m' m''' + 6 m''^2 (derived).
    """
    reach = float(unstack(theta, truth)[0].norm(dim=1).max()) + ball
    both = reach + float(truth.regressors.norm(dim=1).max())
    radius = Polynomial([0.0, 1.0])
    slopes = [Polynomial([0.0, both])]
    for j in range(1, 5):
        lead = reach * _GATE_DERIVATIVES[j] * 2 ** (j / 2) * radius ** (j + 1)
        slopes.append(lead + j * _GATE_DERIVATIVES[j - 1] * 2 ** ((j - 1) / 2) * radius**j)
    bound = 2 * slopes[0] * slopes[4] + 8 * slopes[1] * slopes[3] + 6 * slopes[2] ** 2
    n = truth.d + 1
    moments = [
        2 ** (j / 2) * math.gamma((n + j) / 2) / math.gamma(n / 2) for j in range(len(bound))
    ]
    return float(np.dot(bound.coef, moments))
