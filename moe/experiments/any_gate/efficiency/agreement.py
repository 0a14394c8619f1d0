"""The softmax likelihood as a candidate: what it gains under softmax, and costs near it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from sklearn.linear_model import LogisticRegression

from moe.experiments.any_gate.efficiency.steps import Mixture
from moe.experiments.any_gate.gates import gated_experts
from moe.experiments.engine.sweep import sweep
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


def run(spec: Spec, workers: int | None = None) -> list[Trial]:
    """Every mixture of every kind, through the sweep engine. Deterministic in ``spec``."""
    jobs = [
        Mixture(kind, index, spec.sigma, spec.n, spec.k, spec.d)
        for kind in spec.kinds
        for index in range(spec.mixtures + spec.more * (kind == SOFTMAX))
    ]
    done = sweep(trial, jobs, [spec.seed], workers=workers)
    found = [(job.kind, one.result) for job, one in zip(jobs, done, strict=True)]
    return [
        Trial(kind, r["cells"], r["softmax"], r["competing"], r["taken"] > 0, r["p_value"])
        for kind, r in found
    ]


def trial(spec: Mixture, seed: int) -> dict[str, float]:
    """What ``Trial`` holds, of one mixture."""
    own = child_seed(seed, "agreement", spec.kind, spec.index)
    truth = gated_experts(spec.kind, spec.k, spec.d, spec.sigma, own)
    x, y = truth.sample(spec.n, stream("data", own))
    linear = LogisticRegression()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = recover(x, y, spec.k, seed=own, gate="any", classifiers=(SOFTMAX, linear))
        taken = fit.chosen == SOFTMAX
        without = fit
        if taken:
            without = recover(x, y, spec.k, seed=own, gate="any", classifiers=(linear,))
        softmax = recover(x, y, spec.k, seed=own).model.regressors
    rows = {"cells": without.regressors, "softmax": softmax, "competing": fit.regressors}
    errors = {name: regressor_error_of(each, truth.regressors) for name, each in rows.items()}
    p_value = 1.0 if fit.hausman is None else fit.hausman.p_value
    return {**errors, "taken": float(taken), "p_value": p_value}
