"""Two experts under the squared loss: which gates have a spurious minimum; unit norms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.standard_losses.population.newton_kantorovich import certify_squared
from moe.experiments.standard_losses.population.population_losses import (
    Population,
    levenberg_marquardt,
    squared_population,
    unstack,
)
from moe.experiments.standard_losses.spurious_minima import (
    oblique_pair,
    random_start,
)
from moe.metrics import regressor_error_of
from moe.model.mixture import MoE
from moe.randomness import stream
from moe.solvers.gradient import gradient_descent

NONE, FOUND, CERTIFIED = 0, 1, 2
_NOTHING = (NONE, math.nan, math.nan, math.nan, 0.0, math.nan, math.nan)
_STEPS = ((0.25, 0.2), (0.12, 0.1))


@dataclass(frozen=True)
class PhaseSpec:
    """Angles of w* to delta* in degrees and gate norms; random starts in each cell."""

    angles: tuple[float, ...] = (5, 10, 15, 20, 25, 30, 45, 60, 75, 80, 85, 90)
    norms: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
    starts: int = 12
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Phase:
    """By norm and angle (N, M): kind (NONE: every start ends at the truth or runs away; FOUND: a
    minimum of the rule; CERTIFIED: of the population), and of it the least curvature, the excess
    and the size |A|_F; NaN where there is none. reached: the share of the starts that end there;
    gate (N, M, 2): the minimum's."""

    spec: PhaseSpec
    kind: Tensor
    curvature: Tensor
    excess: Tensor
    size: Tensor
    reached: Tensor
    gate: Tensor


def phase(spec: PhaseSpec) -> Phase:
    """Levenberg-Marquardt from random starts in each cell, and a certificate for what it finds."""
    rows = []
    for i, norm in enumerate(spec.norms):
        for j, angle in enumerate(spec.angles):
            starts = stream("starts", spec.seed, i, j)
            rows.append(_cell(oblique_pair(angle, norm), spec.starts, starts))
    table = torch.tensor(rows, dtype=torch.float64).view(len(spec.norms), len(spec.angles), 7)
    kind, curvature, excess, size, reached = table[..., :5].unbind(2)
    return Phase(spec, kind.long(), curvature, excess, size, reached, table[..., 5:])


def _cell(truth: MoE, starts: int, generator: torch.Generator) -> tuple[float, ...]:
    loss = squared_population(truth, 24)
    theta, excess, norms = levenberg_marquardt(loss, random_start(truth, starts, generator), 200)
    wrong = (excess > 1e-9) & (norms < 1e-9) & (theta.norm(dim=1) < 1e3)
    errors = [regressor_error_of(a, truth.regressors) > 0.01 for a in unstack(theta, truth)[0]]
    wrong &= torch.tensor(errors)
    if not bool(wrong.any()):
        return _NOTHING
    at = torch.where(wrong, excess, torch.inf).argmin()
    curvature = float(torch.linalg.eigvalsh(loss.derivatives(theta[at])[2])[0])
    if curvature <= 0:
        return _NOTHING
    point = certify_squared(truth, theta[at], _STEPS)
    kind = CERTIFIED if point.is_spurious else FOUND
    regressors, gating = unstack(point.theta, truth)
    size, reached = float(regressors.norm()), float(wrong.double().mean())
    return kind, curvature, point.excess, size, reached, *gating[0].tolist()


@dataclass(frozen=True, eq=False)
class UnitNorm:
    """Ends of descent with |a_i| = 1 (S): excess; gradient along the spheres; least curvature along
    them; E_reg."""

    excess: Tensor
    gradient: Tensor
    curvature: Tensor
    error: Tensor

    @property
    def spurious(self) -> Tensor:
        """(S,) bool: a strict constrained minimum with wrong experts, E_reg >= 0.05."""
        return (self.gradient < 1e-8) & (self.curvature > 1e-5) & (self.error >= 0.05)


def unit_norm(
    truth: MoE, starts: int, seed: int, nodes: tuple[int, int], iterations: int = 300
) -> UnitNorm:
    """Adam on the population squared loss over unit regressors, then Newton along the spheres; the
    rule's nodes an axis for the one and for the other."""
    loss, finer = (squared_population(truth, count) for count in nodes)
    start = random_start(truth, starts, stream("starts", seed))
    descent = gradient_descent(
        lambda theta: loss.values(to_spheres(theta, truth)),
        [start],
        step=lambda t: 0.05 / (1 + 4 * t / iterations),
        iterations=iterations,
        optimiser="adam",
        every=iterations,
    )
    ends = to_spheres(descent.parameters[0], truth)
    rows = [_polished(finer, theta) for theta in ends]
    columns = zip(*rows, strict=True)
    return UnitNorm(*(torch.tensor(column, dtype=torch.float64) for column in columns))


def to_spheres(theta: Tensor, like: MoE) -> Tensor:
    """theta (..., P) with its regressors scaled to norm one."""
    rows = theta.unflatten(-1, (2 * like.k - 1, like.d))
    unit = rows[..., : like.k, :]
    unit = unit / unit.norm(dim=-1, keepdim=True)
    return torch.cat([unit, rows[..., like.k :, :]], -2).flatten(-2)


def _polished(loss: Population, theta: Tensor) -> tuple[float, float, float, float]:
    gradient, hessian, basis = _tangent(loss, theta)
    for _ in range(20):
        if float(gradient.norm()) < 1e-11:
            break
        values, vectors = torch.linalg.eigh(hessian)
        step = vectors @ ((vectors.T @ gradient) / values.abs().clamp_min(1e-6))
        trial = to_spheres(theta - basis @ step / max(1.0, float(step.norm())), loss.truth)
        theta = trial
        gradient, hessian, basis = _tangent(loss, theta)
    regressors, _ = unstack(theta, loss.truth)
    return (
        float(loss.values(theta[None])),
        float(gradient.norm()),
        float(torch.linalg.eigvalsh(hessian)[0]),
        regressor_error_of(regressors, loss.truth.regressors),
    )


def _tangent(loss: Population, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient and Hessian along the spheres, in an orthonormal basis (P, P - k) of the tangents.

    On |a| = 1 the second derivative of a -> f is that of f less <grad f, a> (derived)."""
    like = loss.truth
    _, gradient, hessian, _ = loss.derivatives(theta)
    normals = theta.new_zeros(like.k, len(theta))
    for i, row in enumerate(unstack(theta, like)[0]):
        block = slice(i * like.d, (i + 1) * like.d)
        normals[i, block] = row
        hessian[block, block] -= gradient[block] @ row * torch.eye(like.d, dtype=theta.dtype)
    basis = torch.linalg.svd(normals, full_matrices=True)[2][like.k :].T
    return basis.T @ gradient, basis.T @ hessian @ basis, basis
