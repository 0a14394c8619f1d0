"""Is `recover` efficient? Squared errors over the Cramer-Rao bound, and coverage of intervals.

Means over data sets are taken beside those of the first-order estimate theta* + I^-1 score / n of
the same data, whose expectations are known: the differences scatter less (control variates).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from moe.exceptions import DoubtfulFitWarning
from moe.experiments.common.scaling import Estimate
from moe.experiments.engine.sweep import by_spec, sweep
from moe.likelihood.efficiency import ParameterErrors, cramer_rao, standard_errors
from moe.likelihood.information import information
from moe.metrics import align, regressor_error
from moe.model.mixture import MoE, random_moe
from moe.randomness import stream
from moe.recovery import recover
from moe.solvers.em import expectation_maximisation

_TWO_SIDED_95 = 1.959964
_EXPECTED = {
    "regressors": 1.0,
    "gating": 1.0,
    "covered_regressors": 0.95,
    "covered_gating": 0.95,
    "gate_length": 0.0,
}


@dataclass(frozen=True)
class Spec:
    """One random mixture (by truth_seed) and n samples of it a trial. sigma_known: `recover` is
    given sigma, and the bound and the intervals know it too. oracle: EM from the truth as well."""

    k: int = 3
    d: int = 10
    sigma: float = 0.1
    gate_norm: float = 1.0
    nonlinearity: str = "linear"
    n: int = 5_000
    sigma_known: bool = False
    oracle: bool = False
    truth_seed: int = 0
    bound_samples: int = 200_000


def truth_of(spec: Spec) -> MoE:
    """The mixture of a spec: regressors in general position, gates orthogonal to their span."""
    return random_moe(
        spec.k,
        spec.d,
        sigma=spec.sigma,
        gate_norm=spec.gate_norm,
        nonlinearity=spec.nonlinearity,
        generator=stream("truth", spec.truth_seed),
    )


@lru_cache(maxsize=64)
def _bound_of_one(spec: Spec) -> ParameterErrors:
    return cramer_rao(
        truth_of(spec),
        1,
        sigma_known=spec.sigma_known,
        samples=spec.bound_samples,
        generator=stream("information", spec.truth_seed),
    )


def bounds_of(spec: Spec) -> tuple[float, float]:
    """The Cramer-Rao bounds of E|A_hat - A|^2 and E|W_hat - W|^2 for spec.n samples."""
    bound = _bound_of_one(replace(spec, n=1, oracle=False))
    return bound.regressor_mse / spec.n, bound.gating_mse / spec.n


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """One data set. regressors, gating: |A_hat - A|^2, |W_hat - W|^2 over their bounds; the same
    with covered_: share of entries inside their 95 % interval (NaN without standard errors);
    gate_length: <W_hat - W, W> / |W|^2; the five with first_order_: of theta* + I^-1 score / n;
    error: E_reg; oracle_gap: nats that EM from the truth ends above the fit (NaN if not asked);
    oracle_distance: largest difference of their parameters."""
    truth = truth_of(spec)
    x, y = truth.sample(spec.n, stream("data", seed))
    known = spec.sigma if spec.sigma_known else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtfulFitWarning)
        fit = recover(x, y, spec.k, truth.nonlinearity, known, seed)
    model = align(fit.model, truth)
    widths = None
    with suppress(ValueError):
        errors = standard_errors(model, x, y, sigma_known=spec.sigma_known)
        widths = errors.regressors, errors.gating[:-1]
    off = model.regressors - truth.regressors, (model.gating - truth.gating)[:-1]
    first = _first_order(spec, truth, x, y)
    out = _measures(spec, truth, *off, widths)
    out |= {f"first_order_{name}": value for name, value in first.items()}
    out |= {
        "error": regressor_error(fit.model, truth),
        "converged": float(fit.converged),
        "oracle_gap": math.nan,
        "oracle_distance": math.nan,
    }
    if spec.oracle:
        end = expectation_maximisation(
            x,
            y,
            truth.regressors,
            truth.gating,
            truth.sigma,
            truth.nonlinearity,
            learn=("regressors", "gating") if known else ("regressors", "gating", "sigma"),
        )
        distance = [end.regressors[0] - model.regressors, end.gating[0] - model.gating]
        out["oracle_gap"] = float(end.log_likelihood) - fit.log_likelihood
        out["oracle_distance"] = max(float(part.abs().max()) for part in distance)
    return out


def _measures(
    spec: Spec, truth: MoE, off_a: Tensor, off_w: Tensor, widths: tuple[Tensor, Tensor] | None
) -> dict[str, float]:
    """The five means of `trial` for an estimate off by off_a (k, d), off_w (k - 1, d)."""
    bound_a, bound_w = bounds_of(spec)
    covered = (math.nan, math.nan)
    if widths is not None:
        covered = _inside(off_a, widths[0]), _inside(off_w, widths[1])
    return {
        "regressors": float(off_a.square().sum()) / bound_a,
        "gating": float(off_w.square().sum()) / bound_w,
        "covered_regressors": covered[0],
        "covered_gating": covered[1],
        "gate_length": float((off_w * truth.gating[:-1]).sum() / truth.gating.square().sum()),
    }


def _first_order(spec: Spec, truth: MoE, x: Tensor, y: Tensor) -> dict[str, float]:
    """The same of theta* + I^-1 score / n, I the Fisher information of one sample."""
    bound = _bound_of_one(replace(spec, n=1, oracle=False))
    step = bound.covariance @ information(truth, x, y, "outer")[1] / spec.n
    size = truth.regressors.numel()
    off = step[:size].view_as(truth.regressors), step[size:-1].view(truth.k - 1, truth.d)
    widths = bound.regressors / spec.n**0.5, bound.gating[:-1] / spec.n**0.5
    return _measures(spec, truth, *off, widths)


def _inside(off: Tensor, errors: Tensor) -> float:
    return float((off.abs() <= _TWO_SIDED_95 * errors).double().mean())


@dataclass(frozen=True, eq=False)
class Record:
    """What the trials of one spec returned, name -> (seeds,)."""

    spec: Spec
    values: dict[str, Tensor]

    def each(self, name: str) -> Tensor:
        """The values of ``name``, (seeds,); those that have a first-order twin less that twin, plus
        its expectation: 1 for errors over bounds, 0 for the gates' length, and for the coverage of
        intervals 95 %, by the central limit theorem."""
        values = self.values[name]
        if name in _EXPECTED and f"first_order_{name}" in self.values:
            return values - self.values[f"first_order_{name}"] + _EXPECTED[name]
        return values

    def mean(self, name: str) -> Estimate:
        """Mean of ``each`` with its 95 % interval by the central limit theorem; NaNs left out.

        For "regressors" and "gating" that is the mean squared error over the bound; its interval
        counts the data sets, and one to two per cent are added by the bound's own Monte Carlo.
        """
        values = self.each(name)
        values = values[~values.isnan()]
        middle, half = float(values.mean()), float(values.std()) / len(values) ** 0.5
        return Estimate(middle, middle - _TWO_SIDED_95 * half, middle + _TWO_SIDED_95 * half)


def run(specs: Sequence[Spec], seeds: Iterable[int], workers: int | None = None) -> list[Record]:
    """Every spec with every seed, through the sweep engine."""
    seeds = list(seeds)
    trials = sweep(trial, specs, seeds, workers=workers)
    records = []
    for spec, mine in zip(specs, by_spec(trials, len(seeds)), strict=True):
        rows = [one.result for one in mine]
        columns = {
            name: torch.tensor([row[name] for row in rows], dtype=torch.float64) for name in rows[0]
        }
        records.append(Record(spec, columns))
    return records
