"""What recovery reaches and what it costs, as ratios to references measured in the same run.

make bench                     all tables, about ten minutes
make bench ARGS="accuracy"     one of: accuracy, cost, l4, moments, search

One thread, as in the chapters, where cores go to trials; two for "search". On data as small as
n = 10,000 a second thread makes recover slower, not faster: its operations are too short.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch

from moe.metrics import gating_error, regressor_error, regressor_error_of
from moe.model import MoE, random_moe
from moe.moments import score_moment
from moe.recovery import Recovery, recover
from moe.solvers.em import EMResult, expectation_maximisation
from moe.solvers.l4 import NoMinimumError, l4_moments_of, minimise_l4
from moe.solvers.quartic import minimise_quartic, random_starts
from moe.transforms import output_transform

T = TypeVar("T")


def seconds(call: Callable[[], T], repeats: int = 1) -> tuple[float, T]:
    """Best wall time of ``repeats`` calls, and the last result."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        best = min(best, time.perf_counter() - start)
    return best, result


def oracle(truth: MoE, x: torch.Tensor, y: torch.Tensor) -> EMResult:
    """Maximum likelihood by EM from the truth: the reference nobody can use."""
    return expectation_maximisation(
        x, y, truth.regressors, truth.gating, truth.sigma, truth.nonlinearity
    )


def data(seed: int, n: int, **options: Any) -> tuple[MoE, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = random_moe(generator=generator, **options)
    return truth, *truth.sample(n, generator)


def l4_error(fit: Recovery, truth: MoE) -> float:
    found = [s.regressors for s in fit.stages if s.name == "L4"]
    return 1.0 if not found or found[0] is None else regressor_error_of(found[0], truth.regressors)


def accuracy() -> None:
    """k = 3, d = 10, sigma = 0.1, gates of norm 1, random experts, seeds 0-19."""
    print("\nAccuracy of recover, seeds 0-19: goals E_reg < 1e-3 and < 2e-4, gate ratio <= 1.05")
    print("     n | worst E_reg | worst E_gate / oracle's | L_4 median E_reg | time / oracle's")
    for n in (2_000, 10_000):
        rows = []
        for seed in range(20):
            truth, x, y = data(seed, n, k=3, d=10)
            cost, fit = seconds(partial(recover, x, y, 3, seed=seed))
            reference, end = seconds(partial(oracle, truth, x, y))
            best = MoE(end.regressors[0], end.gating[0], float(end.sigma))
            gates = gating_error(fit.model, truth) / gating_error(best, truth)
            rows.append(
                (regressor_error(fit.model, truth), gates, l4_error(fit, truth), cost / reference)
            )
        table = torch.tensor(rows, dtype=torch.float64)
        worst, middle = table.max(0).values, table.median(0).values
        print(f"{n:6d} | {worst[0]:.2e} | {worst[1]:.3f} | {middle[2]:.4f} | {middle[3]:.1f}")


def cost() -> None:
    """Time of recover against EM started at the truth and one annealed EM start."""
    print("\nTime of recover, as ratios: goal <= 5 times the oracle at n = 10,000")
    _, x, y = data(0, 2_000, k=2, d=4)
    recover(x, y, 2)
    print("  k   d       n | / oracle | / one annealed start | seconds | peak MiB")
    for k, d, n in ((3, 10, 10_000), (3, 10, 1_000_000), (5, 200, 200_000)):
        truth, x, y = data(0, n, k=k, d=d)
        repeats = 5 if n <= 10_000 else 1
        taken, _ = seconds(partial(recover, x, y, k), repeats)
        reference, _ = seconds(partial(oracle, truth, x, y), repeats)
        generator = torch.Generator().manual_seed(1)
        start = torch.randn(1, k, d, generator=generator, dtype=torch.float64) / d**0.5
        annealed = float("nan")
        if n * d <= 10_000_000:
            annealed, _ = seconds(
                partial(
                    expectation_maximisation,
                    *(x, y, start, torch.zeros_like(start), y.std(), truth.nonlinearity),
                ),
                repeats,
            )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{k:3d} {d:3d} {n:7d} | {taken / reference:8.1f} | {taken / annealed:20.1f} | "
            f"{taken:7.2f} | {peak:8.0f}"
        )


def l4() -> None:
    """L_4 alone, without any likelihood."""
    print("\nL_4 alone: median and worst E_reg; goals 0.035, 0.001, 0.01, 0.01")
    cases: list[tuple[str, int, int, dict[str, Any]]] = [
        ("linear, n = 10,000", 20, 10_000, dict(sigma=0.1)),
        ("linear, n = 1,000,000", 5, 1_000_000, dict(sigma=0.1)),
        *(
            (f"{g}, orthonormal, n = 100,000", 10, 100_000,
             dict(sigma=0.05, nonlinearity=g, orthonormal=True))
            for g in ("sigmoid", "tanh")
        ),
    ]  # fmt: skip
    for name, seeds, n, options in cases:
        errors = []
        for seed in range(seeds):
            truth, x, y = data(seed, n, k=3, d=10, **options)
            moments = l4_moments_of(x, y, 3, truth.nonlinearity)
            try:
                fit = minimise_l4(moments, y @ x / n, torch.Generator().manual_seed(seed))
                errors.append(regressor_error_of(fit.regressors, truth.regressors))
            except NoMinimumError:
                errors.append(1.0)
        table = torch.tensor(errors)
        print(f"  {name:32s} {table.median():.4f}  {table.max():.4f}")


def moments() -> None:
    """Second moments against X'X, the matrix product any method needs."""
    print("\nSecond moments, time / that of X'X: goals 3 (average) and 20 (least squares)")
    for d, n in ((20, 500_000), (100, 200_000)):
        _, x, y = data(0, n, k=3, d=d)
        transform = output_transform("linear", 0.1, 2)
        reference, _ = seconds(partial(torch.matmul, x.T, x), 5)
        for method in ("average", "least_squares"):
            taken, _ = seconds(partial(score_moment, x, y, transform, method), 3)
            print(f"  d = {d:3d}, {method:13s} {taken / reference:6.1f}")


def search() -> None:
    """Minimising L_4 from many starts as a batch against a loop over the starts."""
    print("\nL_4 from 1,000 starts at k = 8: loop time / batch time; goal 20")
    k = 8
    tensor = torch.zeros(k, k, k, k, dtype=torch.float64)
    index = torch.arange(k)
    tensor[index, index, index, index] = float(k)
    points = random_starts(1000, k, torch.Generator().manual_seed(0))
    batch, solution = seconds(lambda: minimise_quartic(tensor, 0.5, 3 * 0.5 * k, points), 3)
    loop, _ = seconds(
        lambda: [minimise_quartic(tensor, 0.5, 3 * 0.5 * k, p[None]) for p in points[:100]]
    )
    worst = float(solution.gradient_norms.max())
    share = float(solution.converged.double().mean())
    print(
        f"  {10 * loop / batch:.1f}, batch {batch:.2f} s, converged {share:.0%}, |grad| {worst:.0e}"
    )


TABLES = {f.__name__: f for f in (accuracy, cost, l4, moments, search)}


def main(names: list[str]) -> None:
    unknown = set(names) - set(TABLES)
    if unknown:
        raise SystemExit(f"unknown table {sorted(unknown)}: expected some of {list(TABLES)}")
    print(f"torch {torch.__version__}")
    for name in names or TABLES:
        torch.set_num_threads(2 if name == "search" else 1)
        TABLES[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
