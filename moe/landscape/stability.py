"""How well L_4 is conditioned at its minimum, and what moment errors the minimum survives.

Derived; book, chapter 5. At b_i = s_i v_i the Hessian is diagonal in the coordinates <v_m, b_i>:

    8 lambda for m = i,   4 [1 / (p_m - theta) + mu / (p_i - theta)] for m != i,

with theta = mu / lambda.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import brentq
from torch import Tensor

from moe.checks import as_floating, check_positive
from moe.landscape.certificate import certificate
from moe.landscape.squares import check_bounded, check_proportions, global_minimum
from moe.solvers.quartic import quartic_gradient, quartic_hessian

_MU_NEAR = 1 / 3


@dataclass(frozen=True)
class Weights:
    """The weights of L_4 and the condition number of its Hessian at the minimum."""

    mu: float
    lam: float
    condition_number: float


@dataclass(frozen=True)
class ErrorBound:
    """For moment errors of norm at most epsilon, a strict local minimum lies within radius of the
    truth (Frobenius norm over all rows); radius is infinite where the proof gives none."""

    epsilon: float
    radius: float


def curvatures_at_truth(proportions: Tensor, mu: float, lam: float) -> Tensor:
    """(k, k): the curvature of L_4 at the truth along <v_m, b_i>, row i at expert i, column m."""
    p, mu, lam = check_bounded(proportions, mu, lam)
    sharpness = 1 / (p - mu / lam)
    curvatures = 4 * (sharpness + mu * sharpness.unsqueeze(-1))
    curvatures.fill_diagonal_(8 * lam)
    return curvatures


def conditioning(proportions: Tensor, mu: float, lam: float) -> float:
    """Condition number of the Hessian at the truth: the largest over the smallest curvature."""
    curvatures = curvatures_at_truth(proportions, mu, lam)
    return float(curvatures.max() / curvatures.min())


def best_lambda(proportions: Tensor, mu: float) -> float:
    """The lambda that minimises the condition number at a given mu, in closed form.

    With p_1 <= p_2 the two smallest proportions, theta = mu / lambda is the smaller root of
    2 mu (p_1 - theta)(p_2 - theta) = theta (p_2 - theta) + mu theta (p_1 - theta) for mu <= 1; for
    mu > 1 its factors 1 and mu on the right change places. There 8 lambda equals the largest of the
    other curvatures. A larger theta spreads those, a smaller one raises 8 lambda above them.
    For p = 1/k: lambda = k (1 + 3 mu) / 2, condition number 1.
    """
    p, mu = check_proportions(proportions), check_positive(mu, "mu")
    if len(p) == 1:
        return 2 * mu
    first, second = p.sort().values[:2].tolist()
    weaker, stronger = min(1.0, mu), max(1.0, mu)
    square = 1 + 3 * mu
    linear = 2 * mu * (first + second) + stronger * second + weaker * first
    product = 2 * mu * first * second
    root: float = 2 * product / (linear + (linear**2 - 4 * square * product) ** 0.5)
    return mu / root


def best_weights(proportions: Tensor, mu_range: tuple[float, float] = (0.1, 0.9)) -> Weights:
    """mu in a range and its best lambda: of those within 1 % of the least condition number, the
    mu nearest 1/3.

    The condition number depends little on mu, and its infimum over 0 < mu < 1 lies at 0 or 1,
    where saddles turn flat; for uniform p it is 1 for every mu, and mu = 1/3, lambda = k then
    makes the weakest negative curvature of all saddles largest for k = 2 and 3 (lambda 8 / 5).
    """
    lowest, highest = mu_range
    if not 0 < lowest <= highest < 1:
        raise ValueError(f"mu_range: expected 0 < lowest <= highest < 1, got {mu_range}")
    grid = torch.linspace(lowest, highest, 201, dtype=torch.float64).tolist()
    if lowest <= _MU_NEAR <= highest:
        grid.append(_MU_NEAR)
    choices = [
        Weights(mu, lam, conditioning(proportions, mu, lam))
        for mu in grid
        for lam in [best_lambda(proportions, mu)]
    ]
    limit = 1.01 * min(choice.condition_number for choice in choices)
    good = [choice for choice in choices if choice.condition_number <= limit]
    return min(good, key=lambda choice: abs(choice.mu - _MU_NEAR))


def first_order_displacement(
    proportions: Tensor, mu: float, lam: float, error: Tensor, directions: Tensor | None = None
) -> Tensor:
    """How far the truth's rows move when T becomes T + error, to first order: -H^-1 gradient.

    error (k, k, k, k) symmetric, in the coordinates in which the rows of directions are the v_m
    (identity by default). Returns (k, k): row m is the displacement of b_m = s_m v_m.
    """
    p, mu, lam = check_bounded(proportions, mu, lam)
    v = torch.eye(len(p), dtype=p.dtype) if directions is None else directions
    rows = global_minimum(p, mu, lam).squared_norms.sqrt().unsqueeze(-1) * v
    gradient = quartic_gradient(rows, error, mu, 0.0) @ v.T
    return -(gradient / curvatures_at_truth(p, mu, lam)) @ v


def error_norm(error: Tensor) -> float:
    """An upper bound of sup |error[a, b, c, d]| over unit vectors: the spectral norm of the
    (k^2, k^2) unfolding."""
    tensor = as_floating(error, "error")
    return float(torch.linalg.matrix_norm(tensor.flatten(2).flatten(0, 1), ord=2))


def displacement_bound(proportions: Tensor, mu: float, lam: float, epsilon: float) -> ErrorBound:
    """A radius that holds for every symmetric error of T with norm at most epsilon (derived).

    Newton-Kantorovich at the truth. With m the least curvature, less what the error takes from
    it, eta = |gradient| / m and L the Lipschitz constant of the Hessian within 2 eta: if
    q = L eta / m < 1/2, a strict minimum lies within (1 - sqrt(1 - 2 q)) m / L.
    """
    return _bound(_Place.truth(proportions, mu, lam), epsilon)


def moment_error_tolerance(proportions: Tensor, mu: float, lam: float) -> ErrorBound:
    """The largest error of T for which displacement_bound proves that the minimum survives.

    Sufficient, not necessary: measured tolerances are larger.
    """
    return _tolerance(_Place.truth(proportions, mu, lam))


def displacement_bound_of(
    point: Tensor, tensor: Tensor, mu: float, lam: float, epsilon: float
) -> ErrorBound:
    """``displacement_bound`` at any local minimum of any L_4: ``point`` (rows, k), of the moments
    ``tensor``, a sample's say.

    For every symmetric error of the tensor of norm at most epsilon, so in population if the
    estimate is that close, L_4 has a strict local minimum within radius of the point; infinite
    where the proof gives none.
    """
    return _bound(_Place.at(point, tensor, check_positive(mu, "mu"), lam), epsilon)


def tolerance_of(point: Tensor, tensor: Tensor, mu: float, lam: float) -> ErrorBound:
    """The largest error of the tensor for which ``displacement_bound_of`` proves a minimum near the
    point: epsilon 0 where it proves none for any."""
    return _tolerance(_Place.at(point, tensor, check_positive(mu, "mu"), lam))


@dataclass(frozen=True, eq=False)
class _Place:
    """What the proof needs to know of a point: |b_i|^2 (rows,); the norm of the gradient; the least
    curvature; the largest size of L_4's part of degree four on the unit sphere; mu."""

    squared: Tensor
    gradient: float
    curvature: float
    quartic: float
    mu: float

    @classmethod
    def at(cls, point: Tensor, tensor: Tensor, mu: float, lam: float) -> _Place:
        rows, k = point.shape
        gradient = float(quartic_gradient(point, tensor, mu, lam).norm())
        hessian = quartic_hessian(point, tensor, mu, lam).reshape(rows * k, rows * k)
        proof = certificate(tensor, mu, lam, rows=rows)
        quartic = max(proof.growth, -proof.margin)
        least = float(torch.linalg.eigvalsh(hessian)[0])
        return cls(point.square().sum(-1), gradient, least, quartic, mu)

    @classmethod
    def truth(cls, proportions: Tensor, mu: float, lam: float) -> _Place:
        p, mu, lam = check_bounded(proportions, mu, lam)
        least = float(curvatures_at_truth(p, mu, lam).min())
        squared = global_minimum(p, mu, lam).squared_norms
        return cls(squared, 0.0, least, max(lam, 1 / float(p.min())), mu)


