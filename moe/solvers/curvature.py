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
from functools import cache

import torch
from torch import Tensor

from moe.likelihood.grams import packed_size, unpacked
from moe.solvers.expectation import normalise
from moe.solvers.samples import Samples


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


@dataclass(frozen=True)
class _Pairs:
    """Pairs of predictors (experts, then free gates), row <= column; places among them of an expert
    with itself, of an expert with its own gate, of two gates; these by their numbers, first and
    second, and those of a gate with itself among them."""

    row: Tensor
    column: Tensor
    alone: Tensor
    own_gate: Tensor
    gates: Tensor
    first: Tensor
    second: Tensor
    same: Tensor


@cache
@torch.inference_mode(False)
def _pairs(k: int, free: int) -> _Pairs:
    row, column = torch.triu_indices(k + free, k + free)
    alone = ((row == column) & (row < k)).nonzero()[:, 0]
    own_gate = ((column == row + k) & (row < k)).nonzero()[:, 0]
    gates = (row >= k).nonzero()[:, 0]
    first, second = row[gates] - k, column[gates] - k
    same = (first == second).nonzero()[:, 0]
    return _Pairs(row, column, alone, own_gate, gates, first, second, same)


def look(data: Samples, regressors: Tensor, gating: Tensor, sigma: Tensor) -> Point:
    """Regressors and gating (S, k, d), sigma (S,) -> value, score and information there."""
    (starts, k, d), pairs = regressors.shape, _pairs(regressors.shape[1], data.free)
    count = len(pairs.row) + k + len(pairs.gates)
    packed = regressors.new_zeros(starts * count, packed_size(d))
    pulls = regressors.new_zeros(starts, 2 * (k + data.free), d)
    sums = regressors.new_zeros(4, starts)
    lines = torch.cat([-regressors, torch.ones_like(regressors[..., :1])], 2)
    lines = (lines / sigma[:, None, None]).flatten(0, 1)
    level = sigma.log()[:, None] + 0.5 * math.log(2 * math.pi)
    for z, x, grams, counts in data:
        square = (u := (lines @ z).view(starts, k, -1)).square()
        p = (gating.flatten(0, 1) @ x).view(starts, k, -1)
        r = torch.add(p, square, alpha=-0.5)
        density = normalise(r) - normalise(p) - level
        bends, linear, scalars = _bends(pairs, u, square, r, p)
        scalars[0] = density
        if counts is not None:
            for part in (bends, linear, scalars):
                part.mul_(counts)
        sums += scalars.sum(-1)
        pulls += (linear.flatten(0, 1) @ x.T).view_as(pulls)
        packed += grams.packed(bends.flatten(0, 1))
    grids = unpacked(packed, d).view(starts, count, d, d)
    point = _assembled(pairs, grids, pulls, sums, k)
    return Point(regressors, gating, sigma, sums[0], *_held(data, point, k, d))


def _bends(
    pairs: _Pairs, u: Tensor, square: Tensor, r: Tensor, p: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What stands before x x' (S, pairs + k + pairs of gates, n): observed, then complete; before x
    (S, 2 (k + free), n): score, then the column of log sigma; and alone (4, S, n): room for the
    density, score, observed and complete information of log sigma."""
    (starts, k, n), size = u.shape, len(pairs.row)
    free, gates = len(pairs.same), len(pairs.gates)
    q = k + free
    bends, linear = u.new_empty(starts, size + k + gates, n), u.new_empty(starts, 2 * q, n)
    ru = torch.mul(r, u, out=linear[:, :k])
    mean = (r * square).sum(1, keepdim=True)
    torch.mul(ru, 2 + mean - square, out=linear[:, q : q + k])
    v = torch.cat([ru, r[:, :free]], 1)
    torch.mul(v[:, pairs.row], v[:, pairs.column], out=bends[:, :size])
    bends[:, size : size + k] = r
    bends[:, pairs.alone] += r * (1 - square)
    if free:
        torch.sub(r[:, :free], p[:, :free], out=linear[:, k:q])
        torch.mul(r[:, :free], mean - square[:, :free], out=linear[:, q + k :])
        weights = bends[:, size + k :]
        torch.mul(p[:, pairs.first], p[:, pairs.second], out=weights).neg_()
        weights[:, pairs.same] += p[:, :free]
        bends[:, pairs.gates] += weights
        bends[:, pairs.gates[pairs.same]] -= r[:, :free]
        bends[:, pairs.own_gate] -= ru[:, :free]
    fourth, m = (ru.square() * square / r).sum(1), mean[:, 0]
    return bends, linear, torch.stack([m, m - 1, m * (2 + m) - fourth, 2 * m])


def _assembled(
    pairs: _Pairs, grids: Tensor, pulls: Tensor, sums: Tensor, k: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Score (S, P), observed and complete information (S, P, P), from their sums."""
    starts, twice, d = pulls.shape
    q, size = twice // 2, len(pairs.row)
    body = pulls.new_zeros(2, starts, q, q, d, d)
    body[0][:, pairs.row, pairs.column] = body[0][:, pairs.column, pairs.row] = grids[:, :size]
    body[1][:, range(k), range(k)] = grids[:, size : size + k]
    first, second, gates = k + pairs.first, k + pairs.second, grids[:, size + k :]
    body[1][:, first, second] = body[1][:, second, first] = gates
    both = pulls.new_zeros(2, starts, q * d + 1, q * d + 1)
    both[:, :, :-1, :-1] = body.transpose(3, 4).reshape(2, starts, q * d, q * d)
    columns = pulls.new_zeros(2, starts, q, d)
    columns[0], columns[1, :, :k] = pulls[:, q:], 2 * pulls[:, :k]
    both[:, :, :-1, -1] = both[:, :, -1, :-1] = columns.flatten(2)
    both[:, :, -1, -1] = sums[2:]
    score = torch.cat([pulls[:, :q].flatten(1), sums[1, :, None]], 1)
    return score, both[0], both[1]


def _held(
    data: Samples, point: tuple[Tensor, Tensor, Tensor], k: int, d: int
) -> tuple[Tensor, Tensor, Tensor]:
    """No score where a coefficient is held at zero or sigma is known, and the identity there."""
    score, *both = point
    learns = "sigma" in data.learn
    if data.masks is None and learns:
        return point
    experts, gates = data.masks or [score.new_ones(d)] * 2
    last = score.new_tensor([float(learns)])
    moves = torch.cat([experts.repeat(k), gates.repeat(data.free), last])
    for matrix in both:
        matrix *= moves * moves[:, None]
        matrix.diagonal(dim1=1, dim2=2).add_(1 - moves)
    return score * moves, both[0], both[1]
