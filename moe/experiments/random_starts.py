"""How often random starts succeed: the losses on the same data, EM with sigma held or learned."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from moe.losses import log_loss, squared_loss
from moe.metrics import regressor_error_of
from moe.model import MoE, random_moe
from moe.randomness import stream
from moe.slices import path_values
from moe.solvers.em import EMResult, expectation_maximisation
from moe.solvers.gradient import gradient_descent

SUCCESS = 0.05
METHODS = (
    "squared loss, Adam",
    "likelihood, Adam",
    "EM, sigma learned",
    "EM, sigma held",
)


@dataclass(frozen=True)
class Share:
    """successes out of trials."""

    successes: int
    trials: int

    @property
    def value(self) -> float:
        return self.successes / self.trials

    def interval(self, z: float = 1.96) -> tuple[float, float]:
        """Wilson's interval for the probability of success; z = 1.96: 95 % (recalled)."""
        n, p = self.trials, self.value
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
        return max(0.0, centre - half), min(1.0, centre + half)


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

    def problems(self) -> list[tuple[MoE, Tensor, Tensor, Tensor]]:
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


def compare(cell: Cell, iterations: int) -> dict[str, tuple[Share, Tensor]]:
    """The four METHODS on the same data from the same starts: share of success, E_reg of each run.

    Adam takes full-batch steps, first length 0.05; the likelihood learns sigma, from 1.
    """
    problems = cell.problems()
    x = torch.stack([inputs for _, inputs, _, _ in problems])
    y = torch.stack([outputs for _, _, outputs, _ in problems])
    x, y = (part.repeat_interleave(cell.starts, 0) for part in (x, y))
    start = torch.cat([problem[3] for problem in problems])
    gates = torch.zeros_like(start[:, :-1])
    log_sigma = torch.zeros(len(start), 1, dtype=x.dtype)
    g = problems[0][0].nonlinearity

    def pad(free: Tensor) -> Tensor:
        return torch.nn.functional.pad(free, (0, 0, 0, 1))

    def adam(loss: Callable[..., Tensor], *parameters: Tensor) -> Tensor:
        return gradient_descent(
            loss,
            parameters,
            step=lambda t: 0.05 / (1 + 5 * t / iterations),
            iterations=iterations,
            optimiser="adam",
            every=iterations,
        ).parameters[0]

    ends = [
        adam(lambda a, w: squared_loss(a, pad(w), x, y, g), start, gates),
        adam(lambda a, w, s: log_loss(pad(w), a, s.exp()[:, 0], x, y, g), start, gates, log_sigma),
        torch.cat([_learned(problem).regressors for problem in problems]),
        torch.cat([_held(problem).regressors for problem in problems]),
    ]
    truths = [problem[0] for problem in problems for _ in range(cell.starts)]
    outcome = {}
    for name, rows in zip(METHODS, ends, strict=True):
        errors = torch.tensor(
            [regressor_error_of(a, t.regressors) for a, t in zip(rows, truths, strict=True)],
            dtype=x.dtype,
        )
        outcome[name] = (Share(int((errors < SUCCESS).sum()), len(errors)), errors)
    return outcome


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
        Share(counts["held"], runs),
        Share(counts["learned"], runs),
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


def _entropy(model: MoE, x: Tensor, y: Tensor) -> Tensor:
    return torch.special.entr(model.responsibilities(x, y)).sum(1).mean()


def _held(
    problem: tuple[MoE, Tensor, Tensor, Tensor],
    iterations: int = 500,
    gating: Tensor | None = None,
    record: bool = False,
) -> EMResult:
    return _em(problem, gating, problem[0].sigma, ("regressors", "gating"), iterations, record)


def _learned(
    problem: tuple[MoE, Tensor, Tensor, Tensor], iterations: int = 500, record: bool = False
) -> EMResult:
    return _em(problem, None, 1.0, ("regressors", "gating", "sigma"), iterations, record)


def _em(
    problem: tuple[MoE, Tensor, Tensor, Tensor],
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
