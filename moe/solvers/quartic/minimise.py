"""The regressors' loss L_4 in whitened coordinates, and its minimisation from many starts at once.

With a_i = V b_i and T = E[Q_4(y) S_4(x)][V, V, V, V] / c_4, a symmetric (k, k, k, k) tensor,

    L_4(B) = sum_{i != j} T[b_i, b_i, b_j, b_j] - mu sum_i T[b_i, b_i, b_i, b_i]
             + lambda sum_i (|b_i|^2 - 1)^2                          (paper; whitening derived).

In population T = sum_m v_m^(4) / p_m with orthonormal v_m and p_m = E[p_m(x)]: then L_4 is bounded
below exactly when lambda > mu / min_m p_m (at equality a row along v_m falls without end), and then
for 0 < mu <= 1 its only local minima are b_i = +- s_i v_pi(i) (derived; book, chapter 5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from moe.solvers.linear import Array
from moe.solvers.quartic.contractions import fold, hessian, value_and_gradient
from moe.solvers.quartic.descent import Index, descend, norm, polish

TOLERANCE, FIRST_ORDER, NEWTON, RADIUS = 1e-10, 100, 200, 1e3


@dataclass(frozen=True, eq=False)
class QuarticSolution:
    """Where each start ended. S starts, k experts.

    points (S, k, k) rows b_i; values (S,) L_4 there; gradient_norms (S,) Frobenius norms;
    converged (S,) bool; iterations: first-order plus Newton iterations of the slowest start.
    A start that ran off (L_4 unbounded below) or out of iterations has converged False and
    keeps its last finite point.
    """

    points: Tensor
    values: Tensor
    gradient_norms: Tensor
    converged: Tensor
    iterations: int

    @property
    def best(self) -> int:
        """Index of the lowest value among the converged starts; ValueError when there are none."""
        if not bool(self.converged.any()):
            raise ValueError("no start converged: L_4 has no minimum that the starts could reach")
        infinity = torch.full_like(self.values, torch.inf)
        return int(torch.where(self.converged, self.values, infinity).argmin())


def quartic_loss(points: Tensor, tensor: Tensor, mu: float, lam: float) -> Tensor:
    """L_4 at the rows b_i of points (..., k, k); tensor (k, k, k, k) symmetric; returns (...)."""
    value: Tensor = value_and_gradient(points, fold(points, tensor), mu, lam)[0]
    return value


def quartic_gradient(points: Tensor, tensor: Tensor, mu: float, lam: float) -> Tensor:
    """Gradient of L_4 by the rows b_i, shape (..., k, k) (derived):

    4 [T(P) - (1 + mu) T(b_i b_i') + lambda (|b_i|^2 - 1) I] b_i,   P = sum_j b_j b_j'.
    """
    gradient: Tensor = value_and_gradient(points, fold(points, tensor), mu, lam)[1]
    return gradient


def quartic_hessian(points: Tensor, tensor: Tensor, mu: float, lam: float) -> Tensor:
    """Hessian of L_4, shape (..., k, k, k, k), indices (row i, coordinate, row j, coordinate).

    8 T(b_i b_j') + delta_ij [4 T(P) - 12 (1 + mu) T(b_i b_i') + 4 lambda (|b_i|^2 - 1) I
    + 8 lambda b_i b_i']  (derived).
    """
    bent: Tensor = hessian(points, fold(points, tensor), mu, lam)
    return bent


def random_starts(
    count: int, k: int, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Starts (count, k, k) whose rows are N(0, I / k): norms near one, directions uniform."""
    if count < 1 or k < 1:
        raise ValueError(f"count and k must be at least 1, got count={count}, k={k}")
    draws = torch.randn(count, k, k, generator=generator, dtype=dtype, device=generator.device)
    starts: Tensor = draws / k**0.5
    return starts


def minimise_quartic(
    tensor: Tensor,
    mu: float,
    lam: float,
    starts: Tensor,
    *,
    tolerance: float = TOLERANCE,
    first_order_iterations: int = FIRST_ORDER,
    max_iterations: int = NEWTON,
    radius: float = RADIUS,
) -> QuarticSolution:
    """Minimise L_4 from all starts (S, k, k) together.

    Gradient steps of Barzilai-Borwein length, halved where they do not decrease L_4 enough, are
    followed by Newton steps damped until the Hessian is positive definite and L_4 does not rise:
    saddles repel them, but a start that is placed exactly on one stays. A start has converged at a
    gradient norm of at most max(tolerance, 16 eps (lambda + max|T|) (1 + |B|)^3): the second is the
    rounding error of the gradient, below 1e-10 in float64 while lambda + max|T| is below about
    1,000.
    A start with |B| > radius sqrt(k) has run off. max_iterations bounds the Newton steps.
    """
    if starts.ndim != 3:
        raise ValueError(f"starts must have shape (S, k, k), got {tuple(starts.shape)}")
    _check(starts)
    folded = fold(starts, tensor.detach()).cpu().numpy()
    size = lam + float(tensor.abs().max())
    run = _Run(folded, mu, lam, tolerance, _eps(starts) * size, _reach(starts, radius))
    return _minimised(run, starts, first_order_iterations, max_iterations)


def minimise_quartics(
    tensors: Tensor, mu: float, lams: Tensor, starts: Tensor
) -> list[QuarticSolution]:
    """``minimise_quartic`` for tensors (T, k, k, k, k) with lambdas (T,) from starts (T, S, k, k),
    all in one batch; ``iterations`` are those of the slowest start of all."""
    if starts.ndim != 4 or len(starts) != len(tensors) or lams.shape != (len(tensors),):
        raise ValueError(
            "tensors, lams, starts: expected shapes (T, k, k, k, k), (T,) and (T, S, k, k), got "
            f"{tuple(tensors.shape)}, {tuple(lams.shape)} and {tuple(starts.shape)}"
        )
    _check(starts)
    count = starts.shape[1]
    folded = torch.stack([fold(starts, tensor) for tensor in tensors.detach()])
    largest = tensors.detach().abs().flatten(1).amax(1)
    every = (folded, lams, _eps(starts) * (lams + largest))
    own, lam, rounding = (part.repeat_interleave(count, 0).cpu().numpy() for part in every)
    run = _Run(own, mu, lam, TOLERANCE, rounding, _reach(starts, RADIUS))
    end = _minimised(run, starts.flatten(0, 1), FIRST_ORDER, NEWTON)
    parts = (end.points, end.values, end.gradient_norms, end.converged)
    shares = zip(*(part.split(count) for part in parts), strict=True)
    return [QuarticSolution(a, b, c, d, end.iterations) for a, b, c, d in shares]


def _check(starts: Tensor) -> None:
    if not bool(torch.isfinite(starts).all()):
        raise ValueError("starts must be finite, got NaN or infinite entries")


def _eps(starts: Tensor) -> float:
    return 16 * torch.finfo(starts.dtype).eps


def _reach(starts: Tensor, radius: float) -> float:
    return float(radius * starts.shape[-1] ** 0.5)


@np.errstate(all="ignore")  # what is not finite is not stepped to
def _minimised(run: _Run, starts: Tensor, first_order: int, newton: int) -> QuarticSolution:
    points, first = descend(run, starts.detach().cpu().numpy(), first_order)
    points, second = polish(run, points, newton)
    value, gradient = run.value_and_gradient(points)
    norms = norm(gradient)
    found = (points, value, norms, norms <= run.threshold(points))
    a, b, c, d = (torch.from_numpy(part).to(starts.device) for part in found)
    return QuarticSolution(a, b, c, d, first + second)


@dataclass(frozen=True, eq=False)
class _Run:
    """L_4 as ``descent`` wants it: one, or one for each start, whose lam and rounding are (S,) and
    whose folded tensors have a leading S."""

    folded: Array
    mu: float
    lam: float | Array
    tolerance: float
    rounding: float | Array
    radius: float

    def some(self, index: Index) -> _Run:
        if isinstance(self.lam, np.ndarray) and isinstance(self.rounding, np.ndarray):
            lam, rounding = self.lam[index], self.rounding[index]
            return replace(self, folded=self.folded[index], lam=lam, rounding=rounding)
        return self

    def value_and_gradient(self, points: Array) -> tuple[Array, Array]:
        return value_and_gradient(points, self.folded, self.mu, self.lam)

    def hessian(self, points: Array) -> Array:
        bent: Array = hessian(points, self.folded, self.mu, self.lam)
        return bent

    def threshold(self, points: Array) -> Array:
        return np.maximum(self.rounding * (1 + norm(points)) ** 3, self.tolerance)


def proportions_from_norms(squared_norms: Tensor, mu: float, lam: float) -> Tensor:
    """p_m = mu s_m^2 / (lambda (s_m^2 - 1)) from the minimiser's s_m^2 = |b_m|^2 > 1 (derived).

    NaN where s_m^2 <= 1: no population L_4 has such a minimiser, so moment noise has won there.
    """
    proportions = mu * squared_norms / (lam * (squared_norms - 1))
    return torch.where(squared_norms > 1, proportions, torch.nan)


def check_weights(mu: float, lam: float, p_min: float) -> tuple[str, ...]:
    """The conditions of a benign landscape that (mu, lambda) breaks, in words; () when none.

    p_min = min_m E[p_m(x)]. The conditions are 0 < mu < 1 and lambda > mu / p_min (derived): they
    suffice; for mu > 1 see moe.landscape.only_truths.
    """
    if not 0 < p_min <= 1:
        raise ValueError(f"p_min must lie in (0, 1], got {p_min}")
    broken = []
    if not mu > 0:
        broken.append(f"mu must be positive, got {mu}: nothing then rewards rows for one expert")
    if not mu < 1:
        broken.append(f"mu must be below 1, got {mu}: rows that share an expert can become minima")
    if not lam > mu / p_min:
        broken.append(
            f"lambda must exceed mu / p_min = {mu / p_min:.4g}, got {lam}: "
            "L_4 is not bounded below or has no strict minimum"
        )
    return tuple(broken)


def benign(mu: float, lam: float, p_min: float) -> bool:
    """Whether every local minimum of the population L_4 is known to be the truth: no condition of
    ``check_weights`` is broken."""
    return not check_weights(mu, lam, p_min)
