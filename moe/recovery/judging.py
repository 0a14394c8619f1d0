"""Ends of EM, and the one place where they are judged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from moe.likelihood.diagnostics import doubts
from moe.metrics import match
from moe.model.mixture import MoE
from moe.recovery.climbing import climbed
from moe.recovery.recombination import agree
from moe.recovery.results import Origin
from moe.recovery.starts import LOOSE, Problem, Starts
from moe.solvers.em import EMResult, expectation_maximisation

AHEAD = 1.0
LONELY = "of all starts only one reached the highest likelihood found"
_SUSPICIOUS = 1e-3
_MOMENTS = (Origin.FOURTH_MOMENTS, Origin.THIRD_MOMENTS, Origin.LEAST_SQUARES)
_LINEAGE = {**dict.fromkeys(_MOMENTS, "moments"), Origin.GIVEN: "given"}


def model_of(run: EMResult, problem: Problem) -> MoE:
    """The mixture at which the first start of a run ended."""
    return run.model(0, problem.g)


@dataclass(frozen=True, eq=False)
class End:
    """Where EM ended from one start: the run (one start), proportions (k,) in its order.

    lineage: ends of one lineage are no evidence for each other (both moment starts rest on M; the
    ends of a search are bred apart; given starts may come from one guess).
    """

    problem: Problem
    origin: Origin
    lineage: str
    run: EMResult
    proportions: Tensor

    @property
    def regressors(self) -> Tensor:
        """(k, d)."""
        return self.run.regressors[0]

    @property
    def value(self) -> float:
        """The log-likelihood in nats."""
        return float(self.run.log_likelihood)

    def ahead_of(self, other: End) -> bool:
        """By more than a nat in total: less is the tolerance of the runs."""
        return self.value > other.value + AHEAD

    @cached_property
    def doubted(self) -> bool:
        """Whether something speaks against it: no convergence, an expert astray, no calibration."""
        model = model_of(self.run, self.problem)
        return not bool(self.run.converged) or bool(
            doubts(model, self.problem.x, self.problem.y, level=_SUSPICIOUS)
        )


@dataclass(frozen=True, eq=False)
class Followed:
    """What came of the starts of one way: where L_log ended, and the joint climb of each start."""

    starts: Starts
    gates: EMResult
    ends: tuple[End, ...]


def follow(
    problem: Problem,
    begun: Sequence[Starts],
    iterations: int,
    tolerance: float,
    newton: bool,
    rival: float = -math.inf,
) -> tuple[list[Followed], int]:
    """L_log, then the joint likelihood (``climbed``), from the starts of several ways as one batch:
    what came of each way, and passes over the samples. rival: the likelihood of an earlier end."""
    regressors, gating, sigma = (
        torch.cat([getattr(starts, name) for starts in begun])
        for name in ("regressors", "gating", "sigma")
    )
    gates = expectation_maximisation(
        problem.x,
        problem.y,
        regressors,
        gating,
        sigma,
        problem.g,
        learn=problem.learn,
        tolerance=LOOSE,
        **problem.terms,
    )
    joint = climbed(
        problem,
        (gates.regressors, gates.gating, gates.sigma),
        ("regressors", *problem.learn),
        iterations,
        tolerance,
        newton=newton,
        rival=rival,
    )
    parts, places = [], iter(range(len(regressors)))
    for starts in begun:
        own = [next(places) for _ in starts.regressors]
        ends = tuple(_end(problem, starts, s, joint[[place]]) for s, place in enumerate(own))
        parts.append(Followed(starts, gates[own], ends))
    return parts, gates.passes + joint.passes


def _end(problem: Problem, starts: Starts, s: int, run: EMResult) -> End:
    order = match(starts.regressors[s], run.regressors[0])
    lineage = _LINEAGE.get(starts.origin, f"{starts.origin} {s}")
    return End(problem, starts.origin, lineage, run, starts.proportions[order])


@dataclass(frozen=True, eq=False)
class Field:
    """All ends so far, the leader, and what they say together. Adding ends makes a new field.

    problem: that of all samples; an end may be of a part of them.
    """

    problem: Problem
    ends: tuple[End, ...] = ()
    best: End | None = None
    refusals: tuple[str, ...] = ()

    def joined_by(self, ends: Sequence[End]) -> Field:
        """A newcomer leads only if it is ahead by more than a nat. Proportions that it lacks are
        those of the end it beats, matched."""
        best, newcomer = self.best, max(ends, key=lambda end: end.value)
        if best is None:
            best = newcomer
        elif newcomer.ahead_of(best):
            if bool(newcomer.proportions.isnan().all()):
                order = match(best.regressors, newcomer.regressors)
                newcomer = replace(newcomer, proportions=best.proportions[order])
            best = newcomer
        return replace(self, ends=(*self.ends, *ends), best=best)

    def refused(self, reason: str) -> Field:
        """A way that gave no start."""
        return replace(self, refusals=(*self.refusals, reason))

    @property
    def doubted(self) -> bool:
        """Whether there is no leader, or something speaks against it."""
        return self.best is None or self.best.doubted

    @property
    def lonely(self) -> bool:
        """Whether a search was needed, or won, and nothing else supports the leader."""
        searched = any(end.origin is Origin.SEARCH for end in self.ends)
        return (searched or self.leader.origin not in _MOMENTS) and not self.supported

    @property
    def supported(self) -> bool:
        """Whether two lineages have come to the leader."""
        return self.supporters > 1

    @property
    def supporters(self) -> int:
        """Lineages with an end that agrees with the leader, its own included. A given start is no
        evidence for another: it may be an earlier answer to the same samples."""
        leader = self.leader
        agreeing = [end for end in self.ends if agree(leader.regressors, end.regressors)]
        return len(
            {end.lineage for end in agreeing if Origin.GIVEN not in {end.origin} - {leader.origin}}
        )

    @property
    def leader(self) -> End:
        """The best end. Raises LookupError while there is none."""
        if self.best is None:
            raise LookupError("no way has given an end yet")
        return self.best
