"""What learning sigma does on the way: the noise level and the responsibilities along EM, the loss
from where a run is stuck to the best maximum, schedules of sigma."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from moe.experiments.standard_losses.population.population_losses import Population
from moe.experiments.standard_losses.random_starts import (
    HELD,
    Cell,
    em,
    em_from_truth,
    em_held,
    em_learned,
)
from moe.landscape.slices import path_values
from moe.metrics import regressor_error_of
from moe.model.mixture import MoE
from moe.randomness import stream


@dataclass(frozen=True, eq=False)
class Annealing:
    """Per iteration and run (T, S), padded with the last value: sigma, mean entropy of the
    responsibilities in nats; by name "sigma held", "sigma learned"."""

    cell: Cell
    sigma: dict[str, Tensor]
    entropy: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class StuckPaths:
    """curves: "data" and "large sample" -> for each held sigma the loss in nats per sample (81,) at
    ``steps`` between a stuck run's end (0) and the maximum reached from the truth (1);
    lost: nats per sample between the two on the data."""

    cell: Cell
    sigmas: tuple[float, ...]
    large: int
    steps: Tensor
    curves: dict[str, tuple[Tensor, ...]]
    lost: float


def anneal(cell: Cell, iterations: int = 60) -> Annealing:
    """sigma and the entropy of the responsibilities along the runs of EM."""
    sigma: dict[str, list[Tensor]] = {"sigma held": [], "sigma learned": []}
    entropy: dict[str, list[Tensor]] = {"sigma held": [], "sigma learned": []}
    for problem in cell.problems():
        truth, x, y, _ = problem
        for name, fit in (
            ("sigma held", em_held(problem, iterations, record=True)),
            ("sigma learned", em_learned(problem, iterations, record=True)),
        ):
            path = [*fit.path, *[fit.path[-1]] * (iterations + 1 - len(fit.path))]
            sigma[name].append(torch.stack([level for _, _, level in path]))
            entropies = [
                _entropy(MoE(a, w, float(s), truth.nonlinearity), x, y)
                for point in path
                for a, w, s in zip(*point, strict=True)
            ]
            entropy[name].append(torch.stack(entropies).view(iterations + 1, -1))
    return Annealing(
        cell,
        {name: torch.cat(parts, 1) for name, parts in sigma.items()},
        {name: torch.cat(parts, 1) for name, parts in entropy.items()},
    )


def stuck_paths(cell: Cell, sigmas: tuple[float, ...], large: int) -> StuckPaths:
    """From where EM with sigma held ends furthest below the truth, straight to EM's end from the
    truth (its labels the nearest): the loss at each held sigma, on the data and on a large sample.

    Raises ValueError where no run of the cell is stuck.
    """
    found = []
    for truth, x, y, starts in cell.problems():
        stuck, best = em_held((truth, x, y, starts)), em_from_truth((truth, x, y, starts))
        lost = (best.log_likelihood - stuck.log_likelihood) / cell.n
        found.append((float(lost.max()), stuck[[int(lost.argmax())]], best, truth, x, y))
    lowest, stuck, best, truth, x, y = max(found, key=lambda run: run[0])
    if lowest < 0.01:
        raise ValueError(f"cell: expected one with a stuck run, got {cell}")
    _, order = linear_sum_assignment(torch.cdist(stuck.regressors[0], best.regressors[0]))
    gating = best.gating[0, order] - best.gating[0, order[-1]]
    start = torch.cat([stuck.regressors[0], stuck.gating[0, :-1]]).flatten()
    end = torch.cat([best.regressors[0, order], gating[:-1]]).flatten()
    fresh = truth.sample(large, stream("fresh", cell.seed))
    curves: dict[str, tuple[Tensor, ...]] = {}
    for name, (xs, ys) in (("data", (x, y)), ("large sample", fresh)):
        each = torch.full_like(ys, 1 / len(ys))
        paths = [
            path_values(Population(truth, xs, ys, each, sigma).values, start, end, 81, margin=0.15)
            for sigma in sigmas
        ]
        curves[name] = tuple(path.values for path in paths)
    return StuckPaths(cell, sigmas, large, paths[0].steps, curves, lowest)


def scheduled(cell: Cell, schedule: tuple[float, ...], iterations: int = 10) -> Tensor:
    """E_reg (runs,) of EM with sigma held at each value of a schedule in turn, then at the truth's.

    ``iterations`` of EM at each, up to 500 at the last.
    """
    errors = []
    for truth, x, y, start in cell.problems():
        regressors, gating = start, torch.zeros_like(start)
        for sigma in (*schedule, truth.sigma):
            count = 500 if sigma == truth.sigma else iterations
            fit = em((truth, x, y, regressors), gating, sigma, HELD, count)
            regressors, gating = fit.regressors, fit.gating
        errors += [regressor_error_of(a, truth.regressors) for a in regressors]
    return torch.tensor(errors, dtype=torch.float64)


def _entropy(model: MoE, x: Tensor, y: Tensor) -> Tensor:
    return torch.special.entr(model.responsibilities(x, y)).sum(1).mean()
