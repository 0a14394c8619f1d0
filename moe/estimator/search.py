"""Where the likelihood is highest: moments and random searches, then joint EM on all samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import pad

from moe.estimator.task import Effort, Found, Task, fair_rows
from moe.model.regressions import Regressions
from moe.randomness import stream
from moe.recovery.coordinates import sample_order
from moe.recovery.judging import LOOSE, Field, follow
from moe.recovery.results import Origin
from moe.recovery.starts import (
    NoStartError,
    Problem,
    Starts,
    Way,
    fourth_moments,
    gates_too,
    search,
    third_moments,
)
from moe.solvers.em import EMResult, expectation_maximisation

Report = Callable[[str, int, int], None]
"""(what happens, how many stages are done, of how many)."""

Step = tuple[str, Way, Callable[[Field], bool]]
"""A way with its name, and when it is wanted."""


def searched(task: Task, effort: Effort, seed: int, report: Report) -> Found:
    """The best end of all ways that are wanted, refined on all samples."""
    task = task.rows(sample_order(task.x, task.y, seed))
    full = problem_of(task)
    part, generator, field = full.part(), stream("recover", seed), Field(full)
    plan = _plan(task, full, effort)
    for done, (name, way, wanted) in enumerate(plan):
        if not wanted(field):
            continue
        report(name, done, len(plan) + 1)
        try:
            begun = way(full, part, generator)
        except NoStartError as refusal:
            field = field.refused(str(refusal))
            continue
        tolerance = effort.tolerance if part is full else LOOSE
        field = field.joined_by(follow(part, begun, effort.iterations, tolerance)[1])
    report("likelihood", len(plan), len(plan) + 1)
    leader = field.leader
    run = _refined(task, full, [leader.run, *(end.run for end in field.ends)], effort)
    doubts = []
    if field.lonely:
        doubts.append("of all starts only one reached the highest likelihood found")
    found = _found(task, run, effort, str(leader.origin), field.supporters, doubts)
    return replace(found, iterations=found.iterations + int(leader.run.iterations[0]))


def climbed(task: Task, law: Regressions, effort: Effort) -> Found:
    """Joint EM from a start of the user's own, a law on the white designs, and nothing else."""
    experts, gates = task.layout.spread(law.experts, law.gates)
    sigma = law.sigmas[None] if task.each else law.sigmas.square().mean().sqrt()[None]
    run = _joint(problem_of(task), experts[None], gates[None], sigma, task, effort)
    return _found(task, run, effort, "start", 1, [])


def problem_of(task: Task) -> Problem:
    """Experts and gate on the one design."""
    return Problem(task.inputs, task.y, task.k, task.g, task.sigma, task.gate != "equal")


def _plan(task: Task, full: Problem, effort: Effort) -> Sequence[Step]:
    """The ways as ``moe.recover`` has them, each on the columns it can use and, where weights
    differ, on rows drawn in proportion to them."""
    if task.k == 1 and task.g.is_linear:
        return [("least squares", _zero, lambda so_far: True)]
    fair = task if task.even else task.rows(fair_rows(task.weights))
    fourth = partial(fourth_moments, mu=effort.mu, lam=effort.lam, starts=effort.starts)
    width = task.x.shape[1] - task.design.experts.ones
    moments = replace(problem_of(fair), x=fair.x[:, :width])
    lines = replace(problem_of(fair), x=fair.x)
    softmax = task.gate == "softmax"
    return [
        ("fourth moments", partial(_on, moments, fourth, task), lambda so_far: task.k <= width),
        (
            "third moments",
            partial(_on, moments, third_moments, task),
            lambda so_far: task.k <= width and so_far.doubted,
        ),
        (
            "random gates",
            partial(_on, problem_of(fair), gates_too, task),
            lambda so_far: softmax and full.gates_are_cheap,
        ),
        (
            "random starts",
            partial(_on, lines, partial(search, starts=effort.restarts), task),
            lambda so_far: so_far.unsettled,
        ),
    ]


def _on(
    problem: Problem,
    way: Way,
    task: Task,
    full: Problem,
    part: Problem,
    generator: torch.Generator,
) -> Starts:
    """Starts of a way that sees another design, on the one of ``task``: what it has not seen is
    zero, and so is what experts or gate may not look at."""
    found = way(problem, problem.part(), generator)
    experts, gates = found.regressors, found.gating
    if problem.x.shape[1] == task.layout.width:
        experts, gates = task.layout.gathered(experts, gates)
    else:
        experts = pad(experts, (0, task.x.shape[1] - experts.shape[-1]))
        gates = experts.new_zeros(*experts.shape[:-1], task.z.shape[1])
    experts, gates = task.layout.spread(experts, gates)
    return replace(found, regressors=experts, gating=gates)


def _zero(full: Problem, part: Problem, generator: torch.Generator) -> Starts:
    """All coefficients zero: for one linear expert EM goes to the maximum in one step."""
    rows = full.x.new_zeros(1, full.k, full.x.shape[1])
    level = full.y.square().mean().sqrt()[None]
    return Starts(Origin.FOURTH_MOMENTS, rows, rows, level, rows.new_ones(full.k))


def _joint(
    full: Problem, experts: Tensor, gates: Tensor, sigma: Tensor, task: Task, effort: Effort
) -> EMResult:
    noise = ("sigmas",) if task.each else ("sigma",) if task.sigma is None else ()
    return expectation_maximisation(
        full.x,
        full.y,
        experts,
        gates,
        sigma if task.sigma is None else task.sigma,
        full.g,
        learn=("regressors", *noise, *(("gating",) if full.gated else ())),
        iterations=effort.iterations,
        tolerance=effort.tolerance,
    )


def _refined(task: Task, full: Problem, runs: Sequence[EMResult], effort: Effort) -> EMResult:
    """Joint EM on all samples from the leader, the first of ``runs``; where each expert has its own
    noise from all of them, for they have been compared with a common one."""
    runs = runs if task.each else runs[:1]
    sigma = torch.cat([run.sigma for run in runs])
    if task.each:
        sigma = sigma[:, None].expand(-1, task.k)
    experts = torch.cat([run.regressors for run in runs])
    gates = torch.cat([run.gating for run in runs])
    return _joint(full, experts, gates, sigma, task, effort).best


def _found(
    task: Task, run: EMResult, effort: Effort, origin: str, supporters: int, doubts: list[str]
) -> Found:
    experts, gates = task.layout.gathered(run.regressors[0], run.gating[0])
    sigmas = (run.sigma if task.each else run.sigma[:, None]).expand(1, task.k)[0].clone()
    converged = bool(run.converged[0])
    if not converged:
        doubts.insert(0, f"joint EM had not converged after {effort.iterations} iterations")
    law = Regressions(experts, gates, sigmas, task.g)
    iterations = max(1, int(run.iterations[0]))
    return Found(law, iterations, converged, origin, supporters, tuple(doubts))
