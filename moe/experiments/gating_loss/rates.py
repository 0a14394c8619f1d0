"""What the rates of EM and gradient descent on L_log depend on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from moe.experiments.gated_networks.twins import two_experts
from moe.experiments.gating_loss.convergence import distances, em_path, measured_rate
from moe.experiments.gating_loss.information import (
    GateInformation,
    best_gates,
    gate_information,
)
from moe.experiments.gating_loss.landscape.population import descend, population
from moe.model.mixture import MoE, full_gating
from moe.moments.quadrature import gauss_hermite
from moe.randomness import stream


def two_expert_information(gate_norm: float, noise: float) -> GateInformation:
    """Population information of the gate, k = 2 linear experts, noise = sigma / |a_1 - a_2|.

    Diagonal in the three kinds of directions (derived; book, chapter 6): along w, along a_1 - a_2,
    and along any other. With alpha, beta ~ N(0, 1), p = logistic(|w| alpha), b = beta / noise and u
    the position of y between the two means, in units of sigma from their middle,
    complete = E[p (1 - p) {alpha^2, 1, 1}], missing = E[r_1 r_2 {alpha^2, beta^2, 1}]. Quadrature,
    over alpha > 0: with -alpha and -u all is the same.
    """
    alpha, weight = (part[40:] for part in gauss_hermite(80))
    weight = 2 * weight
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


def iterations_per_digit(gate_norm: float, noise: float, d: int) -> tuple[float, ...]:
    """Steps to a decimal digit in the population of ``two_expert_information``: EM, EM counted in
    steps of gradient descent, descent with its best step, and with the step 4 that needs no tuning.

    Per sample a step of descent costs 2 d multiplications (the prediction and the gradient), one of
    EM d (d + 1) / 2 more (the symmetric matrix of its linear system).
    """
    point = two_expert_information(gate_norm, noise)
    fixed = float((1 - 4 * point.observed.diagonal()).abs().max())
    em, best, known = (
        -1 / math.log10(rate) for rate in (point.em_rate, point.gradient_rate, fixed)
    )
    return em, em * (1 + (d + 1) / 4), best, known


def em_slope(model: MoE, points: int, nodes: int) -> tuple[float, float]:
    """EM's rate in the population near its minimiser: the largest eigenvalue of the derivative of a
    complete step, by finite differences, and what the information matrices say."""
    exact = population(model, points, nodes)
    best = descend(exact, model.gating)
    columns = []
    for direction in 1e-4 * torch.eye(best[:-1].numel(), dtype=torch.float64):
        move = full_gating(direction.view_as(best[:-1]))
        ends = [exact.em_step(best + sign * move)[:-1].flatten() for sign in (1, -1)]
        columns.append((ends[0] - ends[1]) / 2e-4)
    slope = torch.linalg.eigvals(torch.stack(columns, dim=1)).real.max()
    return float(slope), exact.information(best).em_rate


def compare_pairs(gate_norm: float, noise: float, seed: int = 0) -> tuple[float, float]:
    """Two pairs of experts at different distances, sigma in proportion, on the same draws: by how
    much their information differs; and the largest z of its mean over 20 samples against
    ``two_expert_information``."""
    batches = []
    for index in range(20):
        models = (two_experts(c, gate_norm, noise * (2 - 2 * c) ** 0.5) for c in (-0.3, 0.8))
        each = (gate_information(m, *m.sample(5_000, stream("data", seed, index))) for m in models)
        batches.append(torch.stack([torch.stack([i.complete, i.missing]) for i in each]))
    values = torch.stack(batches)
    apart = float((values[:, 0] - values[:, 1]).abs().max())
    exact = two_expert_information(gate_norm, noise)
    own = values[:, 0][..., [2, 1, 3], :][..., [2, 1, 3]]  # along w, along a_1 - a_2, another
    error = own.std(0) / len(batches) ** 0.5
    z = (own.mean(0) - torch.stack([exact.complete, exact.missing])) / error
    return apart, float(z.abs().max())


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
    grid = np.geomspace(min(spec.noises) / 1.5, max(spec.noises) * 1.5, 24)
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
