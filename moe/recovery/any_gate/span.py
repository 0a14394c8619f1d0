"""Whether the experts of a fit are those that the second moments show."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from scipy.special import gammaincc
from torch import Tensor

from moe.likelihood.cells import ROWS
from moe.likelihood.diagnostics import in_words
from moe.recovery.starts import Problem

_LEVEL, _ROWS, _TILTED = 1e-4, 20, 0.2

Influence = Callable[[slice], Tensor]
"""Of these samples, (n', k d): n times what each adds to the estimated regressors."""


def contradicted(
    problem: Problem,
    regressors: Tensor,
    shares: Tensor,
    sigma: float,
    influence: Callable[[], Influence] | None = None,
) -> list[str]:
    """A doubt where linear experts (k, d) with mean proportions (k,) are not those of the moments.

    If they are the truth then for any gate of what is orthogonal to their span, h even, q and q' in
    the span and u orthogonal to it

        E[h(y) (<q, x> <q', x> - <q, q'>)] = sum_i p_i c_i <a_i, q> <a_i, q'>,
        E[h(y) <u, x> <q, x>] = 0,      c_i = E[h''(y) | i]

    (derived; inputs N(0, I), noise of one symmetric law: given v the span's inputs are symmetric,
    and h(y) is even). Both are tested together by Hotelling's statistic, up to one factor;
    h(y) = 1 - exp(-y^2 / 2 s^2), s^2 = E[y^2], is bounded, and has
    c_i = s (s^2 + |a_i|^2 + sigma^2)^(-3/2) for Gaussian noise (for other noise all c_i change,
    by one factor if the experts are of one length).

    An estimate's span is tilted by its own error, and through h(y) <u, x> <u', x>, whose mean any
    gate may have, the moments see that: the more, the less one expert differs from the others, and
    with any number of samples alike. So where the moments disagree as they stand, the test is made
    again with the ``influence`` of each sample on the estimate counted in (None: the regressors are
    given), without axes that may be tilted by more than a fifth of a radian, and the larger p-value
    is taken.

    [] where there are fewer than 20 samples a product, or one axis, or no definite maximum.
    """
    k, d = regressors.shape
    if d == 1 or len(problem.x) < _ROWS * (k * (k + 1) // 2 + k * (d - k)):
        return []
    test = _Test(problem, regressors, shares, sigma)
    p_value = test.p_value(None)
    if p_value < _LEVEL and influence is not None:
        try:
            p_value = max(p_value, test.p_value(influence()))
        except ValueError:
            return []
    if not p_value < _LEVEL:
        return []
    return [
        f"second moments show other experts than these, {in_words(p_value)}: the likelihood leads "
        "away from them, or inputs are not Gaussian, or noise is not of one symmetric law"
    ]


class _Test:
    """The products of a fit, in axes of its span (k, d) and of what is orthogonal to it."""

    def __init__(self, problem: Problem, regressors: Tensor, shares: Tensor, sigma: float) -> None:
        self.x, self.y, self.k = problem.x, problem.y, len(regressors)
        left, lengths, right = torch.linalg.svd(regressors)
        self.inside, self.outside = right[: self.k], right[self.k :]
        self.seen = left * lengths  # the experts in the axes of their span
        least = torch.finfo(self.x.dtype).eps * lengths[0]
        self.tilt = left / lengths.clamp_min(least)  # (i, j): of axis j, by expert i
        self.row, self.column = torch.triu_indices(self.k, self.k)
        square = float(self.y.square().mean())
        self.h = 1 - torch.exp(-0.5 * self.y.square() / square)
        self.h = self.h - self.h.mean()
        self.shrink = square + regressors.square().sum(1) + sigma**2
        self.weight = shares * square**0.5 * self.shrink**-1.5

    def p_value(self, influence: Influence | None) -> float:
        """Hotelling's test of the products' mean against a multiple of what the fit expects."""
        n, slope = len(self.x), None if influence is None else self.slope()
        kept = torch.ones(self.k, dtype=torch.bool)
        if influence is not None:
            kept = self.tilts(influence) <= _TILTED
        among = torch.cat([kept[self.row] & kept[self.column], kept.repeat(len(self.outside))])
        size = int(among.sum())
        if size < 2:
            return 1.0
        found, square = self.x.new_zeros(size), self.x.new_zeros(size, size)
        mean = torch.zeros_like(found)
        for rows in self._chunks():
            products = self._products(rows)[:, among]
            found += products.sum(0)
            if influence is not None and slope is not None:
                products = products + influence(rows) @ slope[among].T
            mean += products.sum(0)
            square += products.T @ products
        covariance = (square - torch.outer(mean, mean) / n) / n**2
        expected = torch.einsum("i,ip,iq->pq", self.weight, self.seen, self.seen)
        model = torch.zeros(len(among), dtype=found.dtype)
        model[: len(self.row)] = expected[self.row, self.column]
        model = model[among]
        scale = covariance.diagonal().clamp_min(torch.finfo(found.dtype).tiny).sqrt()
        both = torch.stack([found / n, model], 1) / scale[:, None]
        unit = covariance / scale / scale[:, None]
        inner = both.T @ torch.linalg.lstsq(unit, both, driver="gelsd").solution
        statistic = float(inner[0, 0] - inner[0, 1] ** 2 / inner[1, 1])
        return float(gammaincc((size - 1) / 2, max(statistic, 0.0) / 2))  # of chi-squared

    def _chunks(self) -> Iterator[slice]:
        return (slice(first, first + ROWS) for first in range(0, len(self.x), ROWS))

    def _products(self, rows: slice) -> Tensor:
        """h(y) - E h(y) times the products of two inputs."""
        inside, outside = self.x[rows] @ self.inside.T, self.x[rows] @ self.outside.T
        same = (self.row == self.column).to(inside.dtype)
        pairs = inside[:, self.row] * inside[:, self.column] - same
        cross = (outside[:, :, None] * inside[:, None, :]).flatten(1)
        return torch.cat([pairs, cross], 1) * self.h[rows, None]

    def tilts(self, influence: Influence) -> Tensor:
        """Root mean square angle by which the experts' error tilts each axis out of the span."""
        square = torch.zeros_like(self.tilt[0])
        for rows in self._chunks():
            beyond = influence(rows).view(-1, self.k, self.x.shape[1]) @ self.outside.T
            tilts = torch.einsum("nio,ij->njo", beyond, self.tilt)
            square += tilts.square().sum((0, 2))
        return square.sqrt() / len(self.x)

    def slope(self) -> Tensor:
        """How the products' means less their expectation change with the regressors, (., k d), at
        a truth (derived): within the span by what is expected, and where an error of experts leads
        out of it by that, too, and by the tilt of the axes, whose products there have any mean."""
        outside = self.x @ self.outside.T
        free = (outside * self.h[:, None]).T @ outside / len(self.x)
        own = torch.eye(self.k, dtype=self.x.dtype)
        bent = -3 * self.weight / self.shrink
        change = torch.einsum("i,im,ij,il->jlim", bent, self.seen, self.seen, self.seen)
        change += torch.einsum("i,jm,il->jlim", self.weight, own, self.seen)
        change += torch.einsum("i,lm,ij->jlim", self.weight, own, self.seen)
        pairs = -torch.einsum("jlim,md->jlid", change, self.inside)[self.row, self.column]
        cross = torch.einsum("uo,ij,od->ujid", free, self.tilt, self.outside)
        cross -= torch.einsum("i,ij,ud->ujid", self.weight, self.seen, self.outside)
        return torch.cat([pairs.flatten(1), cross.flatten(0, 1).flatten(1)])
