"""Joint EM where each expert has a noise level of its own: other maxima than with a common one."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from moe.estimator.fit.joint import joint, law_of
from moe.estimator.fit.task import Task
from moe.randomness import stream
from moe.recovery.plan import Run
from moe.recovery.restarts import race_gates, race_jointly
from moe.recovery.starts import Options, Problem
from moe.solvers.em import EMResult
from moe.solvers.samples import PRIOR_SHARE

_FEW, _RACES, _KEPT = 3, 2, 5
_SAME = 0.1  # nats


def searched_each(
    task: Task, full: Problem, fair: Problem, run: Run, options: Options, seed: int
) -> tuple[EMResult, list[str]]:
    """The best end, and what speaks against it.

    From all ends of the search with a common sigma, whose square the prior takes for the noise's
    variance, and from random starts that had their own from the beginning: what is the best with a
    common level need not lead to the best with one each, and twenty starts (race) twice over find
    it as a rule. Where all but one end lower that is said.
    """
    common = [run.fit, *(end.run for end in run.field.ends)]
    experts = [each.regressors for each in common]
    gates = [each.gating for each in common]
    sigma = [each.sigma[:, None].expand(-1, task.k) for each in common]
    for own in _fresh(task, full, fair.part(), options, seed) if task.k > 1 else ():
        rows = task.layout.spread(*task.layout.gathered(own.regressors, own.gating))
        experts, gates = [*experts, rows[0]], [*gates, rows[1]]
        sigma = [*sigma, own.sigma]
    prior = PRIOR_SHARE * float(run.fit.sigma[0]) ** 2
    starts = torch.cat(experts), torch.cat(gates), torch.cat(sigma)
    ends = joint(full, *starts, task, options, prior)
    best = ends.best
    near = int((ends.log_likelihood > best.log_likelihood - _SAME).sum())
    lonely = len(ends.sigma) > 1 and near == 1
    doubts = ["of all starts only one reached the highest likelihood found"] if lonely else []
    return without_prior(task, full, best, options), doubts


def _fresh(
    task: Task, full: Problem, part: Problem, options: Options, seed: int
) -> Iterator[EMResult]:
    """Ends of random starts with a noise level each, on the first samples."""
    learn = ("regressors", "sigmas", *(("gating",) if full.gated else ()))
    for number in range(_RACES):
        generator = stream("starts", seed, number)
        yield race_jointly(
            *(part.x, part.y, task.k, full.g, generator),
            starts=options.restarts,
            kept=_KEPT,
            learn=learn,
        )
        if full.gates_are_cheap:
            yield race_gates(part.x, part.y, task.k, full.g, generator)


def without_prior(task: Task, full: Problem, run: EMResult, options: Options) -> EMResult:
    """EM once more, with the prior at a hundredth of the smallest variance found, where it weighs
    0.3 samples a coefficient and no more; as it was where an expert has few samples."""
    law = law_of(task, run)
    load = task.weights @ law.responsibilities(task.x, task.z, task.y)
    if float(load.min()) < _FEW * task.x.shape[1]:
        return run
    prior = PRIOR_SHARE * float(run.sigma.min()) ** 2
    return joint(full, run.regressors, run.gating, run.sigma, task, options, prior)
