"""What repairs a broken assumption: each from the data alone to regressors."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from moe.estimator.regressor import MoERegressor
from moe.experiments.assumptions.worlds.contestants import RESTARTS, Data, recovered
from moe.recovery import recover

Repair = Callable[[Data], Tensor | None]
"""Data -> regressors (k, d) in the coordinates of x, or None where it gives none."""

CLIP = 3.0
CANDIDATES = ("linear", "leaky_relu", "relu")


def by_likelihood(data: Data) -> Tensor | None:
    """``recover``: L_4 is a start, and the likelihood needs neither Gaussian inputs, unit norms nor
    orthogonal gates."""
    return recovered(data)[0]


def whitened(x: Tensor) -> tuple[Tensor, Tensor]:
    """x with the identity as second moment, x F, and F (d, d): regressors of it are F^-1 a."""
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    factor = vectors * values.rsqrt() @ vectors.T
    return x @ factor, factor


def clip_level(y: Tensor) -> float:
    """Three times the median size over 0.6745: a deviation that outliers do not move."""
    return CLIP * float(y.abs().median()) / 0.6745


def trimmed(data: Data) -> Tensor | None:
    """``recover`` without the samples beyond that level."""
    kept = data.y.abs() <= clip_level(data.y)
    return recovered(replace(data, x=data.x[kept], y=data.y[kept]))[0]


def sigma_learned(data: Data) -> Tensor | None:
    """``recover``, told nothing of sigma."""
    return recovered(replace(data, told=replace(data.told, sigma=None)))[0]


def nonlinearity_chosen(data: Data) -> Tensor | None:
    """``recover`` with each of ``CANDIDATES``; the highest likelihood wins. The leaky one has slope
    0.1 below zero, which is the world of the largest degree: the truth is among the three."""
    fits = []
    for g in CANDIDATES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fits.append(
                recover(data.x, data.y, data.told.k, g, seed=data.seed, restarts=1, iterations=100)
            )
    return max(fits, key=lambda fit: fit.log_likelihood).model.regressors


def experts_counted(data: Data) -> Tensor | None:
    """``recover`` with two to four experts; the least -2 log L + (parameters) log n wins (Schwarz's
    criterion; ``moe.choose_k`` is more careful, and slower)."""
    n, d = data.x.shape
    fits = []
    for k in range(2, 5):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = recover(
                data.x,
                data.y,
                k,
                data.told.nonlinearity,
                seed=data.seed,
                restarts=1,
                iterations=100,
            )
        cost = math.log(n) * ((2 * k - 1) * d + 1)
        fits.append((cost - 2 * fit.log_likelihood, fit.model.regressors))
    return min(fits, key=lambda each: each[0])[1]


def offsets_allowed(data: Data) -> Tensor | None:
    """``MoERegressor``, whose gates have offsets and whose experts have intercepts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = MoERegressor(data.told.k, n_init=RESTARTS, random_state=data.seed)
        fit.fit(data.x.numpy(), data.y.numpy())
    return torch.from_numpy(fit.experts_)
