"""Where a softmax likelihood ends with infinitely many samples: the maximum of its expectation.

The expectation over the expert and the noise given x is a sum: p_i(x) times Gauss-Hermite weights.
That over x is an average over points of a scrambled Sobol sequence, sent to N(0, I). What remains
is EM on weighted points, from the true experts; for linear experts Newton's method finishes, once
EM gains less than a nat an iteration, and goes on alone from the end on other points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import nan

import torch
from scipy.stats.qmc import MultivariateNormalQMC
from torch import Tensor

from moe.experiments.any_gate.gates import GatedExperts, gated_experts
from moe.metrics import regressor_error_of
from moe.moments.quadrature import gauss_hermite
from moe.randomness import child_seed, numpy_stream
from moe.solvers.em import EMResult, expectation_maximisation
from moe.solvers.newton import newton_climb

COUNT = 1e6
"""What the points weigh together: EM ends as it would with so many samples."""
_TOLERANCE, _DECIDED, _ITERATIONS, _NEAR = 1e-2, 1.0, 2_000, 10


@dataclass(frozen=True)
class Spec:
    """For each of ``kinds`` so many random mixtures, those of ``curves``; 2^log_points inputs,
    ``nodes`` for the noise."""

    kinds: tuple[str, ...] = ("softmax", "quadrants", "shells", "tree")
    sigma: float = 1.0
    mixtures: int = 3
    log_points: int = 12
    nodes: int = 9
    k: int = 3
    d: int = 7
    nonlinearity: str = "linear"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Limits:
    """errors[kind] (2, mixtures): E_reg of the limit by each of two sets of points; apart[kind]
    (mixtures,): E_reg between these two, which tells the error of the points. NaN where no maximum
    was reached."""

    spec: Spec
    errors: dict[str, Tensor]
    apart: dict[str, Tensor]


def run(spec: Spec) -> Limits:
    """Every mixture with two sets of points; the second begins where the first has ended, since a
    likelihood may have several maxima. Deterministic in ``spec``."""
    errors, apart = dict[str, Tensor](), dict[str, Tensor]()
    for kind in spec.kinds:
        found, between = [], []
        for index in range(spec.mixtures):
            seed = child_seed(spec.seed, kind, index)
            truth = gated_experts(kind, spec.k, spec.d, spec.sigma, seed, spec.nonlinearity)
            first = softmax_limit(truth, spec)
            ends = [first, softmax_limit(truth, spec, 1, first)]
            rows = [end.regressors[0] for end in ends]
            known = all(bool(end.converged.all()) for end in ends)
            found.append([regressor_error_of(a, truth.regressors) if known else nan for a in rows])
            between.append(regressor_error_of(*rows) if known else nan)
        errors[kind] = torch.tensor(found, dtype=torch.float64).T
        apart[kind] = torch.tensor(between, dtype=torch.float64)
    return Limits(spec, errors, apart)


def softmax_limit(
    truth: GatedExperts, spec: Spec, number: int = 0, start: EMResult | None = None
) -> EMResult:
    """The maximum of the expected log-likelihood, softmax without offsets, that EM reaches from the
    true experts, or from ``start``; ``number`` of the set of points."""
    x, y, counts = population(truth, 2**spec.log_points, spec.nodes, child_seed(spec.seed, number))
    g, rows, level = truth.nonlinearity, truth.regressors, torch.tensor([truth.sigma])
    begin = (rows[None], torch.zeros_like(rows)[None], level.double())
    climb = partial(newton_climb, x, y, counts=counts, tolerance=_TOLERANCE)
    if start is not None:
        begin = (start.regressors, start.gating, start.sigma)
        if g.is_linear and bool((end := climb(*begin, iterations=_NEAR)[0]).converged.all()):
            return end
    for tolerance in (_DECIDED, _TOLERANCE) if g.is_linear and start is None else (_TOLERANCE,):
        end = expectation_maximisation(
            *(x, y, *begin, g), counts=counts, iterations=_ITERATIONS, tolerance=tolerance
        )
        begin = (end.regressors, end.gating, end.sigma)
        if g.is_linear and bool((finer := climb(*begin)[0]).converged.all()):
            return finer
    return end


def population(
    truth: GatedExperts, points: int, nodes: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """x (r, d), y (r,) and weights (r,), sum COUNT, that stand for the law of the samples:
    E f(x, y) is nearly the weighted mean of f. points: a power of two."""
    d = truth.regressors.shape[1]
    sobol = MultivariateNormalQMC([0.0] * d, rng=numpy_stream("inputs", seed))
    x = torch.from_numpy(sobol.random(points))
    node, weight = (torch.from_numpy(part) for part in gauss_hermite(nodes))
    means = truth.nonlinearity(x @ truth.regressors.T)
    y = means[..., None] + truth.sigma * node
    counts = truth.weights(x)[..., None] * weight * (COUNT / points)
    seen = counts > 0
    rows = seen.nonzero()[:, 0]
    return x[rows], y[seen], counts[seen]
