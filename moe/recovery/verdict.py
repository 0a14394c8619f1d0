"""What is handed back: the one place that says whether an answer may be believed, and why not."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from moe.likelihood.diagnostics import doubts, noiseless
from moe.metrics import match
from moe.model.mixture import MoE
from moe.recovery.arguments import Task
from moe.recovery.judging import model_of
from moe.recovery.plan import Run
from moe.recovery.results import Recovery, Stage


def verdict(run: Run) -> Recovery:
    """The answer of a run, its doubts and refusals, for the samples as they came."""
    full, field, leader = run.task.problem, run.field, run.field.leader
    model = model_of(run.fit, full)
    model = model.reordered(_by_share(model, run.task))
    against = doubts(model, full.x, full.y)
    if field.lonely:
        against.append("of all starts only one reached the highest likelihood found")
    if not bool(run.fit.converged):
        iterations = run.task.options.iterations
        against.insert(0, f"joint EM had not converged after {iterations} iterations")
    shift = math.log(run.task.coordinates.scale)
    mu, lam = run.weights
    return Recovery(
        run.task.coordinates.model(model),
        leader.proportions[match(leader.regressors, model.regressors)],
        tuple(_brought_back(stage, run.task) for stage in run.stages),
        float(run.fit.log_likelihood) - len(full.y) * shift,
        mu,
        lam,
        passes=run.passes,
        origin=leader.origin,
        supporters=field.supporters,
        doubts=tuple(against),
        refusals=field.refusals,
        noiseless=noiseless(model, full.x, full.y),
        _samples=(run.task.x, run.task.y),
        _sigma_known=full.sigma is not None,
    )


def _by_share(model: MoE, task: Task) -> Tensor:
    """The experts by falling share of the samples, equal ones by their first coefficient, (k,)."""
    share = model.responsibilities(task.problem.x, task.problem.y).mean(0).tolist()
    first = task.coordinates.regressors(model.regressors)[:, 0].tolist()
    return torch.tensor(sorted(range(model.k), key=lambda i: (share[i], first[i]), reverse=True))


def _brought_back(stage: Stage, task: Task) -> Stage:
    """A stage for the samples as they came."""
    coordinates = task.coordinates
    regressors = None if stage.regressors is None else coordinates.regressors(stage.regressors)
    if stage.name == "L4" and regressors is not None:
        regressors = regressors / regressors.norm(dim=1, keepdim=True)
    shift = 0.0 if stage.name in ("moments", "L4") else math.log(coordinates.scale)
    return replace(
        stage,
        regressors=regressors,
        gating=None if stage.gating is None else coordinates.gating(stage.gating),
        sigma=None if stage.sigma is None else coordinates.scale * stage.sigma,
        trace=stage.trace - shift,
    )
