"""How often intervals hold what they are meant to hold, where the softmax gate is the wrong one."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.any_gate.gates import GatedExperts, gated_experts
from moe.likelihood.efficiency import standard_errors
from moe.metrics import match
from moe.model.mixture import MoE
from moe.randomness import child_seed, stream
from moe.recovery import recover
from moe.solvers.em import expectation_maximisation

_QUANTILE = 1.959964


@dataclass(frozen=True)
class Spec:
    """``sets`` data sets of n samples of one mixture; ``limit`` samples stand for infinitely many.

    All of ``kinds`` are run."""

    kinds: tuple[str, ...] = ("quadrants", "shells")
    k: int = 2
    d: int = 5
    sigma: float = 0.5
    n: int = 4_000
    sets: int = 40
    limit: int = 200_000
    seed: int = 0


@dataclass(frozen=True)
class Covered:
    """Shares of the regressors' entries inside 95 % intervals, one number a data set.

    observed, sandwich: softmax fit, around the limit of softmax fits; truth: the same intervals
    (sandwich) around the true experts; any_gate: ``gate="any"`` with constant proportions, around
    the true experts.
    """

    kind: str
    observed: Tensor
    sandwich: Tensor
    truth: Tensor
    any_gate: Tensor


def run(spec: Spec) -> list[Covered]:
    """Every kind of gate."""
    return [_covered(spec, kind) for kind in spec.kinds]


def softmax_fit(truth: GatedExperts, x: Tensor, y: Tensor) -> MoE:
    """The softmax likelihood's maximum next to the true experts."""
    zero = torch.zeros_like(truth.regressors)
    start = (truth.regressors, zero, truth.sigma, truth.nonlinearity)
    end = expectation_maximisation(x, y, *start, tolerance=1e-3)
    return end.model(0, truth.nonlinearity)


def _covered(spec: Spec, kind: str) -> Covered:
    seed = child_seed(spec.seed, kind)
    truth = gated_experts(kind, spec.k, spec.d, spec.sigma, seed)
    limit = softmax_fit(truth, *truth.sample(spec.limit, stream("fresh", seed)))
    rows = []
    for index in range(spec.sets):
        x, y = truth.sample(spec.n, stream("data", seed, index))
        fit = softmax_fit(truth, x, y)
        plain, robust = (
            standard_errors(fit, x, y, robust=robust).regressors for robust in (False, True)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            free = recover(x, y, spec.k, seed=seed, gate="any", classifiers=())
        order = match(free.regressors, truth.regressors)
        own, errors = free.regressors[order], free.standard_errors[order]
        rows.append(
            [
                _inside(fit.regressors, plain, limit.regressors),
                _inside(fit.regressors, robust, limit.regressors),
                _inside(fit.regressors, robust, truth.regressors),
                _inside(own, errors, truth.regressors),
            ]
        )
    return Covered(kind, *torch.tensor(rows, dtype=torch.float64).T)


def _inside(estimate: Tensor, errors: Tensor, target: Tensor) -> float:
    share = ((estimate - target).abs() <= _QUANTILE * errors).double().mean()
    return math.nan if bool(errors.isnan().any()) else float(share)
