"""How often random starts succeed: the losses on the same data, EM with sigma held or learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.common.shares import Share
from moe.experiments.standard_losses.population.pointwise import belief, mean_slope
from moe.metrics import regressor_error_of
from moe.model.mixture import MoE, random_moe, random_rows
from moe.randomness import stream
from moe.solvers.em import EMResult, expectation_maximisation
from moe.solvers.gradient import gradient_descent

SUCCESS = 0.05
_ENTRIES = 64_000
METHODS = (
    "squared loss, Adam",
    "likelihood, Adam",
    "EM, sigma learned",
    "EM, sigma held",
)
HELD = ("regressors", "gating")
Problem = tuple[MoE, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Cell:
    """Data of one kind: ``datasets`` random mixtures, n samples each, ``starts`` starts on each."""

    k: int = 3
    d: int = 10
    sigma: float = 0.1
    n: int = 2000
    gate_norm: float = 1.0
    datasets: int = 6
    starts: int = 8
    seed: int = 0

    def problems(self) -> list[Problem]:
        """(truth, x, y, starting regressors (starts, k, d) ~ N(0, I/d)) for each data set."""
        drawn = []
        for index in range(self.datasets):
            truth = random_moe(
                self.k,
                self.d,
                sigma=self.sigma,
                gate_norm=self.gate_norm,
                generator=stream("truth", self.seed, index),
            )
            x, y = truth.sample(self.n, stream("data", self.seed, index))
            starts = stream("starts", self.seed, index)
            drawn.append((truth, x, y, random_rows(self.starts, self.k, self.d, starts)))
        return drawn


@dataclass(frozen=True, eq=False)
class EMShares:
    """Share of runs with E_reg < 0.05: sigma held at the truth's, learned from 1, and EM started at
    the truth (sigma held); lost: nats per sample by which each held run ends below the latter."""

    cell: Cell
    held: Share
    learned: Share
    oracle: Share
    lost: Tensor


@dataclass(frozen=True, eq=False)
class Contest:
    """E_reg at which one method ends: from random starts (datasets, starts), from the truth
    (datasets,)."""

    errors: Tensor
    oracle: Tensor

    @property
    def share(self) -> Share:
        """Of the random starts that end with E_reg < 0.05."""
        return Share(int((self.errors < SUCCESS).sum()), self.errors.numel(), len(self.errors))


def compare(cell: Cell, iterations: int) -> dict[str, Contest]:
    """The four METHODS on the same data from the same starts, and each loss from the truth.

    Adam takes full-batch steps, first length 0.05; the likelihood learns sigma, from 1 (from the
    truth's own when started there).
    """
    ends: dict[str, list[tuple[Tensor, float]]] = {name: [] for name in METHODS}
    for problem in cell.problems():
        truth = problem[0]
        own = em_from_truth(problem).regressors
        for name, rows in zip(
            METHODS,
            (
                _adam(problem, iterations, likelihood=False),
                torch.cat([_adam(problem, iterations, likelihood=True), own]),
                torch.cat([em_learned(problem).regressors, own]),
                torch.cat([em_held(problem).regressors, own]),
            ),
            strict=True,
        ):
            errors = [regressor_error_of(a, truth.regressors) for a in rows]
            ends[name].append((torch.tensor(errors[:-1], dtype=torch.float64), errors[-1]))
    return {
        name: Contest(
            torch.stack([errors for errors, _ in parts]),
            torch.tensor([oracle for _, oracle in parts], dtype=torch.float64),
        )
        for name, parts in ends.items()
    }


def _adam(problem: Problem, iterations: int, likelihood: bool) -> Tensor:
    """Regressors (S, k, d) where Adam ends from flat gates; the squared loss from the truth too."""
    truth, x, y, start = problem
    rows = torch.cat([start, torch.zeros_like(start[:, :-1])], 1)
    parameters = [rows, torch.zeros(len(rows), 1, 1, dtype=x.dtype)]
    if not likelihood:
        own = torch.cat([truth.regressors, truth.gating[:-1]])
        parameters = [torch.cat([rows, own[None]])]
    slopes = _log_slopes if likelihood else _squared_slopes

    def loss(*free: Tensor) -> Tensor:
        value, gradients = _summed(slopes, [part.detach() for part in free], x, y)
        for part, gradient in zip(free, gradients, strict=True):  # zero, with this derivative
            value = value + ((part - part.detach()) * gradient).flatten(1).sum(1)
        return value

    return gradient_descent(
        loss,
        parameters,
        step=lambda t: 0.05 / (1 + 5 * t / iterations),
        iterations=iterations,
        optimiser="adam",
        every=iterations,
    ).parameters[0][:, : truth.k]


Slopes = tuple[Tensor, Tensor, tuple[Tensor, ...]]


def _squared_slopes(z: Tensor, y: Tensor) -> Slopes:
    """The squared loss (S, n), its derivatives in the predictors z (S, q, n), no others."""
    mean, slope = mean_slope(z, (z.shape[1] + 1) // 2)
    residual = mean - y
    return residual.square(), (2 * residual)[:, None] * slope, ()


def _log_slopes(z: Tensor, y: Tensor, log_sigma: Tensor) -> Slopes:
    """The negative log-likelihood (S, n), its derivatives in z and in log sigma (S, 1, 1)."""
    k, sigma = (z.shape[1] + 1) // 2, log_sigma.exp()
    value, p, r = belief(z, y, k, sigma)
    error = (y - z[:, :k]) / sigma
    pull = r * error
    slope = torch.cat([-pull / sigma, (p - r)[:, :-1]], 1)
    return value, slope, (1 - (pull * error).sum(1, keepdim=True),)


def _summed(
    slopes: Callable[..., Slopes], parameters: list[Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Mean loss (S,) and its gradient in the rows (S, q, d) and whatever else it depends on."""
    rows, *others = parameters
    size = max(1, _ENTRIES // (rows.shape[0] * rows.shape[1]))
    value, gradients = rows.new_zeros(len(rows)), [torch.zeros_like(p) for p in parameters]
    for x_, y_ in zip(x.split(size), y.split(size), strict=True):
        z = (rows.flatten(0, 1) @ x_.T).unflatten(0, rows.shape[:2])
        each, slope, rest = slopes(z, y_, *others)
        value += each.sum(1) / len(x)
        gradients[0] += slope @ x_ / len(x)
        for gradient, part in zip(gradients[1:], rest, strict=True):
            gradient += part.sum(2, keepdim=True) / len(x)
    return value, gradients


def em_shares(cell: Cell, iterations: int = 500) -> EMShares:
    """EM with sigma held and learned, from the same starts."""
    counts = {"held": 0, "learned": 0, "oracle": 0}
    lost = []
    for problem in cell.problems():
        truth = problem[0]
        fits = {
            "held": em_held(problem, iterations),
            "learned": em_learned(problem, iterations),
            "oracle": em_from_truth(problem, iterations),
        }
        lost.append((fits["oracle"].log_likelihood - fits["held"].log_likelihood) / cell.n)
        for name, fit in fits.items():
            counts[name] += sum(
                regressor_error_of(a, truth.regressors) < SUCCESS for a in fit.regressors
            )
    runs = cell.datasets * cell.starts
    return EMShares(
        cell,
        Share(counts["held"], runs, cell.datasets),
        Share(counts["learned"], runs, cell.datasets),
        Share(counts["oracle"], cell.datasets),
        torch.cat(lost),
    )


def em_held(problem: Problem, iterations: int = 500, record: bool = False) -> EMResult:
    """EM from the problem's starts and flat gates, sigma held at the truth's."""
    return em(problem, None, problem[0].sigma, HELD, iterations, record)


def em_learned(problem: Problem, iterations: int = 500, record: bool = False) -> EMResult:
    """The same with sigma learned from one."""
    return em(problem, None, 1.0, (*HELD, "sigma"), iterations, record)


def em_from_truth(problem: Problem, iterations: int = 500) -> EMResult:
    """EM started at the truth, sigma held."""
    truth, x, y, _ = problem
    own = (truth, x, y, truth.regressors[None])
    return em(own, truth.gating[None], truth.sigma, HELD, iterations)


def em(
    problem: Problem,
    gating: Tensor | None,
    sigma: float,
    learn: tuple[str, ...],
    iterations: int,
    record: bool = False,
) -> EMResult:
    """EM from the problem's starts, from flat gates where None are given; gates are left out of
    ``learn`` where the truth has none."""
    truth, x, y, start = problem
    if not bool(truth.gating.any()):
        learn = tuple(name for name in learn if name != "gating")
    gating = torch.zeros_like(start) if gating is None else gating
    return expectation_maximisation(
        x,
        y,
        start,
        gating,
        sigma,
        truth.nonlinearity,
        learn=learn,
        iterations=iterations,
        record=record,
    )
