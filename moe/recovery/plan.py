"""What ``recover`` does: which ways to start are tried, when, and how the best end is finished."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from moe.randomness import stream
from moe.recovery.arguments import Task
from moe.recovery.climbing import climbed
from moe.recovery.judging import End, Field, Followed, follow
from moe.recovery.results import Origin, Stage, Stopwatch
from moe.recovery.starts import (
    LOOSE,
    NEAR,
    NoStartError,
    Options,
    Problem,
    Starts,
    Way,
    fourth_moments,
    gates_too,
    given,
    search,
    third_moments,
)
from moe.solvers.em import EMResult, expectation_maximisation

logger = logging.getLogger("moe")

Wanted = Callable[["Front", Options], bool]

PLAN: tuple[tuple[Way, Wanted], ...] = (
    (fourth_moments, lambda so_far, options: True),
    (third_moments, lambda so_far, options: so_far.doubted),
    (gates_too, lambda so_far, options: so_far.problem.gates_are_cheap),
    (search, lambda so_far, options: so_far.unsettled),
    (given, lambda so_far, options: options.initial is not None),
)
"""The policy. A given start comes last, so that nothing else is spared or drawn otherwise for it:
it wins by more than a nat, or the answer is the one without it."""


@dataclass(frozen=True, eq=False)
class Run:
    """What was done: the task, all ends, the leader's own fit to all samples, the stages on the
    way (for the samples as they came), the weights (mu, lam) of L_4 (NaN without it), and passes
    over the samples."""

    task: Task
    field: Field
    fit: EMResult
    stages: tuple[Stage, ...]
    weights: tuple[float, float]
    passes: int


def carried_out(task: Task, plan: Sequence[tuple[Way, Wanted]] = PLAN) -> Run:
    """The ways of the plan that are wanted, in order, then the leader refined on all samples."""
    full, options, generator = task.problem, task.options, stream("recover", task.seed)
    front = Front(task)
    for way, wanted in plan:
        if not wanted(front, options):
            continue
        try:
            begun = way(full, front.part, options, generator)
        except NoStartError as refusal:
            front.refused(refusal)
            continue
        front.stages += _told(task, begun.stages, begun.origin, len(begun.regressors))
        front.add(begun)
    field, watch = front.field, Stopwatch()
    refined = _refined(full, field.leader, options)
    runs, data = [field.leader.run, refined], [front.part, full]
    stage = _stage("likelihood", runs, data, front.seconds + watch.lap())
    stages = (*front.stages, *_told(task, [stage], field.leader.origin))
    return Run(task, field, refined, stages, front.weights, front.passes + refined.passes)


class Front:
    """How far the plan has come. With ``Options.newton`` starts wait, and are followed as one batch
    as soon as somebody asks what came of them; else each way's are followed at once."""

    def __init__(self, task: Task) -> None:
        self.problem: Problem = task.problem
        self.part = task.problem.part()
        exact = self.part is self.problem and self.problem.sigma is None
        near = max(task.options.tolerance, NEAR)  # then the ends differ as the answers would
        self.tolerance = near if exact else LOOSE
        self.stages: list[Stage] = []
        self.weights, self.passes, self.seconds = (math.nan, math.nan), 0, 0.0
        self._task, self._field, self._waiting = task, Field(self.problem), list[Starts]()

    @property
    def doubted(self) -> bool:
        """As ``Field.doubted``."""
        return self.field.doubted

    @property
    def unsettled(self) -> bool:
        """Whether to search: the leader is doubted, or there are too few samples to doubt it, and
        the ends need not be looked at."""
        return self.problem.scarce or self.doubted

    @property
    def alone(self) -> bool:
        """Whether to search on: unsettled, and no two lineages have come to the leader."""
        return self.unsettled and (self.field.best is None or not self.field.supported)

    @property
    def field(self) -> Field:
        """All ends, none waiting."""
        if self._waiting:
            self._follow()
        return self._field

    def refused(self, refusal: NoStartError) -> None:
        """A way that gave no start."""
        logger.info("recover: %s", refusal)
        self._field = self._field.refused(str(refusal))
        self.stages += _told(self._task, refusal.stages)

    def add(self, begun: Starts) -> None:
        """The starts of one way."""
        self.passes += begun.passes
        self._waiting.append(begun)
        if not self._task.options.newton:
            self._follow()

    def _follow(self) -> None:
        watch, options = Stopwatch(), self._task.options
        best = self._field.best
        followed, passes = follow(
            self.part,
            self._waiting,
            options.iterations,
            self.tolerance,
            options.newton,
            -math.inf if best is None else best.value,
        )
        self.passes, self.seconds, self._waiting = self.passes + passes, watch.lap(), []
        for each in followed:
            self._field = self._field.joined_by(each.ends)
            if each.starts.origin is Origin.FOURTH_MOMENTS:
                self._keep_gates(each)
            logger.info(
                "recover: joint EM from %s: %.6g nats a sample, starts %d",
                each.starts.origin,
                max(end.value for end in each.ends) / len(self.part.y) - self._task.shift,
                len(each.ends),
            )

    def _keep_gates(self, of: Followed) -> None:
        """The weights of L_4, and L_log as a stage."""
        self.weights = of.starts.weights
        runs, data, watch = [of.gates], [self.part], Stopwatch()
        if self.part is not self.problem:
            runs.append(_gates_on_all(self.problem, of.gates))
            data.append(self.problem)
            self.passes += runs[-1].passes
        stage = _stage("L_log", runs, data, self.seconds + watch.lap())
        self.stages += _told(self._task, [stage], of.starts.origin)


def _gates_on_all(full: Problem, gates: EMResult) -> EMResult:
    """L_log on all samples, from where it ended on the part that is searched: the second loss as
    the theory has it, for whoever asks what the two losses alone are worth."""
    return expectation_maximisation(
        full.x,
        full.y,
        gates.regressors,
        gates.gating,
        gates.sigma,
        full.g,
        learn=full.learn,
        tolerance=LOOSE,
        **full.terms,
    )


def _refined(full: Problem, best: End, options: Options) -> EMResult:
    """Joint EM on all samples to the last, with sigma held where it is known. Of all ends only the
    leader is worth that: EM's last steps are its slowest."""
    run = best.run
    learn = [name for name in full.learn if name != "sigma" or full.sigma is None]
    sigma = run.sigma if full.sigma is None else torch.full_like(run.sigma, full.sigma)
    return climbed(
        full,
        (run.regressors, run.gating, sigma),
        ("regressors", *learn),
        options.iterations,
        options.tolerance,
        newton=options.newton,
    )


def _stage(name: str, runs: Sequence[EMResult], data: Sequence[Problem], seconds: float) -> Stage:
    last = runs[-1]
    trace = [run.trace[:, 0] / len(part.y) for run, part in zip(runs, data, strict=True)]
    return Stage(
        name,
        last.regressors[0],
        last.gating[0],
        float(last.sigma[0]),
        torch.cat(trace),
        sum(int(run.iterations[0]) for run in runs),
        seconds,
    )


def _told(
    task: Task, stages: Sequence[Stage], origin: Origin | None = None, starts: int = 1
) -> list[Stage]:
    """The stages for the samples as they came, each a line of the log."""
    told = [task.brought_back(stage) for stage in stages]
    for stage in told:
        logger.info(
            "recover: %s: %.3f s, value %.6g, origin %s, starts %d, iterations %d",
            stage.name,
            stage.seconds,
            stage.value,
            origin or "none",
            len(stage.trace) if stage.name == "L4" else starts,
            stage.iterations,
        )
    return told
