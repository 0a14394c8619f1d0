"""What the rates of EM and gradient descent on L_log depend on, and what not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from moe.experiments.gating_loss import (
    GateInformation,
    best_gates,
    distances,
    em_path,
    gate_information,
    measured_rate,
)
from moe.experiments.twins import two_experts
from moe.model import MoE, random_moe
from moe.randomness import stream


def two_expert_information(gate_norm: float, noise: float) -> GateInformation:
    """Population information of the gate, k = 2 linear experts, noise = sigma / |a_1 - a_2|.

    Diagonal in the three kinds of directions (derived; book, chapter 6): along w, along a_1 - a_2,
    and along any other. With alpha, beta ~ N(0, 1), p = logistic(|w| alpha), b = beta / noise and u
    the position of y between the two means, in units of sigma from their middle,
    complete = E[p (1 - p) {alpha^2, 1, 1}], missing = E[r_1 r_2 {alpha^2, beta^2, 1}]. Quadrature.
    """
    alpha, weight = np.polynomial.hermite_e.hermegauss(80)
    weight = weight / weight.sum()
    edge = min(16.0, 9.0 / noise)
    node, in_b = np.polynomial.legendre.leggauss(100)
    b = edge * (node + 1) / 2
    beta = b * noise
    in_b = in_b * edge * noise * np.exp(-(beta**2) / 2) / math.sqrt(2 * math.pi)
    u, step = np.linspace(-9, 9, 145, retstep=True)
    p = (1 / (1 + np.exp(-gate_norm * alpha)))[:, None, None]
    tilt = np.exp(np.multiply.outer(b, u) / 2)
    bump = np.exp(-(u**2) / 2 - b[:, None] ** 2 / 8) / math.sqrt(2 * math.pi)
    undecided = (p * (1 - p) * bump / (p * tilt + (1 - p) / tilt)).sum(-1) * step
    spread = (p * (1 - p))[:, 0, 0]
    complete = [weight @ (spread * alpha**2), weight @ spread, weight @ spread]
    missing = [
        weight @ (undecided * alpha[:, None] ** 2) @ in_b,
        weight @ (undecided * beta**2) @ in_b,
        weight @ undecided @ in_b,
    ]
    return GateInformation(
        *(torch.tensor(v, dtype=torch.float64).diag() for v in (complete, missing))
    )


def run_em(
    model: MoE, n: int, iterations: int, seed: int, *index: int
) -> tuple[float, GateInformation]:
    """EM's measured rate on n samples of the model from a random start of norm one, and the
    information at the minimiser."""
    x, y = model.sample(n, stream("data", seed, *index))
    best = best_gates(model, x, y)
    starts = stream("starts", seed, *index)
    start = torch.randn(model.k, model.d, generator=starts, dtype=torch.float64)
    start = start / start.norm(dim=1, keepdim=True)
    path = em_path(model, x, y, start - start[-1], iterations)
    return measured_rate(distances(path, best.gating)), gate_information(best, x, y)


@dataclass(frozen=True)
class SeparationSpec:
    """k = 2: noise levels sigma / |a_1 - a_2|, each reached at several overlaps <a_1, a_2>."""

    noises: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
    overlaps: tuple[float, ...] = (-0.5, 0.5, 0.95)
    gate_norm: float = 1.0
    d: int = 6
    n: int = 20_000
    trials: int = 3
    seed: int = 0


@dataclass(frozen=True, eq=False)
class SeparationRecord:
    """separations (overlaps,): |a_1 - a_2|; measured (overlaps, noises, trials): EM's rate;
    predicted, descent (grid,): EM's and gradient descent's rates by quadrature at ``grid``;
    labelled: gradient descent's rate when nothing is missing, the limit of small noise."""

    spec: SeparationSpec
    separations: Tensor
    measured: Tensor
    grid: Tensor
    predicted: Tensor
    descent: Tensor
    labelled: float


