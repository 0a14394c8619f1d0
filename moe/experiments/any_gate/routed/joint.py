"""Experts and gate trained together by Adam: many starts, step sizes and data sets in one batch."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, log, pi

import torch
from torch import Tensor

from moe.experiments.any_gate.routed.layers import noisy_top
from moe.model.nonlinearity import Nonlinearity
from moe.solvers.gradient import gradient_descent

LIKELIHOOD, SOFT, SPARSE = "likelihood", "soft squared loss", "routed squared loss"
_DRAWS = 16


@dataclass(frozen=True, eq=False)
class Data:
    """T data sets side by side: x (T, n, d), y (T, n), the last ``held`` samples of each for the
    choice of a run; g; chosen: how many experts the student's router keeps, in SPARSE."""

    x: Tensor
    y: Tensor
    held: int
    g: Nonlinearity
    chosen: int


@dataclass(frozen=True, eq=False)
class Students:
    """T x R students. experts (T, R, k, d); gates, spreads (T, R, k, d + 1), the last column an
    offset; log_sigma (T, R, 1)."""

    experts: Tensor
    gates: Tensor
    spreads: Tensor
    log_sigma: Tensor

    def outputs(self, x: Tensor, g: Nonlinearity) -> tuple[Tensor, Tensor]:
        """x (T, n, d) -> experts' outputs and gate scores, (T, R, k, n) each: experts as rows, so
        that what is summed over them runs along memory."""
        return g(_lines(self.experts, x)), _lines(self.gates, _with_ones(x))

    def routed(self, x: Tensor, scores: Tensor, chosen: int, generator: torch.Generator) -> Tensor:
        """One draw of the router's weights at x, (T, R, k, n)."""
        return noisy_top(scores, _lines(self.spreads, _with_ones(x)), chosen, generator)

    def mean(self, kind: str, x: Tensor, data: Data, generator: torch.Generator) -> Tensor:
        """The prediction at x (T, n, d): (T, R, n); a router's noise averaged."""
        answers, scores = self.outputs(x, data.g)
        if kind == SPARSE:
            draws = [self.routed(x, scores, data.chosen, generator) for _ in range(_DRAWS)]
            weights = torch.stack(draws).mean(0)
        else:
            weights = torch.softmax(scores, 2)
        return (weights * answers).sum(2)

    def loss(
        self, kind: str, x: Tensor, y: Tensor, data: Data, generator: torch.Generator
    ) -> Tensor:
        """(T, R): mean of -log p(y | x), or of the squared error, one draw of the router."""
        answers, scores = self.outputs(x, data.g)
        if kind == LIKELIHOOD:
            level = self.log_sigma[..., None]
            misfit = 0.5 * ((y[:, None, None] - answers) / level.exp()).square() + level
            density = torch.logsumexp(scores - misfit, 2) - torch.logsumexp(scores, 2)
            return 0.5 * log(2 * pi) - density.mean(-1)
        if kind == SPARSE:
            weights = self.routed(x, scores, data.chosen, generator)
        else:
            weights = torch.softmax(scores, 2)
        return (y[:, None] - (weights * answers).sum(2)).square().mean(-1)


def _with_ones(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[..., :1])], -1)


def _lines(rows: Tensor, x: Tensor) -> Tensor:
    """<rows, x>, rows (T, R, k, d), x (T, n, d) -> (T, R, k, n)."""
    return (rows.flatten(1, 2) @ x.transpose(1, 2)).unflatten(1, rows.shape[1:3])


def train(
    kind: str,
    data: Data,
    begin: Students,
    steps: tuple[float, ...],
    iterations: int,
    batch: int,
    generator: torch.Generator,
) -> Students:
    """The best of all runs for each data set (R = 1): every start with every step size by Adam,
    steps that go to zero like a cosine, chosen by the run's own loss on the held-out samples.

    Adam does not feel the scale of its parameters: those of a run are divided by its step size and
    all are trained with step one.
    """
    count, starts, _ = begin.log_sigma.shape
    runs = starts * len(steps)
    sizes = torch.tensor(steps, dtype=torch.float64).repeat_interleave(starts)
    scale = sizes.repeat(count)
    flat = [
        part.repeat(1, len(steps), *[1] * (part.ndim - 2)).flatten(0, 1) for part in _parts(begin)
    ]
    seen = data.x.shape[1] - data.held

    def at(*scaled: Tensor) -> Students:
        real = [p * scale.view(-1, *[1] * (p.ndim - 1)) for p in scaled]
        return Students(*(p.view(count, runs, *p.shape[1:]) for p in real))

    def loss(*scaled: Tensor) -> Tensor:
        picks = torch.randint(seen, (batch,), generator=generator)
        x, y = data.x[:, picks], data.y[:, picks]
        return at(*scaled).loss(kind, x, y, data, generator).flatten()

    end = gradient_descent(
        loss,
        [p / scale.view(-1, *[1] * (p.ndim - 1)) for p in flat],
        step=lambda iteration: 0.5 + 0.5 * cos(pi * min(iteration, iterations - 1) / iterations),
        iterations=iterations,
        optimiser="adam",
        every=iterations,
    )
    trained = at(*end.parameters)
    x, y = data.x[:, seen:], data.y[:, seen:]
    with torch.no_grad():
        if kind == LIKELIHOOD:
            score = trained.loss(kind, x, y, data, generator)
        else:
            errors = y[:, None] - trained.mean(kind, x, data, generator)
            score = errors.square().mean(-1)
    best = torch.where(score.isfinite(), score, torch.inf).argmin(1)
    chosen = torch.arange(count)
    return Students(*(part[chosen, best][:, None] for part in _parts(trained)))


def random_students(
    count: int, starts: int, k: int, d: int, generator: torch.Generator
) -> Students:
    """Experts N(0, I / d), gates near zero, sigma one."""
    experts = torch.randn(count, starts, k, d, generator=generator, dtype=torch.float64) / d**0.5
    gates = 0.1 * torch.randn(count, starts, k, d + 1, generator=generator, dtype=torch.float64)
    return Students(experts, gates, torch.zeros_like(gates), torch.zeros_like(gates[..., 0, :1]))


def _parts(students: Students) -> list[Tensor]:
    return [students.experts, students.gates, students.spreads, students.log_sigma]
