"""How many samples L_4 needs, told from g, sigma, k and d before there are any.

The law of L_4's error in many samples (book, chapter 9; derived), in closed form but for integrals
over a line, for k orthonormal experts with equal constant gates. With the residuals r_2, r_4 of
Q_2 / c_2, Q_4 / c_4 that ``score_moment`` leaves, to first order

    a_hat_i - a_i = sum_{m != i} e_im a_m + k mean(r_2 <a_i, x> x_outside),
    e_im = k / (1 + mu) mean(x_i x_m {r_2 - r_4 [sum_{j != i, m} (x_j^2 - 1) + x_m^2 - 3
                                                  - mu (x_i^2 - 3)]}),     x_j = <a_j, x>.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from moe.checks import check_experts, check_positive
from moe.model.nonlinearity import Nonlinearity, as_nonlinearity
from moe.moments.best import best_transforms
from moe.moments.bounded import BoundedTransform
from moe.moments.centring import centre, cheapest
from moe.moments.quadrature import Array, gauss_hermite, rule
from moe.moments.transforms import OutputTransform, solved_transform
from moe.solvers.l4 import DEFAULT_MU

_EXACT, _NOISE = 9, 24  # Gauss-Hermite nodes: integrands have degree 16 in an axis of the span


def samples_for_l4(
    nonlinearity: str | Callable[[Tensor], Tensor] | Nonlinearity,
    sigma: float,
    k: int,
    d: int,
    goal: float = 0.1,
    *,
    bounded: bool | None = None,
) -> float:
    """About how many samples L_4 alone needs for an error 1 - |cos| of an expert of ``goal``.

    To first order, on average over experts and data sets, at the weights that ``minimise_l4`` takes
    by itself, for orthonormal experts of equal share. E_reg counts the worst expert: with k = 3 its
    median needs about 1.4 times as many. Other mixtures need more: skewed shares and experts at a
    small angle many times more. So may real samples, for which moments scatter more than the first
    order says (book, chapter 11: how much).
    Below ``goal`` = 1 samples the first-order law no longer applies.
    ``recover`` starts from elsewhere too, and may well succeed where L_4 alone does not.
    bounded: with bounded transforms (``moe.moments.best.best_transforms``) or polynomials; None: as
    ``recover`` does, bounded ones except for linear experts.

    Raises NoTransformError (a ValueError) where g has no Q_2 or Q_4, TypeError or ValueError for
    arguments that cannot be used.
    """
    g = as_nonlinearity(nonlinearity)
    k = check_experts(k, d)
    level, bound = check_positive(sigma, "sigma"), check_positive(goal, "goal")
    return squared_angle(g, level, k, d, bounded=bounded) / (2 * bound)


def squared_angle(
    g: Nonlinearity,
    sigma: float,
    k: int,
    d: int,
    *,
    bounded: bool | None = None,
    mu: float = DEFAULT_MU,
) -> float:
    """lim n E theta^2, theta the angle between an estimated and a true expert (derived)."""
    use = not g.is_linear if bounded is None else bounded
    return _squared_angle(g, float(sigma), k, d, use, mu)


@lru_cache(maxsize=256)
def _squared_angle(
    g: Nonlinearity, sigma: float, k: int, d: int, bounded: bool, mu: float
) -> float:
    if bounded:
        two, four = best_transforms(g, sigma, d, k)
    else:
        two, four = (solved_transform(g, sigma, m) for m in (2, 4))
    residuals = _Residuals.of(g, sigma, k, mu, two, four)
    outside = residuals.outside(own=True)
    if k == 1:
        return (d - 1) * outside
    outside = k * (outside + (k - 1) * residuals.outside(own=False))
    inside = residuals.inside("i") + residuals.inside("m")
    if k > 2:
        inside += (k - 2) * residuals.inside("other")
    return (k - 1) * k / (1 + mu) ** 2 * inside + (d - k) * outside


@dataclass(frozen=True, eq=False)
class _Residuals:
    """Given the axis z (N, 1, 1) of the expert that answers, with its weights: means over the noise
    of r_2 = Q_2 / c_2 and r_4 = Q_4 / c_4 less their constants, of their squares and product, each
    (N, 1, 1); shares: 1 / (2 k) and 1 / (24 k) where least squares takes the signal from them, else
    zero."""

    k: int
    mu: float
    shares: tuple[float, float]
    z: Array
    weights: Array
    two: Array
    four: Array
    two_two: Array
    two_four: Array
    four_four: Array

    @staticmethod
    def of(
        g: Nonlinearity,
        sigma: float,
        k: int,
        mu: float,
        two: OutputTransform,
        four: OutputTransform,
    ) -> _Residuals:
        _, hermite, z_weights, _, _ = rule(g)
        xi, xi_weights = gauss_hermite(_NOISE)
        z = hermite[:, 1]
        y = g(torch.from_numpy(z.copy())).numpy()[:, None] + sigma * xi
        r, shares = [], []
        for transform in (two, four):
            q = transform(torch.from_numpy(y)).numpy()
            fit = isinstance(transform, BoundedTransform) is False and (
                transform.degree == 2 or cheapest(transform, k, k) == "least_squares"
            )
            shift = float(z_weights @ q @ xi_weights) if fit else centre(transform, k)
            r.append((q - shift) / transform.normaliser)
            shares.append(fit / (math.factorial(transform.degree) * k))
        means = [f @ xi_weights for f in (r[0], r[1], r[0] ** 2, r[0] * r[1], r[1] ** 2)]
        columns = tuple(f[:, None, None] for f in (z, z_weights, *means))
        return _Residuals(k, mu, (shares[0], shares[1]), *columns)

    def outside(self, own: bool) -> float:
        """E[x_i^2 r_2^2] where expert i answers (own), or another."""
        s, s_weights = _axis(1)
        x, share = self.z if own else s, self.shares[0]
        known = share * (_he2(self.z) if own else _he2(self.z) + _he2(s))
        rest = (self.k - 1 if own else self.k - 2) * 2 * share**2
        square = self.two_two - 2 * known * self.two + known**2 + rest
        return float((self.weights * s_weights * x**2 * square).sum())

    def inside(self, answers: str) -> float:
        """E[(x_i x_m)^2 {...}^2] of the module's head, by who answers: i, m or another expert.

        u = sum of He_2 and v = sum of He_4 over the remaining axes enter as a + b u + c v + e u v,
        whose square needs their moments only; a = r_2 - level r_4 + a_0 and b = b_0 - r_4.
        """
        (s, s_weights), (t, t_weights) = _axis(1), _axis(2)
        other = answers == "other"
        if not other:
            t, t_weights = np.zeros(1), np.ones(1)
        x_i, x_m = {"i": (self.z, s), "m": (s, self.z), "other": (s, t)}[answers]
        known = [self.z, s, t] if other else [self.z, s]
        level = (x_m**2 - 3) - self.mu * (x_i**2 - 3) + (_he2(self.z) if other else 0.0)
        first, share = self.shares
        signal = share * sum(map(_he4, known))
        a_0, b_0 = signal * level - first * sum(map(_he2, known)), signal - first
        aa = self.two_two - 2 * level * self.two_four + level**2 * self.four_four
        aa = aa + 2 * a_0 * (self.two - level * self.four) + a_0**2
        b, bb = b_0 - self.four, self.four_four - 2 * b_0 * self.four + b_0**2
        c, e = share * level, share
        uu, vv, uuv, uvv, uuvv = _rest(self.k - len(known))
        square = aa + bb * uu + c**2 * vv + e**2 * uuvv + 2 * b * e * uuv + 2 * c * e * uvv
        return float((self.weights * s_weights * t_weights * (x_i * x_m) ** 2 * square).sum())


def _rest(axes: int) -> tuple[float, ...]:
    """E[u^2], E[v^2], E[u^2 v], E[u v^2], E[u^2 v^2], u and v sums of He_2 and He_4 over axes."""
    x, weights = gauss_hermite(_EXACT)
    two, four = _he2(x), _he4(x)
    one = [float(weights @ f) for f in (two**2, four**2, two**2 * four, two * four**2)]
    both = float(weights @ (two * four) ** 2) + (axes - 1) * one[0] * one[1]
    return tuple(axes * value for value in (*one, both))


def _axis(place: int) -> tuple[Array, Array]:
    nodes, weights = gauss_hermite(_EXACT)
    shape = [1, 1, 1]
    shape[place] = -1
    return nodes.reshape(shape), weights.reshape(shape)


def _he2(x: Array) -> Array:
    return x**2 - 1


def _he4(x: Array) -> Array:
    return x**4 - 6 * x**2 + 3
