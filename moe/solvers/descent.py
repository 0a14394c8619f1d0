"""Many starts of a smooth loss of matrices at once: Barzilai-Borwein steps, then damped Newton."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

_NEWTON_MEMORY = 2**23  # entries of the Hessians that are formed at once


class Objective(Protocol):
    """A loss of points (S, k, k), or one for each. lam: the size of its curvature near the minima;
    rounding: the error of its gradient, at points of length one, numbers or (S,); radius: points
    beyond it have run off."""

    @property
    def lam(self) -> float | Tensor: ...
    @property
    def rounding(self) -> float | Tensor: ...
    @property
    def radius(self) -> float: ...

    def some(self, index: Tensor) -> Objective:
        """The losses of some of the points."""

    def value_and_gradient(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """(S,) and (S, k, k)."""

    def hessian(self, points: Tensor) -> Tensor:
        """(S, k, k, k, k)."""

    def threshold(self, points: Tensor) -> Tensor:
        """Length of the gradient below which a start has converged, (S,)."""


def norm(points: Tensor) -> Tensor:
    """Frobenius norms of (..., k, k)."""
    length: Tensor = torch.linalg.vector_norm(points, dim=(-2, -1))
    return length


def descend(run: Objective, points: Tensor, iterations: int) -> tuple[Tensor, int]:
    """Barzilai-Borwein steps; a step that does not decrease L_4 enough is retried at a quarter.

    Returns the points and how many iterations were made."""
    value, gradient = run.value_and_gradient(points)
    step = 0.1 / (1 + norm(gradient))
    iteration = 0
    for iteration in range(1, iterations + 1):
        trial = points - step[:, None, None] * gradient
        trial_value, trial_gradient = run.value_and_gradient(trial)
        square = gradient.square().sum((-2, -1))
        inside = trial.square().sum((-2, -1)) < run.radius**2
        accept = (trial_value <= value - 1e-4 * step * square) & inside
        curvature = square - (gradient * trial_gradient).sum((-2, -1))
        longer = torch.where(curvature > 0, step * square / curvature, 4 * step)
        step = torch.where(accept, longer.clamp(max=1.0), step / 4)
        taken = accept[:, None, None]
        points = torch.where(taken, trial, points)
        gradient = torch.where(taken, trial_gradient, gradient)
        value = torch.where(accept, trial_value, value)
        if iteration % 5 == 0 and float((norm(gradient) < 1e-2 * run.lam).double().mean()) > 0.9:
            break
    return points, iteration


def polish(run: Objective, points: Tensor, iterations: int) -> tuple[Tensor, int]:
    """Newton steps with a damping of each start's own; finished starts leave the batch."""
    points = points.clone()
    value, gradient = run.value_and_gradient(points)
    damping = torch.zeros_like(value)
    active = (norm(gradient) > run.threshold(points)).nonzero().squeeze(-1)
    iteration = 0
    for iteration in range(1, iterations + 1):
        if len(active) == 0:
            return points, iteration - 1
        part, start, level = run.some(active), points[active], value[active]
        trial = start - _newton_step(part, start, gradient[active], damping[active])
        trial_value, trial_gradient = part.value_and_gradient(trial)
        accept = trial_value <= level + part.rounding * (1 + norm(start)) ** 4  # False for NaN
        taken = active[accept]
        points[taken], value[taken] = trial[accept], trial_value[accept]
        gradient[taken] = trial_gradient[accept]
        calmer = torch.where(damping[active] < 1e-3 * part.lam, 0.0, damping[active] / 8)
        bolder = (4 * damping[active]).maximum(torch.as_tensor(1e-2 * part.lam, dtype=value.dtype))
        damping[active] = torch.where(accept, calmer, bolder)
        here = points[active]
        size = norm(here)
        going = (norm(gradient[active]) > part.threshold(here)) & (size < run.radius)
        active = active[going]
    return points, iteration


def _newton_step(run: Objective, points: Tensor, gradient: Tensor, damping: Tensor) -> Tensor:
    """(H + damping I)^-1 gradient; NaN where that matrix is not positive definite."""
    steps = []
    for index in torch.arange(len(points)).split(max(1, _NEWTON_MEMORY // points.shape[-1] ** 4)):
        matrix = run.some(index).hessian(points[index]).flatten(-2).flatten(-3, -2)
        matrix.diagonal(dim1=-2, dim2=-1).add_(damping[index, None])
        factor, failed = torch.linalg.cholesky_ex(matrix)
        slope = gradient[index]
        step = torch.cholesky_solve(slope.flatten(1).unsqueeze(-1), factor).view_as(slope)
        steps.append(torch.where((failed == 0)[:, None, None], step, torch.nan))
    return torch.cat(steps)
