"""Weighted Gram matrices X' diag(r) X for many weight vectors at once: the cost of every M-step."""

from __future__ import annotations

import torch
from torch import Tensor

_MAX_PAIRS = 2_000


class Grams:
    """Computes sum_n r_mn x_n x_n' for the rows r_m of a weight matrix, x (n, d).

    In moderate dimension the products x_a x_b, a <= b, of all samples are formed once and every
    call is one matrix product; beyond, each weight vector costs one (d, n) x (n, d) product.
    """

    def __init__(self, x: Tensor) -> None:
        d = x.shape[1]
        self.x = x
        self._products: Tensor | None = None
        if d * (d + 1) // 2 <= _MAX_PAIRS:
            columns = x.T.contiguous()
            self._products = torch.cat([columns[a] * columns[a:] for a in range(d)])
            self._pair = torch.triu_indices(d, d, device=x.device)

    def __call__(self, weights: Tensor) -> Tensor:
        """weights (m, n) -> (m, d, d), symmetric."""
        if self._products is None:
            return torch.stack([self.x.T @ (row[:, None] * self.x) for row in weights])
        d = self.x.shape[1]
        upper = weights @ self._products.T
        full = upper.new_empty(len(weights), d, d)
        full[:, self._pair[0], self._pair[1]] = upper
        full[:, self._pair[1], self._pair[0]] = upper
        return full
