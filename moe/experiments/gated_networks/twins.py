"""Two mixtures of the same class that predict almost alike and are made of different parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from moe.metrics import gating_error, regressor_error
from moe.model.mixture import MoE
from moe.moments.quadrature import gauss_hermite
from moe.randomness import stream
from moe.solvers.em import expectation_maximisation


def two_experts(overlap: float, gate_norm: float, sigma: float, d: int = 4) -> MoE:
    """Two linear unit regressors with <a_1, a_2> = overlap, and a gate orthogonal to both.

    Raises ValueError unless -1 < overlap < 1 and d >= 3.
    """
    if not (-1 < overlap < 1 and d >= 3):
        raise ValueError(
            f"overlap, d: expected -1 < overlap < 1 and d >= 3, got {overlap!r} and {d!r}"
        )
    middle, half = ((1 + overlap) / 2) ** 0.5, ((1 - overlap) / 2) ** 0.5
    regressors = torch.zeros(2, d, dtype=torch.float64)
    regressors[:, 0] = middle
    regressors[:, 1] = torch.tensor([half, -half], dtype=torch.float64)
    gating = torch.zeros_like(regressors)
    gating[0, 2] = gate_norm
    return MoE(regressors, gating, sigma)


def exchange_twin(model: MoE) -> MoE:
    """The model with the directions of its gate and of half the experts' difference exchanged.

    With k = 2, a-bar = (a_1 + a_2)/2 and delta = (a_1 - a_2)/2, the mean of y given x is
    <a-bar, x> + tanh(<w, x>/2) <delta, x>: to first order in the gate a product, symmetric in w and
    delta. The twin has a'_i = a-bar +- |delta| w/|w| and w' = |w| delta/|delta| (derived).

    Raises ValueError unless k = 2 and neither w nor delta is zero.
    """
    if model.k != 2:
        raise ValueError(f"model: expected k = 2, got k = {model.k}")
    a, w = model.regressors, model.gating[0]
    half = (a[0] - a[1]) / 2
    if not (float(w.norm()) > 0 and float(half.norm()) > 0):
        raise ValueError("model: expected a gate and a difference of regressors that are not zero")
    turned = half.norm() * w / w.norm()
    regressors = a.mean(0) + torch.stack([turned, -turned])
    gating = torch.stack([w.norm() * half / half.norm(), torch.zeros_like(w)])
    return MoE(regressors, gating, model.sigma, model.nonlinearity)


@dataclass(frozen=True)
class TwinSpec:
    """Gate norms at which a truth (overlap <a_1, a_2>) is compared with its exchange twin."""

    norms: tuple[float, ...] = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
    overlap: float = 0.0
    sigma: float = 0.1
    n: int = 5_000
    trials: int = 6
    seed: int = 0


@dataclass(frozen=True, eq=False)
class TwinRecord:
    """By gate norm (T,): noise = E var(y | x), the truth's squared prediction error; excess = the
    twin's error minus that; leading = |w|^6 |delta|^2 / 48, its limit for small gates;
    regressor_errors, gating_errors of the twin. Per trial (T, trials), nats per sample: gap, the
    log-likelihood that the twin loses, each model with the sigma that suits it best; fitted_sigma;
    in_square, in_likelihood: samples after which the truth's mean loss is below the twin's by two
    standard errors, (2 sd / mean)^2 of the difference of the two losses on one sample.
    """

    spec: TwinSpec
    noise: Tensor
    excess: Tensor
    leading: Tensor
    regressor_errors: Tensor
    gating_errors: Tensor
    gap: Tensor
    fitted_sigma: Tensor
    in_square: Tensor
    in_likelihood: Tensor


def run(spec: TwinSpec) -> TwinRecord:
    """Prediction errors by Gauss-Hermite quadrature, log-likelihoods on fresh samples."""
    half = (1 - spec.overlap) / 2
    columns = []
    runs = []
    for norm in spec.norms:
        truth = two_experts(spec.overlap, norm, spec.sigma)
        twin = exchange_twin(truth)
        columns.append(
            [
                *_prediction_errors(norm, half, spec.sigma),
                norm**6 * half / 48,
                regressor_error(twin, truth),
                gating_error(twin, truth),
            ]
        )
        for trial in range(spec.trials):
            x, y = truth.sample(spec.n, stream("data", spec.seed, trial))
            own, other = _best_sigma(truth, x, y), _best_sigma(twin, x, y)
            gap = own.log_density(x, y) - other.log_density(x, y)
            square = (y - twin.mean(x)).square() - (y - truth.mean(x)).square()
            runs.append(
                [
                    float(gap.mean()),
                    other.sigma,
                    (2 * float(square.std()) / columns[-1][1]) ** 2,
                    (2 * float(gap.std() / gap.mean())) ** 2,
                ]
            )
    columns_by_norm = torch.tensor(columns, dtype=torch.float64).T
    by_trial = torch.tensor(runs, dtype=torch.float64).T
    return TwinRecord(spec, *columns_by_norm, *by_trial.reshape(4, len(spec.norms), spec.trials))


def _prediction_errors(norm: float, half: float, sigma: float) -> tuple[float, float]:
    """E var(y | x) = half E[sech^2(u)] + sigma^2 and the twin's excess
    half E[(tanh(u) b - tanh(v) a)^2], u = norm a / 2, v = norm b / 2, a and b ~ N(0, 1)."""
    node, weight = gauss_hermite(120)
    t = np.tanh(norm * node / 2)
    noise = half * weight @ (1 - t**2) + sigma**2
    difference = np.outer(t, node) - np.outer(node, t)
    return float(noise), float(half * weight @ difference**2 @ weight)


def _best_sigma(model: MoE, x: Tensor, y: Tensor) -> MoE:
    fit = expectation_maximisation(
        x,
        y,
        model.regressors,
        model.gating,
        model.sigma,
        model.nonlinearity,
        learn=("sigma",),
        tolerance=1e-3,
    )
    return MoE(model.regressors, model.gating, float(fit.sigma[0]), model.nonlinearity)
