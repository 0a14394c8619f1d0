"""Errors of L_4, and of `recover`, against the number of samples (book, chapter 9).

A trial draws one long sample; its prefixes are the smaller data sets. L_4 reads them through
moments alone: those of order two add up from block to block, so a whole sweep over n costs one
pass; those of order four live in the k coordinates that each prefix has found.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from moe.exceptions import DependentFeaturesError, DoubtfulFitWarning, TooFewEigenvaluesError
from moe.experiments.common.error_law import ErrorLaw, bound_law, reference_mixture
from moe.experiments.engine.sweep import by_spec, sweep
from moe.experiments.regressor_loss.law import MOST_EXPERTS, l4_law
from moe.metrics import regressor_error, regressor_error_of
from moe.moments.estimate import (
    DIRECT_FEATURES,
    SAMPLES_PER_FEATURE,
    Method,
    Moments,
    score_moment,
)
from moe.moments.hermite import feature_count
from moe.moments.low_rank import low_rank_moment
from moe.moments.transforms import OutputTransform, output_transform
from moe.moments.whitening import whiten
from moe.randomness import stream
from moe.recovery import recover
from moe.solvers.l4 import L4Fit, L4Moments, minimise_l4_of_many

METHODS = ("average", "least_squares", "low_rank")
LABELS = {
    "average": "$L_4$, plain moments",
    "least_squares": "$L_4$, least squares",
    "low_rank": "$L_4$, low rank",
    "recover": "recover",
}
GOAL = 0.05
CG_TOLERANCE = 0.02  # of conjugate gradients, as a share of the sampling error


@dataclass(frozen=True)
class Spec:
    """A reference mixture and the prefixes at which each method is tried.

    methods of L_4: "average" (both moments plain), "least_squares" (each where n is at least three
    resp. ten times the number of its features, else plain), "low_rank" (M by
    `low_rank_moment`, T as before). sizes: n for L_4, increasing; recover_sizes: for `recover`.
    """

    k: int = 3
    d: int = 10
    sigma: float = 0.1
    gate_norm: float = 1.0
    nonlinearity: str = "linear"
    sizes: tuple[int, ...] = (1_000, 3_000, 10_000)
    methods: tuple[str, ...] = ("average", "least_squares")
    recover_sizes: tuple[int, ...] = ()
    starts: int = 16


@dataclass(frozen=True, eq=False)
class Cell:
    """Errors of one spec by method: E_reg, (sizes, seeds); 1 where a method gave no answer."""

    spec: Spec
    errors: dict[str, Tensor]

    def sizes(self, method: str) -> Tensor:
        """The n that belong to the rows of ``errors[method]``."""
        chosen = self.spec.recover_sizes if method == "recover" else self.spec.sizes
        return torch.tensor(chosen, dtype=torch.float64)

    def median(self, method: str) -> Tensor:
        """Median error over the seeds, (sizes,)."""
        return self.errors[method].quantile(0.5, dim=1)

    def success(self, method: str, goal: float = GOAL) -> Tensor:
        """Share of seeds with E_reg below the goal, (sizes,)."""
        return (self.errors[method] < goal).double().mean(1)


def run(specs: Sequence[Spec], seeds: Iterable[int], workers: int | None = None) -> list[Cell]:
    """Every spec with every seed, through the sweep engine."""
    seeds = list(seeds)
    trials = sweep(trial, specs, seeds, workers=workers)
    cells = []
    for spec, mine in zip(specs, by_spec(trials, len(seeds)), strict=True):
        rows = [one.result for one in mine]
        groups = [(method, spec.sizes) for method in spec.methods]
        groups += [("recover", spec.recover_sizes)] if spec.recover_sizes else []
        errors = {
            method: torch.tensor(
                [[row[f"{method} {n}"] for row in rows] for n in sizes], dtype=torch.float64
            )
            for method, sizes in groups
        }
        cells.append(Cell(spec, errors))
    return cells


def joined(cells: Sequence[Cell], others: Sequence[Cell]) -> list[Cell]:
    """Cells with the methods of others beside their own: `recover` from sweeps of its own."""
    return [
        Cell(
            replace(one.spec, recover_sizes=two.spec.recover_sizes),
            {**one.errors, **two.errors},
        )
        for one, two in zip(cells, others, strict=True)
    ]


def around_the_edge(spec: Spec) -> Spec:
    """The same with the sizes that its edge of success needs: from the last below an eighth of the
    n at which the law of plain moments passes E_reg = 0.05 to three times that n, and the largest,
    where the law itself is seen. Beyond the laws' five experts that n is taken to grow like k^2."""
    known = min(spec.k, MOST_EXPERTS)
    edge = predicted(replace(spec, k=known))["average"] / GOAL * (spec.k / known) ** 2
    least = max((n for n in spec.sizes if n <= edge / 8), default=0)
    kept = tuple(n for n in spec.sizes if least <= n <= 3 * edge or n == spec.sizes[-1])
    return replace(spec, sizes=kept)


