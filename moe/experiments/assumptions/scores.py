"""Score functions of the inputs' own density in place of Hermite polynomials."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from moe.exceptions import TooFewEigenvaluesError
from moe.experiments.assumptions.worlds.laws import GaussianMixture, Smoothed, Student
from moe.experiments.assumptions.worlds.world import World, error, world_that_holds
from moe.moments.estimate import ScoreMoment, score_moment
from moe.moments.hermite import index_table, multi_indices
from moe.moments.transforms import solved_transform
from moe.moments.whitening import whiten
from moe.randomness import stream
from moe.solvers.l4 import L4Moments, NoMinimumError, minimise_l4

AVERAGE, FITTED, TRUE, ESTIMATED = "Hermite", "least squares", "true score", "estimated score"
_BINS, _ROWS = 400, 20_000


def estimated_density(column: Tensor, width: float = 1.0) -> GaussianMixture:
    """A kernel density of one column (n,), on 400 bins: bandwidth ``width`` times
    1.06 s n^(-1/9), the rate that suits second derivatives."""
    n, spread = len(column), float(column.std())
    step = 1.06 * width * spread * n ** (-1 / 9)
    low, high = float(column.min()), float(column.max())
    counts = torch.histc(column, _BINS, low, high)
    edges = torch.linspace(low, high, _BINS + 1, dtype=torch.float64)
    kept = counts > 0
    places = ((edges[1:] + edges[:-1]) / 2)[kept]
    return GaussianMixture(counts[kept] / n, places, torch.full_like(places, step))


def column_scores(x: Tensor, densities: list[GaussianMixture], orders: int) -> Tensor:
    """s_m(x_j) = (-1)^m p_j^(m)(x_j) / p_j(x_j), m = 0..orders, j = 1..d: (orders + 1, n, d).

    Interpolated between 2,000 points a column."""
    out = [torch.ones_like(x)]
    columns = []
    for column, density in zip(x.T, densities, strict=True):
        grid = torch.linspace(float(column.min()), float(column.max()), 2_000, dtype=x.dtype)
        table = density.scores(grid, orders).numpy()
        place = column.numpy()
        columns.append([torch.from_numpy(np.interp(place, grid.numpy(), row)) for row in table])
    for m in range(orders):
        out.append(torch.stack([column[m] for column in columns], 1))
    return torch.stack(out)


def score_average(scores: Tensor, q: Tensor, degree: int, basis: Tensor | None = None) -> Tensor:
    """Mean of q S_m(x), S_m = (-1)^m grad^m p / p of independent columns, in ``basis``: entries are
    products of ``column_scores``, as Hermite tensors' are of polynomials (derived)."""
    d = scores.shape[2]
    rows = multi_indices(d, degree)
    counts = (rows[:, :, None] == torch.arange(d)).sum(1)
    total = torch.zeros(len(rows), dtype=q.dtype)
    for start in range(0, len(q), _ROWS):
        part = slice(start, start + _ROWS)
        own = q[part, None].clone()
        features = own.expand(-1, len(rows)).clone()
        for j in range(d):
            features *= scores[counts[:, j], part, j].T
        total += features.sum(0)
    tensor = (total / len(q))[index_table(d, degree)]
    if basis is not None:
        for _ in range(degree):
            tensor = torch.tensordot(tensor, basis, dims=([0], [0]))
    return tensor


LAWS: dict[str, Smoothed | Student] = {
    "two clusters, 0.8": Smoothed("clusters", 0.8),
    "two clusters, 0.95": Smoothed("clusters", 0.95),
    "uniform, smoothed (0.8)": Smoothed("uniform", 0.8),
    r"Student, $\nu = 10$": Student(10.0),
}


@dataclass(frozen=True)
class Spec:
    """One law of inputs and nonlinearity; gates of that norm (0: constant); n samples."""

    law: str
    nonlinearity: str
    gate_norm: float
    n: int = 50_000
    k: int = 3
    d: int = 6
    sigma: float = 0.1


Estimate = Callable[[int, Tensor | None], Tensor]
"""(degree m, basis B or None) -> an estimate of E[Q_m(y) S_m(B'x)] / c_m."""


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """E_reg of L_4 by each way of estimating M and T, on one mixture; NaN where it has no minimum.
    All averages are of Q_m(y) less a constant, so that none has less noise for that reason."""
    law = LAWS[spec.law]
    world = world_that_holds(spec.k, spec.d, spec.sigma, spec.gate_norm, seed, spec.nonlinearity)
    world = replace(world, inputs=law)
    x, y = world.sample(spec.n, stream("data", seed))
    transforms = {m: solved_transform(world.nonlinearity, spec.sigma, m) for m in (2, 4)}

    def hermite(method: Literal["centred", "least_squares"]) -> Estimate:
        return lambda m, basis: score_moment(x, y, transforms[m], method, basis).tensor

    def by_scores(densities: list[GaussianMixture]) -> Estimate:
        scores = column_scores(x, densities, 4)
        outputs = {m: t(y) / t.normaliser for m, t in transforms.items()}
        centred = {m: q - q.mean() for m, q in outputs.items()}
        return lambda m, basis: score_average(scores, centred[m], m, basis)

    ways = {
        AVERAGE: hermite("centred"),
        FITTED: hermite("least_squares"),
        TRUE: by_scores([law.density()] * spec.d),
        ESTIMATED: by_scores([estimated_density(column) for column in x.T]),
    }
    return {name: _minimised(world, x, y, way, seed) for name, way in ways.items()}


def _minimised(world: World, x: Tensor, y: Tensor, estimate: Estimate, seed: int) -> float:
    try:
        second = estimate(2, None)
        whitening = whiten(second, len(world.regressors))
        fourth = estimate(4, whitening.basis)
        m, t = (ScoreMoment(moment, "average", len(y), 0) for moment in (second, fourth))
        moments = L4Moments(world.sigma, m, t, whitening, whitening.apply(fourth))
        fit = minimise_l4(moments, y @ x / len(y), stream("solver", seed))
    except (NoMinimumError, TooFewEigenvaluesError):
        return math.nan
    return error(fit.regressors, world.regressors)
