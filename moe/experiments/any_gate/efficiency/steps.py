"""From L_4's answer: weighted moments of more orders, and one step of scoring."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from moe.experiments.any_gate.efficiency.one_step import one_step
from moe.experiments.any_gate.efficiency.orders import FOUR, ORDERS, SIX, weighted_moments
from moe.experiments.any_gate.gates import GatedExperts, gated_experts
from moe.experiments.engine.sweep import sweep
from moe.metrics import regressor_error_of
from moe.randomness import child_seed, stream
from moe.solvers.l4 import NoMinimumError, l4_moments_of, minimise_l4


@dataclass(frozen=True)
class Spec:
    """``mixtures`` of each kind, n samples."""

    kinds: tuple[str, ...] = ("softmax", "quadrants", "network", "tree")
    sigma: float = 1.0
    n: int = 30_000
    mixtures: int = 4
    k: int = 3
    d: int = 7
    seed: int = 0


@dataclass(frozen=True)
class Steps:
    """E_reg of L_4, and from there of weighted moments of orders 1 to 4 and 1 to 6, and of one step
    of scoring on the likelihood with constant proportions. NaN where L_4 refuses."""

    l4: float
    four_orders: float
    six_orders: float
    one_step: float


@dataclass(frozen=True)
class Mixture:
    """The mixture number ``index`` with a gate of one kind, n samples: a trial of a sweep."""

    kind: str
    index: int
    sigma: float
    n: int
    k: int
    d: int


def run(spec: Spec, workers: int | None = None) -> list[Steps]:
    """Every mixture of every kind. Deterministic in ``spec``."""
    trials = [
        Mixture(kind, index, spec.sigma, spec.n, spec.k, spec.d)
        for kind in spec.kinds
        for index in range(spec.mixtures)
    ]
    return [Steps(**one.result) for one in sweep(trial, trials, [spec.seed], workers=workers)]


def trial(spec: Mixture, seed: int) -> dict[str, float]:
    """What ``Steps`` holds, of one mixture."""
    own = child_seed(seed, spec.kind, "steps", spec.index)
    truth = gated_experts(spec.kind, spec.k, spec.d, spec.sigma, own)
    return asdict(steps_from_l4(truth, *truth.sample(spec.n, stream("data", own)), own))


def steps_from_l4(truth: GatedExperts, x: Tensor, y: Tensor, seed: int) -> Steps:
    """From what ``recover`` takes L_4's experts and proportions to be."""
    try:
        moments = l4_moments_of(x, y, len(truth.regressors), truth.nonlinearity)
        found = minimise_l4(moments, y @ x / len(y), stream("solver", seed))
    except NoMinimumError:
        return Steps(*[math.nan] * 4)
    rows, shares = found.regressors, found.proportions / found.proportions.sum()
    ends = [weighted_moments(x, y, rows, shares, ORDERS[name]) for name in (FOUR, SIX)]
    ends.append(one_step(x, y, rows, moments.sigma, shares, truth.nonlinearity))
    return Steps(*(error_of(each, truth) for each in (rows, *ends)))


def error_of(rows: Tensor, truth: GatedExperts) -> float:
    """E_reg, NaN of rows that are not finite."""
    finite = bool(torch.isfinite(rows).all())
    return regressor_error_of(rows, truth.regressors) if finite else math.nan
