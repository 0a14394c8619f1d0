"""What a data set proves of the minimum it shows: a bootstrap bound of the tensor's error against
the largest error that the Newton-Kantorovich theorem allows there."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from moe.experiments.landscape import samples
from moe.experiments.landscape.lists import skewed_proportions
from moe.landscape import error_norm, population_tensor, tolerance_of
from moe.model.nonlinearity import as_nonlinearity
from moe.randomness import stream
from moe.solvers.l4 import L4Moments, NoMinimumError, l4_moments_of
from moe.solvers.quartic import minimise_quartic, random_starts


@dataclass(frozen=True)
class Spec:
    """``trials`` data sets of each of ``sizes``, each drawn anew ``draws`` times from itself."""

    problem: samples.Spec = field(default_factory=samples.Spec)
    sizes: tuple[int, ...] = (1_000, 10_000)
    trials: int = 4
    draws: int = 40
    level: float = 0.95


@dataclass(frozen=True, eq=False)
class Row:
    """One size, a value a data set (trials,). bound: the bootstrap's quantile of the tensor's
    error; error: the true one; tolerance: what the proof allows at the lowest minimum found."""

    n: int
    bound: Tensor
    error: Tensor
    tolerance: Tensor

    @property
    def covered(self) -> int:
        """Data sets whose bound is not below the true error."""
        return int((self.bound >= self.error).sum())

    @property
    def proved(self) -> int:
        """Data sets whose bound is within the tolerance."""
        return int((self.bound <= self.tolerance).sum())

    @property
    def needed(self) -> float:
        """The n at which the median bound would be the median tolerance, if the bound falls like
        n^(-1/2) from here on and the tolerance stays."""
        return self.n * float(self.bound.quantile(0.5) / self.tolerance.quantile(0.5)) ** 2


def run(spec: Spec) -> list[Row]:
    """Every size. Deterministic in ``spec``."""
    p = skewed_proportions(spec.problem.k, spec.problem.skew)
    return [_row(spec, p, n) for n in spec.sizes]


def _row(spec: Spec, p: Tensor, n: int) -> Row:
    problem, found = spec.problem, []
    for trial in range(spec.trials):
        regressors, x, y = samples.draw(problem, n, problem.seed, n, trial)
        try:
            moments = _moments(problem, x, y)
        except NoMinimumError:
            continue
        error = moments.tensor - population_tensor(p, samples.frame(moments, regressors, p))
        starts = random_starts(12, problem.k, stream("starts", problem.seed, n, trial))
        end = minimise_quartic(moments.tensor, problem.mu, problem.lam, starts)
        if not bool(end.converged.any()):
            continue
        tolerance = tolerance_of(end.points[end.best], moments.tensor, problem.mu, problem.lam)
        generator = stream("bootstrap", problem.seed, n, trial)
        errors = [_error(problem, moments, x, y, generator) for _ in range(spec.draws)]
        bound = torch.tensor(errors, dtype=torch.float64).quantile(spec.level)
        found.append([float(bound), error_norm(error), tolerance.epsilon])
    bounds, errors_, tolerances = torch.tensor(found, dtype=torch.float64).view(-1, 3).unbind(1)
    return Row(n, bounds, errors_, tolerances)


def _moments(problem: samples.Spec, x: Tensor, y: Tensor) -> L4Moments:
    return l4_moments_of(x, y, problem.k, as_nonlinearity("linear"), problem.sigma)


def _error(
    problem: samples.Spec, moments: L4Moments, x: Tensor, y: Tensor, generator: torch.Generator
) -> float:
    """The norm of the tensor's change when the samples are drawn anew from themselves, both in the
    data set's coordinates: W for W the whitener drawn anew, turned by the orthogonal matrix nearest
    to W^+ V. Infinite where M has lost an eigenvalue."""
    picks = torch.randint(len(y), (len(y),), generator=generator)
    try:
        drawn = _moments(problem, x[picks], y[picks])
    except NoMinimumError:
        return float("inf")
    left, _, right = torch.linalg.svd(drawn.whitening.dewhitener.T @ moments.whitening.whitener)
    turn = left @ right
    turned = torch.einsum("abcd,ae,bf,cg,dh->efgh", drawn.tensor, turn, turn, turn, turn)
    return error_norm(turned - moments.tensor)
