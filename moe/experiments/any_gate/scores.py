"""The expected score at the truth, under gates that are calibrated and gates that are not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.any_gate.gates import GatedExperts, gated_experts
from moe.experiments.common.gaussian_integrals import grid_rule
from moe.randomness import stream

CONSTANT, CELLS, SHARPENED = "constant", "cells", "sharpened"


@dataclass(frozen=True)
class Spec:
    """Two experts in dimension d. The part of x outside the span takes ``places`` values, drawn
    once, so that every expectation is a finite sum of quadratures; ``cells`` of equal size."""

    d: int = 5
    sigma: float = 1.0
    nonlinearity: str = "linear"
    places: int = 512
    cells: int = 8
    seed: int = 0


@dataclass(frozen=True)
class Score:
    """Of one true gate and one fitted gate: the largest entry of the expected score in the experts
    inside their span, outside of it, and its entry in log sigma."""

    gate: str
    fitted: str
    inside: float
    outside: float
    level: float


def run(spec: Spec, kinds: tuple[str, ...]) -> list[Score]:
    """The score with the constant gate, with cells, and with cells whose weights are sharpened."""
    found = []
    for kind in kinds:
        truth = gated_experts(kind, 2, spec.d, spec.sigma, spec.seed, spec.nonlinearity)
        v = torch.randn(
            spec.places, spec.d - 2, generator=stream("inputs", spec.seed, 2), dtype=torch.float64
        )
        weights = truth.gate(v)
        everywhere = torch.zeros(len(v), dtype=torch.long)
        turns = v[:, 0].argsort().argsort() * spec.cells // len(v)
        found.append(_score(truth, kind, CONSTANT, v, weights, everywhere, 1.0))
        found.append(_score(truth, kind, CELLS, v, weights, turns, 1.0))
        found.append(_score(truth, kind, SHARPENED, v, weights, turns, 2.0))
    return found


def _score(
    truth: GatedExperts,
    kind: str,
    fitted: str,
    v: Tensor,
    weights: Tensor,
    cells: Tensor,
    power: float,
) -> Score:
    """power 1: a cell's weights are the means of the true ones; else those to that power."""
    span = torch.linalg.qr(truth.regressors.T).Q
    rows = truth.regressors @ span
    inside, outside, level = torch.zeros_like(rows), v.new_zeros(2, v.shape[1]), 0.0
    for cell in cells.unique():
        here = cells == cell
        p = weights[here]
        q = (p.mean(0) ** power).clamp_min(1e-6)
        q = q / q.sum()
        along, bare, tau = _integrals(truth, rows, q)
        inside += torch.einsum("j,ijs->is", p.sum(0) / len(v), along)
        outside += torch.einsum("jv,ij->iv", p.T @ v[here] / len(v), bare)
        level += float(p.sum(0) / len(v) @ tau)
    return Score(kind, fitted, float(inside.abs().max()), float(outside.abs().max()), abs(level))


def _integrals(truth: GatedExperts, rows: Tensor, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Given that expert j answered: E[phi_i s] (i, j, s), E[phi_i] (i, j), E[score in log sigma]
    (j,), phi_i = r_i (y - g(<a_i, s>)) g'(<a_i, s>) / sigma^2, r the responsibilities with q."""
    g, sigma = truth.nonlinearity, truth.sigma
    noise, noise_weight = grid_rule(1, 24)
    along, bare, tau = [], [], []
    s, weight = grid_rule(2, 24)
    eta = s @ rows.T
    for j in range(2):
        y = g(eta[:, j])[:, None] + sigma * noise[:, 0]
        residual = y[..., None] - g(eta)[:, None]
        joint = q.log() - 0.5 * (residual / sigma).square()
        r = torch.softmax(joint, -1)
        phi = r * residual * g.derivative(eta)[:, None] / sigma**2
        mean = torch.einsum("snk,n->sk", phi, noise_weight)
        along.append(torch.einsum("sk,sd,s->kd", mean, s, weight))
        bare.append(mean.T @ weight)
        spread = (r * (residual / sigma).square()).sum(-1) - 1.0
        tau.append(weight @ spread @ noise_weight)
    return torch.stack(along, 1), torch.stack(bare, 1), torch.stack(tau)
