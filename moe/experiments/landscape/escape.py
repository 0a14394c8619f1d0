"""Gradient descent on the population L_4: which saddles it passes, and how long it waits there
(book, chapter 5)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.landscape.lists import skewed_proportions, weight
from moe.landscape import CriticalPoints, critical_points, population_tensor
from moe.metrics import regressor_error_of
from moe.randomness import stream
from moe.solvers.quartic import quartic_gradient, quartic_hessian, quartic_loss, random_starts

_ARRIVED = 1e-2
_REACH = 0.5
_AWAY = 0.05


@dataclass(frozen=True)
class Spec:
    """k <= 4 experts; starts as after projecting random rows of R^d; steps of 1 / (40 lambda)."""

    k: int = 3
    d: int = 10
    skew: float = 1.5
    mu: float = 0.5
    lam: float | None = None
    starts: int = 400
    iterations: int = 450
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Wait:
    """A local minimum of |gradient| on the way, and the listed critical point nearest to it in
    the squared coordinates."""

    step: int
    name: str
    pattern: str
    saddle_value: float
    escape: float
    distance: float


@dataclass(frozen=True, eq=False)
class Record:
    """times (T,): step length times step. One path, the one that comes nearest to saddles, counted
    as the sum of log(reach / distance) over its waits: values, errors (E_reg in whitened
    coordinates), gradients (T,), squares (T, k, k), waits. All paths: arrival (S,) times, infinite
    for a path that does not reach a minimum; closest (S,): distance to the saddle that the path
    comes nearest to; ends: kind of the point nearest to a path's end -> number of paths."""

    spec: Spec
    lam: float
    times: Tensor
    values: Tensor
    errors: Tensor
    gradients: Tensor
    squares: Tensor
    waits: tuple[Wait, ...]
    arrival: Tensor
    closest: Tensor
    ends: dict[str, int]


def run(spec: Spec) -> Record:
    """Plain gradient descent, all starts together, against the complete list of critical points."""
    generator = stream("starts", spec.seed)
    p = skewed_proportions(spec.k, spec.skew)
    lam = weight(p, spec.mu, spec.lam)
    tensor, listed = population_tensor(p), critical_points(p, spec.mu, lam)
    step = 1 / (40 * lam)
    rows = random_starts(spec.starts, spec.k, generator) * (spec.k / spec.d) ** 0.5
    path, slopes = [], []
    for _ in range(spec.iterations):
        gradient = quartic_gradient(rows, tensor, spec.mu, lam)
        path.append(rows)
        slopes.append(gradient.flatten(1).norm(dim=1))
        rows = rows - step * gradient
    points, gradients = torch.stack(path), torch.stack(slopes)  # (T, S, k, k), (T, S)
    distance, nearest = _nearest(points.square(), listed.squares)
    minima = torch.tensor([kind in ("truth", "spurious minimum") for kind in listed.kinds])
    at_minimum = minima[nearest] & (distance < _ARRIVED)
    times = step * torch.arange(spec.iterations, dtype=torch.float64)
    arrived = at_minimum.any(0)
    arrival = torch.where(arrived, times[at_minimum.long().argmax(0)], torch.inf)
    saddles = listed.squares[~minima]
    closest = _nearest(points.square(), saddles)[0].amin(0)
    waits = [
        _waits(gradients[:, s], distance[:, s], nearest[:, s], listed) for s in range(spec.starts)
    ]
    depth = [sum(math.log(_REACH / wait.distance) for wait in path) for path in waits]
    chosen = max((s for s in range(spec.starts) if arrived[s]), key=depth.__getitem__, default=0)
    eye = torch.eye(spec.k, dtype=torch.float64)
    ends = [listed.kinds[i] for i in nearest[-1].tolist()]
    return Record(
        spec,
        lam,
        times,
        quartic_loss(points[:, chosen], tensor, spec.mu, lam),
        torch.tensor([regressor_error_of(b, eye) for b in points[:, chosen]]).double(),
        gradients[:, chosen],
        points[:, chosen].square(),
        waits[chosen],
        arrival,
        closest,
        {kind: ends.count(kind) for kind in dict.fromkeys(ends)},
    )


def _nearest(squares: Tensor, listed: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to and index of the nearest of listed (N, k, k), for squares (T, S, k, k)."""
    pairs = [torch.cdist(part.flatten(1), listed.flatten(1)).min(-1) for part in squares]
    return torch.stack([pair[0] for pair in pairs]), torch.stack([pair[1] for pair in pairs])


def _waits(
    gradients: Tensor, distance: Tensor, nearest: Tensor, listed: CriticalPoints
) -> tuple[Wait, ...]:
    middle = gradients[1:-1]
    dips = (middle < gradients[:-2]) & (middle <= gradients[2:])
    found = []
    for step in (dips.nonzero().flatten() + 1).tolist():
        which = int(nearest[step])
        if listed.kinds[which] != "strict saddle" or distance[step] > _REACH:
            continue
        found.append(
            Wait(
                step,
                listed.name(which),
                listed.patterns[which],
                float(listed.values[which]),
                -float(listed.lowest_curvature[which]),
                float(distance[step]),
            )
        )
    return tuple(found)


def leaving_times(
    points: CriticalPoints, spec: Spec, lam: float, distances: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """(saddles, distances): the time until gradient descent from ``distance`` beside each strict
    saddle, along its steepest way down, is _AWAY from it; and kappa (saddles,): the curvature there
    is -kappa. Linear theory: the time grows by log(1/distance) / kappa."""
    saddles = torch.tensor([kind == "strict saddle" for kind in points.kinds])
    places, step = points.squares[saddles].sqrt(), 1 / (200 * lam)
    tensor = population_tensor(skewed_proportions(spec.k, spec.skew))
    hessians = quartic_hessian(places, tensor, spec.mu, lam).view(-1, spec.k**2, spec.k**2)
    aside = torch.linalg.eigh(hessians).eigenvectors[..., 0].view_as(places)
    rows = torch.cat([places + distance * aside for distance in distances])
    places, waiting = places.repeat(len(distances), 1, 1), torch.arange(len(rows))
    times = torch.full((len(rows),), torch.inf, dtype=torch.float64)
    for iteration in range(spec.iterations * 200):
        gone = (rows - places[waiting]).flatten(1).norm(dim=1) > _AWAY
        times[waiting[gone]] = step * iteration
        rows, waiting = rows[~gone], waiting[~gone]
        if len(rows) == 0:
            break
        rows = rows - step * quartic_gradient(rows, tensor, spec.mu, lam)
    return times.view(len(distances), -1).T, -points.lowest_curvature[saddles]
