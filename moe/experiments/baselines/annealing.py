"""sigma and the responsibilities along EM, from one start in four ways."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.baselines.contestants import COOLING, COOLING_STEPS, Noise, em, lowered
from moe.experiments.common.problems import Problem, Setting, draw
from moe.metrics import regressor_error_of
from moe.model.mixture import gaussian_log_density
from moe.randomness import child_seed

WAYS = ("held", "lowered by hand", "learned", "one each")
_NOISE: dict[str, Noise] = {"held": "held", "learned": "one", "one each": "each"}

Path = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Record:
    """By way, each (T, runs) over the iterations, padded with the last value: sigma (root mean
    square over the experts where they differ), least and most, the smallest and the largest sigma
    of an expert; sharp, the mean over the samples of the largest responsibility; error, E_reg."""

    setting: Setting
    sigma: dict[str, Tensor]
    least: dict[str, Tensor]
    most: dict[str, Tensor]
    sharp: dict[str, Tensor]
    error: dict[str, Tensor]


def run(setting: Setting, runs: int, iterations: int, seed: int = 0) -> Record:
    """``runs`` problems without gates, from the first random start of each."""
    problems = [draw(setting, child_seed(seed, index)) for index in range(runs)]
    columns = {way: [_follow(p, way, iterations) for p in problems] for way in WAYS}
    measures = {
        way: torch.stack([torch.stack(column) for column in several], 2)
        for way, several in columns.items()
    }
    parts = ({way: values[:, i] for way, values in measures.items()} for i in range(5))
    return Record(setting, *parts)


def _follow(problem: Problem, way: str, iterations: int) -> list[Tensor]:
    """(T, 5): sigma, least, most, sharp, error at each iteration."""
    path = (
        _cooled(problem, iterations) if way == "lowered by hand" else _em(problem, way, iterations)
    )
    seen = [_measure(problem, rows, sigma) for rows, sigma in path[: iterations + 1]]
    return seen + [seen[-1]] * (iterations + 1 - len(seen))


def _em(problem: Problem, way: str, iterations: int) -> Path:
    noise, sigma = _NOISE[way], problem.sigma if way == "held" else problem.y.std()
    fit = em(problem, problem.starts(1), sigma, noise, iterations=iterations, record=True)
    return [(a[0], s[0].expand(problem.k)) for a, _, s in fit.path]


def _cooled(problem: Problem, iterations: int) -> Path:
    rows, spread = problem.starts(1), float(problem.y.std())
    fits = [*lowered(problem, rows, spread, COOLING, COOLING_STEPS, record=True)]
    rows = fits[-1].regressors if fits else rows
    fits.append(em(problem, rows, problem.sigma, "held", iterations=iterations, record=True))
    path: Path = []
    for fit in fits:
        path += [(a[0], s.expand(problem.k)) for a, _, s in fit.path[bool(path) :]]
    return path


def _measure(problem: Problem, rows: Tensor, sigma: Tensor) -> Tensor:
    residual = problem.y[:, None] - problem.nonlinearity(problem.x @ rows.T)
    responsibilities = torch.softmax(gaussian_log_density(residual, sigma), 1)
    return torch.stack(
        [
            sigma.square().mean().sqrt(),
            sigma.min(),
            sigma.max(),
            responsibilities.amax(1).mean(),
            torch.tensor(regressor_error_of(rows, problem.truth.regressors), dtype=sigma.dtype),
        ]
    )
