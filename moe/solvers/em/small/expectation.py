"""The E-step of every start at once, and all the sums that an M-step needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from moe.likelihood.grams import upper_places
from moe.moments.hermite import pair_products
from moe.solvers.em.expectation import LEAST_EXPONENT, LOG_NORMAL
from moe.solvers.em.maximisation import SLACK
from moe.solvers.em.samples import Samples
from moe.solvers.linear import RIDGE, Array, product


class SmallSamples:
    """The same samples as EM in NumPy reads them.

    columns (d, n), rows (n, d), y (1, n); products (n, d (d + 1) / 2) of the columns; places: where
    each entry of a matrix (d, d) is among them, pairs: of one (free, free) among pairs of gates.
    """

    def __init__(self, data: Samples, x: Tensor, y: Tensor) -> None:
        self.all = data
        self.rows = x.detach().contiguous().numpy()
        self.n, self.d = self.rows.shape
        self.columns, self.y = np.ascontiguousarray(self.rows.T), y.detach().numpy()[None]
        self.products = pair_products(x.detach()).T.contiguous().numpy()
        self.places = upper_places(self.d).flatten().numpy()
        self.pairs = upper_places(data.free).numpy()
        self.eps = float(np.finfo(self.rows.dtype).eps)
        self.least, self.slack = LEAST_EXPONENT[x.dtype], SLACK[x.dtype]
        self.ridge = RIDGE[x.dtype]


@dataclass
class Batch:
    """Arrays whose first axis counts starts."""

    def __getitem__(self, index: NDArray[np.bool_]) -> Self:
        return type(self)(*(getattr(self, each.name)[index] for each in fields(self)))

    def __setitem__(self, index: NDArray[np.bool_], other: Self) -> None:
        for each in fields(self):
            getattr(self, each.name)[index] = getattr(other, each.name)


@dataclass
class SmallStep(Batch):
    """Parameters of S starts, with what the E-step says there: regressors and gating (S, k, d),
    sigma (S, k), log_likelihood (S,); load, squares (S, k), sums of r_i and of r_i e_i^2; sums (S,
    rows, pairs) of products of x, with the weights r_i, then those of the gates' curvature;
    pull (S, rows, d): sums of r_i e_i x, then the gradient in the gates."""

    regressors: Array
    gating: Array
    sigma: Array
    log_likelihood: Array
    load: Array
    squares: Array
    sums: Array
    pull: Array


def expectation_small(
    data: SmallSamples, regressors: Array, gating: Array, sigma: Array
) -> SmallStep:
    """The E-step and all the sums an M-step needs."""
    (starts, k, d), samples = regressors.shape, data.all
    moved, free = samples.moved, samples.free
    weights = np.empty((starts, moved + samples.pairs, data.n), regressors.dtype)
    pull = np.empty((starts, moved + free, data.n), regressors.dtype)
    residual = product(regressors.reshape(-1, d), data.columns).reshape(starts, k, -1)
    np.subtract(data.y, residual, out=residual)
    square = residual * residual
    variance = sigma * sigma
    r: Array = weights[:, :k] if moved else np.empty_like(square)
    np.multiply(square, (-0.5 / variance)[..., None], out=r)
    if free or gating.any():
        gate = product(gating.reshape(-1, d), data.columns).reshape(starts, k, -1)
        r += (LOG_NORMAL - np.log(sigma))[..., None]
        r += gate
        density: Array = _normalised(data, r) - _normalised(data, gate)
        np.subtract(r[:, :free], gate[:, :free], out=pull[:, moved:])
        _gate_weights(gate[:, :free], weights[:, moved:])
    else:
        r += (LOG_NORMAL - math.log(k) - np.log(sigma))[..., None]
        density = _normalised(data, r)
    value = density.sum((1, 2))
    if samples.own:
        penalty = np.log(variance) + samples.prior_variance / variance
        value -= 0.5 * samples.prior_weight * penalty.sum(1)
    square *= r
    if moved:
        np.multiply(residual, r, out=pull[:, :k])
    sums = product(weights.reshape(-1, data.n), data.products)
    return SmallStep(
        regressors,
        gating,
        sigma,
        value,
        r.sum(2) if samples.own else np.zeros_like(sigma),
        square.sum(2),
        sums.reshape(starts, moved + samples.pairs, data.products.shape[1]),
        product(pull.reshape(-1, data.n), data.rows).reshape(starts, moved + free, d),
    )


def _normalised(data: SmallSamples, exponents: Array) -> Array:
    """Softmax over the experts (S, k, n), in place; log sum exp, (S, 1, n)."""
    most = exponents.max(1, keepdims=True)
    exponents -= most
    np.maximum(exponents, data.least, out=exponents)  # numbers too small to be normal are slow
    np.exp(exponents, out=exponents)
    total: Array = exponents.sum(1, keepdims=True)
    exponents /= total
    np.log(total, out=total)
    total += most
    return total


def _gate_weights(gate: Array, out: Array) -> None:
    """(a = b) gate_a - gate_a gate_b for a <= b, gate (S, free, n), out (S, pairs, n)."""
    free, first = gate.shape[1], 0
    for a in range(free):
        block = out[:, first : first + free - a]
        np.multiply(-gate[:, a : a + 1], gate[:, a:], out=block)
        block[:, 0] += gate[:, a]
        first += free - a
