"""Is the truth a maximum of the likelihood with constant proportions? EM from it tells."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from moe.experiments.any_gate.gates import gated_experts
from moe.experiments.engine.sweep import sweep
from moe.metrics import regressor_error_of
from moe.randomness import child_seed, stream
from moe.solvers.constant_gate import climb_constant_gate


@dataclass(frozen=True)
class Spec:
    """n samples of each of ``mixtures`` mixtures; the mixtures are the same for every seed."""

    kind: str = "quadrants"
    nonlinearity: str = "tanh"
    k: int = 3
    d: int = 5
    sigma: float = 1.0
    n: int = 50_000
    mixtures: int = 4
    seed: int = 0


@dataclass(frozen=True)
class Left:
    """E_reg where EM from the truth ends: with all of x, and with x projected on the true span."""

    free: float
    in_span: float


@dataclass(frozen=True)
class Trial:
    """The mixture number ``index`` of a spec."""

    spec: Spec
    index: int


def run(spec: Spec, workers: int | None = None) -> list[Left]:
    """Every mixture, through the sweep engine."""
    trials = [Trial(spec, index) for index in range(spec.mixtures)]
    return [Left(**one.result) for one in sweep(trial, trials, [spec.seed], workers=workers)]


def trial(of: Trial, seed: int) -> dict[str, float]:
    """What ``Left`` holds, of one mixture."""
    spec, where = of.spec, child_seed(0, "saddles", of.index)
    truth = gated_experts(spec.kind, spec.k, spec.d, spec.sigma, where, spec.nonlinearity)
    x, y = truth.sample(spec.n, stream("data", seed, of.index))
    shares, rows = torch.full((spec.k,), 1 / spec.k).double(), truth.regressors
    span = torch.linalg.qr(rows.T).Q
    free = climb_constant_gate(x, y, rows, spec.sigma, shares, truth.nonlinearity)
    inside = climb_constant_gate(x @ span, y, rows @ span, spec.sigma, shares, truth.nonlinearity)
    return {
        "free": regressor_error_of(free.regressors, rows),
        "in_span": regressor_error_of(inside.regressors @ span.T, rows),
    }
