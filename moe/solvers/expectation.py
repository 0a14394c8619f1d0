"""The E-step of every start at once, and all the sums that an M-step needs, in one pass."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.likelihood.grams import Grams, packed_size, unpacked
from moe.model.nonlinearity import Nonlinearity

_CHUNK_ENTRIES, _LEAST_ROWS = 128_000, 1_000
_CACHED_ENTRIES = 20_000_000
_LEAST_EXPONENT = {torch.float64: -300.0, torch.float32: -50.0}
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
    """Samples in chunks small enough to stay in the processor's cache, with room to work in."""

    def __init__(
        self, x: Tensor, y: Tensor, starts: int, k: int, learn: Collection[str], hard: bool
    ) -> None:
        self.n, self.learn, self.hard = len(x), learn, hard
        self.own = "sigmas" in learn
        self.moved = k if "regressors" in learn else 0
        self.free = k - 1 if "gating" in learn else 0
        self.prior_weight = _PRIOR_WEIGHT * x.shape[1]
        self.prior_variance = _PRIOR_SHARE * float(y.var())
        self.least_variance = sigma_floor(y) ** 2
        self.curvature = float(x.square().sum()) / x.shape[1]
        rows = min(self.n, max(_LEAST_ROWS, _CHUNK_ENTRIES // (starts * k)))
        self._chunks = list(zip(x.split(rows), y.split(rows), strict=True))
        keep = x.numel() * (x.shape[1] + 1) // 2 <= _CACHED_ENTRIES
        self._made = [_prepared(*chunk) for chunk in self._chunks] if keep else None
        self._room: dict[str, Tensor] = {}

    def __iter__(self) -> Iterator[tuple[Tensor, Grams]]:
        yield from self._made or (_prepared(*chunk) for chunk in self._chunks)

    def room(self, name: str, like: Tensor, starts: int, rows: int) -> Tensor:
        """(starts, rows, n) to write to, ``like`` (..., n); the same place every time."""
        size = starts * rows * like.shape[1]
        if name not in self._room or len(self._room[name]) < size:
            self._room[name] = like.new_empty(size)
        return self._room[name][:size].view(starts, rows, like.shape[1])


def _prepared(x: Tensor, y: Tensor) -> tuple[Tensor, Grams]:
    """The columns of x and y as rows, (d + 1, n), and the Gram matrices of x."""
    columns = torch.cat([x, y[:, None]], dim=1).T.contiguous()
    return columns, Grams(columns[:-1].T)


def expectation(
    data: Samples, g: Nonlinearity, regressors: Tensor, gating: Tensor, sigma: Tensor
) -> EStep:
    """The E-step and all the sums an M-step needs, in one pass over the samples.

    All of it happens in place, in room that is used again. Residuals are u = e / (sqrt(2) sigma),
    so the exponents of the responsibilities are <w, x> - u^2 - log sigma. The second derivatives in
    the gates have weights gate_a gate_b, less gate_a where a = b, and change sign at the end.
    """
    starts, k, d = regressors.shape
    free, moved = data.free, data.moved
    flat = not free and not bool(gating.any())
    pairs = free * (free + 1) // 2
    scale = math.sqrt(2) * sigma
    level = -(sigma.log() + 0.5 * math.log(2 * math.pi))[:, :, None]
    log_likelihood, load, squares, pulls = (
        regressors.new_zeros(starts, *shape) for shape in ((), (k,), (k,), (moved + free, d))
    )
    packed = regressors.new_zeros(starts * (moved + pairs), packed_size(d))
    for z, grams in data:
        x = z[:d]
        weights = data.room("weights", z, starts, moved + pairs)
        pull = data.room("pull", z, starts, moved + free)
        r = weights[:, :k] if moved else data.room("r", z, starts, k)
        u, slope = _residuals(data, g, regressors, scale, z)
        if flat:
            torch.addcmul(level - math.log(k), u, u, value=-1, out=r)
            log_density = _normalise(r, data.hard)
        else:
            gate = data.room("gate", z, starts, k)
            torch.mm(gating.flatten(0, 1), x, out=gate.view(starts * k, -1))
            torch.addcmul(gate, u, u, value=-1, out=r).add_(level)
            log_density = _normalise(r, data.hard) - _normalise(gate)
            torch.sub(r[:, :free], gate[:, :free], out=pull[:, moved:])
            _gate_weights(gate[:, :free], weights[:, moved:])
        log_likelihood += log_density.sum(-1)
        if data.own:
            load += r.sum(-1)
        weighted = torch.mul(r, u, out=pull[:, :k] if moved else r)
        squares += u.mul_(weighted).sum(-1)
        if moved and slope is not None:
            r.mul_(slope).mul_(slope)
            weighted.mul_(slope)
        pulls += (pull.flatten(0, 1) @ x.T).view_as(pulls)
        packed += grams.packed(weights.flatten(0, 1))
    if data.own:
        variance = sigma.square()
        penalty = (variance.log() + data.prior_variance / variance).sum(-1)
        log_likelihood -= 0.5 * data.prior_weight * penalty
    grids = unpacked(packed, d).view(starts, moved + pairs, d, d)
    return EStep(
        regressors,
        gating,
        sigma,
        log_likelihood,
        load,
        squares.mul_(scale.square()),
        grids[:, :moved],
        pulls[:, :moved] * scale[:, :moved, None],
        -grids[:, moved:],
        pulls[:, moved:],
    )


def _residuals(
    data: Samples, g: Nonlinearity, regressors: Tensor, scale: Tensor, z: Tensor
) -> tuple[Tensor, Tensor | None]:
    """(y - g(<a, x>)) / scale, (S, k, n), and the slope of g there, None where g is linear."""
    starts, k, d = regressors.shape
    u = data.room("u", z, starts, k)
    if g.is_linear:
        lines = torch.cat([-regressors, torch.ones_like(scale)[..., None]], dim=2)
        torch.mm((lines / scale[..., None]).flatten(0, 1), z, out=u.view(starts * k, -1))
        return u, None
    eta = regressors @ z[:d]
    torch.sub(z[d], g(eta), out=u).div_(scale[..., None])
    return u, g.derivative(eta) if data.moved else None


def _normalise(exponents: Tensor, hard: bool = False) -> Tensor:
    """Turns (S, k, n) into softmax over the experts, in place; log sum exp (S, n). ``hard``: into
    the indicator of the largest, which is then handed back instead.

    Shares below e^-300 (single precision: e^-50) are raised to that: it changes no sum, and numbers
    too small to be normal would slow down all that follows a hundredfold.
    """
    if hard:
        most, winner = exponents.max(dim=1, keepdim=True)
        exponents.zero_().scatter_(1, winner, 1.0)
        return most[:, 0]
    most = exponents.amax(dim=1, keepdim=True)
    least = _LEAST_EXPONENT[exponents.dtype]
    total = exponents.sub_(most).clamp_min_(least).exp_().sum(dim=1, keepdim=True)
    exponents.mul_(total.reciprocal())
    return total.log_().add_(most)[:, 0]


def _gate_weights(gate: Tensor, out: Tensor) -> None:
    """gate_a gate_b - (a = b) gate_a for a <= b, gate (S, free, n), out (S, pairs, n)."""
    free, first = gate.shape[1], 0
    for a in range(free):
        block = out[:, first : first + free - a]
        torch.mul(gate[:, a : a + 1], gate[:, a:], out=block)
        block[:, 0] -= gate[:, a]
        first += free - a
