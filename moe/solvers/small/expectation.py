"""The E-step of every start at once, and all the sums that an M-step needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moe.solvers.expectation import LEAST_EXPONENT, LOG_NORMAL
from moe.solvers.linear import RIDGE, Array, product
from moe.solvers.maximisation import SLACK
from moe.solvers.samples import Samples


class SmallSamples:
    """The same samples as EM in NumPy reads them.

    columns (d, n), rows (n, d), y (1, n); products (n, d (d + 1) / 2 + 1) of the columns, and a one
    that counts; places: where each entry of a matrix (d, d) is among the products.
    """

    def __init__(self, data: Samples, x: Tensor, y: Tensor) -> None:
        self.all = data
        self.rows = x.detach().clone(memory_format=torch.contiguous_format).numpy()
        self.n, self.d, self.dtype = *self.rows.shape, x.dtype
        columns = x.detach().T.clone(memory_format=torch.contiguous_format)
        self.columns, self.y = columns.numpy(), y.detach().numpy()[None]
        first, second = np.triu_indices(self.d)
        ones = np.ones((1, self.n), self.rows.dtype)
        products = np.concatenate([self.columns[first] * self.columns[second], ones])
        self.products = torch.from_numpy(products).T.contiguous().numpy()
        self.places = _symmetric(self.d).ravel()
        self.pairs = _symmetric(data.free)
        self.eps = float(np.finfo(self.rows.dtype).eps)
        self.least, self.slack = LEAST_EXPONENT[x.dtype], SLACK[x.dtype]
        self.ridge = RIDGE[x.dtype]


def _symmetric(size: int) -> NDArray[np.intp]:
    """(size, size): the place of each entry in a list of those of the upper half."""
    first, second = np.triu_indices(size)
    places = np.empty((size, size), np.intp)
    places[first, second] = places[second, first] = np.arange(len(first))
    return places


@dataclass
class SmallStep:
    """Parameters of S starts, with what the E-step says there: regressors and gating (S, k, d),
    sigma (S, k), log_likelihood (S,); load, squares (S, k), sums of r_i and of r_i e_i^2; sums (S,
    rows, pairs + 1) of products of x, with the weights r_i, then those of the gates' curvature;
    pull (S, rows, d): sums of r_i e_i x, then the gradient in the gates."""

    regressors: Array
    gating: Array
    sigma: Array
    log_likelihood: Array
    load: Array
    squares: Array
    sums: Array
    pull: Array

    def __getitem__(self, index: NDArray[np.bool_]) -> SmallStep:
        return SmallStep(*(getattr(self, each.name)[index] for each in fields(self)))

    def __setitem__(self, index: NDArray[np.bool_], other: SmallStep) -> None:
        for each in fields(self):
            getattr(self, each.name)[index] = getattr(other, each.name)


def expectation_small(
    data: SmallSamples, regressors: Array, gating: Array, sigma: Array
) -> SmallStep:
    """The E-step and all the sums an M-step needs."""
    (starts, k, d), samples = regressors.shape, data.all
    moved, free = samples.moved, samples.free
    weights = torch.empty(starts, moved + samples.pairs, data.n, dtype=data.dtype).numpy()
    pull = torch.empty(starts, moved + free, data.n, dtype=data.dtype).numpy()
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
