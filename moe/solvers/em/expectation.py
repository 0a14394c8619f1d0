"""The E-step of every start at once, and all the sums that an M-step needs, in one pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from moe.likelihood.grams import unpacked
from moe.model.nonlinearity import Nonlinearity
from moe.solvers.em.samples import Chunk, Samples

LOG_NORMAL = -0.5 * math.log(2 * math.pi)
LEAST_EXPONENT = {torch.float64: -300.0, torch.float32: -50.0}


@dataclass
class EStep:
    """Parameters of the starts that still run, with what the E-step says there (sums over samples).

    gram_a (S, k, d, d), pull_a (S, k, d): curvature and gradient of the complete-data objective in
    the regressors, times sigma^2; gram_w (S, k-1 + ..., d, d), upper blocks (none where
    ``moe.solvers.em.gates`` does without), and pull_w (S, k-1, d) in the gating; sigma (S, k); load
    (S, k): sums of r_i, where each expert has its own sigma; squares (S, k): of r_i e_i^2.
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


def expectation(
    data: Samples, g: Nonlinearity, regressors: Tensor, gating: Tensor, sigma: Tensor
) -> EStep:
    """The E-step and all the sums an M-step needs, in one pass over the samples.

    In place, in room that is used again. Residuals are u = e / (sqrt(2) sigma), the exponents of
    the responsibilities <w, x> - u^2 - log sigma. Second derivatives in the gates have weights
    gate_a gate_b, less gate_a where a = b, and change sign at the end."""
    (starts, _, d), moved, pairs = regressors.shape, data.moved, data.pairs
    scale = math.sqrt(2) * sigma
    flat = not data.free and not bool(gating.any())
    level = (LOG_NORMAL - sigma.log())[:, :, None]
    parts = [_sums(data, g, regressors, None if flat else gating, scale, level, c) for c in data]
    log_likelihood, load, squares, pulls, packed = (
        reduce(torch.add, part) for part in zip(*parts, strict=True)
    )
    if data.own:
        log_likelihood = log_likelihood + data.log_prior(sigma)
    grids = unpacked(packed, d).view(starts, moved + pairs, d, d)
    pulls = pulls.view(starts, moved + data.free, d)
    _hold(grids, pulls, data.masks, moved)
    return EStep(
        regressors,
        gating,
        sigma,
        log_likelihood,
        load,
        squares * scale.square(),
        grids[:, :moved],
        pulls[:, :moved] * scale[:, :moved, None],
        -grids[:, moved:],
        pulls[:, moved:],
    )


def _sums(
    data: Samples,
    g: Nonlinearity,
    regressors: Tensor,
    gating: Tensor | None,
    scale: Tensor,
    level: Tensor,
    chunk: Chunk,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Of one chunk: the log-likelihood (S,), loads and squares of u (S, k), pulls and packed Gram
    matrices, a row for each start and weight. gating: None where flat."""
    z, x, rows, grams, counts = chunk
    (starts, k, _), free, moved = regressors.shape, data.free, data.moved
    weights = data.room("weights", z, starts, moved + data.pairs)
    pull = data.room("pull", z, starts, moved + free)
    r = weights[:, :k] if moved else data.room("r", z, starts, k)
    u, slope = _residuals(data, g, regressors, scale, z, x)
    if gating is None:
        torch.addcmul(level - math.log(k), u, u, value=-1, out=r)
        log_density = normalise(r, data.hard)
    else:
        gate = data.room("gate", z, starts, k)
        torch.mm(gating.flatten(0, 1), x, out=gate.view(starts * k, -1))
        torch.addcmul(gate, u, u, value=-1, out=r).add_(level)
        log_density = normalise(r, data.hard) - normalise(gate)
        torch.sub(r[:, :free], gate[:, :free], out=pull[:, moved:])
        if data.pairs:
            gate_weights(gate[:, :free], weights[:, moved:])
    if counts is not None:  # samples count so often
        for part in (log_density, r, pull[:, moved:], weights[:, moved:]):
            part.mul_(counts)
    load = r.sum(-1) if data.own else torch.zeros_like(scale)
    weighted = torch.mul(r, u, out=pull[:, :k] if moved else r)
    squares = u.mul_(weighted).sum(-1)
    if moved and slope is not None:
        r.mul_(slope).mul_(slope)
        weighted.mul_(slope)
    packed = grams.packed(weights.flatten(0, 1))
    return log_density.sum(-1), load, squares, pull.flatten(0, 1) @ rows, packed


def _hold(grids: Tensor, pulls: Tensor, masks: list[Tensor] | None, moved: int) -> None:
    """No pull and no curvature where a coefficient is held at zero: its step is zero then."""
    for mask, held in zip(masks or (), (slice(moved), slice(moved, None)), strict=False):
        pulls[:, held] *= mask
        grids[:, held] *= mask * mask[:, None]


def _residuals(
    data: Samples, g: Nonlinearity, regressors: Tensor, scale: Tensor, z: Tensor, x: Tensor
) -> tuple[Tensor, Tensor | None]:
    """(y - g(<a, x>)) / scale, (S, k, n), and the slope of g there, None where g is linear."""
    starts, k, d = regressors.shape
    u = data.room("u", z, starts, k)
    if g.is_linear:
        lines = torch.cat([regressors, -torch.ones_like(scale)[..., None]], dim=2)
        lines /= -scale[..., None]
        torch.mm(lines.flatten(0, 1), z, out=u.view(starts * k, -1))
        return u, None
    eta = regressors @ x
    torch.sub(z[d], g(eta), out=u).div_(scale[..., None])
    return u, g.derivative(eta) if data.moved else None


def normalise(exponents: Tensor, hard: bool = False) -> Tensor:
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
    least = LEAST_EXPONENT[exponents.dtype]
    total = exponents.sub_(most).clamp_min_(least).exp_().sum(dim=1, keepdim=True)
    exponents.mul_(total.reciprocal())
    return total.log_().add_(most)[:, 0]


def gate_weights(gate: Tensor, out: Tensor) -> None:
    """gate_a gate_b - (a = b) gate_a for a <= b, gate (S, free, n), out (S, pairs, n)."""
    free, first = gate.shape[1], 0
    for a in range(free):
        block = out[:, first : first + free - a]
        torch.mul(gate[:, a : a + 1], gate[:, a:], out=block)
        block[:, 0] -= gate[:, a]
        first += free - a
