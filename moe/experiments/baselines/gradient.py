"""Gradient descent on the two standard losses: the squared loss and the joint likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from moe.experiments.common.problems import Fit, Problem
from moe.losses import log_loss, squared_loss
from moe.model.mixture import full_gating
from moe.solvers.gradient import gradient_descent

Loss = Literal["squared", "likelihood"]
Optimiser = Literal["sgd", "adam"]

BATCH, STEPS = 200, 600
# First steps: none of those tried is clearly better, see ``tuning``.
FIRST_STEPS: dict[tuple[Loss, Optimiser], float] = {
    ("squared", "sgd"): 1.0,
    ("squared", "adam"): 0.3,
    ("likelihood", "sgd"): 0.1,
    ("likelihood", "adam"): 0.03,
}


def descend(
    problem: Problem,
    *,
    loss: Loss,
    optimiser: Optimiser,
    step: float | None = None,
    steps: int = STEPS,
) -> Fit:
    """``descend_all`` on one problem."""
    return descend_all([problem], loss=loss, optimiser=optimiser, step=step, steps=steps)[0]


def descend_all(
    problems: Sequence[Problem],
    *,
    loss: Loss,
    optimiser: Optimiser,
    step: float | None = None,
    steps: int = STEPS,
) -> list[Fit]:
    """``steps`` steps on batches of 200, first length ``step``, shrinking as 1 / (1 + 5 t / steps),
    on problems of one setting side by side, each on batches of its own samples.

    The likelihood learns sigma, from the spread of y; the gates start flat and move where the
    problem has any.
    """
    g, gated = problems[0].nonlinearity, problems[0].gated
    x, y = (torch.stack(parts) for parts in zip(*((p.x, p.y) for p in problems), strict=True))
    first = FIRST_STEPS[loss, optimiser] if step is None else step
    rows = torch.cat([problem.starts(1) for problem in problems])
    n, index = y.shape[1], torch.arange(len(problems))[:, None]
    draws = [torch.randint(n, (steps + 1, BATCH), generator=p.generator()) for p in problems]
    chosen = iter(torch.stack(draws, 1))

    def batch() -> tuple[Tensor, Tensor]:
        several = next(chosen)
        return x[index, several], y[index, several]

    def pad(free: Tensor) -> Tensor:
        return full_gating(free if gated else 0 * free)

    def squared(a: Tensor, w: Tensor) -> Tensor:
        return squared_loss(a, pad(w), *batch(), g)

    def likelihood(a: Tensor, w: Tensor, s: Tensor) -> Tensor:
        return log_loss(pad(w), a, s.exp()[:, 0], *batch(), g)

    gates = torch.zeros_like(rows[:, :-1])
    end = gradient_descent(
        squared if loss == "squared" else likelihood,
        [rows, gates] if loss == "squared" else [rows, gates, y.std(1).log()[:, None]],
        step=lambda t: first / (1 + 5 * t / steps),
        iterations=steps,
        optimiser=optimiser,
        every=steps,
    ).parameters
    level = [p.sigma for p in problems] if loss == "squared" else end[2].exp().flatten().tolist()
    gating, passes = pad(end[1]), steps * BATCH // n
    return [Fit(a, w, s, passes) for a, w, s in zip(end[0], gating, level, strict=True)]
