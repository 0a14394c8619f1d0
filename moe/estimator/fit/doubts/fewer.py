"""Would fewer experts do? By BIC, one regression, and one expert fewer."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from moe.estimator.fit.doubts.degenerate import pooled
from moe.estimator.fit.joint import joint, law_of
from moe.estimator.fit.search import problem_of
from moe.estimator.fit.task import Task
from moe.model.regressions import Regressions
from moe.recovery.starts import NEAR, Options
from moe.solvers.em.samples import PRIOR_SHARE

_PARTS, _LAST, _AHEAD = (15, 185), 4, 12


def fewer_are_enough(law: Regressions, task: Task, options: Options) -> list[str]:
    """What BIC says for a smaller mixture, in words: for one regression (linear experts; in closed
    form), else for one expert fewer, by joint EM from the fit without each of its experts.

    A maximum of the smaller likelihood that is missed would speak for it all the more; one of the
    larger that the fit has missed would speak against what is said. A start is given up when twelve
    times what its last four iterations have gained is not enough.
    """
    if law.k == 1:
        return []
    n, reached = float(task.weights.sum()), task.score(law)
    if task.g.is_linear:
        size = task.x.shape[1] + (task.sigma is None)
        gain, price = reached - task.score(pooled(task)), _price(task.parameters - size, n)
        if gain < price:
            return [_words("one regression describes", law.k, gain, price)]
        if law.k == 2:
            return []
    fewer = replace(task, k=law.k - 1)
    price = _price(task.parameters - fewer.parameters, n)
    gain = reached - _best(law, fewer, reached - price, options)
    who = "one expert describes" if fewer.k == 1 else f"{fewer.k} experts describe"
    return [_words(who, law.k, gain, price)] if gain < price else []


def _price(parameters: int, n: float) -> float:
    return 0.5 * parameters * math.log(n)


def _words(who: str, k: int, gain: float, price: float) -> str:
    return (
        f"by BIC {who} the data better: {k} experts gain {gain:.1f} nats of log-likelihood, their "
        f"further parameters cost {price:.1f}"
    )


def _best(law: Regressions, fewer: Task, goal: float, options: Options) -> float:
    """The highest log-likelihood of ``fewer`` found that comes near ``goal``, else -infinity."""
    kept = torch.tensor([[i for i in range(law.k) if i != out] for out in range(law.k)])
    gates = law.gates[kept] - law.gates[kept[:, -1:]]
    experts, gates = fewer.layout.spread(law.experts[kept], gates)
    level = law.sigmas.square().mean().sqrt()
    sigma = law.sigmas[kept] if fewer.own else level.expand(law.k)
    full, prior = problem_of(fewer), PRIOR_SHARE * float(level) ** 2
    for iterations in _PARTS:
        part = replace(options, iterations=iterations, tolerance=NEAR)
        run = joint(full, experts, gates, sigma, fewer, part, prior)
        gained = run.trace[-1] - run.trace[max(-1 - _LAST, -len(run.trace))]
        near = (run.log_likelihood + gained * _AHEAD >= goal).nonzero()[:, 0]
        if len(near) == 0:
            return -math.inf
        run = run[near]
        experts, gates, sigma = run.regressors, run.gating, run.sigma
    return fewer.score(law_of(fewer, run.best))
