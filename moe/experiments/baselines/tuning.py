"""What the contestants' few constants were chosen from, so that all are tuned alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from moe.experiments.baselines.contestants import Noise, random
from moe.experiments.baselines.gradient import STEPS, Loss, Optimiser, descend_all
from moe.experiments.common.problems import SUCCESS, Setting, draw, errors
from moe.experiments.common.shares import Share
from moe.experiments.engine.sweep import sweep
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
class Start:
    """EM from random rows of length about ``scale``, sigma from ``spread`` times y's."""

    setting: Setting
    runs: int
    noise: Noise
    spread: float
    scale: float


def trial(choice: Descent | Start, seed: int) -> dict[str, float]:
    """{data set: E_reg}, the same data sets for all choices."""
    problems = [draw(choice.setting, child_seed(seed, run)) for run in range(choice.runs)]
    if isinstance(choice, Descent):
        fits = descend_all(
            problems,
            loss=choice.loss,
            optimiser=choice.optimiser,
            step=choice.step,
            steps=choice.steps,
        )
    else:
        fits = [random(p, choice.noise, scale=choice.scale, spread=choice.spread) for p in problems]
    ends = zip(fits, problems, strict=True)
    return {f"{run}": errors(fit, problem.truth)[0] for run, (fit, problem) in enumerate(ends)}


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

    def show(self) -> str:
        return f"{sum(self.won)} of {len(self.won)} ({median(self.errors):.1g})"


def outcomes(choices: Sequence[Descent | Start], seed: int = 0) -> list[Outcome]:
    """What each choice comes to, on data that no table of the chapter uses."""
    ends = sweep(trial, choices, [child_seed(seed, "tuning")])
    return [Outcome(tuple(one.result.values())) for one in ends]
