"""The authors' figure of 100 EM iterations, from random and from spectral starts, over settings."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean

import torch

from moe.experiments.baselines.contestants import Noise, em
from moe.experiments.common.moment_starts import t3_regressors
from moe.experiments.common.problems import NoStartError, Setting, draw
from moe.experiments.engine.sweep import by_spec, sweep
from moe.metrics import align
from moe.randomness import child_seed

ITERATIONS = 100
NAMES = ("regressors", "both")
# Read off the plot of the authors' public slides: parameter error after 100 iterations, by k.
SLIDES = {"EM": {3: 1.16, 4: 1.50}, "spectral + EM": {3: 0.20, 4: 0.37}}


@dataclass(frozen=True)
class Spec:
    """noise: sigma held or learned."""

    setting: Setting
    noise: Noise


@dataclass(frozen=True)
class Cell:
    """start: "EM" (random rows) or "spectral + EM" (T_3). Means over the runs: regressors
    |A_pi - A*|_F, and both (|A_pi - A*|^2 + |W_pi - W*|^2)^1/2. Whether the slides' error is one of
    these is not known."""

    spec: Spec
    start: str
    regressors: float
    both: float


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """{"start name": value} after 100 iterations from both starts; a T_3 that finds no start counts
    as the random one."""
    problem = draw(spec.setting, seed)
    rows = {start: problem.starts(1)[0] for start in SLIDES}
    with suppress(NoStartError):
        rows["spectral + EM"] = t3_regressors(problem)
    sigma = problem.sigma if spec.noise == "held" else problem.y.std()
    end = em(problem, torch.stack([*rows.values()]), sigma, spec.noise, iterations=ITERATIONS)
    found = {}
    for i, start in enumerate(rows):
        fit = align(end.model(i, problem.nonlinearity), problem.truth)
        regressors = float((fit.regressors - problem.truth.regressors).square().sum())
        gates = float((fit.gating - problem.truth.gating).square().sum())
        found[f"{start} regressors"] = regressors**0.5
        found[f"{start} both"] = (regressors + gates) ** 0.5
    return found


def table(
    specs: Sequence[Spec], runs: int, seed: int = 0, workers: int | None = None
) -> list[Cell]:
    """Means over ``runs`` of both starts at every spec."""
    numbers = [child_seed(seed, run) for run in range(runs)]
    trials = sweep(trial, specs, numbers, workers=workers)
    return [
        Cell(spec, start, *(fmean(one.result[f"{start} {name}"] for one in mine) for name in NAMES))
        for spec, mine in zip(specs, by_spec(trials, runs), strict=True)
        for start in SLIDES
    ]
