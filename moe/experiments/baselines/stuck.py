"""EM with sigma held, where it gets stuck: sigma and the responsibilities on the way there beside
those of other ways, and what lets a stuck run go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from moe.experiments.baselines.contestants import (
    COOLING,
    COOLING_STEPS,
    Noise,
    em,
    joint,
    lowered,
    oracle,
    random,
)
from moe.experiments.common.problems import SUCCESS, Fit, Problem, Setting, draw, errors
from moe.experiments.engine.sweep import sweep
from moe.landscape.slices import Path, path_values
from moe.losses import log_loss
from moe.metrics import regressor_error_of
from moe.model.mixture import gaussian_log_density
from moe.randomness import child_seed, stream

WAYS: dict[str, Noise] = {
    "held": "held",
    "lowered by hand": "held",
    "learned": "one",
    "one each": "each",
}
_TIMES, _POINTS = 30, 41


@dataclass(frozen=True, eq=False)
class Watched:
    """times (T,): iterations, denser at first. By way, each (T, runs), the last value once a run
    has ended: sigma (root mean square over the experts where they differ), least and most, the
    smallest and the largest sigma of an expert; sharp, the mean over the samples of the largest
    responsibility; error, E_reg. paths: for each run its regressors (T, k, d) and sigmas (T, k)."""

    setting: Setting
    times: Tensor
    sigma: dict[str, Tensor]
    least: dict[str, Tensor]
    most: dict[str, Tensor]
    sharp: dict[str, Tensor]
    error: dict[str, Tensor]
    paths: dict[str, list[tuple[Tensor, Tensor]]]


def watch(setting: Setting, runs: int, iterations: int, seed: int = 0) -> Watched:
    """EM on ``runs`` problems without gates, from the first random start of each, in four ways."""
    problems = [draw(setting, child_seed(seed, index)) for index in range(runs)]
    later = torch.logspace(0, math.log10(iterations), _TIMES).round().long()
    times = torch.cat([torch.tensor([0]), later.unique()])
    paths = {way: [_path(p, way, iterations, times) for p in problems] for way in WAYS}
    measures = {
        way: torch.stack([_measures(p, *path) for p, path in zip(problems, found, strict=True)], 2)
        for way, found in paths.items()
    }
    sigma, least, most, sharp, error = (
        {way: values[i] for way, values in measures.items()} for i in range(5)
    )
    return Watched(setting, times, sigma, least, most, sharp, error, paths)


def _path(problem: Problem, way: str, iterations: int, times: Tensor) -> tuple[Tensor, Tensor]:
    """Regressors (T, k, d) and the experts' sigmas (T, k) along one run, at the times."""
    rows, spread = problem.starts(1), float(problem.y.std())
    fits = []
    if way == "lowered by hand":
        fits = [*lowered(problem, rows, spread, COOLING, COOLING_STEPS, record=True)]
        rows = fits[-1].regressors if fits else rows
    level = problem.sigma if WAYS[way] == "held" else spread
    fits.append(em(problem, rows, level, WAYS[way], iterations=iterations, record=True))
    steps = [step for i, fit in enumerate(fits) for step in fit.path[i > 0 :]]
    sigmas = torch.stack([s[0].expand(problem.k) for *_, s in steps])
    index = times.clamp_max(len(sigmas) - 1)
    return torch.cat([a for a, *_ in steps])[index], sigmas[index]


def _measures(problem: Problem, rows: Tensor, sigmas: Tensor) -> Tensor:
    """(5, T): sigma, least, most, sharp, error at the times."""
    residual = problem.y - problem.nonlinearity(rows @ problem.x.T)
    responsibilities = torch.softmax(gaussian_log_density(residual, sigmas[..., None]), 1)
    found = [regressor_error_of(one, problem.truth.regressors) for one in rows]
    return torch.stack(
        [
            sigmas.square().mean(1).sqrt(),
            sigmas.amin(1),
            sigmas.amax(1),
            responsibilities.amax(1).mean(1),
            torch.tensor(found, dtype=rows.dtype),
        ]
    )


