"""Many starts of a smooth loss of matrices at once: Barzilai-Borwein steps, then damped Newton.

In NumPy: batches are small as a rule, and it starts its operations sooner than torch does.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from moe.solvers.linear import Array

Index = NDArray[np.intp]
_NEWTON_MEMORY = 2**23  # entries of the Hessians that are formed at once


class Objective(Protocol):
    """A loss of points (S, k, k), or one for each. lam: the size of its curvature near the minima;
    rounding: the error of its gradient, at points of length one, numbers or (S,); radius: points
    beyond it have run off."""

    @property
    def lam(self) -> float | Array: ...
    @property
    def rounding(self) -> float | Array: ...
    @property
    def radius(self) -> float: ...

    def some(self, index: Index) -> Objective:
        """The losses of some of the points."""

    def value_and_gradient(self, points: Array) -> tuple[Array, Array]:
        """(S,) and (S, k, k)."""

    def hessian(self, points: Array) -> Array:
        """(S, k, k, k, k)."""

    def threshold(self, points: Array) -> Array:
        """Length of the gradient below which a start has converged, (S,)."""


def norm(points: Array) -> Array:
    """Frobenius norms of (..., k, k)."""
    length: Array = np.sqrt((points * points).sum((-2, -1)))
    return length


def descend(run: Objective, points: Array, iterations: int) -> tuple[Array, int]:
    """Barzilai-Borwein steps; a step that does not decrease L_4 enough is retried at a quarter.

    Returns the points and how many iterations were made."""
    value, gradient = run.value_and_gradient(points)
    step = 0.1 / (1 + norm(gradient))
    iteration = 0
    for iteration in range(1, iterations + 1):
        trial = points - step[:, None, None] * gradient
        trial_value, trial_gradient = run.value_and_gradient(trial)
        square = (gradient * gradient).sum((-2, -1))
        inside = (trial * trial).sum((-2, -1)) < run.radius**2
        accept = (trial_value <= value - 1e-4 * step * square) & inside
        curvature = square - (gradient * trial_gradient).sum((-2, -1))
        longer = np.where(curvature > 0, step * square / curvature, 4 * step)
        step = np.where(accept, np.minimum(longer, 1.0), step / 4)
        taken = accept[:, None, None]
        points = np.where(taken, trial, points)
        gradient = np.where(taken, trial_gradient, gradient)
        value = np.where(accept, trial_value, value)
        if iteration % 5 == 0 and float((norm(gradient) < 1e-2 * run.lam).mean()) > 0.9:
            break
    return points, iteration


def polish(run: Objective, points: Array, iterations: int) -> tuple[Array, int]:
    """Newton steps with a damping of each start's own; finished starts leave the batch."""
    points = points.copy()
    value, gradient = run.value_and_gradient(points)
    damping = np.zeros_like(value)
    active = np.flatnonzero(norm(gradient) > run.threshold(points))
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
        calmer = np.where(damping[active] < 1e-3 * part.lam, 0.0, damping[active] / 8)
        bolder = np.maximum(4 * damping[active], 1e-2 * part.lam)
        damping[active] = np.where(accept, calmer, bolder)
        here = points[active]
        going = (norm(gradient[active]) > part.threshold(here)) & (norm(here) < run.radius)
        active = active[going]
    return points, iteration


def _newton_step(run: Objective, points: Array, gradient: Array, damping: Array) -> Array:
    """(H + damping I)^-1 gradient; NaN where that matrix is not positive definite."""
    count, k, _ = points.shape
    size, steps = max(1, _NEWTON_MEMORY // k**4), []
    for index in np.split(np.arange(count), range(size, count, size)):
        matrix = run.some(index).hessian(points[index]).reshape(len(index), k * k, k * k)
        matrix[:, np.arange(k * k), np.arange(k * k)] += damping[index, None]
        factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(matrix))
        slope = torch.from_numpy(gradient[index].reshape(len(index), k * k, 1))
        step = torch.cholesky_solve(slope, factor).view(-1, k, k)
        step[failed != 0] = torch.nan
        steps.append(step.numpy())
    return np.concatenate(steps)
