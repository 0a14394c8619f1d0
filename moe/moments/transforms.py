"""Output transforms Q_2, Q_3, Q_4, derived from the experts' nonlinearity."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.polynomial import Polynomial
from numpy.polynomial.hermite_e import hermevander
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray
from scipy.integrate import quad_vec
from torch import Tensor

from moe.model.nonlinearity import Nonlinearity, as_nonlinearity

__all__ = ["OutputTransform", "learnability", "output_transform"]

Array = NDArray[np.floating]

_DEGREES = (2, 3, 4)
_RANGE, _CHECK_RANGE = 16.0, 20.0
_PANEL_TOLERANCE, _MAX_BISECTIONS = 1e-13, 50
_AGREEMENT = 1e-9
_NEGLIGIBLE = 1e-8


@dataclass(frozen=True)
class OutputTransform:
    """Q_m(y) = y^m + c_{m-1} y^{m-1} + ... + c_1 y, for m = `degree` (book, chapter 3).

    Attributes:
        degree: m, one of 2, 3, 4.
        coefficients: those of y^1, ..., y^m; the last one is 1.
        normaliser: c_m = E[q_m(z) He_m(z)], q_m(z) = E_xi[Q_m(g(z) + sigma xi)], z ~ N(0, 1).
        noise: sd(Q_m(y)) / |c_m| for y = g(z) + sigma xi: noise per unit of signal.
    """

    degree: int
    coefficients: tuple[float, ...]
    normaliser: float
    noise: float

    def __call__(self, y: Tensor) -> Tensor:
        """Q_m(y), elementwise, in the dtype of y."""
        value = torch.full_like(y, self.coefficients[-1])
        for coefficient in reversed(self.coefficients[:-1]):
            value = value * y + coefficient
        return value * y


def output_transform(
    nonlinearity: str | Callable[[Tensor], Tensor] | Nonlinearity,
    sigma: float,
    degree: int,
) -> OutputTransform:
    """The monic Q_m with E[q_m(z) He_j(z)] = 0 for 0 < j < m (idea: paper; any g: derived).

    By Stein's lemma those are the expected derivatives E[q_m^(j)], so that
    E[Q_m(y) S_m(x)] / c_m = sum_i E[p_i(x)] a_i^(m) whatever the gates (book, chapter 3). Averaging
    over the noise is exp(sigma^2 D^2 / 2) on polynomials, hence the linear system is solved for q_m
    as a polynomial in g(z), and Q_m = exp(-sigma^2 D^2 / 2) q_m. Where the system is singular and
    consistent (an even g) the coefficients of smallest norm are taken.

    Args:
        nonlinearity: a name, an elementwise torch callable or a `Nonlinearity`.
        sigma: standard deviation of the noise, >= 0.
        degree: m, one of 2, 3, 4.

    Raises:
        ValueError: no transform exists (the message names the condition that has no solution),
            two quadrature rules disagree, sigma < 0 or not finite, or another degree.
        TypeError: sigma is not a number.

    Warns:
        UserWarning: g is even, so that nothing can tell a from -a.
    """
    g = as_nonlinearity(nonlinearity)
    if degree not in _DEGREES:
        raise ValueError(f"degree: expected one of {_DEGREES}, got {degree!r}")
    try:
        noise_level = float(sigma)
    except (TypeError, ValueError) as error:
        raise TypeError(f"sigma: expected a number >= 0, got {sigma!r}") from error
    if not (math.isfinite(noise_level) and noise_level >= 0):
        raise ValueError(f"sigma: expected a finite number >= 0, got {noise_level!r}")
    transform = _solve(g, noise_level, int(degree))
    if g.is_even:
        warnings.warn(
            f"nonlinearity {g.name!r} is even: the outputs do not change when a regressor a is "
            "replaced by -a, so the signs of the regressors cannot be recovered",
            stacklevel=2,
        )
    return transform


def learnability(
    nonlinearity: str | Callable[[Tensor], Tensor] | Nonlinearity,
    sigma: float,
    degree: int = 4,
) -> float:
    """sd(Q_m(y)) / |c_m|: noise per unit of signal in the degree-m moment.

    Good for comparing noise levels and shapes of one kind. As a prediction of errors it is too low,
    in few dimensions and for unbounded g by a large factor (book, chapter 3).
    """
    return output_transform(nonlinearity, sigma, degree).noise


@lru_cache(maxsize=256)
def _solve(g: Nonlinearity, sigma: float, degree: int) -> OutputTransform:
    standardised, hermite, weights, mean, scale = _rule(g)
    powers = np.vander(standardised, degree + 1, increasing=True)
    sizes = np.sqrt(weights @ powers**2)
    factorials = np.sqrt([math.factorial(j) for j in range(degree + 1)])
    table = (powers / sizes * weights[:, None]).T @ (hermite[:, : degree + 1] / factorials)

    left, singular, right = np.linalg.svd(table[1:degree, 1:degree].T)
    rank = int((singular > _NEGLIGIBLE).sum())
    target = -sizes[degree] * table[degree, 1:degree]
    inner = right[:rank].T @ ((left.T @ target)[:rank] / singular[:rank]) / sizes[1:degree]
    null_space = right[rank:] / sizes[1:degree]

    def in_y(q: Polynomial) -> Array:
        shifted = q(Polynomial([-mean, 1.0]) / scale) * scale**degree
        cooled = Polynomial([0.0])
        for i in range(degree // 2 + 1):
            cooled += (-(sigma**2) / 2) ** i / math.factorial(i) * shifted.deriv(2 * i)
        coefficients = np.zeros(degree + 1)
        coefficients[: len(cooled.coef)] = cooled.coef
        return coefficients[1:]

    if len(null_space):
        directions = np.stack([in_y(Polynomial([0.0, *v]))[:-1] for v in null_space])
        start = in_y(Polynomial([0.0, *inner, 1.0]))[:-1]
        inner = inner - np.linalg.lstsq(directions.T, start, rcond=None)[0] @ null_space

    q = Polynomial([0.0, *inner, 1.0])
    values = q(standardised)
    expectations = (weights * values) @ hermite[:, : degree + 1] / factorials
    relative = np.abs(expectations) / sizes[degree]
    for j in range(1, degree):
        if relative[j] > _NEGLIGIBLE:
            raise ValueError(
                f"nonlinearity {g.name!r}: no output transform of degree {degree} exists, because "
                f"the condition E[q_{degree}(z) He_{j}(z)] = 0 has no solution "
                f"(smallest relative residual {relative[j]:.1e})"
            )
    if relative[degree] < _NEGLIGIBLE:
        raise _no_signal(g, degree)

    normaliser = float(expectations[degree] * factorials[degree])
    variance = weights @ (values - weights @ values) ** 2 + sum(
        (sigma / scale) ** (2 * i) / math.factorial(i) * (weights @ q.deriv(i)(standardised) ** 2)
        for i in range(1, degree + 1)
    )
    coefficients = in_y(q)
    coefficients[np.abs(coefficients) < 1e-12 * scale ** np.arange(degree - 1.0, -1.0, -1.0)] = 0.0
    return OutputTransform(
        degree=degree,
        coefficients=(*(float(c) for c in coefficients[:-1]), 1.0),
        normaliser=normaliser * scale**degree,
        noise=math.sqrt(variance) / abs(normaliser),
    )


def _no_signal(g: Nonlinearity, degree: int) -> ValueError:
    return ValueError(
        f"nonlinearity {g.name!r}: no output transform of degree {degree} exists, because "
        f"E[q_{degree}(z) He_{degree}(z)] = c_{degree} is 0 for every polynomial q_{degree} of g "
        "that meets the other conditions"
    )


@lru_cache(maxsize=64)
def _rule(g: Nonlinearity) -> tuple[Array, Array, Array, float, float]:
    """Standardised h = (g - mean) / scale and He_0..He_4 at the nodes, weights, mean, scale."""
    panels = _panels(g)
    nodes, weights = _gauss_legendre(panels)
    nodes, weights = nodes.ravel(), weights.ravel()
    values = _evaluate(g, nodes)
    mean = float(weights @ values)
    scale = float(np.sqrt(weights @ (values - mean) ** 2))
    if scale <= 1e-12 * (1.0 + abs(mean)):
        raise ValueError(
            f"nonlinearity {g.name!r} is constant: no output transform exists, because "
            "E[q_m(z) He_m(z)] = c_m is 0 for every polynomial q_m of g"
        )
    hermite = hermevander(nodes, 4)
    standardised = (values - mean) / scale
    _check_against_second_rule(g, standardised, hermite, weights, mean, scale)
    return standardised, hermite, weights, mean, scale


def _panels(g: Nonlinearity) -> Array:
    """Panels (p, 2) of a composite rule, split at the kinks and bisected until it settles."""
    inside = [kink for kink in g.kinks if abs(kink) < _RANGE]
    edges = np.unique([*np.linspace(-_RANGE, _RANGE, 33), *inside])
    panels = np.column_stack([edges[:-1], edges[1:]])
    size = _tables(g, panels, absolute=True).sum(0)
    settled = []
    for _ in range(_MAX_BISECTIONS):
        middle = panels.mean(1)
        halves = np.stack([panels[:, 0], middle, middle, panels[:, 1]], axis=1).reshape(-1, 2)
        finer = _tables(g, halves).reshape(len(panels), 2, *size.shape).sum(1)
        unsettled = (np.abs(_tables(g, panels) - finer) > _PANEL_TOLERANCE * size).any((1, 2))
        keep = np.repeat(unsettled, 2)
        settled.append(halves[~keep])
        panels = halves[keep]
        if not len(panels):
            break
    return np.concatenate([*settled, panels])


def _tables(g: Nonlinearity, panels: Array, absolute: bool = False) -> Array:
    """Integrals over each panel of g(z)^r He_j(z) phi(z), r = 0..8, j = 0..4: shape (p, 9, 5)."""
    nodes, weights = _gauss_legendre(panels)
    powers = _evaluate(g, nodes)[..., None] ** np.arange(9)
    hermite = hermevander(nodes, 4)
    if absolute:
        powers, hermite = np.abs(powers), np.abs(hermite)
    table: Array = np.einsum("pi,pir,pij->prj", weights, powers, hermite)
    return table


def _gauss_legendre(panels: Array) -> tuple[Array, Array]:
    points, weights = leggauss(20)
    half = np.diff(panels, axis=1) / 2
    nodes = panels.mean(1, keepdims=True) + half * points
    return nodes, half * weights * np.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi)


def _check_against_second_rule(
    g: Nonlinearity,
    standardised: Array,
    hermite: Array,
    weights: Array,
    mean: float,
    scale: float,
) -> None:
    """Adaptive Gauss-Kronrod on a longer range; ValueError where a moment differs."""
    exponents = np.arange(9)
    powers = standardised[:, None] ** exponents
    first = (weights[:, None] * powers).T @ hermite
    size = (weights[:, None] * np.abs(powers)).T @ np.abs(hermite)

    def integrand(z: float) -> Array:
        h = (_evaluate(g, np.array([z])) - mean) / scale
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        values: Array = density * np.outer(h**exponents, hermevander(z, 4)) / size
        return values.ravel()

    splits = [*g.kinks, *np.arange(1.5 - _CHECK_RANGE, _CHECK_RANGE, 2.0)]
    second, _ = quad_vec(
        integrand, -_CHECK_RANGE, _CHECK_RANGE, epsabs=1e-11, epsrel=0.0, points=splits
    )
    difference = np.abs(first / size - second.reshape(first.shape))
    if not difference.max() <= _AGREEMENT:
        power, j = np.unravel_index(difference.argmax(), difference.shape)
        raise ValueError(
            f"nonlinearity {g.name!r}: two quadrature rules disagree on E[g(z)^{power} He_{j}(z)] "
            f"by {difference.max():.1e} of its size; declare the kinks of g, and check that it is "
            f"finite and does not grow too fast on [-{_CHECK_RANGE:g}, {_CHECK_RANGE:g}]"
        )


def _evaluate(g: Nonlinearity, z: Array) -> Array:
    with torch.no_grad():
        values: Array = g(torch.from_numpy(np.ascontiguousarray(z))).numpy()
    if not np.isfinite(values).all():
        where = float(z[~np.isfinite(values)][0])
        raise ValueError(f"nonlinearity {g.name!r}: expected finite values, not so at z = {where}")
    return values
