"""Where the likelihood is highest: moments and random searches, then joint EM on all samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch.nn.functional import pad

from moe.estimator.fit.joint import joint, law_of
from moe.estimator.fit.own_noise import searched_each, without_prior
from moe.estimator.fit.task import Found, Task, fair_rows
from moe.model.regressions import Regressions
from moe.recovery.arguments import Task as Asked
from moe.recovery.coordinates import Coordinates, sample_order
from moe.recovery.judging import LONELY
from moe.recovery.plan import Wanted, carried_out
from moe.recovery.results import Origin
from moe.recovery.starts import (
    Options,
    Problem,
    Starts,
    Way,
    fourth_moments,
    gates_too,
    jointly,
    search,
    third_moments,
)
from moe.solvers.em import EMResult
from moe.solvers.em.samples import PRIOR_SHARE

Report = Callable[[str, int, int], None]
"""(what happens, how many stages are done, of how many)."""

_TELLING = 3  # distinct samples a parameter

Step = tuple[str, Way, Wanted]
"""A way with its name, and when it is wanted."""


def searched(task: Task, options: Options, seed: int, report: Report) -> Found:
    """The best end of all ways that are wanted, refined on all samples (``recovery.plan``)."""
    task = task.rows(sample_order(task.x, task.y, seed))
    full, fair = problem_of(task), _fair(task)
    plan = _plan(task, fair)
    told = [
        (partial(_told, report, at, len(plan) + 1, *step[:2]), step[2])
        for at, step in enumerate(plan)
    ]
    axes = torch.eye(full.x.shape[1], dtype=full.x.dtype)
    still = Coordinates(axes, axes, 1.0)
    asked = Asked(full.x, full.y, full, still, options, seed)
    run = carried_out(asked, told)
    report("likelihood", len(plan), len(plan) + 1)
    fit, lonely = run.fit, run.field.lonely
    if task.own:
        fit, lonely = searched_each(task, full, _unweighted(fair), run, options, seed)
    doubts = [LONELY] if lonely else []
    found = _found(task, fit, options, str(run.field.leader.origin), run.field.supporters, doubts)
    return replace(found, iterations=max(found.iterations, run.stages[-1].iterations))


def _told(
    report: Report,
    at: int,
    of: int,
    name: str,
    way: Way,
    full: Problem,
    part: Problem,
    options: Options,
    generator: torch.Generator,
) -> Starts:
    report(name, at, of)
    return way(full, part, options, generator)


def climbed(task: Task, law: Regressions, options: Options) -> Found:
    """Joint EM from a start of the user's own, a law on the white designs, and nothing else."""
    gates = law.gates if task.gate != "equal" else torch.zeros_like(law.gates)
    experts, gates = task.layout.spread(law.experts, gates)
    full, common = problem_of(task), law.sigmas.square().mean().sqrt()[None]
    sigma = law.sigmas[None] if task.own else common
    prior = PRIOR_SHARE * float(common) ** 2
    run = joint(full, experts[None], gates[None], sigma, task, options, prior)
    if task.own:
        run = without_prior(task, full, run, options)
    return _found(task, run, options, "start", 1, [])


def problem_of(task: Task) -> Problem:
    """Experts and gate on the one design."""
    layout = task.layout
    columns = None
    if layout.experts is not None and layout.gate is not None:
        columns = layout.experts, layout.gate
    counts = None if task.even and float(task.weights[0]) == 1 else task.weights
    gated = task.gate != "equal"
    return Problem(task.inputs, task.y, task.k, task.g, task.sigma, gated, counts, columns)


def _plan(task: Task, fair: Task) -> Sequence[Step]:
    """The ways as ``moe.recover`` has them, each on the columns it can use and, where weights
    differ, on rows drawn in proportion to them; then random starts of joint EM. Where samples are
    few these come before the search, which is left out if two lineages come to the same end."""
    if task.k == 1 and task.g.is_linear:
        return [("least squares", _zero, lambda so_far, options: True)]
    whole = _unweighted(fair)
    width = task.x.shape[1] - task.design.experts.ones
    moments = replace(whole, x=fair.x[:, :width])
    lines = replace(whole, x=fair.x)
    learned = task.gate in ("softmax", "constant")
    of_lines, of_all = partial(_on, lines, search, task), partial(_on, whole, jointly, task)
    last: list[Step] = [
        ("random starts", of_lines, lambda so_far, options: so_far.unsettled),
        ("random starts of all", of_all, lambda so_far, options: learned and so_far.unsettled),
    ]
    if problem_of(task).scarce:
        last = [last[1], ("random starts", of_lines, lambda so_far, options: so_far.alone)]
    return [
        (
            "fourth moments",
            partial(_on, moments, fourth_moments, task),
            lambda so_far, options: task.k <= width,
        ),
        (
            "third moments",
            partial(_on, moments, third_moments, task),
            lambda so_far, options: task.k <= width and so_far.unsettled,
        ),
        (
            "random gates",
            partial(_on, whole, gates_too, task),
            lambda so_far, options: learned and whole.gates_are_cheap,
        ),
        *last,
    ]


def _fair(task: Task) -> Task:
    """Rows of even weight: drawn in proportion to them where they differ, unless nearly all those
    drawn are a few heavy ones, on which no mixture can be searched for: then each once."""
    if task.even:
        return task
    rows = fair_rows(task.weights)
    told = len(rows.unique()) >= min(len(task.y), _TELLING * task.parameters)
    return task.rows(rows) if told else task


def _unweighted(fair: Task) -> Problem:
    """Such rows with all columns, for experts and gate alike."""
    return replace(problem_of(fair), counts=None, columns=None)


def _on(
    problem: Problem,
    way: Way,
    task: Task,
    full: Problem,
    part: Problem,
    options: Options,
    generator: torch.Generator,
) -> Starts:
    """Starts of a way that sees another design, on the one of ``task``: what it has not seen is
    zero, and so is what experts or gate may not look at."""
    found = way(problem, problem.part(), options, generator)
    experts, gates = found.regressors, found.gating
    if way in (gates_too, jointly):
        experts, gates = task.layout.gathered(experts, gates)
    else:
        experts = pad(experts, (0, task.x.shape[1] - experts.shape[-1]))
        gates = experts.new_zeros(*experts.shape[:-1], task.z.shape[1])
    experts, gates = task.layout.spread(experts, gates)
    stages = tuple(replace(stage, regressors=None, gating=None) for stage in found.stages)
    return replace(found, regressors=experts, gating=gates, stages=stages)


def _zero(full: Problem, part: Problem, options: Options, generator: torch.Generator) -> Starts:
    """All coefficients zero: for one linear expert EM goes to the maximum in one step."""
    rows = full.x.new_zeros(1, full.k, full.x.shape[1])
    level = full.y.square().mean().sqrt()[None]
    return Starts(Origin.LEAST_SQUARES, rows, rows, level, rows.new_ones(full.k))


def _found(
    task: Task, run: EMResult, options: Options, origin: str, supporters: int, doubts: list[str]
) -> Found:
    converged = bool(run.converged[0])
    if not converged:
        doubts.insert(0, f"joint EM had not converged after {options.iterations} iterations")
    iterations = max(1, int(run.iterations[0]))
    return Found(law_of(task, run), iterations, converged, origin, supporters, tuple(doubts))
