"""Points where EM with sigma held is stuck, and what lets it go."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from moe.experiments.baselines.contestants import joint, lowered, oracle, random
from moe.experiments.common.problems import SUCCESS, Fit, Problem, Setting, draw, errors
from moe.landscape.slices import Path, path_values
from moe.losses import log_loss
from moe.randomness import stream

_POINTS = 41


@dataclass(frozen=True)
class Spec:
    """levels: where sigma is held on the way out; times: how many times as many fresh samples."""

    setting: Setting
    levels: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
    times: tuple[int, ...] = (1, 4, 16)


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
    exits |= {f"reheated {s:g}": _reheated(problem, rows, s) for s in spec.levels}
    arrived = {name: float(errors(fit, problem.truth)[0] < SUCCESS) for name, fit in exits.items()}
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


def _reheated(problem: Problem, rows: Tensor, level: float) -> Fit:
    for fit in lowered(problem, rows, level, 0.8, 20):
        rows = fit.regressors
    return joint(problem, rows, problem.sigma, "held")
