"""recover against the oracle and against annealed EM: what it reaches, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from benchmarks.measure import Row, annealed, oracle, peak_mib, problem, seconds
from moe.experiments.sample_complexity import efficiency as bound
from moe.metrics import gating_error, regressor_error, regressor_error_of
from moe.randomness import stream
from moe.recovery import recover
from moe.solvers.l4 import NoMinimumError, l4_moments_of, minimise_l4
from moe.solvers.quartic import minimise_quartic, random_starts

FOUND = 0.05
GATED = [  # d, k, sigma, n; gates of norm one
    (10, 3, 0.1, 300),
    (10, 4, 0.05, 500),
    (20, 4, 0.05, 1_000),
    (50, 3, 0.05, 2_000),
    (10, 8, 0.05, 5_000),
]
UNGATED = [  # k = d, n; sigma 0.05; W* = 0, but learned
    (6, 1_000),
    (8, 2_000),
    (8, 5_000),
    (10, 5_000),
    (10, 10_000),
    (12, 5_000),
    (12, 10_000),
    (12, 20_000),
    (16, 20_000),
    (16, 50_000),
]


def limits(seeds: int = 2) -> Iterator[Row]:
    """Time of recover in units of one annealed start, 20 of them, and the oracle."""
    for k, d, n, gate_norm in ((3, 10, 2_000, 1.0), (8, 10, 5_000, 1.0), (12, 12, 20_000, 0.0),
                               (16, 16, 20_000, 0.0)):  # fmt: skip
        totals = torch.zeros(4, dtype=torch.float64)
        arrived = torch.zeros(2, dtype=torch.float64)
        for seed in range(seeds):
            truth, x, y = problem(seed, n, k=k, d=d, sigma=0.05, gate_norm=gate_norm)
            repeats = 3 if k < 12 else 1
            own, fit = seconds(partial(recover, x, y, k, seed=seed), repeats)
            floor, _ = seconds(partial(oracle, truth, x, y), repeats)
            one, end = seconds(partial(annealed, truth, x, y, seed), repeats)
            twenty = 20 * one if k > 8 else seconds(partial(annealed, truth, x, y, seed, 20))[0]
            totals += torch.tensor([own, one, twenty, floor], dtype=torch.float64)
            errors = (
                regressor_error(fit.model, truth),
                regressor_error_of(end.regressors[0], truth.regressors),
            )
            arrived += torch.tensor([error < FOUND for error in errors])
        own, one, twenty, floor = totals.tolist()
        name = f"recover, k = {k}, d = {d}, n = {n:,}"
        yield Row(f"{name}: time / one annealed EM start", own / one, _allowed(k, one / seeds))
        yield Row(f"{name}: time / 20 annealed starts" + (" (20 x one)" if k > 8 else ""),
                  own / twenty)  # fmt: skip
        yield Row(f"{name}: time / oracle", own / floor)
        yield Row(f"{name}: share of {seeds} data sets found", float(arrived[0]) / seeds, "1")
        yield Row(f"{name}: found by the annealed start", float(arrived[1]) / seeds)


def _allowed(k: int, one: float) -> str:
    """The goal for recover's time in units of one annealed start, which takes ``one`` seconds."""
    return "< 1" if k >= 12 else f"<= {max(3, 0.5 / one):.1f} (half a second)"


def cells(seeds: int = 40, timed: int = 4) -> Iterator[Row]:
    """How often recover finds the truth, minus how often the oracle does, over ``seeds`` data sets
    of each cell, and its time on the first ``timed`` of them; a quarter of an hour."""
    listed = [dict(d=d, k=k, sigma=s, n=n, gate_norm=1.0) for d, k, s, n in GATED]
    listed += [dict(d=k, k=k, sigma=0.05, n=n, gate_norm=0.0) for k, n in UNGATED]
    for cell in listed:
        worse, both, said = 0, 0, 0
        own = one = 0.0
        for seed in range(seeds):
            options: dict[str, Any] = {**cell}
            truth, x, y = problem(seed, options.pop("n"), **options)
            taken, fit = seconds(partial(recover, x, y, truth.k, seed=seed))
            reference = oracle(truth, x, y)
            if seed < timed:
                own += taken
                one += seconds(partial(annealed, truth, x, y, seed))[0]
            found = regressor_error(fit.model, truth) < FOUND
            best = regressor_error_of(reference.regressors[0], truth.regressors) < FOUND
            worse, both, said = worse + (best and not found), both + found, said + fit.converged
        name = ", ".join(f"{key} = {value}" for key, value in cell.items())
        yield Row(f"recover found, {name}", both / seeds, "the oracle's")
        yield Row("  data sets where only the oracle found the truth", worse, "0")
        yield Row("  answers that recover calls converged", said / seeds, "")
        yield Row(
            "  time / one annealed EM start", own / one, _allowed(int(cell["k"]), one / timed)
        )


