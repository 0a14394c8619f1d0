"""What each stage of ``recover`` knows, against the sample size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.recovery.z_scores import summary
from moe.metrics import gating_error, match, regressor_error, regressor_error_of
from moe.model.mixture import MoE, random_moe
from moe.randomness import child_seed, stream
from moe.recovery import recover
from moe.solvers.em import expectation_maximisation


@dataclass(frozen=True)
class Spec:
    """Mixtures of k experts in dimension d; ``seeds`` data sets of each of the ``sizes``."""

    k: int = 3
    d: int = 10
    sigma: float = 0.1
    gate_norm: float = 1.0
    nonlinearity: str = "linear"
    orthonormal: bool = False
    sizes: tuple[int, ...] = (2_000, 10_000, 100_000)
    seeds: int = 20
    seed: int = 0


@dataclass(frozen=True)
class Record:
    """Arrays (sizes, seeds); NaN where a stage did not run.

    l4: E_reg of L_4 alone; final, oracle: E_reg of ``recover`` and of EM started at the truth;
    gate_log, gate_final, gate_oracle: E_gate after L_log with L_4's regressors and sigma learned,
    of ``recover`` itself and of EM started at the truth; gate_held: after L_log with L_4's
    regressors and sigma held at the truth's;
    proportions: largest error of the estimated E[p_i]; converged; covered_regressors,
    covered_gates, spread_regressors, spread_gates: see ``z_scores.summary``.
    """

    spec: Spec
    l4: Tensor
    final: Tensor
    oracle: Tensor
    gate_log: Tensor
    gate_held: Tensor
    gate_final: Tensor
    gate_oracle: Tensor
    proportions: Tensor
    converged: Tensor
    covered_regressors: Tensor
    covered_gates: Tensor
    spread_regressors: Tensor
    spread_gates: Tensor


def trial(spec: Spec, n: int, seed: int) -> dict[str, float]:
    """One data set of n samples: every error a Record holds. Deterministic in (spec, n, seed)."""
    truth = random_moe(
        spec.k,
        spec.d,
        sigma=spec.sigma,
        gate_norm=spec.gate_norm,
        nonlinearity=spec.nonlinearity,
        orthonormal=spec.orthonormal,
        generator=stream("truth", seed),
    )
    x, y = truth.sample(n, stream("data", seed))
    fit = recover(x, y, spec.k, truth.nonlinearity, seed=seed)
    end = expectation_maximisation(
        x, y, truth.regressors, truth.gating, truth.sigma, truth.nonlinearity
    )
    oracle = end.model(0, truth.nonlinearity)
    pbar = truth.mixing_proportions(50_000, generator=stream("fresh", seed))
    order = match(fit.model.regressors, truth.regressors)
    out = {
        "l4": torch.nan,
        "gate_log": torch.nan,
        "gate_held": torch.nan,
        "final": regressor_error(fit.model, truth),
        "oracle": regressor_error(oracle, truth),
        "gate_final": gating_error(fit.model, truth),
        "gate_oracle": gating_error(oracle, truth),
        "proportions": float((fit.proportions[order] - pbar).abs().max()),
        "converged": float(fit.converged),
        **summary(fit, truth),
    }
    for stage in fit.stages:
        if stage.name == "L_log" and stage.regressors is not None and stage.gating is not None:
            middle = MoE(stage.regressors, stage.gating, spec.sigma, truth.nonlinearity)
            out["gate_log"] = gating_error(middle, truth)
        if stage.name == "L4" and stage.regressors is not None:
            out["l4"] = regressor_error_of(stage.regressors, truth.regressors)
            out["gate_held"] = _gate_error(x, y, stage.regressors, truth)
    return out


def _gate_error(x: Tensor, y: Tensor, rows: Tensor, truth: MoE) -> float:
    """E_gate of L_log by EM from W = 0, with these regressors and the true sigma held."""
    zero = torch.zeros_like(rows)
    end = expectation_maximisation(
        x, y, rows, zero, truth.sigma, truth.nonlinearity, learn=("gating",)
    )
    return gating_error(MoE(rows, end.gating[0], 1.0, truth.nonlinearity), truth)


def run(spec: Spec) -> Record:
    """All trials of ``spec``."""
    seeds = [child_seed(spec.seed, index) for index in range(spec.seeds)]
    rows = [[trial(spec, n, seed) for seed in seeds] for n in spec.sizes]
    columns = {
        name: torch.tensor([[cell[name] for cell in row] for row in rows], dtype=torch.float64)
        for name in rows[0][0]
    }
    return Record(spec, **columns)
