"""Where the likelihood is highest: moments and random searches, then joint EM on all samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from moe.estimator.design import Design
from moe.model.nonlinearity import Nonlinearity
from moe.model.regressions import Regressions
from moe.randomness import stream
from moe.recovery.coordinates import sample_order
from moe.recovery.judging import LOOSE, Field, follow
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


@dataclass(frozen=True, eq=False)
class Task:
    """What is fitted: samples on white designs, outputs in their units, and what is held.

    weights (n,); sigma None where it is learned; each: one noise level an expert; gate "softmax",
    "constant" (which has no columns but the ones) or "equal" (held at zero).
    """

    design: Design
    x: Tensor
    z: Tensor
    y: Tensor
    weights: Tensor
    k: int
    g: Nonlinearity
    sigma: float | None
    each: bool
    gate: str

    @property
    def parameters(self) -> int:
        """Free parameters of the model."""
        gates = 0 if self.gate == "equal" else (self.k - 1) * self.z.shape[1]
        noise = self.k if self.each else int(self.sigma is None)
        return self.k * self.x.shape[1] + gates + noise

    @property
    def free(self) -> Tensor:
        """T of ``moe.likelihood.sandwich``: theta = T phi, (P, F)."""
        experts, gates = self.k * self.x.shape[1], (self.k - 1) * self.z.shape[1]
        blocks = [torch.eye(experts), torch.eye(gates), torch.eye(self.k)]
        if self.gate == "equal":
            blocks[1] = torch.zeros(gates, 0)
        if self.sigma is not None:
            blocks[2] = torch.zeros(self.k, 0)
        elif not self.each:
            blocks[2] = torch.ones(self.k, 1)
        return torch.block_diag(*blocks).double()

    def scores(self, law: Regressions) -> float:
        """The log-likelihood, sum_n w_n log P(y_n | x_n, z_n), in the units of ``y``."""
        return float(self.weights @ law.log_density(self.x, self.z, self.y))


@dataclass(frozen=True)
class Effort:
    """How hard to look: weights of L_4, its starts, random starts at most, iterations, and the gain
    in nats below which EM stops."""

    mu: float | None
    lam: float | None
    starts: int
    restarts: int
    iterations: int
    tolerance: float


@dataclass(frozen=True, eq=False)
class Found:
    """The end of the search, on the white designs; doubts of the search alone."""

    law: Regressions
    iterations: int
    converged: bool
    origin: str
    supporters: int
    doubts: tuple[str, ...]


def searched(task: Task, effort: Effort, seed: int, report: Report) -> Found:
    """The best end of all ways that are wanted, refined on all samples."""
    order = sample_order(task.x, task.y, seed)
    task = replace(
        task, x=task.x[order], z=task.z[order], y=task.y[order], weights=task.weights[order]
    )
    full = _problem(task)
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
    ends = [field.leader, *(end for end in field.ends if end is not field.leader)]
    run = _refined(task, full, [end.run for end in ends], effort)
    doubts = []
    if field.lonely:
        doubts.append("of all starts only one reached the highest likelihood found")
    found = _found(task, run, effort, str(field.leader.origin), field.supporters, doubts)
    return replace(found, iterations=found.iterations + int(field.leader.run.iterations[0]))


def climbed(task: Task, law: Regressions, effort: Effort) -> Found:
    """Joint EM from a start of the user's own, a law on the white designs; nothing else is tried."""
    full = _problem(task)
    experts, gates = _spread(task, law.experts, law.gates)
    sigma = law.sigmas[None] if task.each else law.sigmas.square().mean().sqrt()[None]
    run = _joint(full, experts[None], gates[None], sigma, task, effort)
    return _found(task, run, effort, "start", 1, [])


def _plan(
    task: Task, full: Problem, effort: Effort
) -> Sequence[tuple[str, Way, Callable[[Field], bool]]]:
    """The ways and when they are wanted, as ``moe.recover`` has them; without moments where these
    cannot see k experts."""
    if task.k == 1 and task.g.is_linear:
        return [("least squares", _zero, lambda so_far: True)]
    moments = _moment_problem(task)
    fourth = partial(fourth_moments, mu=effort.mu, lam=effort.lam, starts=effort.starts)
    return [
        ("fourth moments", partial(_padded, fourth, moments, task), lambda so_far: True),
        (
            "third moments",
            partial(_padded, third_moments, moments, task),
            lambda so_far: so_far.doubted,
        ),
        ("random gates", gates_too, lambda so_far: full.gates_are_cheap),
        (
            "random starts",
            partial(search, starts=effort.restarts),
            lambda so_far: so_far.unsettled,
        ),
    ]


def _problem(task: Task) -> Problem:
    """Experts and gate on one design: columns of both, then the ones."""
    return Problem(task.x, task.y, task.k, task.g, task.sigma, task.gate != "equal")


def _spread(task: Task, experts: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients (..., k, p), (..., k, q) on the one design, (..., k, D) each."""
    return experts, gates


def _gathered(task: Task, experts: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
    """The way back from ``_spread``."""
    return experts, gates


def _moment_problem(task: Task) -> Problem | str:
    """The experts' columns without the ones, for the moments; or why there is none."""
    width = task.x.shape[1] - task.design.experts.ones
    if task.k > width:
        return f"expected at most as many experts as columns, got k = {task.k} and {width}"
    return Problem(task.x[:, :width], task.y, task.k, task.g, task.sigma, task.gate != "equal")


def _padded(
    way: Way,
    moments: Problem | str,
    task: Task,
    full: Problem,
    part: Problem,
    generator: torch.Generator,
) -> Starts:
    """Starts of a way that knows no intercepts, with intercepts zero."""
    if isinstance(moments, str):
        raise NoStartError("moments", moments)
    found = way(moments, moments, generator)
    pad = task.x.shape[1] - moments.x.shape[1]
    experts = torch.nn.functional.pad(found.regressors, (0, pad))
    gates = experts.new_zeros(*experts.shape[:2], task.z.shape[1])
    experts, gates = _spread(task, experts, gates)
    return replace(found, regressors=experts, gating=gates)


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
    experts, gates = (torch.cat([getattr(run, what) for run in runs]) for what in _MOVED)
    return _joint(full, experts, gates, sigma, task, effort).best


_MOVED = ("regressors", "gating")


def _zero(full: Problem, part: Problem, generator: torch.Generator) -> Starts:
    """All coefficients zero: for one linear expert EM goes to the maximum in one step."""
    from moe.recovery.results import Origin

    rows = full.x.new_zeros(1, full.k, full.x.shape[1])
    shares = rows.new_ones(full.k)
    return Starts(Origin.FOURTH_MOMENTS, rows, rows, full.y.square().mean().sqrt()[None], shares)


def _found(
    task: Task, run: EMResult, effort: Effort, origin: str, supporters: int, doubts: list[str]
) -> Found:
    experts, gates = _gathered(task, run.regressors[0], run.gating[0])
    sigmas = (run.sigma if task.each else run.sigma[:, None]).expand(1, task.k)[0].clone()
    if not bool(run.converged[0]):
        doubts.insert(0, f"joint EM had not converged after {effort.iterations} iterations")
    law = Regressions(experts, gates, sigmas, task.g)
    iterations = max(1, int(run.iterations[0]))
    return Found(law, iterations, bool(run.converged[0]), origin, supporters, tuple(doubts))
