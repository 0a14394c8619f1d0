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
from moe.solvers.em.samples import PRIOR_SHARE

_FEW, _RACES, _KEPT = 3, 2, 5
_SAME = 0.1  # nats


def searched_each(
    task: Task, full: Problem, fair: Problem, run: Run, options: Options, seed: int
) -> tuple[EMResult, bool]:
    """The best end, and whether all others lie lower.

    From all ends of the search with a common sigma, whose square the prior takes for the noise's
    variance, and from random starts that had their own from the beginning: what is the best with a
    common level need not lead to the best with one each, and twenty starts (race) twice over find
    it as a rule. fair: the samples in rows of even weight.
    """
    common = [run.fit, *(end.run for end in run.field.ends)]
    starts = [(e.regressors, e.gating, e.sigma[:, None].expand(-1, task.k)) for e in common]
    for own in _fresh(task, full, fair.part(), options, seed) if task.k > 1 else ():
        rows = task.layout.spread(*task.layout.gathered(own.regressors, own.gating))
        starts.append((*rows, own.sigma))
    experts, gates, sigma = map(torch.cat, zip(*starts, strict=True))
    prior = PRIOR_SHARE * float(run.fit.sigma[0]) ** 2
    ends = joint(full, experts, gates, sigma, task, options, prior)
    near = int((ends.log_likelihood > ends.log_likelihood.max() - _SAME).sum())
    lonely = len(ends.sigma) > 1 and near == 1
    return without_prior(task, full, ends.best, options), lonely


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
