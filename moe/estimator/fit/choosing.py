"""How many experts: the rule of ``moe.choose_k`` for mixtures with intercepts, gates, weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sklearn.model_selection import KFold
from torch import Tensor

from moe.estimator.fit.doubts.degenerate import calibration, noiseless
from moe.estimator.fit.search import Report
from moe.estimator.fit.task import Data, Task
from moe.model.regressions import Regressions
from moe.randomness import child_seed
from moe.recovery.selection import Tried, enough_tried, objections, smallest_of

_FOLDS = 4


@dataclass(frozen=True)
class Chosen:
    """The number of experts, and for every k tried the mean held-out log-density in nats."""

    k: int
    held_out: dict[int, float] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()


def choose(
    data: Data,
    ks: list[int],
    seed: int,
    fit: Callable[[Data, Data, int], tuple[Tensor, Regressions, Task]],
    report: Report,
) -> Chosen:
    """The smallest of ``ks`` that is not behind the best by more than two standard errors of
    held-out log-density, among those whose fits are calibrated (``moe.choose_k``).

    data: the samples that count, sorted, every copy of a row a sample of its own (outputs that are
    rounded tie, and folds that held out all copies of a value would teach fits to avoid it); one
    row with a weight is one sample.
    fit: (samples to fit, samples held out, k) -> (log-density of the latter, law, task).
    """
    x, y, weights = data
    if len(ks) == 1:
        return Chosen(ks[0])
    if len(y) < 2:
        raise ValueError(
            "n_experts: expected a number, for more than one sample of positive weight is needed "
            f"to choose among {ks}, got {len(y)}"
        )
    folding = KFold(
        min(_FOLDS, len(y)), shuffle=True, random_state=child_seed(seed, "split") % 2**32
    )
    split = list(folding.split(x))
    tried: dict[int, Tried] = {}
    for done, k in enumerate(ks):
        report(f"{k} experts", done, len(ks))
        density, p_value = y.new_empty(len(y)), 1.0
        for kept, left_out in split:
            fitted, others = ((x[rows], y[rows], weights[rows]) for rows in (kept, left_out))
            density[left_out], law, task = fit(fitted, others, k)
            if not noiseless(law, task):
                p_value = min(p_value, calibration(law, task))
        tried[k] = Tried(density * weights / weights.mean(), min(1.0, len(split) * p_value))
        if enough_tried(tried):
            break
    k = smallest_of(tried)
    held_out = {size: float(each.density.mean()) for size, each in tried.items()}
    doubts = objections(tried, k, ks[-1]) if k - 1 in tried or k == 1 else ()
    return Chosen(k, held_out, doubts)
