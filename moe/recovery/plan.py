"""What ``recover`` does: which ways to start are tried, when, and how the best end is finished."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from moe.randomness import stream
from moe.recovery.arguments import Task
from moe.recovery.judging import End, Field, follow
from moe.recovery.results import Origin, Stage
from moe.recovery.starts import (
    LOOSE,
    NEAR,
    NoStartError,
    Options,
    Problem,
    Stopwatch,
    Way,
    fourth_moments,
    gates_too,
    given,
    search,
    third_moments,
)
from moe.solvers.em import EMResult, expectation_maximisation

logger = logging.getLogger("moe")

Wanted = Callable[[Field, Options], bool]

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
    part = full.part()
    exact = part is full and full.sigma is None  # then the ends differ as the answers would
    tolerance = max(options.tolerance, NEAR) if exact else LOOSE
    stages: list[Stage] = []
    field, weights, watch, passes = Field(full), (math.nan, math.nan), Stopwatch(), 0
    for way, wanted in plan:
        if not wanted(field, options):
            continue
        try:
            begun = way(full, part, options, generator)
        except NoStartError as refusal:
            logger.info("recover: %s", refusal)
            field, stages = field.refused(str(refusal)), [*stages, *_told(task, refusal.stages)]
            continue
        stages += _told(task, begun.stages, begun.origin, len(begun.regressors))
        watch.lap()
        gates, ends = follow(part, begun, options.iterations, tolerance)
        field = field.joined_by(ends)
        passes += begun.passes + gates.passes + ends[0].run.passes
        if begun.origin is Origin.FOURTH_MOMENTS:
            weights = begun.weights
            runs, data = [gates], [part]
            if part is not full:
                runs, data = [gates, _gates_on_all(full, gates)], [part, full]
                passes += runs[-1].passes
            stages += _told(task, [_stage("L_log", runs, data, watch.lap())], begun.origin)
        logger.info(
            "recover: joint EM from %s: %.6g nats a sample, starts %d",
            begun.origin,
            max(end.value for end in ends) / len(part.y) - task.shift,
            len(ends),
        )
    refined = _refined(full, field.leader, options)
    runs, data = [field.leader.run, refined], [part, full]
    passes += refined.passes
    stages += _told(task, [_stage("likelihood", runs, data, watch.lap())], field.leader.origin)
    return Run(task, field, runs[-1], tuple(stages), weights, passes)


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
    return expectation_maximisation(
        full.x,
        full.y,
        run.regressors,
        run.gating,
        full.sigma or run.sigma,
        full.g,
        learn=("regressors", *learn),
        iterations=options.iterations,
        tolerance=options.tolerance,
        **full.terms,
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
