"""Complex zeros of the gradient of L_4, proved to exist and to differ (derived; book, chapter 5).

With eta the length of a Newton step at B, beta = |J^-1|, and 6 q (|B| + r) a Lipschitz constant of
J within r (``homotopy.system`` for F and J): let r beta 6 q (|B| + r) = 1. If 2 eta <= r, there is
one zero within r of B, and it lies within 2 eta (Newton-Kantorovich). Asked for is 6 eta <= r, so
that B also tells which rows of the zero are zero or equal, and whether it is real. eta has an
estimate of the rounding error of F added; rounding is not enclosed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

from moe.landscape.homotopy import system

_ROUNDING = 64


@dataclass(frozen=True, eq=False)
class Zeros:
    """Different complex zeros of F, one an orbit: points (N, rows, k); near (N,): a zero is not
    further; alone (N,): it is the only one within; copies (N,): of its orbit."""

    points: Tensor
    near: Tensor
    alone: Tensor
    copies: Tensor

    @classmethod
    def none(cls, rows: int, k: int) -> Zeros:
        empty = torch.empty(0, dtype=torch.float64)
        return cls(torch.empty(0, rows, k, dtype=torch.complex128), empty, empty, empty.long())

    @property
    def total(self) -> int:
        return int(self.copies.sum())

    def joined(self, other: Zeros) -> Zeros:
        parts = zip(*(vars(zeros).values() for zeros in (self, other)), strict=True)
        return Zeros(*(torch.cat(pair) for pair in parts)).different()

    def close(self) -> Tensor:
        """(N, N) bool: pairs that may be one, each with itself.

        sum_i <r, b_i>^2, |r| = 1, is the same on an orbit and differs by (|B| + |C|) |B - C| at
        most: only where it is near enough does one need to look.
        """
        n, _, k = self.points.shape
        r = torch.cos(torch.arange(1.0, k + 1, dtype=torch.float64) ** 2)
        r = (r / r.norm()).to(self.points.dtype)
        mark = (self.points @ r).square().sum(1)
        size = self.points.flatten(1).norm(dim=1)
        limit = 2 * (self.near[:, None] + self.near)
        slack = (size[:, None] + size) * limit * (1 + 1e-9) + 1e-12 * (size[:, None] + size) ** 2
        first, second = ((mark[:, None] - mark).abs() <= slack).nonzero(as_tuple=True)
        apart = pair_distances(self.points[first], self.points[second])
        close = torch.zeros(n, n, dtype=torch.bool)
        close[first, second] = apart <= limit[first, second]
        return close

    def different(self) -> Zeros:
        """Without the later of two that may be one."""
        first = ~torch.tril(self.close(), diagonal=-1).any(1)
        return Zeros(*(values[first] for values in vars(self).values()))


def pair_distances(first: Tensor, second: Tensor) -> Tensor:
    """(N,): the least distance between points (N, rows, k) and (N, rows, k), or shapes that
    broadcast, real or complex, over order and signs of the rows."""
    a, b = first.unsqueeze(-2), second.unsqueeze(-3)
    near, far = ((a - sign * b).abs().square().sum(-1) for sign in (1, -1))
    table = torch.minimum(near, far)
    rows = torch.arange(table.shape[-1])
    orders = torch.tensor(list(permutations(range(len(rows)))))
    found: Tensor = table[..., rows, orders].sum(-1).amin(-1).sqrt()
    return found


def orbit_distances(first: Tensor, second: Tensor) -> Tensor:
    """(N, M): ``pair_distances`` of all of (N, rows, k) and all of (M, rows, k)."""
    return pair_distances(first.unsqueeze(1), second.unsqueeze(0))


def proved_zeros(
    points: Tensor, arrived: Tensor, matrix: Tensor, mu: float, lam: float
) -> tuple[Zeros, Tensor]:
    """The different zeros that Newton-Kantorovich proves near the points, three times nearer than
    where they are alone, and which points (N,) are clear of doubt: arrived, proved, and far from
    every other."""
    n, rows, k = points.shape
    value, jacobian = system(points, matrix.to(points.dtype), mu, lam)
    size = points.flatten(1).norm(dim=1)
    finite = arrived & jacobian.abs().flatten(1).sum(1).isfinite()
    jacobian = torch.where(finite[:, None, None], jacobian, torch.eye(rows * k).to(jacobian.dtype))
    least = torch.linalg.svdvals(jacobian)[:, -1].clamp_min(1e-300)
    noise = _ROUNDING * torch.finfo(matrix.dtype).eps * (lam + float(matrix.abs().max()))
    step = torch.linalg.solve_ex(jacobian, value.unsqueeze(-1))[0].flatten(1).norm(dim=1)
    eta = step + noise * (1 + size) ** 3 / least
    q = _quartic_norm(matrix, rows, k, mu, lam)
    alone = 2 / (size + (size.square() + 4 * least / (6 * q)).sqrt()) * least / (6 * q)
    proved = finite & (6 * eta <= alone)  # 3 near <= alone
    which = proved.nonzero().squeeze(-1)
    zeros = Zeros(points[which], 2 * eta[which], alone[which], torch.ones_like(which))
    copies = _copies(zeros)
    clear = torch.zeros(n, dtype=torch.bool)
    clear[which] = zeros.close().sum(1) == 1
    return Zeros(zeros.points, zeros.near, zeros.alone, copies).different(), clear


def _quartic_norm(matrix: Tensor, rows: int, k: int, mu: float, lam: float) -> float:
    """A bound of |Q[a, b, c, d]| over complex unit vectors, Q the symmetric tensor of L_4's part of
    degree four: the spectral norm of its square unfolding."""
    eye, axes = torch.eye(rows, dtype=matrix.dtype), torch.eye(k, dtype=matrix.dtype)
    pattern, lengths = (
        sum(torch.einsum(f"{way}->ijkl", e, e) for way in ("ij,kl", "ik,jl", "il,jk")) / 3
        for e in (eye, axes)
    )
    same = torch.einsum("ij,jk,kl->ijkl", eye, eye, eye)
    pattern = pattern - (1 + mu) * same
    whole = torch.einsum("ijkl,abcd->iajbkcld", pattern, matrix.view(k, k, k, k))
    whole = whole + lam * torch.einsum("ijkl,abcd->iajbkcld", same, lengths)
    return float(torch.linalg.matrix_norm(whole.reshape((rows * k) ** 2, (rows * k) ** 2), ord=2))


def _copies(zeros: Zeros) -> Tensor:
    """(N,): the size of each orbit: 2^(rows that are not zero) rows! / prod (rows that are equal up
    to sign)!. Never too large: the zero is within near <= alone / 3, so that a row longer than
    alone / 2 is not zero, and rows further than alone / 2^(1/2) apart are not equal."""
    n, rows, _ = zeros.points.shape
    a = zeros.points
    nonzero = (2 * a.abs().square().sum(-1).sqrt() > zeros.alone[:, None]).sum(1)
    apart = torch.stack(
        [(a[:, :, None] - sign * a[:, None]).abs().square().sum(-1) for sign in (1, -1)]
    )
    equal = 2**0.5 * apart.amin(0).sqrt() <= zeros.alone[:, None, None]
    group = equal.sum(2)  # rows equal to this one, itself too
    repeats = torch.tensor([[math.factorial(g) ** (1 / g) for g in row] for row in group.tolist()])
    product_ = repeats.view(n, rows).prod(1).round().long()
    return 2**nonzero * math.factorial(rows) // product_.clamp_min(1)
