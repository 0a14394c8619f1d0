"""Is the truth a maximum of the likelihood with constant proportions? EM from it tells."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from moe.experiments.any_gate.gates import gated_experts
from moe.metrics import regressor_error_of
from moe.randomness import child_seed, stream
from moe.solvers.cells import cell_em


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


def run(spec: Spec) -> list[Left]:
    """Every mixture."""
    return [_left(spec, index) for index in range(spec.mixtures)]


def _left(spec: Spec, index: int) -> Left:
    where = child_seed(0, "saddles", index)
    truth = gated_experts(spec.kind, spec.k, spec.d, spec.sigma, where, spec.nonlinearity)
    x, y = truth.sample(spec.n, stream("data", spec.seed, index))
    shares, rows = torch.full((spec.k,), 1 / spec.k).double(), truth.regressors
    span = torch.linalg.qr(rows.T).Q
    free = cell_em(x, y, rows, spec.sigma, shares, truth.nonlinearity)
    inside = cell_em(x @ span, y, rows @ span, spec.sigma, shares, truth.nonlinearity)
    return Left(
        regressor_error_of(free.regressors, rows),
        regressor_error_of(inside.regressors @ span.T, rows),
    )
