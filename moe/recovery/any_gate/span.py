"""Whether the experts of a fit are those that the second moments show."""

from __future__ import annotations

import torch
from scipy.stats import chi2
from torch import Tensor

from moe.likelihood.diagnostics import in_words
from moe.recovery.starts import Problem

_LEVEL, _ROWS = 1e-4, 20


def contradicted(problem: Problem, regressors: Tensor, shares: Tensor, sigma: float) -> list[str]:
    """A doubt where linear experts (k, d) with mean proportions (k,) are not those of the moments.

    If they are the truth then for any gate, h even, q and q' in their span and u orthogonal to it

        E[h(y) (<q, x> <q', x> - <q, q'>)] = sum_i p_i c_i <a_i, q> <a_i, q'>,
        E[h(y) <u, x> <q, x>] = 0,      c_i = E[h''(y) | i]

    (derived; inputs N(0, I), symmetric noise: given v the span's inputs are symmetric, and h(y) is
    even). Both are tested together by Hotelling's statistic, up to one factor, which the law of the
    noise decides; h(y) = 1 - exp(-y^2 / 2 s^2), s^2 = E[y^2], is bounded, and has
    c_i = s (s^2 + |a_i|^2 + sigma^2)^(-3/2). The fit's own error is left out: where it is smaller
    than that of moments it makes rejections fewer (Hausman 1978).

    [] where there are fewer than 20 samples a product, or one axis.
    """
    x, y = problem.x, problem.y
    k, d = regressors.shape
    basis = torch.linalg.svd(regressors).Vh
    row, column = torch.triu_indices(k, k)
    if d == 1 or len(x) < _ROWS * (len(row) + k * (d - k)):
        return []
    inside, outside = x @ basis[:k].T, x @ basis[k:].T
    square = float(y.square().mean())
    h = 1 - torch.exp(-0.5 * y.square() / square)
    curvature = (square + regressors.square().sum(1) + sigma**2) ** -1.5
    seen = regressors @ basis[:k].T
    expected = torch.einsum("i,ip,iq->pq", shares * curvature, seen, seen)[row, column]
    pairs = inside[:, row] * inside[:, column] - (row == column).to(x.dtype)
    cross = (outside[:, :, None] * inside[:, None, :]).flatten(1)
    products = torch.cat([pairs, cross], 1) * (h - h.mean())[:, None]
    found = products.mean(0)
    covariance = torch.cov(products.T) / len(x)
    model = torch.nn.functional.pad(expected, (0, cross.shape[1]))
    both = torch.stack([found, model], 1)
    inner = both.T @ torch.linalg.lstsq(covariance, both, driver="gelsd").solution
    statistic = float(inner[0, 0] - inner[0, 1] ** 2 / inner[1, 1])
    p_value = float(chi2.sf(statistic, len(found) - 1))
    if not p_value < _LEVEL:
        return []
    return [
        f"second moments show other experts than these, {in_words(p_value)}: the likelihood leads "
        "away from them, or inputs are not Gaussian"
    ]