def accuracy(seeds: int = 20) -> Iterator[Row]:
    """k = 3, d = 10, sigma = 0.1, gates of norm one, random experts."""
    for n in (2_000, 10_000):
        rows = []
        for seed in range(seeds):
            truth, x, y = problem(seed, n, k=3, d=10)
            cost, fit = seconds(partial(recover, x, y, 3, seed=seed))
            floor, end = seconds(partial(oracle, truth, x, y))
            best = end.model(0, truth.nonlinearity)
            gates = gating_error(fit.model, truth) / gating_error(best, truth)
            alone = 1.0
            for stage in fit.stages:
                if stage.name == "L4" and stage.regressors is not None:
                    alone = regressor_error_of(stage.regressors, truth.regressors)
            rows.append((regressor_error(fit.model, truth), gates, alone, cost / floor))
        table = torch.tensor(rows, dtype=torch.float64)
        worst, middle = table.max(0).values, table.median(0).values
        name = f"k = 3, d = 10, n = {n:,}, {seeds} seeds"
        yield Row(f"{name}: worst E_reg", float(worst[0]), "< 1e-3" if n == 2_000 else "< 2e-4")
        yield Row(f"{name}: worst E_gate / oracle's", float(worst[1]), "<= 1.05")
        yield Row(f"{name}: median E_reg of L_4 alone", float(middle[2]),
                  "" if n == 2_000 else "<= 0.035")  # fmt: skip
        yield Row(f"{name}: median time / oracle's", float(middle[3]),
                  "" if n == 2_000 else "<= 5")  # fmt: skip


def large() -> Iterator[Row]:
    """Many samples, many dimensions."""
    for k, d, n in ((3, 10, 1_000_000), (5, 200, 200_000)):
        truth, x, y = problem(0, n, k=k, d=d)
        taken, fit = seconds(partial(recover, x, y, k))
        name = f"recover, k = {k}, d = {d}, n = {n:,}"
        yield Row(f"{name}: time / oracle", taken / seconds(partial(oracle, truth, x, y))[0])
        yield Row(f"{name}: seconds", taken)
        yield Row(f"{name}: peak MiB", peak_mib())
        yield Row(f"{name}: E_reg", regressor_error(fit.model, truth))


def l4() -> Iterator[Row]:
    """L_4 alone, without any likelihood."""
    bounded: dict[str, Any] = dict(sigma=0.05, orthonormal=True)
    cases: list[tuple[int, int, float, dict[str, Any]]] = [
        (5, 1_000_000, 0.001, dict(sigma=0.1)),
        (10, 100_000, 0.01, dict(nonlinearity="sigmoid", **bounded)),
        (10, 100_000, 0.01, dict(nonlinearity="tanh", **bounded)),
    ]
    for seeds, n, goal, options in cases:
        errors = []
        for seed in range(seeds):
            truth, x, y = problem(seed, n, k=3, d=10, **options)
            try:
                moments = l4_moments_of(x, y, 3, truth.nonlinearity)
                fit = minimise_l4(moments, y @ x / n, stream("starts", seed))
                errors.append(regressor_error_of(fit.regressors, truth.regressors))
            except NoMinimumError:
                errors.append(1.0)
        name = f"L_4 alone, {options.get('nonlinearity', 'linear')}, n = {n:,}"
        yield Row(f"{name}: median E_reg", float(torch.tensor(errors).median()), f"<= {goal}")


def search(starts: int = 1_000, k: int = 8) -> Iterator[Row]:
    """Minimising L_4 from many starts as a batch against a loop over the starts; two threads."""
    tensor = torch.zeros(k, k, k, k, dtype=torch.float64)
    index = torch.arange(k)
    tensor[index, index, index, index] = float(k)
    points = random_starts(starts, k, stream("starts"))
    torch.set_num_threads(2)
    batch, solution = seconds(lambda: minimise_quartic(tensor, 0.5, 1.5 * k, points), 3)
    few = points[: starts // 10]
    loop, _ = seconds(lambda: [minimise_quartic(tensor, 0.5, 1.5 * k, p[None]) for p in few])
    torch.set_num_threads(1)
    name = f"L_4 from {starts:,} starts, k = {k}"
    yield Row(f"{name}: loop over starts / one batch", 10 * loop / batch, ">= 20")
    yield Row(f"{name}: largest |grad|", float(solution.gradient_norms.max()), "<= 1e-8")


def efficiency(seeds: int = 1_000) -> Iterator[Row]:
    """Squared errors over the Cramer-Rao bound and coverage of 95 % intervals; ten minutes."""
    specs = [bound.Spec(sigma=sigma) for sigma in (0.05, 0.1, 0.5)]
    for record in bound.run(specs, range(seeds)):
        sigma, goal = record.spec.sigma, "<= 1.15" if record.spec.sigma == 0.5 else "<= 1.1"
        name = f"recover, sigma = {sigma}, n = {record.spec.n:,}, {seeds} seeds"
        for part in ("regressors", "gating"):
            ratio, covered = record.mean(part), record.mean(f"covered_{part}")
            interval = f"{ratio.low:.3f}-{ratio.high:.3f}"
            yield Row(f"{name}: {part}, squared error / bound ({interval})", ratio.value, goal)
            yield Row(f"{name}: {part}, coverage of 95 %", covered.value, "0.93-0.97")