def run_separation(spec: SeparationSpec) -> SeparationRecord:
    """Do all overlaps fall on the one curve that the quadrature predicts?"""
    separations = torch.tensor([(2 - 2 * c) ** 0.5 for c in spec.overlaps], dtype=torch.float64)
    measured = torch.empty(len(spec.overlaps), len(spec.noises), spec.trials, dtype=torch.float64)
    for i, overlap in enumerate(spec.overlaps):
        for j, noise in enumerate(spec.noises):
            sigma = noise * float(separations[i])
            iterations = int(12 + 40 * noise + 120 * noise**2)
            for trial in range(spec.trials):
                model = two_experts(overlap, spec.gate_norm, sigma, spec.d)
                rate, _ = run_em(model, spec.n, iterations, spec.seed, i, trial)
                measured[i, j, trial] = rate
    grid = np.geomspace(min(spec.noises) / 1.5, max(spec.noises) * 1.5, 40)
    curve = [two_expert_information(spec.gate_norm, noise) for noise in grid]
    complete = curve[0].complete
    return SeparationRecord(
        spec,
        separations,
        measured,
        torch.from_numpy(grid),
        torch.tensor([point.em_rate for point in curve], dtype=torch.float64),
        torch.tensor([point.gradient_rate for point in curve], dtype=torch.float64),
        GateInformation(complete, torch.zeros_like(complete)).gradient_rate,
    )


@dataclass(frozen=True)
class DimensionSpec:
    """One geometry of regressors and gates a trial, placed in spaces of growing dimension."""

    dimensions: tuple[int, ...] = (6, 10, 20, 50, 100)
    k: int = 3
    sigma: float = 0.3
    gate_norm: float = 1.0
    n: int = 20_000
    population: int = 200_000
    trials: int = 4
    seed: int = 0


@dataclass(frozen=True, eq=False)
class DimensionRecord:
    """EM's rate measured (dimensions, trials) and predicted from the same sample's information;
    descent (dimensions, trials): gradient descent's rate from the Hessian; em_limit, descent_limit
    (trials,): both for the population, from a large sample in 2k dimensions."""

    spec: DimensionSpec
    em_measured: Tensor
    em_predicted: Tensor
    descent: Tensor
    em_limit: Tensor
    descent_limit: Tensor


def run_dimension(spec: DimensionSpec) -> DimensionRecord:
    """Rates against d, the Gram matrix of (A, W) held fixed, for d above the dimension 2k - 1 of
    their span. Raises ValueError if d < 2k."""
    least = 2 * spec.k - 1
    if min(spec.dimensions) <= least:
        raise ValueError(f"dimensions: expected d >= 2k = {least + 1}, got {min(spec.dimensions)}")
    rows: list[list[float]] = []
    limits: list[list[float]] = []
    for trial in range(spec.trials):
        small = random_moe(
            spec.k,
            least,
            sigma=spec.sigma,
            gate_norm=spec.gate_norm,
            generator=stream("truth", spec.seed, trial),
        )
        wide = _embed(small, least + 1)
        population = wide.sample(spec.population, stream("population", spec.seed, trial))
        at_truth = gate_information(wide, *population)
        limits.append([at_truth.em_rate, at_truth.gradient_rate])
        for d in spec.dimensions:
            measured, at_best = run_em(_embed(small, d), spec.n, 35, spec.seed, d, trial)
            rows.append([measured, at_best.em_rate, at_best.gradient_rate])
    shape = (spec.trials, len(spec.dimensions), 3)
    table = torch.tensor(rows, dtype=torch.float64).view(shape).permute(2, 1, 0)
    return DimensionRecord(spec, *table, *torch.tensor(limits, dtype=torch.float64).T)


def _embed(model: MoE, d: int) -> MoE:
    """The same regressors and gates in R^d, d >= model.d, with zeros appended."""
    extra = (0, d - model.d)
    return MoE(
        pad(model.regressors, extra), pad(model.gating, extra), model.sigma, model.nonlinearity
    )
