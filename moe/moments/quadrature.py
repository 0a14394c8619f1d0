"""Integrals against N(0, 1): Gauss-Hermite, and a rule that knows the kinks of an experts' g."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.polynomial.hermite_e import hermegauss, hermevander
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray
from scipy.integrate import quad_vec

from moe.exceptions import NoTransformError
from moe.model.nonlinearity import Nonlinearity

Array = NDArray[np.floating]

_RANGE, _CHECK_RANGE = 16.0, 20.0
_PANEL_TOLERANCE, _MAX_BISECTIONS = 1e-13, 50
_AGREEMENT = 1e-9


@lru_cache(maxsize=16)
def gauss_hermite(nodes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """z, w (nodes,) with E f(z) = sum_i w_i f(z_i) for N(0, 1), exact up to degree 2 nodes - 1."""
    z, weights = hermegauss(nodes)
    return z, weights / weights.sum()


@lru_cache(maxsize=64)
def rule(g: Nonlinearity) -> tuple[Array, Array, Array, float, float]:
    """Standardised h = (g - mean) / scale and He_0..He_4 at the nodes, weights, mean, scale.

    E f(g(z)) h(z) for polynomials f up to degree 8 and h up to 4, checked against a second rule.
    Raises NoTransformError for a constant g, ValueError where the two rules disagree.
    """
    panels = _panels(g)
    nodes, weights = _gauss_legendre(panels)
    nodes, weights = nodes.ravel(), weights.ravel()
    values = _evaluate(g, nodes)
    mean = float(weights @ values)
    scale = float(np.sqrt(weights @ (values - mean) ** 2))
    if scale <= 1e-12 * (1.0 + abs(mean)):
        raise NoTransformError(
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
