"""The E-step of every start at once, and all the sums that an M-step needs, in one pass."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.grams import Grams
from moe.nonlinearity import Nonlinearity

_CHUNK_ENTRIES = 100_000
_CACHED_ENTRIES = 20_000_000
_PRIOR_WEIGHT, _PRIOR_SHARE = 0.3, 0.01
_FLOOR = 1e-7


def sigma_floor(y: Tensor) -> float:
    """The smallest common sigma that EM learns: 1e-7 of the root mean square of y (n,)."""
    largest = float(y.abs().max())
    return _FLOOR * largest * float((y / largest).square().mean().sqrt()) if largest else 0.0


@dataclass
class EStep:
    """Parameters of the starts that still run, with what the E-step says there (sums over samples).

    gram_a (S, k, d, d), pull_a (S, k, d): curvature and gradient of the complete-data objective in
    the regressors, times sigma^2; gram_w (S, k-1 + ..., d, d) upper blocks and pull_w (S, k-1, d)
    in the gating; sigma (S, k); load (S, k): sums of r_i, where each expert has its own sigma;
    squares (S, k): of r_i e_i^2.
    """

    regressors: Tensor
    gating: Tensor
    sigma: Tensor
    log_likelihood: Tensor
    load: Tensor
    squares: Tensor
    gram_a: Tensor
    pull_a: Tensor
    gram_w: Tensor
    pull_w: Tensor

    def __getitem__(self, index: Tensor) -> EStep:
        return EStep(*(value[index] for value in vars(self).values()))

    def __setitem__(self, index: Tensor, other: EStep) -> None:
        for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True):
            mine[index] = theirs


class Samples:
    """Samples in chunks small enough to stay in the processor's cache."""

    def __init__(
        self, x: Tensor, y: Tensor, starts: int, k: int, learn: Collection[str], hard: bool
    ) -> None:
        self.n, self.learn, self.hard = len(x), learn, hard
        self.own = "sigmas" in learn
        self.prior_weight = _PRIOR_WEIGHT * x.shape[1]
        self.prior_variance = _PRIOR_SHARE * float(y.var())
        self.least_variance = sigma_floor(y) ** 2
        self.curvature = float(x.square().sum()) / x.shape[1]
        rows = max(1_000, _CHUNK_ENTRIES // (starts * k))
        self._chunks = list(zip(x.split(rows), y.split(rows), strict=True))
        keep = x.numel() * (x.shape[1] + 1) // 2 <= _CACHED_ENTRIES
        self._grams = [Grams(part) for part, _ in self._chunks] if keep else None

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Grams]]:
        for index, (x, y) in enumerate(self._chunks):
            yield x, y, Grams(x) if self._grams is None else self._grams[index]


def expectation(
    data: Samples, g: Nonlinearity, regressors: Tensor, gating: Tensor, sigma: Tensor
) -> EStep:
    """The E-step and all the sums an M-step needs, in one pass over the samples."""
    starts, k, d = regressors.shape
    row, column = torch.triu_indices(k - 1, k - 1)
    diagonal = (row == column).nonzero()[:, 0]
    state = EStep(
        regressors,
        gating,
        sigma,
        *(regressors.new_zeros(starts, *shape) for shape in _sum_shapes(k, d)),
    )
    flat = "gating" not in data.learn and not bool(gating.any())
    log_gate = -regressors.new_tensor(float(k)).log()
    scale = sigma[:, :, None]
    precision, level = -0.5 / scale.square(), -scale.log() - 0.5 * math.log(2 * math.pi)
    for x, y, grams in data:
        eta = regressors @ x.T
        residual = y - g(eta)
        if not flat:
            log_gate = torch.log_softmax(gating @ x.T, dim=1)
        joint = residual.square().mul_(precision).add_(log_gate + level)
        if data.hard:
            log_density, winner = joint.max(dim=1)
            r = torch.zeros_like(joint).scatter_(1, winner[:, None], 1.0)
        else:
            most = joint.amax(dim=1, keepdim=True)
            r = joint.sub_(most).exp_()
            total = r.sum(dim=1, keepdim=True)
            log_density = (most + total.log())[:, 0]
            r.div_(total)
        state.log_likelihood += log_density.sum(-1)
        pull = r * residual
        if data.own:
            state.load += r.sum(-1)
        state.squares += (pull * residual).sum(-1)
        if "regressors" in data.learn:
            weights = r
            if not g.is_linear:
                slope = g.derivative(eta)
                weights, pull = r * slope.square(), pull * slope
            state.gram_a += grams(weights.flatten(0, 1)).unflatten(0, (starts, k))
            state.pull_a += pull @ x
        if "gating" in data.learn and k > 1:
            gate = log_gate[:, :-1].exp_()
            weights = -gate[:, row] * gate[:, column]
            weights[:, diagonal] += gate
            state.gram_w += grams(weights.flatten(0, 1)).unflatten(0, (starts, -1))
            state.pull_w += (r[:, :-1] - gate) @ x
    if data.own:
        variance = sigma.square()
        penalty = (variance.log() + data.prior_variance / variance).sum(-1)
        state.log_likelihood -= 0.5 * data.prior_weight * penalty
    return state


def _sum_shapes(k: int, d: int) -> tuple[tuple[int, ...], ...]:
    return (), (k,), (k,), (k, d, d), (k, d), (k * (k - 1) // 2, d, d), (k - 1, d)
