"""EM of linear experts with equal, constant weights, where samples are few: in NumPy.

There a pass over the samples takes less time than torch needs to start its operations, and NumPy
starts its own sooner (measured: 2.5 to 3 times as many iterations a second for 3 to 6 experts and
27 to 144 samples; no more of them where a pass is long, and that is left to torch).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moe.solvers.expectation import LEAST_EXPONENT, LOG_NORMAL
from moe.solvers.linear import RIDGE
from moe.solvers.maximisation import SLACK
from moe.solvers.samples import Samples

Array = NDArray[np.floating]
_MOST_ENTRIES, _MOST_PRODUCTS = 50_000, 300_000
_MOST_ALONE = 200_000  # multiplications; OpenBLAS starts threads from 2^18 on


def is_short(starts: int, k: int, n: int, d: int) -> bool:
    """Whether a pass of S starts is so short that NumPy is quicker (measured)."""
    return starts * k * n <= _MOST_ENTRIES and n * d * d <= _MOST_PRODUCTS


class FlatSamples:
    """The same samples as EM with flat gates reads them.

    columns (d, n), rows (n, d), y (1, n); products (n, d (d + 1) / 2 + 1) of the columns, and a one
    that counts; places: where each entry of a matrix (d, d) is among the products.
    """

    def __init__(self, data: Samples, x: Tensor, y: Tensor) -> None:
        self.all = data
        self.rows = np.ascontiguousarray(x.detach().numpy())
        self.n, self.d = self.rows.shape
        self.columns, self.y = np.ascontiguousarray(self.rows.T), y.detach().numpy()[None]
        first, second = np.triu_indices(self.d)
        ones = np.ones((1, self.n), self.rows.dtype)
        products = np.concatenate([self.columns[first] * self.columns[second], ones])
        self.products = np.ascontiguousarray(products.T)
        places = np.empty((self.d, self.d), np.intp)
        places[first, second] = places[second, first] = np.arange(len(first))
        self.places = places.ravel()
        self.eps = float(np.finfo(self.rows.dtype).eps)
        self.least, self.slack = LEAST_EXPONENT[x.dtype], SLACK[x.dtype]
        self.ridge = RIDGE[x.dtype] * np.eye(self.d, dtype=self.rows.dtype)


@dataclass
class FlatStep:
    """Parameters of S starts, with what the E-step says there: regressors (S, k, d), sigma (S, k),
    log_likelihood (S,); load, squares (S, k), sums of r_i and of r_i e_i^2; gram (S, k, pairs) and
    pull (S, k, d), sums of r_i x x' and r_i e_i x."""

    regressors: Array
    sigma: Array
    log_likelihood: Array
    load: Array
    squares: Array
    gram: Array
    pull: Array

    def __getitem__(self, index: NDArray[np.bool_]) -> FlatStep:
        return FlatStep(*(getattr(self, each.name)[index] for each in fields(self)))


def flat_expectation(data: FlatSamples, regressors: Array, sigma: Array) -> FlatStep:
    """The E-step and all the sums an M-step needs."""
    starts, k, d = regressors.shape
    residual = _product(regressors.reshape(-1, d), data.columns)
    np.subtract(data.y, residual, out=residual)
    square = residual * residual
    variance = sigma * sigma
    r = square.reshape(starts, k, -1) * (-0.5 / variance)[..., None]
    r += (LOG_NORMAL - math.log(k) - np.log(sigma))[..., None]
    most = r.max(1, keepdims=True)
    r -= most
    np.maximum(r, data.least, out=r)  # numbers too small to be normal are slow
    np.exp(r, out=r)
    total = r.sum(1, keepdims=True)
    r /= total
    np.log(total, out=total)
    total += most
    value = total.sum((1, 2))
    if data.all.own:
        penalty = np.log(variance) + data.all.prior_variance / variance
        value -= 0.5 * data.all.prior_weight * penalty.sum(1)
    flat = r.reshape(starts * k, -1)
    sums = _product(flat, data.products).reshape(starts, k, -1)
    square *= flat
    residual *= flat
    return FlatStep(
        regressors,
        sigma,
        value,
        sums[..., -1],
        square.sum(1).reshape(starts, k),
        sums,
        _product(residual, data.rows).reshape(starts, k, d),
    )