@dataclass(frozen=True)
class Spec:
    """levels: where sigma is held on the way out; times: how many times as many fresh samples."""

    setting: Setting
    levels: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5, 1.0)
    times: tuple[int, ...] = (1, 4)


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """Random start, sigma held. Where it ends stuck (stuck = 1, else the rest is NaN):

    lost: nats per sample below EM from the truth, sigma held in both; found: share of the true
    experts that some row has found (|cos| > 0.99). Whether it arrives at the truth if from there
    "sigma learned" or "a sigma each" go on, starting at the same sigma; or "fresh t": EM with sigma
    held goes on with t times as many fresh samples (1: as many). "reheated s": EM with sigma held
    at s, then lowered by hand to the truth's. "barrier s", "barrier s, fresh": how far the loss at
    sigma = s, on its own and on as many fresh samples, rises on the straight line to the maximum at
    the truth, over what it falls from end to end.
    """
    problem = draw(spec.setting, seed)
    end = random(problem, "held")
    if errors(end, problem.truth)[0] < SUCCESS:
        return {"stuck": 0.0, **dict.fromkeys(_names(spec), math.nan)}
    best = oracle(problem)
    fresh = {times: _fresh(problem, times) for times in (1, *spec.times)}
    rows = end.regressors[None]
    exits = {
        "sigma learned": joint(problem, rows, problem.sigma, "one"),
        "a sigma each": joint(problem, rows, problem.sigma, "each"),
    }
    exits |= {f"fresh {t}": joint(fresh[t], rows, problem.sigma, "held") for t in spec.times}
    places = {name: fit.regressors for name, fit in exits.items()}
    hot = _reheated(problem, rows, spec.levels)
    places |= {f"reheated {s:g}": one for s, one in zip(spec.levels, hot, strict=True)}
    truth = problem.truth.regressors
    arrived = {
        name: float(regressor_error_of(one, truth) < SUCCESS) for name, one in places.items()
    }
    barriers = {}
    for s in spec.levels:
        barriers[f"barrier {s:g}"] = _barrier(way_out(problem, end, best, s))
        barriers[f"barrier {s:g}, fresh"] = _barrier(way_out(fresh[1], end, best, s))
    cosines = torch.nn.functional.normalize(end.regressors) @ problem.truth.regressors.T
    found = (cosines.abs().amax(0) > 0.99).double().mean()
    lost = _loss(problem, end.regressors, problem.sigma) - _loss(
        problem, best.regressors, problem.sigma
    )
    return {"stuck": 1.0, "lost": float(lost), "found": float(found), **arrived, **barriers}


def stuck_runs(
    spec: Spec, runs: int, seed: int = 0, workers: int | None = None
) -> list[dict[str, float]]:
    """What ``trial`` finds on those of ``runs`` data sets where the run is stuck."""
    numbers = [child_seed(seed, run) for run in range(runs)]
    found = [one.result for one in sweep(trial, [spec], numbers, workers=workers)]
    return [end for end in found if end["stuck"]]


def way_out(problem: Problem, stuck: Fit, best: Fit, sigma: float) -> Path:
    """The loss in nats per sample, sigma held, on the line from ``stuck`` (0) to ``best`` (1), its
    rows in the order that is nearest."""
    _, order = linear_sum_assignment(torch.cdist(stuck.regressors, best.regressors))
    end = best.regressors[torch.as_tensor(order)]
    return path_values(
        lambda rows: _loss(problem, rows, sigma), stuck.regressors, end, _POINTS, batch=8
    )


def _names(spec: Spec) -> list[str]:
    per_level = [
        (f"reheated {s:g}", f"barrier {s:g}", f"barrier {s:g}, fresh") for s in spec.levels
    ]
    several = ["lost", "found", "sigma learned", "a sigma each"]
    per_size = [f"fresh {times}" for times in spec.times]
    return several + per_size + [name for names in per_level for name in names]


def _loss(problem: Problem, rows: Tensor, sigma: float) -> Tensor:
    flat = torch.zeros_like(rows)
    return log_loss(flat, rows, sigma, problem.x, problem.y, problem.nonlinearity)


def _barrier(path: Path) -> float:
    rise = path.values.max() - path.values[0]
    return float(rise / (path.values[0] - path.values[-1]).abs())


def _fresh(problem: Problem, times: int) -> Problem:
    x, y = problem.truth.sample(times * len(problem.y), stream("fresh", problem.seed, times))
    return replace(problem, x=x, y=y)


def _reheated(problem: Problem, rows: Tensor, levels: Sequence[float]) -> Tensor:
    """Where EM ends (levels, k, d) with sigma held at each level for twenty iterations, then
    lowered by a fifth every twenty, down to the truth's; all side by side."""
    level, gating = torch.tensor(levels, dtype=rows.dtype), None
    rows = rows.expand(len(levels), -1, -1)
    while bool((level > problem.sigma).any()):
        fit = em(problem, rows, level, "held", gating=gating, iterations=20)
        rows, gating = fit.regressors, fit.gating
        level = (0.8 * level).clamp_min(problem.sigma)
    return em(problem, rows, problem.sigma, "held", gating=gating).regressors
