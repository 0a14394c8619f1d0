"""Output transforms Q_2, Q_3, Q_4, derived from the experts' nonlinearity."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from numpy.polynomial import Polynomial
from torch import Tensor

from moe.exceptions import NoTransformError, SignsLostWarning, warn
from moe.model.nonlinearity import Nonlinearity, as_nonlinearity
from moe.moments.quadrature import Array, rule

_DEGREES = (2, 3, 4)
_NEGLIGIBLE = 1e-8


@dataclass(frozen=True)
class OutputTransform:
    """Q_m(y) = y^m + c_{m-1} y^{m-1} + ... + c_1 y, for m = `degree` (book, chapter 3).

    Attributes:
        degree: m, one of 2, 3, 4.
        coefficients: those of y^1, ..., y^m; the last one is 1.
        normaliser: c_m = E[q_m(z) He_m(z)], q_m(z) = E_xi[Q_m(g(z) + sigma xi)], z ~ N(0, 1).
        noise: sd(Q_m(y)) / |c_m| for y = g(z) + sigma xi: noise per unit of signal.
        nonlinearity, sigma: what it was made for, if it was; they do not enter equality.
    """

    degree: int
    coefficients: tuple[float, ...]
    normaliser: float
    noise: float
    nonlinearity: Nonlinearity | None = field(default=None, repr=False, compare=False)
    sigma: float = field(default=math.nan, repr=False, compare=False)

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
        NoTransformError (a ValueError): no transform exists; names the condition without solution.
        ValueError: two quadrature rules disagree, sigma < 0 or not finite, or another degree.
        TypeError: sigma is not a number.

    Warns:
        SignsLostWarning: g is even, so that nothing can tell a from -a.
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
    transform = solved_transform(g, noise_level, int(degree))
    warn_if_even(g)
    return transform


def warn_if_even(g: Nonlinearity) -> None:
    """Warn that an even g loses the regressors' signs."""
    if g.is_even:
        warn(
            f"nonlinearity {g.name!r} is even: the outputs do not change when a regressor a is "
            "replaced by -a, so the signs of the regressors cannot be recovered",
            SignsLostWarning,
        )


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
def solved_transform(g: Nonlinearity, sigma: float, degree: int) -> OutputTransform:
    """``output_transform`` of arguments that are known to be good, without its warning."""
    standardised, hermite, weights, mean, scale = rule(g)
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
            raise NoTransformError(
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
        nonlinearity=g,
        sigma=sigma,
    )


def _no_signal(g: Nonlinearity, degree: int) -> NoTransformError:
    return NoTransformError(
        f"nonlinearity {g.name!r}: no output transform of degree {degree} exists, because "
        f"E[q_{degree}(z) He_{degree}(z)] = c_{degree} is 0 for every polynomial q_{degree} of g "
        "that meets the other conditions"
    )
