"""Conditioning of L_4 at the truth, the weakest way out of its saddles, and the moment errors that
the minimum survives (book, chapter 5)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

from moe.experiments.landscape.lists import skewed_proportions
from moe.landscape import (
    best_lambda,
    conditioning,
    critical_points,
    error_norm,
    global_minimum,
    moment_error_tolerance,
    population_tensor,
)
from moe.randomness import stream
from moe.solvers.quartic import minimise_quartic, quartic_gradient, quartic_hessian


@dataclass(frozen=True)
class Spec:
    """Condition numbers over margins lambda p_min / mu for each of mus; escapes for k <= 4 over
    escape_mus at each one's best lambda; survival at (mu, lam) along ``directions`` errors."""

    k: int = 3
    skew: float = 1.5
    mus: tuple[float, ...] = (0.1, 1 / 3, 0.8)
    margins: tuple[float, ...] = tuple(1.05 * 1.12**i for i in range(26))
    escape_mus: tuple[float, ...] = tuple(0.05 * i for i in range(1, 20))
    mu: float = 1 / 3
    lam: float = 3.0
    directions: int = 8
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Record:
    """condition (mus, margins); best (mus, 2): margin and condition number of the best lambda.
    escape (escape_mus,): the weakest negative curvature of all saddles, over 8 lambda.
    tolerance: the proven norm of an error of T that the minimum survives; survived (directions,):
    the measured one, up to a step of 8 %."""

    spec: Spec
    condition: Tensor
    best: Tensor
    escape: Tensor
    tolerance: float
    survived: Tensor


def run(spec: Spec) -> Record:
    """Closed forms for the first, enumeration for the second, Newton continuation for the third."""
    p = skewed_proportions(spec.k, spec.skew)
    smallest = float(p.min())
    condition = [[conditioning(p, mu, m * mu / smallest) for m in spec.margins] for mu in spec.mus]
    best = [
        (lam * smallest / mu, conditioning(p, mu, lam))
        for mu, lam in ((mu, best_lambda(p, mu)) for mu in spec.mus)
    ]
    generator = stream("directions", spec.seed)
    errors = [_random_error(spec.k, generator) for _ in range(spec.directions)]
    tolerance = moment_error_tolerance(p, spec.mu, spec.lam).epsilon
    survived = [_survival(p, spec.mu, spec.lam, error, tolerance) for error in errors]
    return Record(
        spec,
        torch.tensor(condition, dtype=torch.float64),
        torch.tensor(best, dtype=torch.float64),
        torch.tensor([_weakest_escape(p, mu) for mu in spec.escape_mus], dtype=torch.float64),
        tolerance,
        torch.tensor(survived, dtype=torch.float64),
    )


def _weakest_escape(p: Tensor, mu: float) -> float:
    lam = best_lambda(p, mu)
    points = critical_points(p, mu, lam)
    return -float(points.lowest_curvature[points.index > 0].max()) / (8 * lam)


def _random_error(k: int, generator: torch.Generator) -> Tensor:
    """A random symmetric tensor of ``error_norm`` one."""
    draw = torch.randn((k,) * 4, generator=generator, dtype=torch.float64)
    symmetric = torch.stack([draw.permute(order) for order in permutations(range(4))]).mean(0)
    return symmetric / error_norm(symmetric)


def _survival(p: Tensor, mu: float, lam: float, direction: Tensor, size: float) -> float:
    """The largest size, in steps of 8 % from a proven one, up to which Newton's method can follow
    the minimum with a positive definite Hessian."""
    k = len(p)
    tensor = population_tensor(p)
    rows = torch.diag(global_minimum(p, mu, lam).squared_norms.sqrt())
    while size < 1e3:
        moved = tensor + size * direction
        for _ in range(12):
            gradient = quartic_gradient(rows, moved, mu, lam).flatten()
            hessian = quartic_hessian(rows, moved, mu, lam).view(k * k, k * k)
            if float(torch.linalg.eigvalsh(hessian)[0]) <= 0:
                return size / 1.08
            if float(gradient.norm()) < 1e-9 * (1 + lam):
                break
            rows = rows - torch.linalg.solve(hessian, gradient).view(k, k)
        else:
            return size / 1.08
        size *= 1.08
    return size


def within_the_bound(p: Tensor, mu: float, lam: float, directions: int, seed: int) -> Tensor:
    """(2 directions,): how far the minimum of T + E lies from the truth, over the proven radius,
    for E of exactly the proven norm: plus and minus u^(4), |u| = 1, which has that norm in the
    multilinear sense too. Infinite where the minimum is gone."""
    k, bound = len(p), moment_error_tolerance(p, mu, lam)
    rows = torch.diag(global_minimum(p, mu, lam).squared_norms.sqrt())
    u = torch.randn(directions, k, generator=stream("worst", seed), dtype=torch.float64)
    u = u / u.norm(dim=1, keepdim=True)
    errors = bound.epsilon * torch.einsum("na,nb,nc,nd->nabcd", u, u, u, u)
    found = []
    for error in torch.cat([errors, -errors]):
        tensor = population_tensor(p) + error
        end = minimise_quartic(tensor, mu, lam, rows.unsqueeze(0), first_order_iterations=0)
        hessian = quartic_hessian(end.points[0], tensor, mu, lam).view(k * k, k * k)
        stands = bool(end.converged[0]) and float(torch.linalg.eigvalsh(hessian)[0]) > 0
        found.append(float((end.points[0] - rows).norm()) if stands else torch.inf)
    return torch.tensor(found, dtype=torch.float64) / bound.radius
