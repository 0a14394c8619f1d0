"""Paths from the critical points of a population L_4, all known, to those of another one (derived).

With B = (b_1, .., b_rows), complex, the critical points of L_4 with a symmetric tensor T are the
zeros of as many cubics as B has entries,

    F_i(B; T) = [T(P) - (1 + mu) T(b_i b_i') + lambda (<b_i, b_i> - 1) I] b_i,  P = sum_j b_j b_j',

a quarter of the gradient (no conjugation in <b, b>). Bezout: at most 3^(rows k) isolated zeros.
T_0 = sum_m q_m e_m^(4) with generic q has exactly so many: for each support the squares of the
coordinates solve a linear system, and each has two roots. On T_0 + tau (T - T_0) all but finitely
many complex tau have 3^(rows k) simple zeros, so that on almost every arc from tau = 0 to 1,

    tau(t) = t / (gamma (1 - t) + t),    |gamma| = 1,

they move without meeting (the "gamma trick"; Sommese and Wampler, 2005). Order and signs of the
rows are symmetries of F for every T: one path an orbit is enough, and rows that start equal,
opposite or zero stay so.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement, product

import torch
from torch import Tensor

from moe.landscape.squares import squares_gradient, squares_matrix

_TRIALS = 16  # start systems to choose from
_SMALLEST_STEP, _LARGEST_STEP = 1e-6, 0.2
_MAX_STEPS = 1_000
_FAR = 1e6
_POLISH = 6


@dataclass(frozen=True, eq=False)
class Start:
    """tensor: T_0 as a (k^2, k^2) complex matrix; points (orbits, rows, k): one of its critical
    points for each orbit under order and signs of the rows."""

    tensor: Tensor
    points: Tensor


def start_system(
    k: int, rows: int, mu: float, lam: float, scale: float, generator: torch.Generator
) -> Start:
    """T_0 with random complex q_m of about this scale: of several draws the one whose critical
    points are furthest from singular."""
    classes = [signs for signs in product((0, 1, -1), repeat=k) if next(filter(None, signs), 1) > 0]
    patterns = torch.tensor(list(combinations_with_replacement(classes, rows)))
    signs = patterns.to(torch.float64).flatten(1)
    best, margin = None, -1.0
    for _ in range(_TRIALS):
        length, angle = torch.rand(2, k, generator=generator, dtype=torch.float64)
        q = scale * torch.polar(0.5 + length, 2 * torch.pi * angle)
        squares, distance = _squares(signs.abs(), q, mu, lam)
        if distance > margin:
            margin, best = distance, (q, squares)
    assert best is not None
    q, squares = best
    diagonal = torch.zeros(k * k, dtype=q.dtype)
    diagonal[torch.arange(k) * (k + 1)] = q  # e_m (x) e_m
    return Start(torch.diag(diagonal), torch.unflatten(signs * squares.sqrt(), -1, (rows, k)))


def _squares(supports: Tensor, q: Tensor, mu: float, lam: float) -> tuple[Tensor, float]:
    """u (N, rows k) with f = 0 on the supports and u = 0 off them; the distance to a singular point
    of the nearest: the least of |u| on them and |f| / (2 lambda) off them."""
    rows = supports.shape[-1] // len(q)
    matrix = squares_matrix(1 / q, mu, lam, rows)
    on = supports.to(q.dtype)
    systems = on.unsqueeze(-1) * on.unsqueeze(-2) * matrix + torch.diag_embed(1 - on)
    u = torch.linalg.solve(systems, (2 * lam * on).unsqueeze(-1)).squeeze(-1) * on
    slopes = squares_gradient(torch.unflatten(u, -1, (rows, len(q))), 1 / q, mu, lam).flatten(-2)
    gap = torch.where(supports > 0, u.abs(), slopes.abs() / (2 * lam))
    return u, float(gap.nan_to_num(0.0).min())


def system(points: Tensor, matrix: Tensor, mu: float, lam: float) -> tuple[Tensor, Tensor]:
    """F (n, rows k) and its Jacobian (n, rows k, rows k), a quarter of gradient and Hessian of L_4.

    points (n, rows, k), matrix (n, k^2, k^2) or (k^2, k^2): T; both real or both complex.
    """
    n, rows, k = points.shape
    pairs = points[:, :, None, :, None] * points[:, None, :, None, :]  # b_i b_j'
    blocks = (pairs.reshape(n, rows * rows, k * k) @ matrix).view(n, rows, rows, k, k)
    own = blocks.diagonal(dim1=1, dim2=2).movedim(-1, 1)  # T(b_i b_i')
    excess = points.square().sum(-1) - 1
    eye = torch.eye(k, dtype=points.dtype)
    factor = own.sum(1, keepdim=True) - (1 + mu) * own + lam * excess[..., None, None] * eye
    value = (factor @ points.unsqueeze(-1)).squeeze(-1)
    outer = pairs.diagonal(dim1=1, dim2=2).movedim(-1, 1)
    jacobian = 2 * blocks
    within = factor - 2 * (1 + mu) * own + 2 * lam * outer
    jacobian.diagonal(dim1=1, dim2=2).add_(within.movedim(1, -1))
    jacobian = jacobian.transpose(2, 3).reshape(n, rows * k, rows * k)
    return value.flatten(1), jacobian


@dataclass(frozen=True, eq=False)
class Arc:
    """T_0 + tau(t) (T - T_0) for each path: start (k^2, k^2), ends (paths, k^2, k^2), complex."""

    start: Tensor
    ends: Tensor
    gamma: complex
    mu: float
    lam: float

    def matrix(self, which: Tensor, t: Tensor) -> Tensor:
        tau = t / (self.gamma * (1 - t) + t)
        return self.start + tau[:, None, None] * (self.ends[which] - self.start)

    def tangent(self, which: Tensor, t: Tensor, points: Tensor) -> Tensor:
        """dB/dt = - J^-1 dF/dtau tau'(t)."""
        speed = self.gamma / (self.gamma * (1 - t) + t).square()
        _, jacobian = system(points, self.matrix(which, t), self.mu, self.lam)
        n, _, k = points.shape
        outer = (points.unsqueeze(-1) * points.unsqueeze(-2)).flatten(2)
        own = (outer @ (self.ends[which] - self.start)).view(n, -1, k, k)
        mixed = own.sum(1, keepdim=True) - (1 + self.mu) * own
        change = (mixed @ points.unsqueeze(-1)).flatten(1) * speed[:, None]
        return -_solved(jacobian, change).view_as(points)

    def newton(self, which: Tensor, t: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """One step of Newton's method, and its relative length (n,)."""
        value, jacobian = system(points, self.matrix(which, t), self.mu, self.lam)
        step = _solved(jacobian, value)
        size = step.norm(dim=1) / (1 + points.flatten(1).norm(dim=1))
        return points - step.view_as(points), size


def track(arc: Arc, starts: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Follow every path from t = 0 to 1: end points (paths, rows, k), and arrived (paths,) bool.

    A Runge-Kutta step of order four predicts, two Newton steps correct. Where the first of them is
    longer than ``tolerance`` (relative to 1 + |B|), or the second not far shorter, the step is
    taken again at half its length; else the next one's length follows from it. Each path has
    its own steps. A path is lost where they get too short or too many, or |B| passes every bound.
    """
    points = starts.clone()
    t = torch.zeros(len(points), dtype=torch.float64)
    length = torch.full_like(t, 0.02)
    active = torch.arange(len(points))
    for _ in range(_MAX_STEPS):
        here, now = points[active], t[active]
        step = torch.minimum(length[active], 1 - now)
        then = torch.where(step < 1 - now, now + step, 1.0)
        guess = _runge_kutta(arc, active, now, step, here)
        once, first = arc.newton(active, then, guess)
        twice, second = arc.newton(active, then, once)
        good = (first <= tolerance) & (second <= 1e-2 * tolerance)
        growth = 0.9 * (tolerance / first.clamp_min(1e-16)).pow(0.2)
        growth = torch.where(good, growth.clamp(0.5, 2.0), 0.5)
        length[active] = (step * growth).clamp_max(_LARGEST_STEP)
        moved = active[good]
        points[moved], t[moved] = twice[good], then[good]
        size = points[active].flatten(1).norm(dim=1)
        going = (t[active] < 1) & (length[active] > _SMALLEST_STEP) & (size < _FAR)
        active = active[going]
        if len(active) == 0:
            break
    arrived = t == 1
    ended = arrived.nonzero().squeeze(-1)
    for _ in range(_POLISH):
        points[ended] = arc.newton(ended, t[ended], points[ended])[0]
    return points, arrived & points.flatten(1).abs().sum(1).isfinite()


def _runge_kutta(arc: Arc, which: Tensor, t: Tensor, step: Tensor, points: Tensor) -> Tensor:
    h = step[:, None, None]
    first = arc.tangent(which, t, points)
    second = arc.tangent(which, t + step / 2, points + h / 2 * first)
    third = arc.tangent(which, t + step / 2, points + h / 2 * second)
    fourth = arc.tangent(which, t + step, points + h * third)
    return points + h / 6 * (first + 2 * second + 2 * third + fourth)


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """matrix^-1 right; not a number where the matrix is singular, which no step survives."""
    return torch.linalg.solve_ex(matrix, right.unsqueeze(-1))[0].squeeze(-1)
