"""Is the number of experts found? ``choose_k`` on data sets whose k is known."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from moe.exceptions import DoubtfulFitWarning
from moe.experiments.engine.sweep import Trial, sweep
from moe.model.mixture import random_moe
from moe.randomness import child_seed, stream
from moe.recovery.selection import Choice, choose_k


@dataclass(frozen=True)
class Spec:
    """k experts in R^d with n = samples_per_expert * k samples; the largest k tried is d."""

    k: int = 5
    d: int = 9
    sigma: float = 0.1
    gate_norm: float = 1.0
    samples_per_expert: int = 600
    folds: int = 2


def choice(spec: Spec, seed: int, *, every: bool = False) -> Choice:
    """``choose_k`` on the data set of this spec and seed."""
    truth = random_moe(
        spec.k,
        spec.d,
        sigma=spec.sigma,
        gate_norm=spec.gate_norm,
        generator=stream("truth", seed),
    )
    x, y = truth.sample(spec.samples_per_expert * spec.k, stream("data", seed))
    return choose_k(x, y, max_experts=spec.d, folds=spec.folds, every=every, seed=seed)


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """chosen: the k chosen; distinct: eigenvalues above the noise; doubted: whether it says why not
    to believe it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtfulFitWarning)  # told as `doubted`
        found = choice(spec, seed)
    return {
        "chosen": float(found.k),
        "distinct": float(found.distinct),
        "doubted": float(bool(found.doubts)),
    }


def run(
    experts: tuple[int, ...], samples: tuple[int, ...], runs: int, seed: int = 0
) -> list[Trial]:
    """Every true k with each number of samples an expert, on ``runs`` data sets."""
    specs = [Spec(k=k, samples_per_expert=n) for n in samples for k in experts]
    return sweep(trial, specs, [child_seed(seed, run) for run in range(runs)])
