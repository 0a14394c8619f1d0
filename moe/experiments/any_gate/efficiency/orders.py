"""Moments of several orders together, for linear experts under a gate of any kind."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.common.gaussian_integrals import grid_rule
from moe.moments.hermite import hermite_features, multi_indices, root_factorials

FOUR, SIX, EIGHT = "1 to 4", "1 to 6", "1 to 8"
ORDERS = {"2 and 4": (2, 4), "2 to 4": (2, 3, 4)} | {
    f"1 to {top}": tuple(range(1, top + 1)) for top in (4, 5, 6, 8)
}

_SMALLEST = 0.02  # share of an expert while it is fitted


def transforms(y: Tensor, tau: float, top: int) -> list[Tensor]:
    """Q_m(y) = tau^m He_m(y / tau), m = 0..top, of outputs of variance tau^2 = 1 + sigma^2."""
    found = [torch.ones_like(y), y]
    for m in range(1, top):
        found.append(y * found[-1] - m * tau**2 * found[-2])
    return found[: top + 1]


def hermite_blocks(z: Tensor, top: int) -> list[Tensor]:
    """Distinct entries He_alpha(z), |alpha| = m, of S_m(z), for m = 0..top: (n, entries) each."""
    sizes = [len(multi_indices(z.shape[1], m)) for m in range(top + 1)]
    blocks = hermite_features(z, top).split(sizes, dim=1)
    return [block * root_factorials(z.shape[1], m) for m, block in enumerate(blocks)]


def expected(rows: Tensor, proportions: Tensor, orders: tuple[int, ...]) -> Tensor:
    """m! sum_i w_i b_i^alpha, |alpha| = m, for all orders m: rows (k, k) in the span's own
    coordinates -> (entries,)."""
    k = rows.shape[1]
    powers = [rows[:, multi_indices(k, m)].prod(-1) for m in orders]
    return torch.cat(
        [math.factorial(m) * (proportions @ each) for m, each in zip(orders, powers, strict=True)]
    )


@dataclass(frozen=True, eq=False)
class System:
    """The moments' derivatives and covariances at one mixture (k, in the span's coordinates).

    inside: of E[Q_m(y) He_alpha(z)], |alpha| = m, in the k^2 coefficients of the experts and the
    first k - 1 proportions; outside: of E[Q_m(y) He_beta(z) v], |beta| = m - 1, in the k parts of
    the experts along one direction v outside the span. What a sample's inside part is has the same
    law whatever the gate; the outside covariance is that of a constant gate.
    """

    value: Tensor
    inside: Tensor
    outside: Tensor
    inside_covariance: Tensor
    outside_covariance: Tensor


def system(rows: Tensor, proportions: Tensor, sigma: float, orders: tuple[int, ...]) -> System:
    """By Gauss-Hermite quadrature, exact: every integrand is a polynomial.

    Who answers and the noise enter a second moment through E[Q_m(y) Q_l(y) | z] alone, which is
    averaged first.
    """
    k, top = len(rows), max(orders)
    z, weights = grid_rule(k, 2 * top + 1)  # degree 4 top in z
    noise, of_noise = grid_rule(1, top + 1)  # degree 2 top in the noise
    y = (z @ rows.T)[..., None] + sigma * noise[:, 0]
    q = torch.stack([transforms(y, math.sqrt(1 + sigma**2), top)[m] for m in orders])
    share = proportions[:, None] * of_noise
    pairs = torch.einsum("azin,bzin,in,z->abz", q, q, share, weights)
    blocks = hermite_blocks(z, top)

    def second_moment(lower: int) -> Tensor:
        every = [blocks[m - lower].T for m in orders]
        sizes = torch.tensor([len(block) for block in every])
        both = torch.cat(every)
        parts = zip(every, pairs, strict=True)
        return torch.cat([b @ (both * p.repeat_interleave(sizes, 0)).T for b, p in parts])

    value = expected(rows, proportions, orders)
    outside = [
        math.factorial(m) * (proportions[:, None] * rows[:, multi_indices(k, m - 1)].prod(-1)).T
        for m in orders
    ]
    return System(
        value,
        torch.cat([_jacobian(rows, proportions, m) for m in orders]),
        torch.cat(outside),
        second_moment(0) - torch.outer(value, value),
        second_moment(1),
    )


def _jacobian(rows: Tensor, proportions: Tensor, m: int) -> Tensor:
    """Of m! sum_i w_i b_i^alpha, |alpha| = m, in the entries of the b_i and w_1, ..., w_{k-1}, the
    last being one less these: (entries, k^2 + k - 1)."""
    places = multi_indices(rows.shape[1], m)
    parts = rows[:, places]
    powers, slopes = parts.prod(-1), rows.new_zeros(len(rows), len(places), rows.shape[1])
    for at in range(m):  # b_i^alpha without one of its factors, where that factor stands
        others = torch.cat([parts[..., :at], parts[..., at + 1 :]], -1).prod(-1, keepdim=True)
        slopes += others * (places[:, at, None] == torch.arange(rows.shape[1]))
    own = (proportions[:, None, None] * slopes).transpose(0, 1).flatten(1)
    return math.factorial(m) * torch.cat([own, (powers[:-1] - powers[-1]).T], 1)


def weighted_moments(
    x: Tensor,
    y: Tensor,
    regressors: Tensor,
    proportions: Tensor,
    orders: tuple[int, ...],
    iterations: int = 4,
) -> Tensor:
    """Experts (k, d) whose moments E[Q_m(y) S_m(x)] = m! sum_i w_i a_i^(m) are nearest to the
    averages of the samples, m in ``orders``; by Gauss-Newton from a start, weighted by the
    moments' covariance there under constant proportions (Hansen 1982; inside the span that of every
    gate, outside the best weighting for a constant gate only).

    Of S_m the entries in the span of the experts are taken and those with one index outside: the
    others do not move with the experts, to first order. tau^2 is the mean of y^2. x (n, d), y (n,),
    proportions (k,). NaN where a covariance on the way is singular.
    """
    k, top, tau = len(regressors), max(orders), math.sqrt(float(y.square().mean()))
    q = transforms(y, tau, top)
    for _ in range(iterations):
        every = torch.linalg.svd(regressors).Vh
        basis, rest = every[:k], every[k:]
        rows = regressors @ basis.T
        here = system(rows, proportions, math.sqrt(max(tau**2 - 1, 0.0)), orders)
        blocks, v = hermite_blocks(x @ basis.T, top), x @ rest.T
        inside = torch.cat([q[m] @ blocks[m] for m in orders]) / len(y)
        outside = torch.cat([(blocks[m - 1] * q[m][:, None]).T @ v for m in orders]) / len(y)
        step = _weighted(here.inside, here.inside_covariance, (inside - here.value)[:, None])[:, 0]
        along = _weighted(here.outside, here.outside_covariance, outside)
        first = proportions[:-1] + step[k * k :]
        proportions = torch.cat([first, 1 - first.sum()[None]]).clamp_min(_SMALLEST)
        proportions = proportions / proportions.sum()
        regressors = (rows + step[: k * k].view(k, k)) @ basis + along @ rest
        if not bool(torch.isfinite(regressors).all()):
            return torch.full_like(regressors, math.nan)
    return regressors


def _weighted(jacobian: Tensor, covariance: Tensor, right: Tensor) -> Tensor:
    """Generalised least squares; covariances differ in size by factorials, hence are scaled."""
    scale = covariance.diagonal().rsqrt()
    factor, singular = torch.linalg.cholesky_ex(covariance * scale[:, None] * scale)
    if singular:
        return torch.full((jacobian.shape[1], right.shape[1]), math.nan, dtype=right.dtype)
    left, right = (
        torch.linalg.solve_triangular(factor, part * scale[:, None], upper=False)
        for part in (jacobian, right)
    )
    return torch.linalg.lstsq(left, right, driver="gelsd").solution
