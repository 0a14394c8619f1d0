"""What a classifier as the gate gains over constant proportions, and knowing the gate would."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from moe.experiments.any_gate.curves import softmax_from_the_truth
from moe.experiments.any_gate.gates import gated_experts
from moe.metrics import regressor_error_of
from moe.randomness import child_seed, stream
from moe.recovery import recover
from moe.solvers.cells import cell_em


@dataclass(frozen=True)
class Spec:
    """``mixtures`` of each kind, n samples."""

    kinds: tuple[str, ...] = ("softmax", "quadrants", "network", "steps")
    sigma: float = 1.0
    n: int = 50_000
    mixtures: int = 2
    k: int = 3
    d: int = 7
    seed: int = 0


@dataclass(frozen=True)
class Row:
    """E_reg of one mixture: L_4 alone, constant proportions, the classified gate, softmax EM from
    the truth, and EM told the gate (in cells of nearly equal true weights); which classifier won
    ("" where none gained) and by how many nats over constant proportions, in all."""

    kind: str
    l4: float
    constant: float
    classified: float
    softmax: float
    told: float
    winner: str
    gain: float


def run(spec: Spec) -> list[Row]:
    """Every mixture of every kind. Deterministic in ``spec``."""
    return [
        _row(spec, kind, child_seed(spec.seed, kind, index))
        for kind in spec.kinds
        for index in range(spec.mixtures)
    ]


def _row(spec: Spec, kind: str, seed: int) -> Row:
    truth = gated_experts(kind, spec.k, spec.d, spec.sigma, seed)
    x, y = truth.sample(spec.n, stream("data", seed))
    plain = recover(x, y, spec.k, seed=seed, gate="any", classifiers=())
    fit = recover(x, y, spec.k, seed=seed, gate="any")
    weights = truth.weights(x)
    cells = (weights * 7.999).floor().long() @ 8 ** torch.arange(spec.k)
    cells = cells.unique(return_inverse=True)[1]
    means = torch.zeros(int(cells.max()) + 1, spec.k, dtype=x.dtype).index_add_(0, cells, weights)
    start = (truth.regressors, truth.sigma, means / means.sum(1, keepdim=True))
    told = cell_em(x, y, *start, truth.nonlinearity, cells)
    winner = max(fit.gains, key=lambda name: fit.gains[name]) if fit.gate is not None else ""
    l4, constant, best = (
        regressor_error_of(rows, truth.regressors)
        for rows in (plain.moments, plain.regressors, fit.regressors)
    )
    return Row(
        kind,
        l4,
        constant,
        best,
        softmax_from_the_truth(truth, x, y),
        regressor_error_of(told.regressors, truth.regressors),
        winner,
        max(fit.gains.values()),
    )
