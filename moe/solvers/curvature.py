"""Score and information of many starts at once, in one pass over the samples.

As in ``moe.likelihood.information``, which is for one model of any kind, with one noise level and
linear experts. u_i = (y - <a_i, x>) / sigma; r_i the responsibilities, p_i the gate. In the
coordinates of a move, (da_i / sigma, dw_j, d log sigma) with v = (r_1 u_1, ..., r_k u_k, r_1, ...,
r_{k-1}) and m = sum_i r_i u_i^2, the observed information of one sample is x x' times

    v v'  +  diag(r_i (1 - u_i^2))           experts with experts
          -  diag(r_i u_i)                   experts with gates
          +  diag(p_j - r_j) - p p'          gates with gates,

x times r_i u_i (2 + m - u_i^2) and -r_j (u_j^2 - m) in the column of log sigma, and there
2 m + m^2 - sum_i r_i u_i^4 on the diagonal. Of the complete data it is diag(r_i), diag(p_j) - p p',
2 r_i u_i and 2 m. (Derived; Louis 1982.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, reduce

import torch
from torch import Tensor

from moe.likelihood.grams import packed_size, unpacked
from moe.solvers.em.expectation import gate_weights, normalise
from moe.solvers.em.samples import Chunk, Samples


@dataclass
class Point:
    """Parameters of S starts, and the log-likelihood about them: value (S,), score (S, P), observed
    and complete information (S, P, P), P = k d + free d + 1. What is held has score zero and the
    identity for its information."""

    regressors: Tensor
    gating: Tensor
    sigma: Tensor
    value: Tensor
    score: Tensor
    observed: Tensor
    complete: Tensor

    def __getitem__(self, index: Tensor) -> Point:
        return Point(*(value[index] for value in vars(self).values()))

    def __setitem__(self, index: Tensor, other: Point) -> None:
        for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True):
            mine[index] = theirs


def look(data: Samples, regressors: Tensor, gating: Tensor, sigma: Tensor) -> Point:
    """Regressors and gating (S, k, d), sigma (S,) -> value, score and information there."""
    (starts, k, d), q = regressors.shape, regressors.shape[1] + data.free
    lines = torch.cat([-regressors, torch.ones_like(regressors[..., :1])], 2)
    lines = (lines / sigma[:, None, None]).flatten(0, 1)
    level = sigma.log()[:, None] + 0.5 * math.log(2 * math.pi)
    parts = [_sums(data, lines, gating, level, chunk) for chunk in data]
    packed, pulls, sums = (reduce(torch.add, part) for part in zip(*parts, strict=True))
    pulls = pulls.view(starts, 2 * q * d)
    score = torch.cat([pulls[:, : q * d], sums[1, :, None]], 1)
    alone = torch.stack([sums[2], 2 * (sums[1] + data.n), torch.zeros_like(sigma)], 1)
    entries = [packed.view(starts, -1), pulls[:, q * d :], 2 * pulls[:, : k * d], alone]
    places = _places(k, data.free, d)
    both = torch.cat(entries, 1).index_select(1, places.flatten()).view(starts, *places.shape)
    held = _held(data, (score, both[:, 0], both[:, 1]), sigma, k, d)
    return Point(regressors, gating, sigma, sums[0], *held)


def _sums(
    data: Samples, lines: Tensor, gating: Tensor, level: Tensor, chunk: Chunk
) -> tuple[Tensor, Tensor, Tensor]:
    """Of one chunk: packed Gram matrices and sums of x, a row for each start and weight of
    ``_bends``, and the sums of what stands alone, (3, S)."""
    (starts, k, _), (z, x, rows, grams, counts) = gating.shape, chunk
    q, gates = k + data.free, data.free * (data.free + 1) // 2
    u, r, p = (data.room(name, z, starts, k) for name in "urp")
    bends = data.room("bends", z, starts, q * (q + 1) // 2 + k + gates)
    linear = data.room("linear", z, starts, 2 * q)
    torch.mm(lines, z, out=u.view(starts * k, -1))
    torch.mm(gating.flatten(0, 1), x, out=p.view(starts * k, -1))
    square = u.square()
    torch.add(p, square, alpha=-0.5, out=r)
    density = normalise(r) - normalise(p) - level
    alone = torch.stack([density, *_bends(u, square, r, p, bends, linear)])
    if counts is not None:
        for part in (bends, linear, alone):
            part.mul_(counts)
    return grams.packed(bends.flatten(0, 1)), linear.flatten(0, 1) @ rows, alone.sum(-1)


def _bends(
    u: Tensor, square: Tensor, r: Tensor, p: Tensor, bends: Tensor, linear: Tensor
) -> tuple[Tensor, Tensor]:
    """Writes what stands before x x' to bends: pairs a <= b of predictors (experts, then free
    gates), observed; then complete, experts and pairs of gates. And what stands before x to linear
    (S, 2 q, n): score, then the column of log sigma. Returns its own score and observed
    information, (S, n) each; u, square, r, p (S, k, n)."""
    k, q = u.shape[1], linear.shape[1] // 2
    free, size = q - k, q * (q + 1) // 2
    ru = torch.mul(r, u, out=linear[:, :k])
    spread = r * square
    mean = spread.sum(1, keepdim=True)
    fall = mean - square
    torch.mul(ru, fall + 2, out=linear[:, q : q + k])
    v, own = torch.cat([ru, r[:, :free]], 1), torch.cat([r - spread, -r[:, :free]], 1)
    first = 0
    for a in range(q):
        block = bends[:, first : first + q - a]
        torch.mul(v[:, a : a + 1], v[:, a:], out=block)
        block[:, 0] += own[:, a]
        if a < free:
            block[:, k] -= ru[:, a]
        first += q - a
    bends[:, size : size + k] = r
    if free:
        torch.sub(r[:, :free], p[:, :free], out=linear[:, k:q])
        torch.mul(r[:, :free], fall[:, :free], out=linear[:, q + k :])
        weights = bends[:, size + k :]
        gate_weights(p[:, :free], weights)
        bends[:, size - weights.shape[1] : size] -= weights
        weights.neg_()
    m = mean[:, 0]
    return m - 1, m * (2 + m) - (spread * square).sum(1)


@cache
@torch.inference_mode(False)
def _places(k: int, free: int, d: int) -> Tensor:
    """Where the entries of observed and complete information stand, (2, P, P), in a list: packed
    Gram matrices in the order of ``_bends``; the columns of log sigma with experts and gates,
    observed, then complete with experts; two entries of log sigma alone; zero."""
    q = k + free
    size, gates = q * (q + 1) // 2, free * (free + 1) // 2
    width = packed_size(d)
    counts = torch.tensor([(size + k + gates) * width, q * d, k * d, 1, 1])
    observed, complete, *alone, zero = counts.cumsum(0).tolist()
    blocks = torch.arange(0, observed, width)[:, None, None] + unpacked(torch.arange(width), d)
    body = torch.full((2, q, q, d, d), zero)
    upper, own, both = torch.triu_indices(q, q), range(k), k + torch.triu_indices(free, free)
    body[0][*upper] = body[0][*upper.flip(0)] = blocks[:size]
    body[1][own, own] = blocks[size : size + k]
    body[1][*both] = body[1][*both.flip(0)] = blocks[size + k :]
    places = torch.full((2, q * d + 1, q * d + 1), zero)
    places[:, :-1, :-1] = body.transpose(2, 3).reshape(2, q * d, q * d)
    places[0, :-1, -1] = places[0, -1, :-1] = torch.arange(observed, complete)
    places[1, : k * d, -1] = places[1, -1, : k * d] = torch.arange(complete, alone[0])
    places[:, -1, -1] = torch.tensor(alone)
    return places


def _held(
    data: Samples, point: tuple[Tensor, Tensor, Tensor], sigma: Tensor, k: int, d: int
) -> tuple[Tensor, Tensor, Tensor]:
    """No score where a coefficient is held at zero, and where sigma is known, or at its floor and
    would fall; the identity there."""
    score, *both = point
    goes = (sigma > data.least_variance**0.5) | (score[:, -1] >= 0)
    if "sigma" not in data.learn:
        goes = torch.zeros_like(goes)
    if data.masks is None and bool(goes.all()):
        return point
    experts, gates = data.masks or [score.new_ones(d)] * 2
    moves = torch.cat([experts.repeat(k), gates.repeat(data.free), score.new_ones(1)])
    moves = moves.repeat(len(sigma), 1)
    moves[:, -1] = goes
    for matrix in both:
        matrix *= moves[:, :, None] * moves[:, None]
        matrix.diagonal(dim1=1, dim2=2).add_(1 - moves)
    return score * moves, both[0], both[1]
