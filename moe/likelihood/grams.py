"""Weighted Gram matrices X' diag(r) X for many weight vectors at once: the cost of every M-step."""

from __future__ import annotations

from functools import cache, cached_property

import torch
from torch import Tensor

_MAX_PAIRS = 2_000
_FEW_PAIRS, _MANY_WEIGHTS = 120, 5


class Grams:
    """Computes sum_n r_mn x_n x_n' for the rows r_m of a weight matrix, x (n, d).

    ``keep``: in moderate dimension the products x_a x_b, a <= b, of all samples are formed at the
    first call and kept, and every call is one matrix product. Otherwise each weight vector costs
    one (d, n) x (n, d) product.
    """

    def __init__(self, x: Tensor, keep: bool = True) -> None:
        self.x = x
        self._keep = keep and (packed_size(x.shape[1]) < x.shape[1] ** 2 or x.shape[1] == 1)
        self._few = packed_size(x.shape[1]) <= _FEW_PAIRS

    @cached_property
    def _products(self) -> Tensor:
        """(d (d + 1) / 2, n), or transposed where there are few of them."""
        columns, first = self.x.T.contiguous(), 0
        d, n = columns.shape
        products = self.x.new_empty(d * (d + 1) // 2, n)
        for a in range(d):
            torch.mul(columns[a], columns[a:], out=products[first : first + d - a])
            first += d - a
        return products.T.contiguous() if self._few else products

    def _summed(self, weights: Tensor) -> Tensor:
        """weights (m, n) times the products: of the same numbers in three layouts, the one that is
        two to four times as fast as the slowest (measured)."""
        if self._few:
            return weights @ self._products
        if len(weights) < _MANY_WEIGHTS:
            return weights @ self._products.T
        return (self._products @ weights.T).T.contiguous()

    def __call__(self, weights: Tensor) -> Tensor:
        """weights (m, n) -> (m, d, d), symmetric."""
        return unpacked(self.packed(weights), self.x.shape[1])

    def packed(self, weights: Tensor) -> Tensor:
        """What adds up over parts of the samples and ``unpacked`` makes matrices of: weights (m, n)
        -> (m, d (d + 1) / 2), the entries a <= b; in high dimension (m, d^2), all of them."""
        if self._keep:
            return self._summed(weights)
        d = self.x.shape[1]
        squares = weights.new_empty(len(weights), d * d)
        for row, square in zip(weights, squares, strict=True):
            torch.mm(self.x.T, row[:, None] * self.x, out=square.view(d, d))
        return squares if packed_size(d) == d * d else squares[:, _upper(d)]


def packed_size(d: int) -> int:
    """How many numbers stand for one matrix in what ``Grams.packed`` gives."""
    half = d * (d + 1) // 2
    return half if half <= _MAX_PAIRS else d * d


def unpacked(packed: Tensor, d: int) -> Tensor:
    """The matrices (..., d, d) whose entries ``Grams.packed`` has listed."""
    if packed_size(d) < d * d:
        packed = packed.index_select(-1, upper_places(d).flatten().to(packed.device))
    return packed.unflatten(-1, (d, d))


@cache
@torch.inference_mode(False)
def upper_places(d: int) -> Tensor:
    """Where in the list of entries a <= b each entry of a symmetric matrix is, (d, d)."""
    row, column = torch.triu_indices(d, d)
    place = torch.empty(d, d, dtype=torch.int64)
    place[row, column] = place[column, row] = torch.arange(len(row))
    return place


@cache
@torch.inference_mode(False)
def _upper(d: int) -> Tensor:
    """The places of the entries a <= b among all d^2."""
    row, column = torch.triu_indices(d, d)
    return row * d + column