def _product(one: Array, other: Array) -> Array:
    """A product of matrices on one thread: NumPy's library takes several for large ones, which wait
    for one another longer than they work, and torch has been told not to (``moe.threads``)."""
    if one.size * other.shape[1] <= _MOST_ALONE:
        return one @ other
    return torch.mm(torch.from_numpy(one), torch.from_numpy(other)).numpy()


def flat_maximisation(data: FlatSamples, step: FlatStep) -> tuple[Array, Array]:
    """Regressors and sigma of the M-step, exact for linear experts. Raises LinAlgError where an
    expert's equations are singular."""
    (starts, k, d), samples = step.regressors.shape, data.all
    gram = step.gram[..., data.places].reshape(-1, d, d)
    pull = step.pull.reshape(-1, d, 1)
    mean = gram.reshape(-1, d * d)[:, :: d + 1].mean(1)
    ridge = np.maximum(mean, data.eps * samples.curvature)[:, None, None] * data.ridge
    move = np.linalg.solve(gram + ridge, pull)
    regressors = step.regressors + move.reshape(starts, k, d)
    if not samples.own and "sigma" not in samples.learn:
        return regressors, step.sigma
    change = ((gram @ move - 2 * pull) * move).sum((1, 2)).reshape(starts, k)
    squares = np.maximum(step.squares + change, data.eps * step.squares)
    if samples.own:
        weight = samples.prior_weight
        variance = (squares + weight * samples.prior_variance) / (step.load + weight)
        return regressors, np.sqrt(variance)
    common = np.maximum(squares.sum(1, keepdims=True) / data.n, samples.least_variance)
    return regressors, np.sqrt(np.broadcast_to(common, (starts, k)))


@dataclass(frozen=True)
class FlatEnd:
    """Where each start ended: regressors (S, k, d), sigma (S, k); iterations (S,), converged (S,);
    trace (T, S) of log-likelihoods."""

    regressors: Array
    sigma: Array
    iterations: NDArray[np.int64]
    converged: NDArray[np.bool_]
    trace: Array


@np.errstate(all="ignore")  # what is not finite is handed back
def flat_climb(
    data: FlatSamples, regressors: Tensor, sigma: Tensor, iterations: int, tolerance: float
) -> FlatEnd | None:
    """EM from regressors (S, k, d) and sigma (S, k) until an iteration gains less than
    ``tolerance``; None where rounding has spoilt a step, which wants the care of
    ``maximisation.iterated``."""
    step = flat_expectation(data, regressors.numpy(), sigma.numpy())
    starts = len(step.sigma)
    ends, levels = step.regressors.copy(), step.sigma.copy()
    spent, converged = np.zeros(starts, np.int64), np.zeros(starts, bool)
    running, trace = np.arange(starts), [step.log_likelihood]
    for iteration in range(1, iterations + 1):
        try:
            new = flat_expectation(data, *flat_maximisation(data, step))
        except np.linalg.LinAlgError:
            return None
        gain = new.log_likelihood - step.log_likelihood
        if not (gain >= -data.slack * np.abs(step.log_likelihood)).all():  # NaN neither
            return None
        step, done = new, gain < tolerance
        trace.append(trace[-1].copy())
        trace[-1][running] = step.log_likelihood
        if done.any() or iteration == iterations:
            ends[running], levels[running], spent[running] = step.regressors, step.sigma, iteration
            converged[running[done]] = True
            running, step = running[~done], step[~done]
        if len(running) == 0:
            break
    return FlatEnd(ends, levels, spent, converged, np.stack(trace))
