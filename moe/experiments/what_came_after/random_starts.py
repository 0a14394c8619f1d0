"""EM without gates: from random starts, and from near the truth."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from moe.experiments.common.shares import Share
from moe.experiments.engine.sweep import by_spec, sweep
from moe.metrics import regressor_error_of
from moe.model.mixture import random_moe, random_rows
from moe.randomness import child_seed, stream
from moe.solvers.em import expectation_maximisation


@dataclass(frozen=True)
class Spec:
    """k orthonormal experts in R^d, equally often, sigma known, n samples."""

    k: int
    sigma: float = 0.05
    d: int = 10
    n: int = 2_000
    near: float = 0.5


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """Whether EM with sigma held, and held equal proportions, ends within E_reg < 1e-3, far below
    that of any start: from one random start, and from the truth moved by ``near`` of half the least
    distance of two experts."""
    truth = random_moe(
        spec.k,
        spec.d,
        sigma=spec.sigma,
        gate_norm=0.0,
        orthonormal=True,
        generator=stream("truth", seed),
    )
    x, y = truth.sample(spec.n, stream("data", seed))
    generator = stream("starts", seed)
    shape = (spec.k, spec.d)
    lost = random_rows(1, *shape, generator)[0]
    move = torch.randn(*shape, generator=generator, dtype=torch.float64)
    move = spec.near * 2**-0.5 * move / move.norm(dim=1, keepdim=True)
    starts = torch.stack([lost, truth.regressors + move])
    ends = expectation_maximisation(
        x,
        y,
        starts,
        torch.zeros_like(starts),
        spec.sigma,
        truth.nonlinearity,
        learn=("regressors",),
        iterations=300,
        tolerance=1e-3,
    )
    names = ("random", "near")
    errors = [regressor_error_of(rows, truth.regressors) for rows in ends.regressors]
    return {name: float(error < 1e-3) for name, error in zip(names, errors, strict=True)}


@dataclass(frozen=True)
class Row:
    """Shares of data sets recovered."""

    k: int
    sigma: float
    random: Share
    near: Share


def run(experts: tuple[int, ...], sigmas: tuple[float, ...], runs: int, seed: int = 0) -> list[Row]:
    """Every k at every sigma."""
    specs = [Spec(k, sigma) for sigma in sigmas for k in experts]
    done = by_spec(sweep(trial, specs, [child_seed(seed, run) for run in range(runs)]), runs)
    return [
        Row(
            spec.k,
            spec.sigma,
            *(Share(int(sum(t.result[name] for t in trials)), runs) for name in ("random", "near")),
        )
        for spec, trials in zip(specs, done, strict=True)
    ]
