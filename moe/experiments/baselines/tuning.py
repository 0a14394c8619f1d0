"""What the contestants' few constants were chosen from, so that all are tuned alike."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from moe.experiments.baselines.contestants import Noise, ends
from moe.experiments.baselines.gradient import STEPS, Loss, Optimiser, descend_all
from moe.experiments.common.problems import SUCCESS, Problem, Setting, draw, errors
from moe.experiments.common.shares import Share
from moe.experiments.engine.sweep import sweep
from moe.metrics import regressor_error_of
from moe.randomness import child_seed


@dataclass(frozen=True)
class Descent:
    """Gradient descent with one first step, on ``runs`` data sets."""

    setting: Setting
    runs: int
    loss: Loss
    optimiser: Optimiser
    step: float
    steps: int = STEPS


@dataclass(frozen=True)
class Starts:
    """EM from random rows of each length (about ``scales``), sigma from each of ``spreads`` times
    y's, or held at the truth's; all of them side by side, spreads outer."""

    setting: Setting
    runs: int
    noise: Noise
    spreads: tuple[float, ...]
    scales: tuple[float, ...]

    @property
    def pairs(self) -> list[tuple[float, float]]:
        return list(itertools.product(self.spreads, self.scales))


def trial(choice: Descent | Starts, seed: int) -> dict[str, float]:
    """{"pair data set": E_reg}, the same data sets for all choices; a descent is pair 0."""
    problems = [draw(choice.setting, child_seed(seed, run)) for run in range(choice.runs)]
    if isinstance(choice, Starts):
        every = [_em(choice, problem) for problem in problems]
        return {
            f"{pair} {run}": regressor_error_of(rows, problem.truth.regressors)
            for run, (several, problem) in enumerate(zip(every, problems, strict=True))
            for pair, rows in enumerate(several)
        }
    fits = descend_all(
        problems,
        loss=choice.loss,
        optimiser=choice.optimiser,
        step=choice.step,
        steps=choice.steps,
    )
    both = enumerate(zip(fits, problems, strict=True))
    return {f"0 {run}": errors(fit, problem.truth)[0] for run, (fit, problem) in both}


def _em(choice: Starts, problem: Problem) -> Tensor:
    """Regressors (pairs, k, d) where the starts end."""
    spreads, scales = torch.tensor(choice.pairs, dtype=problem.y.dtype).T
    level = problem.sigma if choice.noise == "held" else spreads * problem.y.std()
    return ends(problem, scales[:, None, None] * problem.starts(1), level, choice.noise).regressors


@dataclass(frozen=True)
class Outcome:
    """What one choice came to: E_reg by data set."""

    errors: tuple[float, ...]

    @property
    def won(self) -> tuple[bool, ...]:
        return tuple(error < SUCCESS for error in self.errors)

    @property
    def share(self) -> Share:
        return Share(sum(self.won), len(self.won))

    def __str__(self) -> str:
        """Successes, and the median error."""
        return f"{sum(self.won)} of {len(self.won)} ({median(self.errors):.1g})"


def outcomes(
    choices: Sequence[Descent | Starts], seed: int = 0, workers: int | None = None
) -> list[list[Outcome]]:
    """What each choice comes to, pair by pair, on data that no table of the chapter uses."""
    trials = sweep(trial, choices, [child_seed(seed, "tuning")], workers=workers)
    return [
        [
            Outcome(tuple(one.result[f"{pair} {run}"] for run in range(one.spec.runs)))
            for pair in range(len(one.result) // one.spec.runs)
        ]
        for one in trials
    ]
