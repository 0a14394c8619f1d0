"""EM with a gate that is constant on the cells of a partition: own proportions in every cell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.likelihood.grams import Grams
from moe.model.nonlinearity import Nonlinearity
from moe.solvers.em.expectation import normalise
from moe.solvers.em.samples import sigma_floor

_ROWS, _KEPT = 1 << 14, 20_000_000
_LEAST_SHARE, _LEAST_COUNT = 1e-8, 1e-3
_HALVINGS = 12
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class CellFit:
    """Where EM ended. regressors (k, d); sigma; proportions (C, k), rows sum to one;
    log_likelihood in nats, summed over samples; passes over the samples; converged."""

    regressors: Tensor
    sigma: float
    proportions: Tensor
    log_likelihood: float
    passes: int
    converged: bool

    def responsibilities(self, x: Tensor, y: Tensor, cells: Tensor, g: Nonlinearity) -> Tensor:
        """P(expert i | x, y), x (n, d), y (n,), cells (n,) -> (n, k)."""
        logs = log_joint(self, x, y, cells, g)
        return torch.softmax(logs, 1)


def log_joint(at: CellFit, x: Tensor, y: Tensor, cells: Tensor, g: Nonlinearity) -> Tensor:
    """log q_{c(x), i} + log N(y; g(<a_i, x>), sigma^2), (n, k)."""
    residual = (y[:, None] - g(x @ at.regressors.T)) / at.sigma
    level = math.log(at.sigma) + 0.5 * math.log(2 * math.pi)
    logs: Tensor = at.proportions.log()[cells] - 0.5 * residual.square() - level
    return logs


def cell_em(
    x: Tensor,
    y: Tensor,
    regressors: Tensor,
    sigma: float,
    proportions: Tensor,
    nonlinearity: Nonlinearity,
    cells: Tensor | None = None,
    *,
    iterations: int = 500,
    tolerance: float = 1e-2,
) -> CellFit:
    """Maximum likelihood of y given x with the weights q_{c(x)}: experts, sigma, proportions.

    The cells are given, c(x_n) = cells[n] in 0..C-1; one cell if None, which is a mixture of
    regressions with constant proportions. Book, chapter 10: whatever the true gate, as long as it
    does not look into the experts' span, its parameters are a stationary point of the expected
    likelihood (derived; experts odd up to a constant, or samples projected on their span), and in
    that projection a maximum.

    x (n, d), y (n,); regressors (k, d), sigma, proportions (C, k) or (k,) where to begin. Every
    second pass extrapolates (SQUAREM; Varadhan, Roland 2008), and is taken back where the
    likelihood falls. Stops when less than ``tolerance`` nats are left to gain, as two EM steps have
    it (``_left``): an estimate, which may fall short twenty-fold after an extrapolation.
    """
    cells = torch.zeros(len(x), dtype=torch.long) if cells is None else cells
    data = _Cells(x, y, cells, nonlinearity)
    count = int(cells.max()) + 1 if proportions.ndim == 1 else len(proportions)
    q = proportions.clamp_min(_LEAST_SHARE).expand(count, len(regressors))
    here = data.look(_Point(regressors, sigma, q / q.sum(1, keepdim=True)))
    converged, passes = False, 1
    while passes < iterations and not converged:
        one = data.ascend(here)
        two = data.ascend(one)
        converged = _left(here, one, two) < tolerance
        passes += 2
        far = _extrapolated(here, one, two)
        here = two
        if far is not None and not converged:
            there = data.look(far)
            passes += 1
            here = there if there.value > two.value else two
    at = here.point
    return CellFit(at.regressors, at.sigma, at.proportions, here.value, passes, converged)


@dataclass(frozen=True, eq=False)
class _Point:
    regressors: Tensor
    sigma: float
    proportions: Tensor

    def vector(self) -> Tensor:
        level = self.regressors.new_tensor([math.log(self.sigma)])
        return torch.cat([self.regressors.flatten(), level, self.proportions.log().flatten()])

    def at(self, vector: Tensor) -> _Point:
        size = self.regressors.numel()
        logs = vector[size + 1 :].view_as(self.proportions)
        return _Point(
            vector[:size].view_as(self.regressors),
            math.exp(float(vector[size])),
            torch.softmax(logs, 1).clamp_min(_LEAST_SHARE),
        )


@dataclass(frozen=True, eq=False)
class _View:
    """A point, its log-likelihood, and where one M-step from there leads."""

    point: _Point
    value: float
    step: Tensor
    sigma: float
    proportions: Tensor

    def moved(self, scale: float) -> _Point:
        whole = _Point(self.point.regressors + self.step, self.sigma, self.proportions)
        if scale == 1:
            return whole
        here = self.point.vector()
        return self.point.at(here + scale * (whole.vector() - here))


def _left(here: _View, one: _View, two: _View) -> float:
    """What is left to gain, if what steps gain goes on falling as from the first to the second;
    both together where that falls fast. Zero within rounding."""
    first, second = one.value - here.value, two.value - one.value
    if first + second <= _ROUNDING * abs(two.value):
        return 0.0
    ahead = second**2 / (first - second) if first > second else math.inf
    return max(first + second, ahead)


def _extrapolated(here: _View, one: _View, two: _View) -> _Point | None:
    """theta - 2 alpha r + alpha^2 v, r = one - here, v = two - 2 one + here, alpha = -|r| / |v|."""
    start, first, second = (view.point.vector() for view in (here, one, two))
    r, v = first - start, second - 2 * first + start
    size = float(v.norm())
    alpha = -float(r.norm()) / size if size > 0 else -1.0
    far = start - 2 * alpha * r + alpha**2 * v
    return here.point.at(far) if alpha < -1 and bool(torch.isfinite(far).all()) else None


class _Cells:
    """Samples in chunks, with the products of their columns where there is room for them."""

    def __init__(self, x: Tensor, y: Tensor, cells: Tensor, g: Nonlinearity) -> None:
        self.n, self.g = len(x), g
        self.floor = sigma_floor(y)
        keep = x.numel() * (x.shape[1] + 1) // 2 <= _KEPT
        chunks = list(zip(x.split(_ROWS), y.split(_ROWS), cells.split(_ROWS), strict=True))
        self._chunks = [(*chunk, Grams(chunk[0]) if keep else None) for chunk in chunks]

    def look(self, point: _Point) -> _View:
        """One pass: the likelihood, and Gauss-Newton (exact for linear g) M-steps."""
        a, k, d = point.regressors, *point.regressors.shape
        logs = point.proportions.log().T
        level = math.log(point.sigma) + 0.5 * math.log(2 * math.pi)
        value = -self.n * level
        gram, pull, squares = a.new_zeros(k, d, d), a.new_zeros(k, d), a.new_zeros(())
        counts = torch.zeros_like(logs)
        for x, y, cells, grams in self._chunks:  # experts as rows: (k, n) is summed over fast
            eta = a @ x.T
            e = y - self.g(eta)
            r = e.square().mul_(-0.5 / point.sigma**2)
            r += logs if logs.shape[1] == 1 else logs[:, cells]
            value += float(normalise(r[None]).sum())
            counts += _sums(r, cells, counts.shape[1])
            weighted = r * e
            squares += (weighted * e).sum()
            if not self.g.is_linear:
                slope = self.g.derivative(eta)
                r, weighted = r * slope.square(), weighted * slope
            pull += weighted @ x
            gram += (grams or Grams(x))(r)
        ridge = 1e-9 * gram.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(1e-12 * self.n)
        solid = gram + ridge[:, None, None] * torch.eye(d, dtype=a.dtype)
        step = torch.linalg.solve(solid, pull[..., None])[..., 0]
        left = squares + (step * ((gram @ step[..., None])[..., 0] - 2 * pull)).sum()
        sigma = max(math.sqrt(max(float(left), 0.0) / self.n), self.floor)
        shares = (counts + _LEAST_COUNT) / (counts + _LEAST_COUNT).sum(0)
        return _View(point, value, step, sigma, shares.T.clamp_min(_LEAST_SHARE))

    def ascend(self, view: _View) -> _View:
        """The M-step, halved until the likelihood does not fall; stays where nothing helps."""
        for halving in range(_HALVINGS):
            new = self.look(view.moved(0.5**halving))
            if new.value >= view.value - 1e-9 * abs(view.value):
                return new
        return view


def _sums(r: Tensor, cells: Tensor, count: int) -> Tensor:
    """Of r (k, n) over the samples of each of so many cells, (k, count)."""
    if count == 1:
        return r.sum(1, keepdim=True)
    return torch.stack([torch.bincount(cells, row, count) for row in r])
