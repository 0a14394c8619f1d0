"""The population L_4 in full: what kind of landscape, every critical point, an independent search
(book, chapter 5)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from math import factorial

import torch
from torch import Tensor

from moe.landscape import (
    CriticalPoints,
    Search,
    best_lambda,
    count_spurious_minima,
    critical_points,
    describe_pattern,
    match_points,
    search,
)
from moe.randomness import stream

LARGEST_LISTED = 4
REGIMES = ("unbounded", "benign", "spurious minima")


def skewed_proportions(k: int, skew: float) -> Tensor:
    """p_1 < ... < p_k in geometric progression with sum 1 and p_k / p_1 = skew; float64 (k,)."""
    if k < 2 or not skew >= 1:
        raise ValueError(f"k, skew: expected k >= 2 and skew >= 1, got {k} and {skew}")
    shares = skew ** torch.linspace(0, 1, k, dtype=torch.float64)
    proportions: Tensor = shares / shares.sum()
    return proportions


def weight(proportions: Tensor, mu: float, lam: float | None) -> float:
    """lambda, or where it is None the one that conditions L_4 best at this mu."""
    return best_lambda(proportions, mu) if lam is None else float(lam)


def regime(proportions: Tensor, mu: float, lam: float) -> str:
    """One of REGIMES (derived): L_4 is bounded below iff lambda > mu / min_m p_m; then spurious
    minima exist, nondegenerate ones, iff mu > 1 and lambda > (mu + 1) / max_m p_m."""
    if not lam > mu / float(proportions.min()):
        return "unbounded"
    return REGIMES[2] if count_spurious_minima(proportions, mu, lam) else REGIMES[1]


@dataclass(frozen=True)
class Group:
    """Critical points equal up to relabelling, and of one kind: how many, and the ranges of their
    values, of their index, and of their lowest curvature (weakest, for a minimum)."""

    pattern: str
    words: str
    kind: str
    count: int
    values: tuple[float, float]
    index: tuple[int, int]
    curvature: tuple[float, float]


def group(points: CriticalPoints) -> tuple[Group, ...]:
    """The points by pattern and kind, lowest value first; k <= 5."""
    keys = list(zip(points.patterns, points.kinds, strict=True))
    order = sorted(range(len(points)), key=lambda i: keys[i])
    groups = []
    for (pattern, kind), members in groupby(order, key=lambda i: keys[i]):
        some = torch.tensor(list(members))
        values, index = points.values[some], points.index[some]
        lowest = points.lowest_curvature[some]
        groups.append(
            Group(
                pattern,
                describe_pattern(pattern),
                kind,
                len(some),
                (float(values.min()), float(values.max())),
                (int(index.min()), int(index.max())),
                (float(lowest.min()), float(lowest.max())),
            )
        )
    return tuple(sorted(groups, key=lambda g: g.values))


@dataclass(frozen=True)
class Spec:
    """For each k the proportions with this skew, the weights (lam None: best conditioned), and how
    many starts the search gets."""

    starts: tuple[tuple[int, int], ...] = ((2, 500), (3, 5_000), (4, 2_000), (5, 160), (8, 60))
    skew: float = 1.5
    mu: float = 0.5
    lam: float | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Case:
    """One k. listed, groups: the complete list, for k <= 4; found: the search; matches: for each
    point found its place in the list, -1 without one; expected: minima by the theorem (truths,
    spurious), None where L_4 is unbounded."""

    proportions: Tensor
    lam: float
    regime: str
    listed: CriticalPoints | None
    groups: tuple[Group, ...]
    found: Search
    matches: Tensor
    expected: tuple[int, int] | None

    @property
    def patterns_met(self) -> tuple[int, int]:
        """How many patterns the search met, of those in the list; (0, 0) without a list."""
        if self.listed is None:
            return 0, 0
        listed = set(self.listed.patterns)
        return len(listed & set(self.found.points.patterns)), len(listed)


@dataclass(frozen=True, eq=False)
class Record:
    spec: Spec
    cases: dict[int, Case]


def run(spec: Spec) -> Record:
    """Enumerate where that is possible, search everywhere. Deterministic in ``spec``."""
    generator = stream("starts", spec.seed)
    return Record(spec, {k: _case(spec, k, starts, generator) for k, starts in spec.starts})


def _case(spec: Spec, k: int, starts: int, generator: torch.Generator) -> Case:
    p = skewed_proportions(k, spec.skew)
    lam = weight(p, spec.mu, spec.lam)
    kind = regime(p, spec.mu, lam)
    listed = critical_points(p, spec.mu, lam) if k <= LARGEST_LISTED else None
    found = search(p, spec.mu, lam, starts, generator)
    expected = None
    if kind != "unbounded":
        expected = (factorial(k), count_spurious_minima(p, spec.mu, lam))
    matches = torch.empty(0, dtype=torch.long)
    if listed is not None:
        matches = match_points(found.points.squares, listed.squares)
    groups = () if listed is None else group(listed)
    return Case(p, lam, kind, listed, groups, found, matches, expected)
