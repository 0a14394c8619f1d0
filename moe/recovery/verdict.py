"""What is handed back: the one place that says whether an answer may be believed, and why not."""

from __future__ import annotations

import torch
from torch import Tensor

from moe.likelihood.diagnostics import REMEDY, doubts, noiseless
from moe.likelihood.gate_check import gate_doubt
from moe.metrics import match
from moe.recovery.judging import LONELY, model_of
from moe.recovery.plan import Run
from moe.recovery.results import Origin, Recovery
from moe.recovery.starts import Problem
from moe.solvers.prediction import samples_for_l4


def verdict(run: Run) -> Recovery:
    """The answer of a run, its doubts and refusals, for the samples as they came."""
    full, field, leader = run.task.problem, run.field, run.field.leader
    model = model_of(run.fit, full)
    shares = model.responsibilities(full.x, full.y).mean(0)
    model = model.reordered(by_share(shares, run.task.coordinates.regressors(model.regressors)))
    against = doubts(model, full.x, full.y)
    if bool(model.gating.any()):
        excess = model.responsibilities(full.x, full.y) - model.gate(full.x)
        against += gate_doubt(excess, full.x, REMEDY, offsets=False)
    if field.lonely:
        against.append(LONELY)
    if not bool(run.fit.converged):
        iterations = run.task.options.iterations
        against.insert(0, f"joint EM had not converged after {iterations} iterations")
    mu, lam = run.weights
    tell = bool(against) and leader.origin is not Origin.FOURTH_MOMENTS
    return Recovery(
        run.task.coordinates.model(model),
        leader.proportions[match(leader.regressors, model.regressors)],
        run.stages,
        float(run.fit.log_likelihood) - len(full.y) * run.task.shift,
        mu,
        lam,
        passes=run.passes,
        origin=leader.origin,
        supporters=field.supporters,
        doubts=tuple(against),
        refusals=(*field.refusals, *(too_few_for_l4(full, model.sigma) if tell else ())),
        noiseless=noiseless(model, full.x, full.y),
        _samples=(run.task.x, run.task.y),
        _sigma_known=full.sigma is not None,
    )


def too_few_for_l4(problem: Problem, sigma: float) -> tuple[str, ...]:
    """That L_4 alone is not to be relied on: below ``samples_for_l4(..., goal=1)`` samples the
    first-order law no longer applies. Nothing where there are more."""
    n, d = problem.x.shape
    try:
        needed = samples_for_l4(problem.g, sigma, problem.k, d, goal=1.0)
    except ValueError:  # no transform, or sigma zero
        return ()
    if n >= needed:
        return ()
    return (
        f"L_4 alone is not to be relied on with {n} samples: at sigma = {sigma:.2g} it is "
        f"predicted to need {10 * needed:.2g} for an error of 0.1",
    )


def by_share(shares: Tensor, regressors: Tensor) -> Tensor:
    """The order of experts by falling share (k,), equal ones by their first coefficient (k, d), as
    users have them: (k,)."""
    share, first = shares.tolist(), regressors[:, 0].tolist()
    return torch.tensor(sorted(range(len(share)), key=lambda i: (share[i], first[i]), reverse=True))
