"""Every critical point of the L_4 of data sets, and what a search meets that knows no list."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from moe.experiments.landscape import samples
from moe.experiments.landscape.lists import skewed_proportions
from moe.landscape import (
    CompleteList,
    certificate,
    critical_points_of,
    critical_points_of_each,
    error_norm,
    orbit_distances,
    population_tensor,
    stationary_points,
)
from moe.randomness import stream
from moe.solvers.l4 import NoMinimumError
from moe.solvers.quartic import random_starts

_SAME = 1e-6  # distance at which a point found counts as listed


@dataclass(frozen=True)
class Spec:
    """``trials`` data sets of each of ``sizes`` from mixtures as ``problem`` describes them, its
    own sizes apart; from ``starts`` random points a search runs on the first ``searched`` data sets
    of each size."""

    problem: samples.Spec = field(default_factory=samples.Spec)
    sizes: tuple[int, ...] = (1_000, 10_000, 100_000)
    trials: int = 4
    starts: int = 150
    searched: int = 1


@dataclass(frozen=True, eq=False)
class Case:
    """One data set. listed: the complete list; truth: which of its points is the minimum with a row
    near each expert, -1 where there is none; error: of the tensor; margin: of boundedness, from the
    data alone; found, met: different points at which the search ended, and how many of them are in
    the list (0, 0 without a search)."""

    n: int
    listed: CompleteList
    truth: int
    error: float
    margin: float
    found: int
    met: int

    @property
    def others(self) -> int:
        """Local minima beside the truth's, up to order and signs of the rows."""
        return self.listed.kinds.count("minimum") - (self.truth >= 0)

    @property
    def lowest(self) -> bool:
        """Whether the truth's minimum is the lowest critical point."""
        return self.truth == 0


@dataclass(frozen=True, eq=False)
class Record:
    """cases[n]: of each data set; fewer than trials where M had no k positive eigenvalues. exact:
    the list of the population."""

    spec: Spec
    cases: dict[int, list[Case]]
    exact: CompleteList

    @property
    def all(self) -> list[Case]:
        return [case for cases in self.cases.values() for case in cases]


def run(spec: Spec) -> Record:
    """All data sets' paths in one batch a size. Deterministic in ``spec``."""
    problem = spec.problem
    p = skewed_proportions(problem.k, problem.skew)
    cases = {n: _cases(spec, p, n) for n in spec.sizes}
    exact = critical_points_of(population_tensor(p), problem.mu, problem.lam)
    return Record(spec, cases, exact)


def _cases(spec: Spec, p: Tensor, n: int) -> list[Case]:
    problem, drawn = spec.problem, []
    for trial in range(spec.trials):
        try:
            drawn.append(samples.moments(problem, n, p, problem.seed, n, trial))
        except NoMinimumError:
            continue
    if not drawn:
        return []
    tensors = [tensor for tensor, _ in drawn]
    lists = critical_points_of_each(tensors, problem.mu, problem.lam, seed=problem.seed)
    found = []
    for i, ((tensor, v), listed) in enumerate(zip(drawn, lists, strict=True)):
        searched = _searched(spec, tensor, listed, n, i) if i < spec.searched else (0, 0)
        error = error_norm(tensor - population_tensor(p, v))
        margin = certificate(tensor, problem.mu, problem.lam).margin
        found.append(Case(n, listed, truth_of(listed, v), error, margin, *searched))
    return found


def truth_of(listed: CompleteList, v: Tensor) -> int:
    """The lowest minimum with |cos| > 0.8 to one row of v each, each once; -1 without one."""
    held = (torch.nn.functional.normalize(listed.points, dim=-1) @ v.T).abs() > 0.8
    own = ((held.sum(-1) == 1) & (held.sum(-2) == 1)).all(-1)
    minimum = torch.tensor([kind == "minimum" for kind in listed.kinds])
    places = (own & minimum).nonzero().flatten()
    return int(places[0]) if len(places) else -1


def _searched(
    spec: Spec, tensor: Tensor, listed: CompleteList, n: int, trial: int
) -> tuple[int, int]:
    """How many different points Newton's method finds from random starts, and how many of those the
    list has."""
    problem = spec.problem
    generator = stream("search", problem.seed, n, trial)
    starts = random_starts(spec.starts, problem.k, generator)
    points, good = stationary_points(starts, tensor, problem.mu, problem.lam)
    points = points[good]
    apart = orbit_distances(points, points) > _SAME
    first = (apart | ~torch.ones_like(apart).tril(-1)).all(1)
    known = orbit_distances(points[first], listed.points).amin(1) <= _SAME
    return int(first.sum()), int(known.sum())
