"""The softmax likelihood as a candidate: what it gains under softmax, and costs near it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from sklearn.linear_model import LogisticRegression

from moe.experiments.any_gate.gates import gated_experts
from moe.metrics import regressor_error_of
from moe.randomness import child_seed, stream
from moe.recovery import recover
from moe.recovery.any_gate.fitting import SOFTMAX


@dataclass(frozen=True)
class Spec:
    """``mixtures`` with a gate of each kind, n samples; ``more`` of softmax."""

    kinds: tuple[str, ...] = (SOFTMAX, "bent", "bump", "offsets", "warm")
    n: int = 10_000
    mixtures: int = 2
    more: int = 3
    sigma: float = 1.0
    k: int = 3
    d: int = 7
    seed: int = 0


@dataclass(frozen=True)
class Trial:
    """E_reg of one mixture: of cells alone (or constant proportions), of ``recover`` with a softmax
    gate, and of cells beside which softmax competes; which of the two that took, and what the test
    said (1 where it was not made). The classifier is a linear one."""

    kind: str
    cells: float
    softmax: float
    competing: float
    taken: bool
    p_value: float


def run(spec: Spec) -> list[Trial]:
    """Every mixture of every kind. Deterministic in ``spec``."""
    return [
        _trial(spec, kind, child_seed(spec.seed, "agreement", kind, index))
        for kind in spec.kinds
        for index in range(spec.mixtures + spec.more * (kind == SOFTMAX))
    ]


def _trial(spec: Spec, kind: str, seed: int) -> Trial:
    truth = gated_experts(kind, spec.k, spec.d, spec.sigma, seed)
    x, y = truth.sample(spec.n, stream("data", seed))
    linear = LogisticRegression()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = recover(x, y, spec.k, seed=seed, gate="any", classifiers=(SOFTMAX, linear))
        taken = fit.chosen == SOFTMAX
        without = fit
        if taken:
            without = recover(x, y, spec.k, seed=seed, gate="any", classifiers=(linear,))
        softmax = recover(x, y, spec.k, seed=seed).model.regressors
    cells, own, competing = (
        regressor_error_of(rows, truth.regressors)
        for rows in (without.regressors, softmax, fit.regressors)
    )
    p_value = 1.0 if fit.hausman is None else fit.hausman.p_value
    return Trial(kind, cells, own, competing, taken, p_value)
