"""The error of a moment from g and sigma alone: which constant to subtract, which estimate to take.

S_m(x) has mean zero, so for every constant b

    E[(Q_m(y) - b) S_m(x)] = E[Q_m(y) S_m(x)],
    E|(Q_m(y) - b) S_m(x)|_F^2 is smallest at b = E[Q_m(y) |S_m(x)|_F^2] / E|S_m(x)|_F^2,

an optimal control variate (derived; book, chapter 11). By the theory's assumptions b depends on g,
sigma, m and the dimension alone: it is known before the data are, and nothing is biased.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from moe.model.nonlinearity import Nonlinearity
from moe.moments.quadrature import Array, gauss_hermite, rule
from moe.moments.transforms import OutputTransform

Method = Literal["average", "centred", "least_squares"]


@dataclass(frozen=True)
class Costs:
    """n E|T_hat - T|_F^2 of three estimates of T = E[Q_m(y) S_m(x)] / c_m, by quadrature (derived).

    average, centred: exact for every n. least_squares: the limit of many samples.
    """

    average: float
    centred: float
    least_squares: float


def centre(transform: OutputTransform, dim: int) -> float:
    """b of the module's head for x in R^dim. Zero where the transform does not know its g."""
    if transform.nonlinearity is None:
        return 0.0
    degree = transform.degree
    first = _integrals(transform)[1, 0]
    return float(_product(first, _free(dim - 1, degree)) / _free(dim, degree)[degree])


def costs(transform: OutputTransform, dim: int, k: int) -> Costs:
    """The errors for k orthonormal experts of equal share, x in R^dim, dim >= k (derived).

    |S_m(x)|_F^2 = m! sum over |alpha| = m of prod_l He_{alpha_l}(x_l)^2 / alpha_l!, so that every
    expectation is a product of integrals over a line, summed by convolution. Of the experts only
    |T|_F enters the first two; least squares leaves r = Q_m - E Q_m - c_m / (m! k) sum_i He_m(x_i).

    Raises ValueError where dim < k, or the transform does not know its g.
    """
    if not 1 <= k <= dim:
        raise ValueError(f"k: expected 1 to dim = {dim} experts, got {k}")
    degree, table = transform.degree, _integrals(transform)
    others, fewer = _free(dim - 1, degree), _free(dim - 2, degree)
    mean = table[1, 0, 0]
    square = _product(table[2, 0], others)
    shift = centre(transform, dim)
    centred = square - shift**2 * _free(dim, degree)[degree]
    residual = table[2] - 2 * mean * table[1] + mean**2 * table[0]  # (Q - E Q)^2, by r
    slope = table[1] - mean * table[0]  # Q - E Q
    share = transform.normaliser / (math.factorial(degree) * k)
    linear = _product(slope[1], others)
    quadratic = k * _product(table[0, 2], others)
    if k > 1:
        apart = np.convolve(table[0, 1], fewer)[: degree + 1]
        linear += (k - 1) * _product(slope[0], apart)
        quadratic += k * (k - 1) * _product(table[0, 1], apart)
    fit = _product(residual[0], others) - 2 * share * linear + share**2 * quadratic
    scale = math.factorial(degree) / transform.normaliser**2
    return Costs(scale * square - 1 / k, scale * centred - 1 / k, scale * fit)


def cheapest(transform: OutputTransform, dim: int, k: int) -> Method:
    """ "least_squares" or "centred", whichever errs less with many samples by ``costs``; the former
    where the transform does not know its g."""
    if transform.nonlinearity is None:
        return "least_squares"
    cost = costs(transform, dim, k)
    return "centred" if cost.centred < cost.least_squares else "least_squares"


def _integrals(transform: OutputTransform) -> Array:
    """E[Q^p He_m(z)^r He_j(z)^2 / j!], y = g(z) + sigma xi: shape (p, r, j) = (3, 3, m + 1)."""
    if transform.nonlinearity is None:
        raise ValueError("transform: expected one that output_transform made, which knows its g")
    return _table(transform, transform.nonlinearity, transform.sigma)


@lru_cache(maxsize=256)
def _table(transform: OutputTransform, nonlinearity: Nonlinearity, sigma: float) -> Array:
    """Keyed by g and sigma too: equal transforms may come from different ones."""
    degree = transform.degree
    standardised, hermite, weights, mean, scale = rule(nonlinearity)
    xi, xi_weights = gauss_hermite(degree + 1)
    y = (mean + scale * standardised)[:, None] + sigma * xi
    q = np.polynomial.polynomial.polyval(y, (0.0, *transform.coefficients))
    powers = np.stack([np.ones(len(q)), q @ xi_weights, q**2 @ xi_weights])
    tops = hermite[:, degree] ** np.arange(3)[:, None]
    factorials = np.array([math.factorial(j) for j in range(degree + 1)], dtype=float)
    shapes = hermite[:, : degree + 1] ** 2 / factorials
    table: Array = np.einsum("n,pn,rn,nj->prj", weights, powers, tops, shapes)
    return table


def _free(axes: int, degree: int) -> Array:
    """Number of alpha with |alpha| = j on so many axes: C(axes + j - 1, j), (m + 1,)."""
    if axes <= 0:
        return np.eye(degree + 1)[0]
    return np.array([math.comb(axes + j - 1, j) for j in range(degree + 1)], dtype=float)


def _product(one: Array, other: Array) -> float:
    """The entry of degree m of the product of two power series of degree m."""
    return float(one @ other[::-1])
