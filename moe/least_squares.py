"""Least squares on all Hermite features up to a degree: directly, or without forming a feature."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor

from moe.hermite import (
    feature_count,
    hermite_from_powers,
    index_table,
    polynomial,
    powers_from_hermite,
    root_factorials,
    weighted_powers,
)

_CHUNK_ENTRIES = 1 << 18
_MAX_ITERATIONS = 500


def solve_normal_equations(
    gram: Tensor, target: Tensor, count: int, k: int, degree: int, dtype: torch.dtype | None
) -> Tensor:
    """The coefficients of degree m of the fit, as the tensor E[q S_m] that they estimate.

    gram (F, F) and target (F,) are sums over `count` samples of `hermite_features` products in
    k dimensions, computed in `dtype`. Returns (k, ..., k).

    Raises ValueError with fewer samples than features, or where the features are dependent.
    """
    features = len(target)
    check_enough(count, features)
    factor, failed = torch.linalg.cholesky_ex(gram / count)
    pivots = factor.diagonal()
    rounding = 10 * math.sqrt(torch.finfo(dtype or gram.dtype).eps)
    if failed or not bool(pivots.min() > rounding * pivots.max()):
        raise ValueError(
            f"x: the {features} Hermite features of {count} samples are linearly dependent, so "
            "least squares has no unique solution; use method 'average'"
        )
    fit = torch.cholesky_solve((target / count)[:, None], factor)[:, 0]
    roots = root_factorials(k, degree).to(fit)
    return (fit[-len(roots) :] * roots)[index_table(k, degree).to(fit.device)]


def fit_matrix_free(z: Tensor, q: Tensor, degree: int) -> tuple[Tensor, bool]:
    """The same tensor for z (n, k), q (n,), by conjugate gradients; and whether they converged.

    The unknowns are beta_j = sqrt(j!) B_j of f(z) = sum_j <B_j, S_j(z)>, orthonormal coordinates
    under N(0, I): E[f S_j] / sqrt(j!) = beta_j, so the Gram matrix is near the identity (derived).
    An iteration is one prediction and one pass of weighted powers; memory does not grow with n.

    Raises ValueError with fewer samples than features.
    """
    k = z.shape[1]
    check_enough(len(z), feature_count(k, degree))
    sizes = [k**j for j in range(degree + 1)]
    roots = [math.sqrt(math.factorial(j)) for j in range(degree + 1)]

    def project(weigh: Callable[[Tensor, Tensor], Tensor]) -> NDArray[np.floating]:
        totals = [torch.zeros((k,) * j).double() for j in range(degree + 1)]
        for part, w in chunks(z, q, None, pass_entries(k, degree)):
            powers = weighted_powers(part, weigh(part, w), degree)
            totals = [total + p.to(total) for total, p in zip(totals, powers, strict=True)]
        scores = [hermite_from_powers(totals[: j + 1]) for j in range(degree + 1)]
        flat = torch.cat(
            [score.flatten() / root for score, root in zip(scores, roots, strict=True)]
        )
        return (flat / len(z)).numpy()

    def gram(beta: NDArray[np.floating]) -> NDArray[np.floating]:
        parts = torch.split_with_sizes(torch.from_numpy(beta), sizes)
        scores = [parts[j].reshape((k,) * j) / roots[j] for j in range(degree + 1)]
        coefficients = [c.to(z) for c in powers_from_hermite(scores)]
        return project(lambda part, _: polynomial(part, coefficients))

    target = project(lambda _, w: w)
    tolerance = max(1e-8, 10 * torch.finfo(z.dtype).eps)
    operator = LinearOperator((len(target),) * 2, matvec=gram, dtype=np.float64)
    beta, failed = cg(operator, target, rtol=tolerance, maxiter=_MAX_ITERATIONS)
    top = torch.from_numpy(beta[-sizes[-1] :] * roots[-1])
    return top.reshape((k,) * degree).to(z), not failed


def pass_entries(k: int, degree: int) -> int:
    """Numbers a sample that `weighted_powers` keeps: k, or the pair products from degree 3 on."""
    return k if degree == 2 else k * (k + 1) // 2


def chunks(
    x: Tensor, weights: Tensor, basis: Tensor | None, entries: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of x (of x @ basis) with their weights, few enough that `entries` each stay in cache."""
    rows = max(1, _CHUNK_ENTRIES // max(entries, x.shape[1]))
    columns = None if basis is None else basis.to(x)
    for part, w in zip(torch.split(x, rows), torch.split(weights, rows), strict=True):
        yield (part if columns is None else part @ columns), w


def check_enough(count: int, features: int) -> None:
    """Raises ValueError when `count` samples cannot determine `features` coefficients."""
    if count < features:
        raise ValueError(
            f"method: 'least_squares' fits {features} features and needs at least as many samples, "
            f"got {count}; use 'average' or more samples"
        )
