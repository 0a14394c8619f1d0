"""Intervals of a fit to a time series, whose samples are no independent draws.

Newey and West (1987): in the sandwich the outer products of the scores of samples up to ``lag``
steps apart count too, with weights that fall along a line (Bartlett's).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moe.estimator.regressor import MoERegressor
from moe.experiments.real_data.data import Array

LAGS = (0, 4, 8, 12)
"""Quarters: none (the robust interval), one, two and three years."""

_SLOPE, _TIME = 1, 0  # columns of the inflation table: the quarter before, and time


@dataclass(frozen=True)
class Slopes:
    """Of US inflation at one lag, each with its 95 % interval: the slope of the expert whose weight
    falls with time, that of the other, their difference, and the gate's slope (log odds a year of
    the first against the second)."""

    lag: int
    early: tuple[float, float, float]
    later: tuple[float, float, float]
    difference: tuple[float, float, float]
    gate: tuple[float, float, float]


def spread(scores: Array, lag: int) -> Array:
    """The covariance (P, P) of the sum of scores (n, P) in their order: that of samples l <= lag
    steps apart counts with weight 1 - l / (lag + 1)."""
    total: Array = scores.T @ scores
    for steps in range(1, min(lag, len(scores) - 1) + 1):
        apart = scores[steps:].T @ scores[:-steps]
        total = total + (1 - steps / (lag + 1)) * (apart + apart.T)
    return total


def scores(model: MoERegressor, x: Array, y: Array) -> Array:
    """Gradients (n, 8) of log P(y | x) for two lines in one column, a gate in another, and a noise
    level each; in the order of ``results_.params``."""
    share, weight = model.responsibilities(x, y), model.predict_gate(x)
    sigma = np.asarray(model.sigma_)
    error = (y[:, None] - model.predict_experts(x)) / sigma
    ones = np.ones(len(y))
    lines, time = np.column_stack([x[:, _SLOPE], ones]), np.column_stack([x[:, _TIME], ones])
    experts = [(share[:, i] * error[:, i] / sigma[i])[:, None] * lines for i in (0, 1)]
    gate = (share[:, 0] - weight[:, 0])[:, None] * time
    return np.hstack([*experts, gate, share * (error**2 - 1)])


def slopes(model: MoERegressor, x: Array, y: Array, lags: tuple[int, ...] = LAGS) -> list[Slopes]:
    """The slopes of ``Regimes.two`` at the samples that it was fitted to, lag by lag."""
    results = model.results_
    early = 0 if model.gates_[0, 0] < 0 else 1
    picked = np.zeros((4, len(results.params)))
    for row, name in enumerate((f"expert {early}: x1", f"expert {1 - early}: x1")):
        picked[row, results.param_names.index(name)] = 1.0
    picked[2] = picked[0] - picked[1]
    picked[3, results.param_names.index("gate 0: x0")] = 1.0 - 2.0 * early
    values, across = picked @ results.params, picked @ results.cov_params()
    each = scores(model, x, y)
    found = []
    for lag in lags:
        half = 1.96 * np.sqrt(np.diag(across @ spread(each, lag) @ across.T))
        ends = zip(values, values - half, values + half, strict=True)
        found.append(Slopes(lag, *((float(v), float(low), float(high)) for v, low, high in ends)))
    return found
