"""The regressors' loss L_4 in whitened coordinates, and its minimisation from many starts at once.

With a_i = V b_i and T = E[Q_4(y) S_4(x)][V, V, V, V] / c_4, a symmetric (k, k, k, k) tensor,

    L_4(B) = sum_{i != j} T[b_i, b_i, b_j, b_j] - mu sum_i T[b_i, b_i, b_i, b_i]
             + lambda sum_i (|b_i|^2 - 1)^2                          (paper; whitening derived).

In population T = sum_m v_m^(4) / p_m with orthonormal v_m and p_m = E[p_m(x)]: then L_4 is bounded
below exactly when lambda > mu / min_m p_m (at equality a row along v_m falls without end), and then
for 0 < mu <= 1 its only local minima are b_i = +- s_i v_pi(i) (derived; book, chapter 5).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.solvers.descent import descend, norm, polish


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
    return _value_and_gradient(points, _folded(points, tensor), mu, lam)[0]


def quartic_gradient(points: Tensor, tensor: Tensor, mu: float, lam: float) -> Tensor:
    """Gradient of L_4 by the rows b_i, shape (..., k, k) (derived):

    4 [T(P) - (1 + mu) T(b_i b_i') + lambda (|b_i|^2 - 1) I] b_i,   P = sum_j b_j b_j'.
    """
    return _value_and_gradient(points, _folded(points, tensor), mu, lam)[1]


def quartic_hessian(points: Tensor, tensor: Tensor, mu: float, lam: float) -> Tensor:
    """Hessian of L_4, shape (..., k, k, k, k), indices (row i, coordinate, row j, coordinate).

    8 T(b_i b_j') + delta_ij [4 T(P) - 12 (1 + mu) T(b_i b_i') + 4 lambda (|b_i|^2 - 1) I
    + 8 lambda b_i b_i']  (derived).
    """
    return _hessian(points, _folded(points, tensor), mu, lam)


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
    tolerance: float = 1e-10,
    first_order_iterations: int = 100,
    max_iterations: int = 200,
    radius: float = 1e3,
) -> QuarticSolution:
    """Minimise L_4 from all starts (S, k, k) together.

    Gradient steps of Barzilai-Borwein length, halved where they do not decrease L_4 enough, are
    followed by Newton steps damped until the Hessian is positive definite and L_4 does not rise,
    so no start settles on a saddle. A start has converged at a gradient norm of at most
    max(tolerance, 16 eps (lambda + max|T|) (1 + |B|)^3): the second is the rounding error of the
    gradient, below 1e-10 in float64 while lambda + max|T| is below about 1,000.
    A start with |B| > radius sqrt(k) has run off. max_iterations bounds the Newton steps.
    """
    if starts.ndim != 3:
        raise ValueError(f"starts must have shape (S, k, k), got {tuple(starts.shape)}")
    if not bool(torch.isfinite(starts).all()):
        raise ValueError("starts must be finite, got NaN or infinite entries")
    starts = starts.detach()
    folded = _folded(starts, tensor.detach())
    rounding = 16 * torch.finfo(starts.dtype).eps * (lam + float(tensor.abs().max()))
    run = _Run(folded, mu, lam, tolerance, rounding, radius * starts.shape[-1] ** 0.5)
    points, first = descend(run, starts, first_order_iterations)
    points, second = polish(run, points, max_iterations)
    value, gradient = _value_and_gradient(points, folded, mu, lam)
    norms = norm(gradient)
    return QuarticSolution(points, value, norms, norms <= run.threshold(points), first + second)


@dataclass(frozen=True, eq=False)
class _Run:
    """L_4 as ``descent`` wants it."""

    folded: Tensor
    mu: float
    lam: float
    tolerance: float
    rounding: float
    radius: float

    def value_and_gradient(self, points: Tensor) -> tuple[Tensor, Tensor]:
        return _value_and_gradient(points, self.folded, self.mu, self.lam)

    def hessian(self, points: Tensor) -> Tensor:
        return _hessian(points, self.folded, self.mu, self.lam)

    def threshold(self, points: Tensor) -> Tensor:
        return (self.rounding * (1 + norm(points)) ** 3).clamp(min=self.tolerance)


def _folded(points: Tensor, tensor: Tensor) -> Tensor:
    """T as a (k (k + 1) / 2, k^2) matrix that acts on the products b_a b_b, a <= b."""
    k = points.shape[-1]
    if points.ndim < 2 or points.shape[-2] != k:
        raise ValueError(f"points must have shape (..., k, k), got {tuple(points.shape)}")
    if tensor.shape != (k,) * 4:
        raise ValueError(f"tensor must have shape {(k,) * 4}, got {tuple(tensor.shape)}")
    if tensor.dtype != points.dtype:
        raise TypeError(f"tensor is {tensor.dtype}, points are {points.dtype}: expected the same")
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError("tensor must be finite, got NaN or infinite entries")
    slack = 1e3 * torch.finfo(tensor.dtype).eps * float(tensor.abs().max())
    for axis in range(3):
        if float((tensor - tensor.transpose(axis, axis + 1)).abs().max()) > slack:
            raise ValueError(f"tensor must be symmetric, but axes {axis} and {axis + 1} differ")
    row, column = torch.triu_indices(k, k, device=tensor.device)
    weight = torch.where(row == column, 1.0, 2.0).to(tensor.dtype)
    return (weight[:, None, None] * tensor[row, column]).flatten(1)


def _value_and_gradient(
    points: Tensor, folded: Tensor, mu: float, lam: float
) -> tuple[Tensor, Tensor]:
    k = points.shape[-1]
    row, column = torch.triu_indices(k, k, device=points.device)
    products = points.index_select(-1, row) * points.index_select(-1, column)
    mixed = products.sum(-2, keepdim=True) - (1 + mu) * products
    matrices = torch.unflatten(mixed @ folded, -1, (k, k))
    cubic = (matrices @ points.unsqueeze(-1)).squeeze(-1)
    excess = points.square().sum(-1) - 1
    value = (cubic * points).sum((-2, -1)) + lam * excess.square().sum(-1)
    return value, 4 * (cubic + lam * excess.unsqueeze(-1) * points)


def _hessian(points: Tensor, folded: Tensor, mu: float, lam: float) -> Tensor:
    k = points.shape[-1]
    row, column = torch.triu_indices(k, k, device=points.device)
    left, right = points[..., row, :], points[..., column, :]
    pairs = left[..., row] * right[..., column] + left[..., column] * right[..., row]
    blocks = torch.unflatten(pairs @ (folded / 2), -1, (k, k))  # T(b_i b_j'), i <= j
    position = torch.empty(k, k, dtype=torch.long, device=points.device)
    position[row, column] = position[column, row] = torch.arange(len(row), device=points.device)
    hessian = 8 * blocks[..., position, :, :].transpose(-3, -2).contiguous()
    own = blocks[..., position.diagonal(), :, :]
    excess = points.square().sum(-1) - 1
    identity = torch.eye(k, dtype=points.dtype, device=points.device)
    diagonal = 4 * own.sum(-3, keepdim=True) - 12 * (1 + mu) * own
    diagonal = diagonal + 4 * lam * excess[..., None, None] * identity
    diagonal = diagonal + 8 * lam * points.unsqueeze(-1) * points.unsqueeze(-2)
    hessian.diagonal(dim1=-4, dim2=-2).add_(diagonal.movedim(-3, -1))
    return hessian


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
