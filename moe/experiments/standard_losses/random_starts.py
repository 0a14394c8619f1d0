"""How often random starts succeed: the losses on the same data, EM with sigma held or learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from moe.experiments.common.shares import Share
from moe.landscape.slices import path_values
from moe.losses import log_loss, squared_loss
from moe.metrics import regressor_error_of
from moe.model.mixture import MoE, random_moe
from moe.randomness import stream
from moe.solvers.em import EMResult, expectation_maximisation
from moe.solvers.gradient import gradient_descent

SUCCESS = 0.05
METHODS = (
    "squared loss, Adam",
    "likelihood, Adam",
    "EM, sigma learned",
    "EM, sigma held",
)
_HELD = ("regressors", "gating")
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
            shape, starts = (self.starts, self.k, self.d), stream("starts", self.seed, index)
            start = torch.randn(shape, generator=starts, dtype=x.dtype) / self.d**0.5
            drawn.append((truth, x, y, start))
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
class Annealing:
    """Per iteration and run (T, S), padded with the last value: sigma, mean entropy of the
    responsibilities in nats; by name "sigma held", "sigma learned"."""

    cell: Cell
    sigma: dict[str, Tensor]
    entropy: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class StuckPaths:
    """curves: "data" and "large sample" -> for each held sigma the loss in nats per sample (81,) at
    ``steps`` between a stuck run's end (0) and the maximum reached from the truth (1);
    lost: nats per sample between the two on the data."""

    cell: Cell
    sigmas: tuple[float, ...]
    large: int
    steps: Tensor
    curves: dict[str, tuple[Tensor, ...]]
    lost: float


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
        truth, x, y, _ = problem
        at_truth = (truth, x, y, truth.regressors[None])
        own = _held(at_truth, gating=truth.gating[None]).regressors
        for name, rows in zip(
            METHODS,
            (
                _adam(problem, iterations, likelihood=False),
                torch.cat([_adam(problem, iterations, likelihood=True), own]),
                torch.cat([_learned(problem).regressors, own]),
                torch.cat([_held(problem).regressors, own]),
            ),
            strict=True,
        ):
            errors = [regressor_error_of(a, truth.regressors) for a in rows]
            ends[name].append((torch.tensor(errors[:-1], dtype=x.dtype), errors[-1]))
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
    gates = torch.zeros_like(start[:, :-1])
    if not likelihood:
        start = torch.cat([start, truth.regressors[None]])
        gates = torch.cat([gates, truth.gating[None, :-1]])

    def pad(free: Tensor) -> Tensor:
        return torch.nn.functional.pad(free, (0, 0, 0, 1))

    def squared(a: Tensor, w: Tensor) -> Tensor:
        return squared_loss(a, pad(w), x, y, truth.nonlinearity)

    def log(a: Tensor, w: Tensor, s: Tensor) -> Tensor:
        return log_loss(pad(w), a, s.exp()[:, 0], x, y, truth.nonlinearity)

    loss: Callable[..., Tensor] = log if likelihood else squared
    parameters = [start, gates]
    if likelihood:
        parameters.append(torch.zeros(len(start), 1, dtype=x.dtype))
    return gradient_descent(
        loss,
        parameters,
        step=lambda t: 0.05 / (1 + 5 * t / iterations),
        iterations=iterations,
        optimiser="adam",
        every=iterations,
    ).parameters[0]


def em_shares(cell: Cell, iterations: int = 500) -> EMShares:
    """EM with sigma held and learned, from the same starts."""
    counts = {"held": 0, "learned": 0, "oracle": 0}
    lost = []
    for problem in cell.problems():
        truth, x, y, _ = problem
        held, learned = _held(problem, iterations), _learned(problem, iterations)
        oracle = _held((truth, x, y, truth.regressors[None]), iterations, truth.gating[None])
        lost.append((oracle.log_likelihood - held.log_likelihood) / cell.n)
        for name, fit in (("held", held), ("learned", learned), ("oracle", oracle)):
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


def anneal(cell: Cell, iterations: int = 60) -> Annealing:
    """sigma and the entropy of the responsibilities along the runs of EM."""
    sigma: dict[str, list[Tensor]] = {"sigma held": [], "sigma learned": []}
    entropy: dict[str, list[Tensor]] = {"sigma held": [], "sigma learned": []}
    for problem in cell.problems():
        truth, x, y, _ = problem
        for name, fit in (
            ("sigma held", _held(problem, iterations, record=True)),
            ("sigma learned", _learned(problem, iterations, record=True)),
        ):
            path = [*fit.path, *[fit.path[-1]] * (iterations + 1 - len(fit.path))]
            sigma[name].append(torch.stack([level for _, _, level in path]))
            entropies = [
                _entropy(MoE(a, w, float(s), truth.nonlinearity), x, y)
                for point in path
                for a, w, s in zip(*point, strict=True)
            ]
            entropy[name].append(torch.stack(entropies).view(iterations + 1, -1))
    return Annealing(
        cell,
        {name: torch.cat(parts, 1) for name, parts in sigma.items()},
        {name: torch.cat(parts, 1) for name, parts in entropy.items()},
    )


def stuck_paths(cell: Cell, sigmas: tuple[float, ...], large: int) -> StuckPaths:
    """From where EM with sigma held ends furthest below the truth, straight to EM's end from the
    truth (its labels the nearest): the loss at each held sigma, on the data and on a large sample.

    Raises ValueError where no run of the cell is stuck.
    """
    worst: tuple[float, MoE, Tensor, Tensor, Tensor, Tensor] | None = None
    for problem in cell.problems():
        truth, x, y, _ = problem
        held = _held(problem)
        oracle = _held((truth, x, y, truth.regressors[None]), gating=truth.gating[None])
        lost = (oracle.log_likelihood - held.log_likelihood) / cell.n
        run = int(lost.argmax())
        if worst is None or float(lost[run]) > worst[0]:
            start = torch.stack([held.regressors[run], held.gating[run]])
            end = torch.stack([oracle.regressors[0], oracle.gating[0]])
            worst = (float(lost[run]), truth, x, y, start, end)
    if worst is None or worst[0] < 0.01:
        raise ValueError(f"cell: expected one with a stuck run, got {cell}")
    _, truth, x, y, start, end = worst
    _, order = linear_sum_assignment(torch.cdist(start[0], end[0]))
    end = end[:, torch.as_tensor(order)]
    end = torch.stack([end[0], end[1] - end[1, -1]])
    fresh = truth.sample(large, stream("fresh", cell.seed))
    curves: dict[str, tuple[Tensor, ...]] = {}
    for name, (xs, ys) in (("data", (x, y)), ("large sample", fresh)):
        per_sigma = []
        for sigma in sigmas:

            def loss(theta: Tensor, sigma: float = sigma) -> Tensor:
                return log_loss(theta[:, 1], theta[:, 0], sigma, xs, ys, truth.nonlinearity)  # noqa: B023

            per_sigma.append(path_values(loss, start, end, 81, margin=0.15, batch=8))
        curves[name] = tuple(path.values for path in per_sigma)
    return StuckPaths(cell, sigmas, large, per_sigma[0].steps, curves, worst[0])


def scheduled(cell: Cell, schedule: tuple[float, ...], iterations: int = 10) -> Tensor:
    """E_reg (runs,) of EM with sigma held at each value of a schedule in turn, then at the truth's.

    ``iterations`` of EM at each, up to 500 at the last.
    """
    errors = []
    for truth, x, y, start in cell.problems():
        regressors, gating = start, torch.zeros_like(start)
        for sigma in (*schedule, truth.sigma):
            count = 500 if sigma == truth.sigma else iterations
            fit = _em((truth, x, y, regressors), gating, sigma, _HELD, count, False)
            regressors, gating = fit.regressors, fit.gating
        errors += [regressor_error_of(a, truth.regressors) for a in regressors]
    return torch.tensor(errors, dtype=torch.float64)


def _entropy(model: MoE, x: Tensor, y: Tensor) -> Tensor:
    return torch.special.entr(model.responsibilities(x, y)).sum(1).mean()


def _held(
    problem: Problem,
    iterations: int = 500,
    gating: Tensor | None = None,
    record: bool = False,
) -> EMResult:
    return _em(problem, gating, problem[0].sigma, _HELD, iterations, record)


def _learned(problem: Problem, iterations: int = 500, record: bool = False) -> EMResult:
    return _em(problem, None, 1.0, ("regressors", "gating", "sigma"), iterations, record)


def _em(
    problem: Problem,
    gating: Tensor | None,
    sigma: float,
    learn: tuple[str, ...],
    iterations: int,
    record: bool,
) -> EMResult:
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
