"""Where `recover` begins to succeed: on each data set, the smallest of its prefixes that will do.

Near the onset every run spends all its starts, and far from it they say nothing new. So the search
walks, from a size near the onset, down while it succeeds or up until it does: about two runs a data
set.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from scipy.stats import binom
from torch import Tensor

from moe.exceptions import DoubtfulFitWarning
from moe.experiments.common.error_law import reference_mixture
from moe.experiments.engine.sweep import by_spec, sweep
from moe.experiments.sample_complexity.errors import GOAL
from moe.metrics import regressor_error, regressor_error_of
from moe.model.mixture import MoE
from moe.randomness import stream
from moe.recovery import recover
from moe.solvers.em import expectation_maximisation

SHARES = (1.15, 1.4, 1.8, 2.5, 4.0)


@dataclass(frozen=True)
class Spec:
    """A reference mixture, and prefixes of ``shares`` times its number of parameters, rising;
    begin: the place in ``shares`` where the walk begins, which changes its length alone; restarts:
    the random starts that `recover` may spend."""

    k: int = 3
    d: int = 10
    sigma: float = 0.1
    gate_norm: float = 1.0
    nonlinearity: str = "linear"
    shares: tuple[float, ...] = SHARES
    begin: int = 1
    restarts: int = 300

    @property
    def parameters(self) -> int:
        """(2k - 1) d + 1: regressors, gates, sigma."""
        return (2 * self.k - 1) * self.d + 1

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(round(share * self.parameters) for share in self.shares)


@dataclass(frozen=True)
class Try:
    """`recover` on n samples, beside EM from the truth: E_reg of both, and by how many nats the
    oracle's likelihood is the higher one."""

    n: int
    error: float
    oracle: float
    ahead: float

    @property
    def success(self) -> bool:
        return self.error < GOAL


@dataclass(frozen=True, eq=False)
class Onset:
    """The tries of one spec, for each data set by rising n."""

    spec: Spec
    tries: tuple[tuple[Try, ...], ...]

    @property
    def first(self) -> Tensor:
        """The smallest size that was enough, for each data set; infinite where none was."""
        found = [min((t.n for t in tries if t.success), default=math.inf) for tries in self.tries]
        return torch.tensor(found, dtype=torch.float64)

    @property
    def failures(self) -> list[Try]:
        """The largest size that was not enough, for each data set that has one."""
        last = [[t for t in tries if not t.success][-1:] for tries in self.tries]
        return [t for found in last for t in found]

    @property
    def successes(self) -> list[Try]:
        """The smallest size that was enough, for each data set that has one."""
        first = [[t for t in tries if t.success][:1] for tries in self.tries]
        return [t for found in first for t in found]

    def half(self) -> tuple[float, tuple[float, float]]:
        """The n that is enough for half of the data sets: the median of ``first``.

        Its interval is one of order statistics: for any distribution it contains the median with
        95 % probability or more, if there are at least six data sets; with fewer it is their range.
        """
        values, count = self.first.sort().values, len(self.tries)
        below = max(int(binom.ppf(0.025, count, 0.5)) - 1, 0)
        low, high = float(values[below]), float(values[count - 1 - below])
        return float(values.quantile(0.5, interpolation="lower")), (low, high)


def run(specs: Sequence[Spec], seeds: Iterable[int], workers: int | None = None) -> list[Onset]:
    """Every spec with every seed, through the sweep engine."""
    seeds = list(seeds)
    trials = sweep(trial, specs, seeds, workers=workers)
    found = []
    for spec, mine in zip(specs, by_spec(trials, len(seeds)), strict=True):
        found.append(Onset(spec, tuple(_tries(one.result, spec.sizes) for one in mine)))
    return found


def _tries(result: dict[str, float], sizes: tuple[int, ...]) -> tuple[Try, ...]:
    tried = [n for n in sizes if f"error {n}" in result]
    return tuple(Try(n, *(result[f"{name} {n}"] for name in _NAMES)) for n in tried)


_NAMES = ("error", "oracle", "ahead")


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """Walk to the smallest sufficient prefix of one sample; keys "error n", "oracle n", "ahead n"
    for the sizes tried. What is enough is taken to be enough at all larger sizes."""
    truth = reference_mixture(spec.k, spec.d, spec.sigma, spec.gate_norm, spec.nonlinearity)
    x, y = truth.sample(max(spec.sizes), stream("data", seed))
    out: dict[str, float] = {}
    place, step = spec.begin, 0
    while 0 <= place < len(spec.sizes):
        n = spec.sizes[place]
        found = _attempt(truth, x[:n], y[:n], spec.restarts, seed)
        out |= {f"{name} {n}": value for name, value in zip(_NAMES, found, strict=True)}
        towards = -1 if found[0] < GOAL else 1
        if step and towards != step:
            break
        step = towards
        place += step
    return out


def _attempt(
    truth: MoE, x: Tensor, y: Tensor, restarts: int, seed: int
) -> tuple[float, float, float]:
    """E_reg of `recover` and of EM from the truth, and by how many nats the latter is ahead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtfulFitWarning)  # fits that are not to be trusted
        fit = recover(x, y, truth.k, truth.nonlinearity, seed=seed, restarts=restarts)
    oracle = expectation_maximisation(
        x,
        y,
        truth.regressors,
        truth.gating,
        truth.sigma,
        truth.nonlinearity,
        learn=("regressors", "gating", "sigma"),
    )
    ahead = float(oracle.log_likelihood) - fit.log_likelihood
    right = regressor_error_of(oracle.regressors[0], truth.regressors)
    return regressor_error(fit.model, truth), right, ahead
