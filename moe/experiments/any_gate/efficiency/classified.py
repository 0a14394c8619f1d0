"""What each step towards efficiency gains when the gate is unknown, and knowing it would."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.exceptions import TooFewEigenvaluesError
from moe.experiments.any_gate.efficiency.steps import Spec, error_of, steps_from_l4
from moe.experiments.any_gate.gates import GatedExperts, gated_experts
from moe.experiments.any_gate.likelihood.curves import softmax_from_the_truth
from moe.moments.estimate import score_moment
from moe.moments.transforms import output_transform
from moe.moments.whitening import whiten
from moe.randomness import child_seed, stream
from moe.recovery import recover
from moe.recovery.any_gate.fitting import SOFTMAX, cell_classifiers
from moe.solvers.em.cells import cell_em
from moe.solvers.l4 import L4Moments, NoMinimumError, minimise_l4


@dataclass(frozen=True)
class Row:
    """E_reg of one mixture: L_4 alone, of plain averages and of the moments that `recover` takes;
    from there weighted moments of orders 1 to 4 and 1 to 6, one step of scoring on the likelihood
    with constant proportions, and its maximum; the classified gate, and that beside which softmax
    competes; softmax EM from the truth, and EM told the gate (in cells of nearly equal true
    weights); which gate won ("" where none gained) and by how many nats over constant proportions,
    in all. NaN where L_4 refuses."""

    kind: str
    average: float
    l4: float
    four_orders: float
    six_orders: float
    one_step: float
    constant: float
    classified: float
    competing: float
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
    by_cells = fit
    if fit.chosen == SOFTMAX:
        by_cells = recover(x, y, spec.k, seed=seed, gate="any", classifiers=cell_classifiers())
    weights = truth.weights(x)
    cells = (weights * 7.999).floor().long() @ 8 ** torch.arange(spec.k)
    cells = cells.unique(return_inverse=True)[1]
    means = torch.zeros(int(cells.max()) + 1, spec.k, dtype=x.dtype).index_add_(0, cells, weights)
    start = (truth.regressors, truth.sigma, means / means.sum(1, keepdim=True))
    told = cell_em(x, y, *start, truth.nonlinearity, cells)
    refused = any(why.startswith("L_4") for why in plain.refusals)
    constant, classified, best = (
        error_of(rows, truth) for rows in (plain.regressors, by_cells.regressors, fit.regressors)
    )
    from_average = _of_averages(truth, x, y, seed)
    first = steps_from_l4(truth, x, y, seed)
    return Row(
        kind,
        from_average,
        math.nan if refused else error_of(plain.moments, truth),
        first.four_orders,
        first.six_orders,
        first.one_step,
        constant,
        classified,
        best,
        softmax_from_the_truth(truth, x, y),
        error_of(told.regressors, truth),
        fit.chosen or "",
        fit.gains.get(fit.chosen or "", 0.0),
    )


def _of_averages(truth: GatedExperts, x: Tensor, y: Tensor, seed: int) -> float:
    """E_reg of L_4 with averaged moments, told sigma; NaN where it refuses."""
    k, g = len(truth.regressors), truth.nonlinearity
    quadratic, quartic = (output_transform(g, truth.sigma, m) for m in (2, 4))
    try:
        second = score_moment(x, y, quadratic, "average")
        whitening = whiten(second.tensor, k)
        fourth = score_moment(x, y, quartic, "average", basis=whitening.basis)
        tensor = whitening.apply(fourth.tensor)
        averaged = L4Moments(truth.sigma, second, fourth, whitening, tensor)
        found = minimise_l4(averaged, y @ x / len(y), stream("solver", seed))
    except (NoMinimumError, TooFewEigenvaluesError):
        return math.nan
    return error_of(found.regressors, truth)
