"""Gradient descent on the two standard losses: the squared loss and the joint likelihood."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from moe.experiments.problems import Fit, Problem
from moe.losses import log_loss, squared_loss
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
    """``steps`` steps on batches of 200, first length ``step``, shrinking as 1 / (1 + 5 t / steps).

    The likelihood learns sigma, from the spread of y; the gates start flat and move where the
    problem has any.
    """
    x, y, g = problem.x, problem.y, problem.nonlinearity
    first = FIRST_STEPS[loss, optimiser] if step is None else step
    rows = problem.starts(1)
    generator = problem.generator()
    gates = torch.zeros_like(rows[:, :-1])
    log_sigma = y.std().log().reshape(1, 1)

    def batch() -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(y), (BATCH,), generator=generator)
        return x[chosen][None], y[chosen][None]

    def pad(free: Tensor) -> Tensor:
        return torch.nn.functional.pad(free if problem.gated else 0 * free, (0, 0, 0, 1))

    def squared(a: Tensor, w: Tensor) -> Tensor:
        return squared_loss(a, pad(w), *batch(), g)

    def likelihood(a: Tensor, w: Tensor, s: Tensor) -> Tensor:
        return log_loss(pad(w), a, s.exp()[:, 0], *batch(), g)

    end = gradient_descent(
        squared if loss == "squared" else likelihood,
        [rows, gates] if loss == "squared" else [rows, gates, log_sigma],
        step=lambda t: first / (1 + 5 * t / steps),
        iterations=steps,
        optimiser=optimiser,
        every=steps,
    ).parameters
    sigma = problem.sigma if loss == "squared" else float(end[2].exp())
    passes = steps * BATCH // len(y)
    return Fit(end[0][0], pad(end[1])[0], sigma, passes)
