"""Joint EM on all samples, and the law that it ends at."""

from __future__ import annotations

from torch import Tensor

from moe.estimator.fit.task import Task
from moe.model.regressions import Regressions
from moe.recovery.starts import Options, Problem
from moe.solvers.em import EMResult, expectation_maximisation


def joint(
    full: Problem,
    experts: Tensor,
    gates: Tensor,
    sigma: Tensor,
    task: Task,
    options: Options,
    prior_variance: float,
) -> EMResult:
    noise = ("sigmas",) if task.own else ("sigma",) if task.sigma is None else ()
    return expectation_maximisation(
        full.x,
        full.y,
        experts,
        gates,
        sigma if task.sigma is None else task.sigma,
        full.g,
        learn=("regressors", *noise, *(("gating",) if full.gated else ())),
        iterations=options.iterations,
        tolerance=options.tolerance,
        prior_variance=prior_variance,
        **full.terms,
    )


def law_of(task: Task, run: EMResult) -> Regressions:
    """Where the first start ended, on the white designs."""
    experts, gates = task.layout.gathered(run.regressors[0], run.gating[0])
    sigmas = (run.sigma[:1] if task.own else run.sigma[:1, None]).expand(1, task.k)[0].clone()
    return Regressions(experts, gates, sigmas, task.g)