def predicted(spec: Spec) -> dict[str, float]:
    """The median of n E_reg in the limit of many samples, by method; "recover": the Cramer-Rao
    bound. L_4's are missing where k is too large for `l4_law`."""
    return dict(_medians(spec.k, spec.d, spec.sigma, spec.gate_norm, spec.nonlinearity))


@lru_cache(maxsize=256)
def _medians(
    k: int, d: int, sigma: float, gate_norm: float, nonlinearity: str
) -> tuple[tuple[str, float], ...]:
    laws = limit_laws(k, sigma, gate_norm, nonlinearity)
    medians = {law: law.in_dimension(d).median() for law in set(laws.values())}
    return tuple((method, medians[law]) for method, law in laws.items())


@lru_cache(maxsize=64)
def limit_laws(k: int, sigma: float, gate_norm: float, nonlinearity: str) -> dict[str, ErrorLaw]:
    """The limit law of each method for a reference mixture in 2k - 1 dimensions."""
    truth = reference_mixture(k, 2 * k - 1, sigma, gate_norm, nonlinearity)
    laws = {"recover": bound_law(truth)}
    if k <= MOST_EXPERTS:
        laws["average"] = l4_law(truth, "average")
        laws["least_squares"] = laws["low_rank"] = l4_law(truth, "least_squares")
    return laws


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """E_reg of every method at every n, keys "method n". Deterministic in (spec, seed)."""
    truth = reference_mixture(spec.k, spec.d, spec.sigma, spec.gate_norm, spec.nonlinearity)
    x, y = truth.sample(max(spec.sizes + spec.recover_sizes), stream("data", seed))
    cases = {
        f"{method} {n}": (n, l4_moments(x[:n], y[:n], moment, spec, method))
        for method, moments in second_moments(x, y, spec).items()
        for n, moment in zip(spec.sizes, moments, strict=True)
    }
    found = {name: (n, moments) for name, (n, moments) in cases.items() if moments is not None}
    fits = minimise_l4_of_many(
        [moments for _, moments in found.values()],
        [y[:n] @ x[:n] / n for n, _ in found.values()],
        [stream("starts", seed) for _ in found],
        starts=spec.starts,
    )
    out = dict.fromkeys(cases, 1.0)
    for name, fit in zip(found, fits, strict=True):
        if isinstance(fit, L4Fit):
            out[name] = regressor_error_of(fit.regressors, truth.regressors)
    for n in spec.recover_sizes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DoubtfulFitWarning)  # at small n
            fit_of_all = recover(x[:n], y[:n], spec.k, truth.nonlinearity, seed=seed)
        out[f"recover {n}"] = regressor_error(fit_of_all.model, truth)
    return out


def second_moments(x: Tensor, y: Tensor, spec: Spec) -> dict[str, list[Tensor]]:
    """M_hat (d, d) of every prefix, by method; see `Spec`. Raises ValueError for other methods.

    low_rank falls back on the plain moment where its own has fewer than k positive eigenvalues.
    """
    unknown = set(spec.methods) - set(METHODS)
    if unknown:
        raise ValueError(f"methods: expected names out of {METHODS}, got {sorted(unknown)}")
    quadratic = output_transform(spec.nonlinearity, spec.sigma, 2)
    features = feature_count(spec.d, 2)
    direct = "least_squares" in spec.methods and features <= DIRECT_FEATURES
    running = Moments(quadratic, spec.d, method="least_squares" if direct else "average")
    found: dict[str, list[Tensor]] = {method: [] for method in spec.methods}
    begin = 0
    for n in spec.sizes:
        running.update(x[begin:n], y[begin:n])
        begin = n
        plain = running.tensor("average")
        for method, moments in found.items():
            if method == "low_rank":
                moments.append(_low_rank_or(plain, x[:n], y[:n], quadratic, spec.k))
            elif method == "average" or n < SAMPLES_PER_FEATURE[2] * features:
                moments.append(plain)
            elif direct:
                moments.append(running.tensor())
            else:
                fit = score_moment(x[:n], y[:n], quadratic, "least_squares", tolerance=CG_TOLERANCE)
                moments.append(fit.tensor)
    return found


def _low_rank_or(plain: Tensor, x: Tensor, y: Tensor, quadratic: OutputTransform, k: int) -> Tensor:
    try:
        return low_rank_moment(x, y, quadratic, k)
    except TooFewEigenvaluesError:
        return plain


def l4_moments(x: Tensor, y: Tensor, second: Tensor, spec: Spec, method: str) -> L4Moments | None:
    """What L_4 sees with sigma known; None where M has fewer than k positive eigenvalues."""
    quartic = output_transform(spec.nonlinearity, spec.sigma, 4)
    try:
        whitening = whiten(second, spec.k)
        enough = len(y) >= SAMPLES_PER_FEATURE[4] * feature_count(spec.k, 4)
        way: Method = "least_squares" if enough and method != "average" else "average"
        fourth = score_moment(x, y, quartic, way, whitening.basis, CG_TOLERANCE)
    except (TooFewEigenvaluesError, DependentFeaturesError):
        return None
    tensor = whitening.apply(fourth.tensor)
    return L4Moments(spec.sigma, fourth, fourth, whitening, tensor)
