"""The authors' figure of 100 EM iterations, from random and from spectral starts, over settings."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch

from moe.experiments.baselines.contestants import Noise, em
from moe.experiments.baselines.moment_starts import t3_regressors
from moe.experiments.common.problems import NoStartError, Setting, draw
from moe.experiments.engine.sweep import by_spec, sweep
from moe.metrics import align
from moe.model.mixture import MoE
from moe.randomness import child_seed

ITERATIONS = 100
# Read off the plot of the authors' public slides: parameter error after 100 iterations, by k.
SLIDES = {"EM": {3: 1.16, 4: 1.50}, "spectral + EM": {3: 0.20, 4: 0.37}}


@dataclass(frozen=True)
class Spec:
    """start: "EM" (random rows) or "spectral + EM" (T_3); noise: sigma held or learned."""

    setting: Setting
    start: str
    noise: Noise


@dataclass(frozen=True)
class Cell:
    """Means over the runs: regressors |A_pi - A*|_F, and both (|A_pi - A*|^2 + |W_pi - W*|^2)^1/2.
    Whether the slides' error is one of these is not known."""

    spec: Spec
    regressors: float
    both: float


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """One run of 100 iterations; a T_3 that finds no start counts as the random one."""
    problem = draw(spec.setting, seed)
    rows = problem.starts(1)
    if spec.start == "spectral + EM":
        with suppress(NoStartError):
            rows = t3_regressors(problem)[None]
    sigma = problem.sigma if spec.noise == "held" else problem.y.std()
    end = em(problem, rows, sigma, spec.noise, iterations=ITERATIONS)
    fit = MoE(end.regressors[0], end.gating[0], float(end.sigma[0]), problem.nonlinearity)
    fit = align(fit, problem.truth)
    regressors = float((fit.regressors - problem.truth.regressors).square().sum())
    gates = float((fit.gating - problem.truth.gating).square().sum())
    return {"regressors": regressors**0.5, "both": (regressors + gates) ** 0.5}


def table(specs: Sequence[Spec], runs: int, seed: int = 0) -> list[Cell]:
    """Means over ``runs`` of every spec."""
    trials = sweep(trial, specs, [child_seed(seed, run) for run in range(runs)])
    cells = []
    for spec, mine in zip(specs, by_spec(trials, runs), strict=True):
        means = (
            float(torch.tensor([one.result[name] for one in mine], dtype=torch.float64).mean())
            for name in ("regressors", "both")
        )
        cells.append(Cell(spec, *means))
    return cells