def _bound(place: _Place, epsilon: float) -> ErrorBound:
    epsilon = check_positive(epsilon, "epsilon")
    eta, ratio = _kantorovich(place, epsilon)
    if not ratio < 0.5:
        return ErrorBound(epsilon, float("inf"))
    return ErrorBound(epsilon, eta * (1 - (1 - 2 * ratio) ** 0.5) / ratio)


def _tolerance(place: _Place) -> ErrorBound:
    if not _kantorovich(place, 0.0)[1] < 0.5:
        return ErrorBound(0.0, float("inf"))
    highest = 1.0
    while _kantorovich(place, highest)[1] < 0.5:
        highest *= 2
    epsilon = brentq(lambda e: min(_kantorovich(place, e)[1], 1.0) - 0.5, 0.0, highest, xtol=1e-14)
    return _bound(place, (1 - 1e-9) * float(epsilon))


def _kantorovich(place: _Place, epsilon: float) -> tuple[float, float]:
    """eta and q of displacement_bound, infinite where the error may flatten the minimum."""
    squared, mu = place.squared, place.mu
    others = squared.sum() - squared
    gradient = 4 * epsilon * float((squared * (others + mu * squared).square()).sum().sqrt())
    norms = squared.sqrt()
    spread = 8 * norms * norms.unsqueeze(-1)
    spread.diagonal().copy_(12 * mu * squared + 4 * others)
    curvature = place.curvature - epsilon * float(torch.linalg.eigvalsh(spread)[-1])
    if curvature <= 0:
        return float("inf"), float("inf")
    eta = (place.gradient + gradient) / curvature
    quartic = place.quartic + epsilon * max(1.0, mu)
    lipschitz = 24 * quartic * (float(squared.sum()) ** 0.5 + 2 * eta)
    return eta, lipschitz * eta / curvature
