"""The least error of a moment by any function of the output, on a grid, and who comes near it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from moe.experiments.common.gaussian_integrals import line_rule
from moe.experiments.nonlinear.own import named
from moe.moments.bounded import bounded_transform
from moe.moments.centring import costs
from moe.moments.transforms import output_transform

_STEPS = 8  # grid points of y to a sigma


@dataclass(frozen=True)
class Bound:
    """n E|T_hat - T|_F^2 for k orthonormal experts of equal share in R^k: the polynomial's better
    estimate, the bounded transform's, and the least of any function of the output with the same
    conditions: E[Q He_j] = 0 for j = 3 (bounded, least) or for j = 1, 2, 3 (every, least_every)."""

    name: str
    sigma: float
    polynomial: float
    bounded: float
    least: float
    every: float
    least_every: float


def bound(name: str, sigma: float, k: int, degree: int = 4) -> Bound:
    """All three, by quadrature."""
    cost = costs(output_transform(named(name), sigma, degree), k, k)
    polynomial, found = min(cost.centred, cost.least_squares), list[float]()
    for in_span in (True, False):
        bounded = bounded_transform(named(name), sigma, degree, k, in_span=in_span)
        least = least_cost(name, sigma, degree, k, in_span=in_span)
        found += [bounded.cost - 1 / k, least - 1 / k]
    return Bound(name, sigma, polynomial, *found)


def least_cost(name: str, sigma: float, degree: int, dim: int, *, in_span: bool = False) -> float:
    """min E[Q(y)^2 |S_m(x)|_F^2] over all functions Q with E[Q He_j] = 1{j = m}, 0 < j <= m; in the
    span for j = m - 1, m only.

    With eta_j(y) = E[He_j(z) | y] and w(y) = E[|S_m(x)|_F^2 | y] the best is Q = sum_j lambda_j
    eta_j / w, and the least value an entry of the inverse of E[eta_i eta_j / w] (derived).
    An independent route to ``bounded_transform``: no bumps, but the densities on a grid of y.
    """
    g = named(name)
    nodes, weights = (part.numpy() for part in line_rule(g.kinks))
    kept = weights > 1e-28
    z, weight = nodes[kept], weights[kept]
    values = g(line_rule(g.kinks)[0]).numpy()[kept]
    y = np.arange(values.min() - 8 * sigma, values.max() + 8 * sigma, sigma / _STEPS)
    density = np.exp(-0.5 * ((y[:, None] - values) / sigma) ** 2) * weight
    density /= sigma * math.sqrt(2 * math.pi)
    hermite = np.polynomial.hermite_e.hermevander(z, degree)
    free = [
        math.comb(dim - 2 + degree - j, degree - j) if dim > 1 else int(j == degree)
        for j in range(degree + 1)
    ]
    factorials = [math.factorial(j) for j in range(degree + 1)]
    size = factorials[-1] * (hermite**2 @ (np.array(free, dtype=float) / factorials))
    weighted = density @ size
    seen = weighted > 1e-250
    eta = density[seen] @ hermite[:, degree - 1 if in_span else 1 :]
    gram = eta.T @ (eta / weighted[seen, None]) * (sigma / _STEPS)
    return float(np.linalg.inv(gram)[-1, -1])
