"""One random start of EM beside one of L_4, on many data sets: who gets where?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.common.problems import SUCCESS
from moe.experiments.engine.sweep import by_spec, sweep
from moe.metrics import regressor_error_of
from moe.model.mixture import MoE, random_moe, random_rows
from moe.randomness import child_seed, stream
from moe.solvers.em import expectation_maximisation
from moe.solvers.l4 import NoMinimumError, l4_moments_of, minimise_l4


@dataclass(frozen=True)
class Spec:
    """n samples of a mixture of k random unit experts in R^d; ``starts`` starts of each method."""

    k: int = 3
    d: int = 10
    sigma: float = 0.1
    gate_norm: float = 1.0
    n: int = 10_000
    starts: int = 8


@dataclass(frozen=True, eq=False)
class Record:
    """Shares of starts, one a data set.

    learned, held: EM ends with E_reg < 0.05, sigma learned from y's spread or held at the truth's;
    oracle_learned, oracle_held: the same from the true experts; l4_lowest: a start of L_4 ends at
    the lowest minimum of all; l4: that minimum has E_reg < 0.05; l4_then_em: EM from there has.
    """

    spec: Spec
    learned: list[float]
    held: list[float]
    oracle_learned: list[float]
    oracle_held: list[float]
    l4_lowest: list[float]
    l4: list[float]
    l4_then_em: list[float]

    @property
    def l4_has(self) -> list[float]:
        """Whether L_4 of the samples has a minimum: it is refused, or some start ends there."""
        return [float(share > 0) for share in self.l4_lowest]


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """One data set: the shares of a Record."""
    truth = random_moe(
        spec.k,
        spec.d,
        sigma=spec.sigma,
        gate_norm=spec.gate_norm,
        generator=stream("truth", seed),
    )
    x, y = truth.sample(spec.n, stream("data", seed))
    begun = random_rows(spec.starts, spec.k, spec.d, stream("starts", seed))
    own = truth.regressors[None]
    return {
        "learned": _reached(x, y, begun, truth, learned=True),
        "held": _reached(x, y, begun, truth, learned=False),
        "oracle_learned": _reached(x, y, own, truth, learned=True),
        "oracle_held": _reached(x, y, own, truth, learned=False),
        **_by_l4(spec, x, y, truth, stream("solver", seed)),
    }


def _reached(x: Tensor, y: Tensor, rows: Tensor, truth: MoE, *, learned: bool) -> float:
    """The share of starts from which EM finds the experts; gates start at zero."""
    learn = ("regressors", *(["gating"] if bool(truth.gating.any()) else []))
    end = expectation_maximisation(
        x,
        y,
        rows,
        torch.zeros_like(rows),
        float(y.std()) if learned else truth.sigma,
        truth.nonlinearity,
        learn=(*learn, "sigma") if learned else learn,
        tolerance=1e-4,
    )
    found = [regressor_error_of(a, truth.regressors) < SUCCESS for a in end.regressors]
    return sum(found) / len(found)


def _by_l4(
    spec: Spec, x: Tensor, y: Tensor, truth: MoE, generator: torch.Generator
) -> dict[str, float]:
    """Nothing is reached where the moments give L_4 no minimum."""
    try:
        moments = l4_moments_of(x, y, spec.k, truth.nonlinearity)
        fit = minimise_l4(moments, y @ x / len(y), generator, starts=max(32, spec.starts))
    except NoMinimumError:
        return dict.fromkeys(("l4_lowest", "l4", "l4_then_em"), 0.0)
    values, ended = fit.solution.values, fit.solution.converged
    lowest = float(values[fit.solution.best])
    there = ended & (values < lowest + 1e-6 * (1 + abs(lowest)))
    return {
        "l4_lowest": float(there.double().mean()),
        "l4": float(regressor_error_of(fit.regressors, truth.regressors) < SUCCESS),
        "l4_then_em": _reached(x, y, fit.regressors[None], truth, learned=True),
    }


def run(specs: Sequence[Spec], datasets: int, seed: int = 0) -> list[Record]:
    """Every spec on ``datasets`` data sets of its own."""
    seeds = [child_seed(seed, "em starts", index) for index in range(datasets)]
    return [
        Record(spec, **{name: [t.result[name] for t in mine] for name in mine[0].result})
        for spec, mine in zip(specs, by_spec(sweep(trial, specs, seeds), datasets), strict=True)
    ]
