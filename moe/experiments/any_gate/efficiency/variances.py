"""What moments of more orders, and the likelihood, could gain: variances in population."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.any_gate.efficiency.orders import ORDERS, system
from moe.experiments.common.gaussian_integrals import grid_rule
from moe.model.mixture import random_rows
from moe.randomness import stream

LIKELIHOOD = "likelihood"


@dataclass(frozen=True)
class Spec:
    """``mixtures`` of random unit experts in dimension d, linear, with each of the proportions."""

    sigmas: tuple[float, ...] = (0.5, 1.0)
    proportions: tuple[tuple[float, ...], ...] = ((1 / 3, 1 / 3, 1 / 3), (0.6, 0.3, 0.1))
    mixtures: int = 4
    d: int = 7
    orders: tuple[str, ...] = tuple(ORDERS)
    nodes: int = 24
    seed: int = 0


@dataclass(frozen=True)
class Variances:
    """Of one mixture: n times the asymptotic variance of the worst expert's direction inside the
    span (about 2 n E_reg), by the orders of the moments and for the likelihood."""

    sigma: float
    proportions: tuple[float, ...]
    of: dict[str, float]


def run(spec: Spec) -> list[Variances]:
    """Every mixture with each sigma and each proportions. Deterministic in ``spec``."""
    found = []
    for index in range(spec.mixtures):
        for shares in spec.proportions:
            draws = stream("truth", spec.seed, index)
            rows = random_rows(1, len(shares), spec.d, draws)[0]
            rows = rows / rows.norm(dim=1, keepdim=True)
            rows = rows @ torch.linalg.svd(rows, full_matrices=False).Vh.T  # in their span
            for sigma in spec.sigmas:
                w = torch.tensor(shares, dtype=rows.dtype)
                of = {name: of_moments(rows, w, sigma, ORDERS[name]) for name in spec.orders}
                of[LIKELIHOOD] = of_likelihood(rows, w, sigma, spec.nodes)
                found.append(Variances(sigma, shares, of))
    return found


def of_moments(rows: Tensor, proportions: Tensor, sigma: float, orders: tuple[int, ...]) -> float:
    """(J' V^-1 J)^-1, V the covariance of the moments of a sample; the best weighting's."""
    here = system(rows, proportions, sigma, orders)
    whitened = torch.linalg.solve(here.inside_covariance, here.inside)
    return _worst(rows, here.inside.T @ whitened)


def of_likelihood(rows: Tensor, proportions: Tensor, sigma: float, nodes: int = 24) -> float:
    """The inverse Fisher information of the mixture with constant proportions of (z, y), z the
    input in the span: the law of those two under every gate outside the span. Experts, sigma and
    proportions are unknown. By Gauss-Hermite quadrature with ``nodes`` an axis, an even
    number."""
    k = len(rows)
    grid, weights = grid_rule(k + 1, nodes)
    half = grid[:, k] > 0  # scores stay as they are where z and the noise change sign
    grid, weights = grid[half].T, 2 * weights[half]
    z, noise = grid[:k], sigma * grid[k]
    total = torch.zeros((), dtype=rows.dtype)
    for row, share in zip(rows, proportions, strict=True):
        residual = (row @ z + noise - rows @ z) / sigma
        r = torch.softmax(proportions.log()[:, None] - residual.square() / 2, 0)
        ratio = r / proportions[:, None]
        scores = [
            ((r * residual / sigma)[:, None] * z).flatten(0, 1),
            ratio[:-1] - ratio[-1:],
            (r * (residual.square() - 1)).sum(0, keepdim=True),
        ]
        every = torch.cat(scores)
        total = total + share * (every * weights) @ every.T
    return _worst(rows, total)


def _worst(rows: Tensor, information: Tensor) -> float:
    """The largest trace, over unit experts, of the covariance across the expert."""
    k = len(rows)
    covariance = torch.linalg.inv(information)[: k * k, : k * k].view(k, k, k, k)
    traces = [
        covariance[i, :, i].trace() - row @ covariance[i, :, i] @ row for i, row in enumerate(rows)
    ]
    return float(torch.stack(traces).max())
