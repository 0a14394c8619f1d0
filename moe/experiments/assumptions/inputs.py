"""Inputs that are not N(0, I): what plain averages and least squares make of M."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from moe.exceptions import DependentFeaturesError
from moe.experiments.assumptions.worlds.contestants import drawn, l4
from moe.experiments.assumptions.worlds.laws import (
    Correlated,
    Inputs,
    Smoothed,
    SomeBinary,
    Student,
)
from moe.experiments.assumptions.worlds.repairs import whitened
from moe.experiments.assumptions.worlds.world import World, error, world_that_holds
from moe.moments.estimate import Moments
from moe.moments.transforms import solved_transform
from moe.randomness import child_seed, stream

_PARTS = 20
LAWS: dict[str, Inputs] = {
    r"correlated, $\rho = 0.6$": Correlated(0.6),
    "uniform": Smoothed("uniform", 1.0),
    "two clusters, 0.8": Smoothed("clusters", 0.8),
    r"Student, $\nu = 10$": Student(10.0),
    "four of seven binary": SomeBinary(4),
    "all binary": SomeBinary(7),
}


@dataclass(frozen=True)
class Moment:
    """What M becomes under a law of inputs; every number relative to the norm of M.

    formula: the bias of the plain average by formula (constant gates); average, least_squares: as
    measured, constant gates; with_gates: both, softmax gates of norm two; errors: the first two
    measured less their formulas (least squares: zero), largest entry in standard errors. NaN where
    least squares has dependent features.
    """

    law: str
    formula: float
    average: float
    least_squares: float
    with_gates: tuple[float, float]
    errors: tuple[float, float]


def limit_of_average(world: World, proportions: Tensor) -> Tensor:
    """The limit of E[y^2 (xx' - I)] / 2 for linear experts with constant proportions (derived).

    Gaussian with covariance S: sum_i p_i [S a_i a_i' S + (a_i' S a_i + sigma^2)(S - I) / 2].
    Independent symmetric columns of variance one with fourth cumulants gamma_j:
    sum_i p_i [a_i a_i' + diag(gamma_j a_ij^2) / 2].
    """
    a, law = world.regressors, world.inputs
    d = a.shape[1]
    if isinstance(law, Correlated):
        s = law.covariance(d)
        size = proportions @ (a @ s * a).sum(1) + world.sigma**2
        return (a @ s).T @ (proportions[:, None] * (a @ s)) + size * (s - torch.eye(d).double()) / 2
    excess = torch.zeros(d, dtype=torch.float64)
    if isinstance(law, SomeBinary):
        excess[: law.columns] = -2.0
    elif isinstance(law, (Smoothed, Student)):
        excess[:] = law.excess
    own = a.T @ (proportions[:, None] * a)
    return own + torch.diag(excess * own.diagonal()) / 2


def run(law: str, n: int, seed: int, k: int = 3, d: int = 7, sigma: float = 0.5) -> Moment:
    """One law, on one random mixture, n samples."""
    base = world_that_holds(k, d, sigma, 2.0, seed)
    gated = replace(base, inputs=LAWS[law])
    constant = replace(gated, gating=torch.zeros_like(base.gating))
    equal = torch.full((k,), 1.0 / k, dtype=torch.float64)
    truth = base.regressors.T @ base.regressors / k
    limit = limit_of_average(constant, equal)
    plain, fitted = _estimates(constant, n, seed)
    gated_plain, gated_fitted = _estimates(gated, n, seed)
    x, _ = gated.sample(n, stream("fresh", seed))
    target = base.regressors.T @ (gated.gate(x).mean(0)[:, None] * base.regressors)

    def relative(gap: Tensor, to: Tensor) -> float:
        return float(gap.norm() / to.norm())

    return Moment(
        law,
        relative(limit - truth, truth),
        relative(plain.mean(0) - truth, truth),
        relative(fitted.mean(0) - truth, truth),
        (
            relative(gated_plain.mean(0) - target, target),
            relative(gated_fitted.mean(0) - target, target),
        ),
        (_worst(plain - limit), _worst(fitted - truth)),
    )


def _worst(gaps: Tensor) -> float:
    return float((gaps.mean(0).abs() / (gaps.std(0) / len(gaps) ** 0.5 + 1e-12)).max())


def _estimates(world: World, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """M by plain averages and by least squares, in parts: (parts, d, d) each; NaN where the
    features depend."""
    transform = solved_transform(world.told.nonlinearity, world.sigma, 2)
    plain, fitted = [], []
    for part in range(_PARTS):
        x, y = world.sample(n // _PARTS, stream("data", seed, part))
        sums = Moments(transform, x.shape[1], method="least_squares").update(x, y)
        plain.append(sums.tensor("average"))
        try:
            fitted.append(sums.tensor())
        except DependentFeaturesError:
            fitted.append(torch.full_like(plain[-1], torch.nan))
    return torch.stack(plain), torch.stack(fitted)


RAW, KNOWN, GUESSED = "as they come", "known covariance", "estimated covariance"


def whitening(
    gate_norm: float, mixtures: int, n: int, seed: int, rho: float = 0.6
) -> dict[str, Tensor]:
    """E_reg of L_4 for correlated inputs, whitened or not: (mixtures,) each, NaN where it has no
    minimum. Whitened by F, experts are F^-1 a_i, of unequal norms; they are brought back."""
    law = Correlated(rho)
    values, vectors = torch.linalg.eigh(law.covariance(6))
    known = vectors * values.rsqrt() @ vectors.T
    rows = []
    for index in range(mixtures):
        own = child_seed(seed, "mixture", index)
        world = replace(world_that_holds(3, 6, 0.3, gate_norm, own), inputs=law)
        data = drawn(world, n, own)
        errors = []
        for factor in (torch.eye(6, dtype=torch.float64), known, whitened(data.x)[1]):
            found = l4(replace(data, x=data.x @ factor))
            back = None if found is None else found @ factor.T
            errors.append(math.nan if back is None else error(back, world.regressors))
        rows.append(errors)
    table = torch.tensor(rows, dtype=torch.float64).T
    return dict(zip((RAW, KNOWN, GUESSED), table, strict=True))
