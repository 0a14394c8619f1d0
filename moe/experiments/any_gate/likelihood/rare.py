"""Where a likelihood that ignores the gate leads away from linear experts: one of them is rare."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from moe.exceptions import DoubtfulFitWarning
from moe.experiments.any_gate.gates import GatedExperts
from moe.experiments.common.claims import Finding
from moe.experiments.engine.sweep import sweep
from moe.experiments.shown.tables import Table, table
from moe.metrics import regressor_error_of
from moe.model.nonlinearity import as_nonlinearity
from moe.randomness import child_seed, stream
from moe.recovery import recover
from moe.solvers.constant_gate import climb_constant_gate

_LOST, _NAT = 0.1, 1.0


@dataclass(frozen=True)
class Spec:
    """Data set number ``index`` of two linear unit experts with this cosine, the second where one
    coordinate outside their span is beyond ``cut``: 1.96, on 5 % of the inputs."""

    cosine: float
    index: int = 0
    n: int = 200_000
    cut: float = 1.96
    d: int = 6
    sigma: float = 1.0


@dataclass(frozen=True)
class End:
    """E_reg of ``recover`` with constant proportions, of its L_4 (NaN where that refuses), and of
    the climb from the truth to a maximum; by how many nats the fit is above that; whether the fit
    is called converged; E_reg of the fit's experts were those of the climb true; whether the climb
    ended at a maximum."""

    error: float
    moments: float
    oracle: float
    ahead: float
    converged: bool
    apart: float
    climbed: bool


def mixture(spec: Spec) -> GatedExperts:
    """The first expert along the first axis, the second in the plane of the first two, the gate on
    the third."""
    axes = torch.eye(spec.d, dtype=torch.float64)
    rows = torch.stack([axes[0], spec.cosine * axes[0] + math.sqrt(1 - spec.cosine**2) * axes[1]])

    def gate(v: Tensor) -> Tensor:
        return one_hot((v[:, 0].abs() > spec.cut).long(), 2).double()

    return GatedExperts(rows, axes[2:].T, gate, spec.sigma, as_nonlinearity("linear"))


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """See ``End``."""
    own = child_seed(seed, "rare", spec.index)
    truth = mixture(spec)
    x, y = truth.sample(spec.n, stream("data", own))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtfulFitWarning)
        fit = recover(x, y, 2, seed=own, gate="any", classifiers=())
    shares = truth.weights(x).mean(0)
    begin = truth.regressors, truth.sigma, shares
    best = climb_constant_gate(x, y, *begin, truth.nonlinearity, tolerance=1e-2)
    refused = not bool(fit.moments.isfinite().all())
    return {
        "error": regressor_error_of(fit.regressors, truth.regressors),
        "moments": math.nan if refused else regressor_error_of(fit.moments, truth.regressors),
        "oracle": regressor_error_of(best.regressors, truth.regressors),
        "ahead": fit.log_likelihood - best.log_likelihood,
        "converged": float(fit.converged),
        "apart": regressor_error_of(fit.regressors, best.regressors),
        "climbed": float(best.converged),
    }


def run(specs: Sequence[Spec], seed: int, workers: int | None = None) -> list[End]:
    """One end a spec."""
    found = [one.result for one in sweep(trial, specs, [seed], workers=workers)]
    return [
        End(
            error=one["error"],
            moments=one["moments"],
            oracle=one["oracle"],
            ahead=one["ahead"],
            converged=one["converged"] == 1,
            apart=one["apart"],
            climbed=one["climbed"] == 1,
        )
        for one in found
    ]


def led_away(ends: Sequence[End]) -> Finding:
    """Some fits have E_reg above 0.1, and each of them has a likelihood more than a nat above that
    of the climb from the truth, or that climb ends there itself: within a nat, and at the same
    experts but for E_reg of 0.1. So it is the likelihood that leads away, not the search; every
    climb has to end at a maximum. The others lie below L_4, where that answers."""
    lost = [end for end in ends if not end.error <= _LOST]
    itself = [end for end in lost if abs(end.ahead) <= _NAT and end.apart <= _LOST]
    away = [end for end in lost if _NAT < end.ahead < math.inf] + itself
    rest = [end for end in ends if end.error <= _LOST and not math.isnan(end.moments)]
    told = sum(not end.converged for end in away)
    better = sum(end.moments < end.error for end in away)
    text = (
        f"{len(away)} of {len(ends)}, {told} of them doubted; in {len(itself)} of them the climb "
        f"from the truth goes there itself; in {better} of them $L_4$ errs less"
    )
    sound = len(away) == len(lost) and all(end.climbed for end in lost)
    sound = sound and all(end.error < end.moments for end in rest)
    return Finding(bool(away) and sound, text)


def listed(specs: Sequence[Spec], ends: Sequence[End]) -> Table:
    """One row a data set."""
    rows = [
        (spec.cosine, end.error, end.oracle, end.ahead, end.moments, _word(end.converged))
        for spec, end in zip(specs, ends, strict=True)
    ]
    head = (
        *("cosine", "constant proportions", "climb from the truth", "nats ahead of it"),
        *("$L_4$", "called converged"),
    )
    return table(head, rows, (".2f", ".2g", ".2g", "+.1f", ".2g", None))


def _word(yes: bool) -> str:
    return "yes" if yes else "no"
