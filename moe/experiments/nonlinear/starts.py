"""What a better moment is worth to the likelihood: where joint EM ends from L_4's experts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.engine.sweep import by_spec, sweep
from moe.experiments.nonlinear.own import named
from moe.experiments.nonlinear.recovery import Spec as Mixture
from moe.experiments.nonlinear.recovery import truth_of
from moe.metrics import regressor_error_of
from moe.randomness import stream
from moe.solvers.em import expectation_maximisation
from moe.solvers.l4 import NoMinimumError, l4_moments_of, minimise_l4

WAYS = ("polynomial", "bounded", "truth")
SUCCESS = 0.05


@dataclass(frozen=True)
class Spec:
    """n samples of the reference mixture; sigma is learned, as in ``recover``."""

    nonlinearity: str
    n: int = 2_000
    sigma: float = 0.1
    k: int = 3
    d: int = 6


@dataclass(frozen=True, eq=False)
class Cell:
    """errors (ways, seeds): E_reg where L_log and joint EM end, 1 where L_4 gave no start."""

    spec: Spec
    errors: Tensor

    def reached(self, way: str) -> Tensor:
        """Whether the end lies within E_reg 0.05, (seeds,)."""
        return self.errors[WAYS.index(way)] < SUCCESS


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """E_reg of joint EM from L_4's experts by both transforms, and from the true experts."""
    truth = truth_of(Mixture(spec.nonlinearity, spec.sigma, spec.k, spec.d))
    x, y = truth.sample(spec.n, stream("data", seed))
    out = {}
    for way in WAYS:
        rows = truth.regressors
        if way != "truth":
            found = _l4(spec, x, y, seed, way == "bounded")
            if found is None:
                out[way] = 1.0
                continue
            rows = found
        out[way] = regressor_error_of(_followed(spec, x, y, rows), truth.regressors)
    return out


def _l4(spec: Spec, x: Tensor, y: Tensor, seed: int, bounded: bool) -> Tensor | None:
    try:
        moments = l4_moments_of(x, y, spec.k, named(spec.nonlinearity), bounded=bounded)
        return minimise_l4(moments, y @ x / len(y), stream("starts", seed)).regressors
    except NoMinimumError:
        return None


def _followed(spec: Spec, x: Tensor, y: Tensor, rows: Tensor) -> Tensor:
    """L_log with sigma learned from the spread of y, then joint EM: regressors (k, d)."""
    g = named(spec.nonlinearity)
    gates = expectation_maximisation(
        *(x, y, rows, torch.zeros_like(rows), float(y.std()), g),
        learn=("sigma", "gating"),
        tolerance=1.0,
    )
    end = expectation_maximisation(
        *(x, y, gates.regressors, gates.gating, gates.sigma, g),
        learn=("regressors", "sigma", "gating"),
        iterations=300,
        tolerance=0.1,
    )
    return end.regressors[0]


def run(specs: Sequence[Spec], seeds: Iterable[int], workers: int | None = None) -> list[Cell]:
    """Every spec with every seed."""
    seeds = list(seeds)
    trials = sweep(trial, specs, seeds, workers=workers)
    cells = []
    for spec, mine in zip(specs, by_spec(trials, len(seeds)), strict=True):
        rows = [[one.result[way] for one in mine] for way in WAYS]
        cells.append(Cell(spec, torch.tensor(rows, dtype=torch.float64)))
    return cells
