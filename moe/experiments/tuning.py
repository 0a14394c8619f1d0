"""What the contestants' few constants were chosen from, so that all are tuned alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from moe.experiments.baselines import Noise, random
from moe.experiments.gradient_baselines import STEPS, Loss, Optimiser, descend
from moe.experiments.problems import SUCCESS, Setting, draw, errors
from moe.experiments.random_starts import Share
from moe.experiments.sweep import by_spec, sweep
from moe.randomness import child_seed


@dataclass(frozen=True)
class Descent:
    """Gradient descent with one first step."""

    setting: Setting
    loss: Loss
    optimiser: Optimiser
    step: float
    steps: int = STEPS


@dataclass(frozen=True)
class Start:
    """EM from random rows of length about ``scale``, sigma from ``spread`` times y's."""

    setting: Setting
    noise: Noise
    spread: float
    scale: float


def trial(choice: Descent | Start, seed: int) -> dict[str, float]:
    """E_reg of one run."""
    problem = draw(choice.setting, seed)
    if isinstance(choice, Descent):
        fit = descend(
            problem,
            loss=choice.loss,
            optimiser=choice.optimiser,
            step=choice.step,
            steps=choice.steps,
        )
    else:
        fit = random(problem, choice.noise, scale=choice.scale, spread=choice.spread)
    return {"error": errors(fit, problem.truth)[0]}


@dataclass(frozen=True)
class Outcome:
    """share of success and median E_reg of one choice."""

    share: Share
    error: float

    def show(self) -> str:
        return f"{self.share.successes} of {self.share.trials} ({self.error:.1g})"


def outcomes(choices: Sequence[Descent | Start], runs: int, seed: int = 0) -> list[Outcome]:
    """What each choice comes to, on data that no table of the chapter uses."""
    seeds = [child_seed(seed, "tuning", run) for run in range(runs)]
    ends = []
    for mine in by_spec(sweep(trial, choices, seeds), runs):
        found = [one.result["error"] for one in mine]
        ends.append(Outcome(Share(sum(e < SUCCESS for e in found), runs), median(found)))
    return ends
