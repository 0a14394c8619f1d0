"""Bounded output transforms: the functions of the output that make a moment's error least.

The proof that the gates drop out (book, chapters 3 and 10) uses of Q_m no more than

    E[Q(y) He_j(z)] = 0 for 0 < j < m,   E[Q(y) He_m(z)] = 1,   y = g(z) + sigma xi,

not that it is a polynomial. In the experts' span, where T is estimated, the gates are independent
of x, and the last condition alone suffices (book, thm-12-span). A span with errors of order e lets
in E[Q He_j] e^(m - j), so to first order j = m - 1 has to vanish too, and no other (derived; book,
chapter 11). Of all functions that satisfy the conditions, the one that minimises

    E[Q(y)^2 |S_m(x)|_F^2] = n E|T_hat - T|_F^2 + |T|_F^2

is a weighted least squares problem with m, or 2, constraints (derived; book, chapter 11). It is
solved here among Q(y) = theta_0 + sum_l theta_l exp(-(y - t_l)^2 / 2 h^2), which stay bounded:
noise averages of those, and of their products, are Gaussian functions of g(z) again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from moe.exceptions import NoTransformError
from moe.model.nonlinearity import Nonlinearity
from moe.moments.quadrature import Array
from moe.moments.transforms import OutputTransform

_REACH, _TAILS, _BUMPS = 10.0, 5.5, 90
_ROUNDING, _MET = 1e-11, 1e-7
_ROWS = 1 << 13


@dataclass(frozen=True)
class BoundedTransform(OutputTransform):
    """Q_m(y) = constant + sum_l weights_l exp(-(y - centres_l)^2 / 2 width^2), normaliser 1.

    Attributes:
        dim: the dimension of x for which its error is least; it is right for every other too.
        cost: E[Q(y)^2 |S_m(x)|_F^2] there, which is n E|T_hat - T|_F^2 + |T|_F^2.
        in_span: only E[Q He_m] = 1 and E[Q He_(m-1)] = 0 are met: for x in the experts' span.
    """

    dim: int = 0
    cost: float = math.nan
    centres: tuple[float, ...] = ()
    width: float = math.nan
    weights: tuple[float, ...] = ()
    constant: float = 0.0
    in_span: bool = False

    def __call__(self, y: Tensor) -> Tensor:
        """Q_m(y), elementwise, in the dtype of y."""
        centres, weights = (y.new_tensor(v) for v in (self.centres, self.weights))
        flat = y.reshape(-1, 1).split(_ROWS)
        scale = -0.5 / self.width**2
        parts = [(scale * (rows - centres).square_()).exp_() @ weights for rows in flat]
        return torch.cat(parts).reshape(y.shape) + self.constant


@lru_cache(maxsize=64)
def bounded_transform(
    g: Nonlinearity, sigma: float, degree: int, dim: int, *, in_span: bool = False
) -> BoundedTransform:
    """The bounded Q_m of least error for x in R^dim, noise N(0, sigma^2); m = 2, 3, 4 (derived).

    in_span: for a moment in an estimate V_hat = V C + U D of the experts' span V, U its complement:
    S_m(V_hat'x) = sum_j (m over j) sym(C'S_(m-j)(V'x) (x) D'S_j(U'x)), C', D' on every axis. Gates
    see U'x only, so term j has a mean of E[Q He_(m-j)] times order |D|^j. Hence E[Q He_j] = 0 is
    imposed for j = m - 1 only (derived; book, chapter 11).

    Unlike the polynomial it needs the law of the noise, not its first moments only.

    Raises NoTransformError where no function of the output meets the conditions, as far as the
    bumps can tell, ValueError where the quadrature does not resolve g.
    """
    z, weight = _nodes(g, 0.125)
    values = _evaluate(g, z)
    typical = values[np.abs(z) < _TAILS]
    low, high = float(typical.min()) - 3 * sigma, float(typical.max()) + 3 * sigma
    width = max(0.7 * sigma, (high - low) / _BUMPS)
    centres = np.arange(low, high + width, width)
    smooth = _averaged(values, centres, width, sigma)
    first = degree - 1 if in_span else 1
    conditions = _conditions(z, weight, smooth, degree)[first - 1 :]
    fine, fine_weight = _nodes(g, 0.1)
    other = _averaged(_evaluate(g, fine), centres, width, sigma)
    second = _conditions(fine, fine_weight, other, degree)[first - 1 :]
    size = weight * _score_size(z, degree, dim)
    gram, plain = (_gram(values, w, smooth, centres, width, sigma) for w in (size, weight))
    theta = _constrained(gram, conditions, degree, g)
    if not float(np.abs((conditions - second) @ theta).max()) < 10 * _MET:
        raise ValueError(
            f"nonlinearity {g.name!r}: two quadrature rules disagree; declare the kinks of g"
        )
    mean = float(weight @ smooth @ theta[1:]) + theta[0]
    variance = float(theta @ plain @ theta) - mean**2
    return BoundedTransform(
        degree,
        (),
        1.0,
        math.sqrt(max(variance, 0.0)),
        None,
        sigma,
        dim,
        float(theta @ gram @ theta),
        tuple(centres.tolist()),
        width,
        tuple(theta[1:].tolist()),
        float(theta[0]),
        in_span,
    )


def _nodes(g: Nonlinearity, panel: float) -> tuple[Array, Array]:
    """Gauss-Legendre panels on [-10, 10], split at the kinks of g, with the weights of N(0, 1)."""
    inside = [kink for kink in g.kinks if abs(kink) < _REACH]
    edges = np.unique([*np.arange(-_REACH, _REACH + panel / 2, panel), *inside])
    points, lengths = np.polynomial.legendre.leggauss(10)
    half = np.diff(edges)[:, None] / 2
    z = (edges[:-1, None] + half * (1 + points)).ravel()
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return z, (half * lengths).ravel() * density


def _evaluate(g: Nonlinearity, z: Array) -> Array:
    with torch.no_grad():
        values: Array = g(torch.from_numpy(z.copy())).numpy()
    return values


def _averaged(values: Array, centres: Array, width: float, sigma: float) -> Array:
    """E over the noise of exp(-(y - t)^2 / 2 h^2), y = g + sigma xi: (nodes, centres)."""
    spread = width**2 + sigma**2
    bumps: Array = np.exp(-((values[:, None] - centres) ** 2) / (2 * spread))
    return bumps * (width / math.sqrt(spread))


def _conditions(z: Array, weight: Array, smooth: Array, degree: int) -> Array:
    """E[Q He_j], j = 1..m, for the constant and every bump: (m, 1 + L)."""
    hermite = np.polynomial.hermite_e.hermevander(z, degree)[:, 1:]
    columns = np.column_stack([np.zeros(degree), (hermite * weight[:, None]).T @ smooth])
    factorials = np.sqrt([math.factorial(j) for j in range(1, degree + 1)])
    scaled: Array = columns / factorials[:, None]
    return scaled


def _score_size(z: Array, degree: int, dim: int) -> Array:
    """E[|S_m(x)|_F^2 | <a, x> = z] = m! sum_j C(dim - 2 + m - j, m - j) He_j(z)^2 / j!."""
    hermite = np.polynomial.hermite_e.hermevander(z, degree) ** 2
    factorials = [math.factorial(j) for j in range(degree + 1)]
    free = [
        math.comb(dim - 2 + degree - j, degree - j) if dim > 1 else int(j == degree)
        for j in range(degree + 1)
    ]
    size: Array = factorials[-1] * hermite @ (np.array(free, dtype=float) / factorials)
    return size


def _gram(
    values: Array, weight: Array, smooth: Array, centres: Array, width: float, sigma: float
) -> Array:
    """E[Q Q' weight] for all pairs of the constant and the bumps, (1 + L, 1 + L).

    The product of two bumps is one at their middle, of width h / sqrt(2): on the half-way grid.
    """
    count = len(centres)
    middles = centres[0] + width / 2 * np.arange(2 * count - 1)
    at = weight @ _averaged(values, middles, width / math.sqrt(2), sigma)
    i, j = np.indices((count, count))
    pairs = np.exp(-(((i - j) * width) ** 2) / (4 * width**2)) * at[i + j]
    first = weight @ smooth
    gram: Array = np.block([[np.full((1, 1), weight.sum()), first[None]], [first[:, None], pairs]])
    return gram


def _constrained(gram: Array, conditions: Array, degree: int, g: Nonlinearity) -> Array:
    """theta of least theta' G theta with the last condition 1 / sqrt(m!), others 0: (1 + L,)."""
    scale = 1 / np.sqrt(gram.diagonal())
    values, vectors = np.linalg.eigh(gram * np.outer(scale, scale))
    kept = values > _ROUNDING * values[-1]
    ways = scale[:, None] * vectors[:, kept] / np.sqrt(values[kept])
    target = np.zeros(len(conditions))
    target[-1] = 1 / math.sqrt(math.factorial(degree))
    reduced = conditions @ ways
    theta: Array = ways @ np.linalg.lstsq(reduced, target, rcond=1e-9)[0]
    if not float(np.abs(conditions @ theta - target).max()) < _MET * target[-1]:
        raise NoTransformError(
            f"nonlinearity {g.name!r}: no bounded output transform of degree {degree} was found: "
            f"its conditions E[Q(y) He_j(z)] = 0, {degree - len(conditions)} < j < {degree}, "
            f"E[Q(y) He_{degree}(z)] = 1 "
            "contradict each other, or nearly so"
        )
    return theta
