"""Critical points and minima of the population L_4 found by search, not by enumeration."""

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.checks import check_positive
from moe.landscape.critical import CriticalPoints, classify
from moe.landscape.squares import check_proportions, global_minimum, population_tensor, squares_loss
from moe.solvers.quartic import minimise_quartic, quartic_gradient, quartic_hessian, random_starts

_NEWTON_MEMORY = 2**23  # entries of the Hessians that are formed at once


@dataclass(frozen=True, eq=False)
class Search:
    """points: the N distinct critical points found, up to signs; hits (N,): how many starts ended
    at each; lost: how many starts ended at none."""

    points: CriticalPoints
    hits: Tensor
    lost: int


def search(
    proportions: Tensor,
    mu: float,
    lam: float,
    starts: int,
    generator: torch.Generator,
    *,
    iterations: int = 200,
    tolerance: float = 1e-10,
) -> Search:
    """Critical points of all kinds, from random starts by damped Newton steps on |gradient|^2.

    It works on L_4 in randomly rotated coordinates, and knows nothing of squared coordinates or
    supports. The starts that end at a gradient norm of at most tolerance (1 + lambda) are
    grouped by <v_m, b_i>^2. Most starts end at saddles: for minima alone see benign_share.
    """
    p = check_proportions(proportions).to(torch.float64)
    mu, lam = check_positive(mu, "mu"), check_positive(lam, "lam")
    k = len(p)
    rotation, _ = torch.linalg.qr(torch.randn(k, k, generator=generator, dtype=torch.float64))
    tensor = population_tensor(p, rotation)
    points = random_starts(starts, k, generator)
    points, found = stationary_points(points, tensor, mu, lam, iterations, tolerance)
    squares = (points[found] @ rotation.T).square()
    squares = torch.where(squares < 1e-12, 0.0, squares)
    cells = (squares * 1e5 + 0.1372).round()  # offset: values such as 1.000005 sit on no edge
    _, group, hits = torch.unique(cells, dim=0, return_inverse=True, return_counts=True)
    members = torch.arange(len(group))
    first = torch.full_like(hits, len(group)).scatter_reduce(0, group, members, "amin")
    squares = squares[first]
    order = squares_loss(squares, p, mu, lam).argsort(stable=True)
    return Search(classify(squares[order], p, mu, lam), hits[order], int((~found).sum()))


def stationary_points(
    starts: Tensor,
    tensor: Tensor,
    mu: float,
    lam: float,
    iterations: int = 200,
    tolerance: float = 1e-10,
) -> tuple[Tensor, Tensor]:
    """Where ``search`` goes from starts (S, k, k), for any symmetric tensor: the points, and
    whether the gradient's norm came down to tolerance (1 + lambda) there."""
    k = starts.shape[-1]
    size, goal = max(1, _NEWTON_MEMORY // k**4), tolerance * (1 + lam)
    points = torch.cat(
        [
            _newton(part, tensor, mu, lam, iterations, 1e-2 * goal)
            for part in torch.split(starts, size)
        ]
    )
    return points, quartic_gradient(points, tensor, mu, lam).flatten(1).norm(dim=-1) <= goal


def _newton(
    points: Tensor, tensor: Tensor, mu: float, lam: float, iterations: int, goal: float
) -> Tensor:
    """Damped Newton on |gradient|^2 (Levenberg-Marquardt): saddles attract it as minima do."""
    k = points.shape[-1]
    points = points.clone()
    gradient = quartic_gradient(points, tensor, mu, lam).flatten(1)
    damping = points.new_full((len(points),), 1e-3 * lam**2)
    active = torch.arange(len(points))
    for _ in range(iterations):
        hessian = quartic_hessian(points[active], tensor, mu, lam).view(-1, k * k, k * k)
        matrix = hessian @ hessian
        matrix.diagonal(dim1=-2, dim2=-1).add_(damping[active, None])
        slope = gradient[active].unsqueeze(-1)
        step = torch.linalg.solve_ex(matrix, hessian @ slope)[0]
        trial = points[active] - step.view(-1, k, k)
        reached = quartic_gradient(trial, tensor, mu, lam).flatten(1)
        better = reached.norm(dim=-1) < gradient[active].norm(dim=-1)
        points[active[better]], gradient[active[better]] = trial[better], reached[better]
        damping[active] *= torch.where(better, 1 / 9, 4.0)
        going = (gradient[active].norm(dim=-1) > goal) & (damping[active] < 1e12 * lam**2)
        active = active[going]
        if len(active) == 0:
            break
    return points


def match_points(found: Tensor, listed: Tensor, tolerance: float = 1e-6) -> Tensor:
    """(N,): for each of found (N, k, k) squares the index of the same point in listed (M, k, k),
    -1 where there is none within tolerance."""
    distance, nearest = torch.cdist(found.flatten(1), listed.flatten(1)).min(dim=1)
    return torch.where(distance <= tolerance, nearest, -1)


def benign_share(
    proportions: Tensor, mu: float, lam: float, starts: int, generator: torch.Generator
) -> float:
    """Share of random starts from which minimise_quartic reaches the truth.

    0 where lambda <= mu / min_m p_m: the truth is then no minimum and L_4 not bounded below.
    """
    p = check_proportions(proportions)
    if not check_positive(lam, "lam") > check_positive(mu, "mu") / float(p.min()):
        return 0.0
    drawn = random_starts(starts, len(p), generator, p.dtype)
    solution = minimise_quartic(population_tensor(p), mu, lam, drawn)
    squares = solution.points.square()
    experts = squares.argmax(-1)
    norms = global_minimum(p, mu, lam).squared_norms
    truth = torch.zeros_like(squares).scatter_(
        -1, experts.unsqueeze(-1), norms[experts].unsqueeze(-1)
    )
    near = (squares - truth).abs().amax((-2, -1)) <= 1e-5 * float(norms.max())
    each_once = (experts.sort(-1).values == torch.arange(len(p))).all(-1)
    return float((solution.converged & near & each_once).double().mean())
