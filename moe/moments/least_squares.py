"""Least squares on all Hermite features up to a degree: directly, or without forming a feature."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.exceptions import DependentFeaturesError
from moe.moments.hermite import (
    feature_count,
    hermite_from_powers,
    index_table,
    pair_products,
    polynomial,
    powers_from_hermite,
    root_factorials,
    weighted_powers,
)

_CHUNK_ROWS, _CHUNK_ENTRIES = 1 << 13, 1 << 19
_MAX_ITERATIONS = 500
_ROUNDING = 1e-12


def solve_normal_equations(
    gram: Tensor, target: Tensor, count: int, k: int, degree: int, dtype: torch.dtype | None
) -> Tensor:
    """The coefficients of degree m of the fit, as the tensor E[q S_m] that they estimate.

    gram (F, F) and target (F,) are sums over `count` samples of `hermite_features` products in
    k dimensions, computed in `dtype`. Returns (k, ..., k).

    Raises DependentFeaturesError with fewer samples than features, or where these are dependent.
    """
    features = len(target)
    check_enough(count, features)
    factor, failed = torch.linalg.cholesky_ex(gram / count)
    pivots = factor.diagonal()
    rounding = 10 * math.sqrt(torch.finfo(dtype or gram.dtype).eps)
    if failed or not bool(pivots.min() > rounding * pivots.max()):
        raise DependentFeaturesError(
            f"x: the {features} Hermite features of {count} samples are linearly dependent, so "
            "least squares has no unique solution; use method 'average'"
        )
    fit = torch.cholesky_solve((target / count)[:, None], factor)[:, 0]
    roots = root_factorials(k, degree).to(fit)
    return (fit[-len(roots) :] * roots)[index_table(k, degree).to(fit.device)]


@dataclass(frozen=True)
class PowerSums:
    """Sums over `count` samples: powers[j] = sum_n w_n z_n^(j), square = sum_n w_n^2; float64."""

    count: int
    square: float
    powers: tuple[Tensor, ...]

    def merge(self, other: PowerSums) -> PowerSums:
        """The sums over both sets of samples."""
        powers = tuple(a + b for a, b in zip(self.powers, other.powers, strict=True))
        return PowerSums(self.count + other.count, self.square + other.square, powers)


Pass = Callable[[Sequence[Tensor] | None], PowerSums]


def power_sums(
    x: Tensor,
    q: Tensor,
    degree: int,
    basis: Tensor | None = None,
    coefficients: Sequence[Tensor] | None = None,
) -> PowerSums:
    """Sums of w_n z_n^(j), j <= `degree`, z = B'x, in pieces that stay in cache.

    w = q (n,), or the polynomial sum_j <C_j, z^(j)> where its coefficients are given: one
    prediction and its transpose, the product of the features' Gram matrix with a vector.
    """
    k = x.shape[1] if basis is None else basis.shape[1]
    powers = tuple(torch.zeros((k,) * j).double() for j in range(degree + 1))
    total = PowerSums(0, 0.0, powers)
    given = None if coefficients is None else [c.to(x) for c in coefficients]
    for z, part in chunks(x, q, basis, pass_entries(k, degree)):
        pairs = pair_products(z) if degree > 2 else None
        weights = part if given is None else polynomial(z, given, pairs)
        fresh = tuple(p.to(total.powers[0]) for p in weighted_powers(z, weights, degree, pairs))
        total = total.merge(PowerSums(len(part), float(weights @ weights), fresh))
    return total


def fit_matrix_free(
    one_pass: Pass, k: int, degree: int, tolerance: float, dtype: torch.dtype
) -> tuple[Tensor, bool]:
    """The same tensor by conjugate gradients that never form a feature; and whether they converged.

    one_pass(C) returns `power_sums` over all samples, with weights from the coefficients C, or from
    the data where C is None; every iteration is one such pass, and memory is O(k^m).

    The unknowns are beta_j = sqrt(j!) B_j of f(z) = sum_j <B_j, S_j(z)>, orthonormal coordinates
    under N(0, I): E[f S_j] / sqrt(j!) = beta_j, so that the Gram matrix is near the identity, with
    eigenvalues in (1 -+ sqrt(F/n))^2, roughly (derived: the law of Marchenko and Pastur). The first
    direction is the plain average. The least squares estimate is itself off by s sqrt(F/n), s^2 the
    variance that the fit leaves; iterations stop at a residual of ``tolerance`` times that, which
    leaves an error of the same size, and in any case near the rounding of ``dtype``.

    Raises DependentFeaturesError with fewer samples than features.
    """
    sizes = [k**j for j in range(degree + 1)]
    roots = [math.sqrt(math.factorial(j)) for j in range(degree + 1)]

    def coordinates(sums: PowerSums) -> Tensor:
        scores = [hermite_from_powers(sums.powers[: j + 1]) for j in range(degree + 1)]
        flat = [score.flatten() / root for score, root in zip(scores, roots, strict=True)]
        return torch.cat(flat) / sums.count

    def gram(beta: Tensor) -> Tensor:
        parts = torch.split_with_sizes(beta, sizes)
        scores = [parts[j].reshape((k,) * j) / roots[j] for j in range(degree + 1)]
        return coordinates(one_pass(powers_from_hermite(scores)))

    data = one_pass(None)
    features = feature_count(k, degree)
    check_enough(data.count, features)
    target, variance = coordinates(data), data.square / data.count
    rounding = max(_ROUNDING, 10 * torch.finfo(dtype).eps) * float(target.norm())
    beta, residual, direction = torch.zeros_like(target), target, target
    squared, converged = float(target @ target), False
    for _ in range(_MAX_ITERATIONS):
        left = max(variance - float(beta @ (target + residual)), 0.0)
        sampling_error = math.sqrt(left * features / data.count)
        converged = math.sqrt(squared) <= max(tolerance * sampling_error, rounding)
        if converged:
            break
        image = gram(direction)
        step = squared / float(direction @ image)
        beta, residual = beta + step * direction, residual - step * image
        previous, squared = squared, float(residual @ residual)
        direction = residual + squared / previous * direction
    return beta[-sizes[-1] :].reshape((k,) * degree) * roots[-1], converged


def pass_entries(k: int, degree: int) -> int:
    """Numbers a sample that `weighted_powers` keeps: k, or the pair products from degree 3 on."""
    return k if degree == 2 else k * (k + 1) // 2


def chunks(
    x: Tensor, weights: Tensor, basis: Tensor | None, entries: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of x (of x @ basis) with their weights, few enough that `entries` each stay in cache.

    The rows lie column by column, as the sums over samples want them.
    """
    rows = max(1, min(_CHUNK_ROWS, _CHUNK_ENTRIES // max(entries, x.shape[1])))
    columns = None if basis is None else basis.to(x)
    for part, w in zip(torch.split(x, rows), torch.split(weights, rows), strict=True):
        z = part.T.contiguous() if columns is None else columns.T @ part.T
        yield z.T, w


def check_enough(count: int, features: int) -> None:
    """Raises DependentFeaturesError when `count` samples do not determine `features` numbers."""
    if count < features:
        raise DependentFeaturesError(
            f"method: 'least_squares' fits {features} features and needs at least as many samples, "
            f"got {count}; use 'average' or more samples"
        )
