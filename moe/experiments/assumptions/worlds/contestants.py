"""Who runs: L_4, `recover`, and EM from random starts and from the truth."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.exceptions import NonGaussianInputWarning
from moe.experiments.assumptions.worlds.world import Told, World
from moe.model.mixture import random_rows
from moe.randomness import stream
from moe.recovery import recover
from moe.solvers.em import EMResult, expectation_maximisation
from moe.solvers.l4 import (
    L4Fit,
    NoMinimumError,
    l4_moments_of,
    minimise_l4,
)

STARTS, SEARCHED, RESTARTS = 8, 2_000, 2
_ITERATIONS, _LOOSE, _TOLERANCE = 300, 1.0, 0.05

CHECKS = {
    "inputs": "inputs not Gaussian",
    "refused": "$L_4$ refuses",
    "calibrated": "not calibrated",
    "who answers": "who answers is off",
    "alike": "experts alike",
    "collapsed": "expert collapsed",
    "only one": "starts disagree",
    "had not converged": "EM not converged",
}
"""A part of the message of each check, and what the book calls it."""


@dataclass(frozen=True, eq=False)
class Data:
    """Samples x (n, d), y (n,), what the method is told, and a seed for whatever it draws."""

    x: Tensor
    y: Tensor
    told: Told
    seed: int


def drawn(world: World, n: int, seed: int) -> Data:
    """n samples of a world."""
    return Data(*world.sample(n, stream("data", seed)), world.told, seed)


def l4_fit(data: Data) -> L4Fit | None:
    """L_4 alone, as the theory has it: neither x nor y is scaled. None where it has no minimum."""
    x, y, told = data.x, data.y, data.told
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            moments = l4_moments_of(x, y, told.k, told.nonlinearity, told.sigma)
            return minimise_l4(moments, y @ x / len(y), stream("solver", data.seed))
        except NoMinimumError:
            return None


def l4(data: Data) -> Tensor | None:
    """The regressors of L_4, (k, d), or None."""
    fit = l4_fit(data)
    return None if fit is None else fit.regressors


def recovered(data: Data) -> tuple[Tensor, dict[str, float]]:
    """The regressors of ``recover`` with softmax gates, and which of ``CHECKS`` spoke (0 or 1)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = recover(
            data.x,
            data.y,
            data.told.k,
            data.told.nonlinearity,
            data.told.sigma,
            seed=data.seed,
            restarts=RESTARTS,
        )
    said = " ".join(fit.doubts)
    spoke = {name: float(name in said) for name in CHECKS}
    spoke["inputs"] = float(any(issubclass(w.category, NonGaussianInputWarning) for w in caught))
    spoke["refused"] = float(any(why.startswith("L_4") for why in fit.refusals))
    return fit.model.regressors, spoke


def em_from_random(data: Data) -> Tensor:
    """Joint EM from ``STARTS`` random starts with flat gates on the first samples; the best goes
    on with all of them. sigma is learned from the spread of y down, or held where it is told."""
    x, y, told = data.x, data.y, data.told
    rows = random_rows(STARTS, told.k, x.shape[1], stream("starts", data.seed)) * float(y.std())
    level = float(y.std()) if told.sigma is None else told.sigma
    part = slice(None, SEARCHED)
    end = _em(x[part], y[part], rows, torch.zeros_like(rows), level, told, _LOOSE)
    best = int(end.log_likelihood.argmax())
    at = end.regressors[best], end.gating[best], float(end.sigma[best])
    return _em(x, y, *at, told, _TOLERANCE).regressors[0]


def em_from_truth(data: Data, world: World) -> Tensor:
    """The same EM from the true experts, gates and sigma: what the likelihood itself wants, with no
    error of optimisation. Asked for other numbers of experts: the first of them, or random ones
    beside."""
    k, true = data.told.k, len(world.regressors)
    rows, gates = world.regressors[:k], world.gating[:k] - world.gating[min(k, true) - 1]
    if k > true:
        generator = stream("starts", data.seed, 1)
        rows = torch.cat([random_rows(1, k - true, rows.shape[1], generator)[0], rows])
        gates = torch.nn.functional.pad(gates, (0, 0, k - true, 0))
    level = world.sigma if data.told.sigma is None else data.told.sigma
    return _em(data.x, data.y, rows, gates, level, data.told, _TOLERANCE).regressors[0]


def _em(
    x: Tensor, y: Tensor, rows: Tensor, gates: Tensor, level: float, told: Told, least: float
) -> EMResult:
    return expectation_maximisation(
        x,
        y,
        rows,
        gates,
        level,
        told.nonlinearity,
        learn=("regressors", "gating", *(("sigma",) if told.sigma is None else ())),
        iterations=_ITERATIONS,
        tolerance=least,
    )
