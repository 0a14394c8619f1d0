"""What is handed back: the one place that says whether an answer may be believed, and why not."""

from __future__ import annotations

import torch
from torch import Tensor

from moe.likelihood.diagnostics import doubts, noiseless
from moe.metrics import match
from moe.recovery.judging import model_of
from moe.recovery.plan import Run
from moe.recovery.results import Recovery


def verdict(run: Run) -> Recovery:
    """The answer of a run, its doubts and refusals, for the samples as they came."""
    full, field, leader = run.task.problem, run.field, run.field.leader
    model = model_of(run.fit, full)
    shares = model.responsibilities(full.x, full.y).mean(0)
    model = model.reordered(by_share(shares, run.task.coordinates.regressors(model.regressors)))
    against = doubts(model, full.x, full.y)
    if field.lonely:
        against.append("of all starts only one reached the highest likelihood found")
    if not bool(run.fit.converged):
        iterations = run.task.options.iterations
        against.insert(0, f"joint EM had not converged after {iterations} iterations")
    mu, lam = run.weights
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
        refusals=field.refusals,
        noiseless=noiseless(model, full.x, full.y),
        _samples=(run.task.x, run.task.y),
        _sigma_known=full.sigma is not None,
    )


def by_share(shares: Tensor, regressors: Tensor) -> Tensor:
    """The order of experts by falling share (k,), equal ones by their first coefficient (k, d), as
    users have them: (k,)."""
    share, first = shares.tolist(), regressors[:, 0].tolist()
    return torch.tensor(sorted(range(len(share)), key=lambda i: (share[i], first[i]), reverse=True))
