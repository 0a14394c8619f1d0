"""The population's L_log with the true regressors: one minimum for two experts, not for three."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from moe.model import MoE, gaussian_log_density, log_gate


@dataclass(frozen=True, eq=False)
class Population:
    """L_log's expectation as a weighted sum over P points, the same for every gating: x (P, d),
    weight (P,) of sum one, bumps (P, k) = log N(y; g(<a_i, x>), sigma^2)."""

    x: Tensor
    weight: Tensor
    bumps: Tensor

    def loss(self, gating: Tensor) -> float:
        """L_log at a gating (k, d), in nats."""
        joint = log_gate(gating, self.x) + self.bumps
        return -float(self.weight @ torch.logsumexp(joint, -1))

    def gradient(self, gating: Tensor) -> Tensor:
        """- E (r_i - p_i) x of the free rows, (k - 1, d)."""
        belief = log_gate(gating, self.x)
        change = torch.softmax(belief + self.bumps, -1) - belief.exp()
        return -(self.weight[:, None] * change[:, :-1]).T @ self.x

    def hessian(self, gating: Tensor) -> Tensor:
        """E (Cov(p) - Cov(r)) (x) x x' of the free rows, ((k - 1) d, (k - 1) d)."""
        belief = log_gate(gating, self.x)
        p, r = belief.exp(), torch.softmax(belief + self.bumps, -1)
        free, d = gating.shape[0] - 1, gating.shape[1]
        blocks = self.x.new_zeros(free, d, free, d)
        for i in range(free):
            for j in range(free):
                spread = r[:, i] * r[:, j] - p[:, i] * p[:, j]
                if i == j:
                    spread = spread + p[:, i] - r[:, i]
                blocks[i, :, j] = (self.x * (self.weight * spread)[:, None]).T @ self.x
        return blocks.reshape(free * d, free * d)


def population(model: MoE, points: int, nodes: int = 10) -> Population:
    """x from the first ``points`` (a power of two) of Sobol's sequence, the drawn expert summed
    with its probability, the noise by Gauss and Hermite's ``nodes``: P = points k nodes."""
    engine = torch.quasirandom.SobolEngine(model.d)
    uniform = engine.draw(points, dtype=torch.float64) + 0.5 / points
    x = torch.special.ndtri(uniform)
    node, step = (torch.from_numpy(v) for v in np.polynomial.hermite_e.hermegauss(nodes))
    mean = model.expert_means(x)
    y = mean[:, :, None] + model.sigma * node
    weight = model.gate(x)[:, :, None] * (step / step.sum()) / points
    residual = y[..., None] - mean[:, None, None, :]
    bumps = gaussian_log_density(residual, model.sigma)
    each = x[:, None, None].expand(-1, model.k, nodes, -1)
    return Population(
        each.reshape(-1, model.d), weight.flatten(), bumps.reshape(-1, model.k).contiguous()
    )


def descend(exact: Population, gating: Tensor, *, steps: int = 60) -> Tensor:
    """Newton's method from a gating (k, d), made a descent: absolute curvatures, and each step is
    halved until the loss falls. Ends in a minimum, or after ``steps``."""
    loss = exact.loss(gating)
    for _ in range(steps):
        gradient = exact.gradient(gating)
        if float(gradient.norm()) < 1e-10:
            break
        values, vectors = torch.linalg.eigh(exact.hessian(gating))
        size = values.abs().clamp_min(1e-4)
        move = -(vectors @ ((vectors.T @ gradient.flatten()) / size)).view_as(gradient)
        move = move * min(1.0, 1.0 / float(move.norm()))
        for _ in range(30):
            trial = gating + pad(move, (0, 0, 0, 1))
            value = exact.loss(trial)
            if value < loss:
                break
            move = move / 2
        else:
            break
        gating, loss = trial, value
    return gating


def near_twins(angle: float, gate_norm: float, sigma: float, d: int = 5) -> MoE:
    """k = 3 unit regressors, the first and the last ``angle`` degrees apart, the second orthogonal
    to both, and two gates of the given norm orthogonal to them and to each other: A2 to A4 hold."""
    regressors, gating = torch.zeros(2, 3, d, dtype=torch.float64)
    turn = math.radians(angle)
    regressors[0, 0] = regressors[1, 2] = 1.0
    regressors[2, 0], regressors[2, 1] = math.cos(turn), math.sin(turn)
    gating[0, 3] = gating[1, 4] = gate_norm
    return MoE(regressors, gating, sigma)


def exchanged(model: MoE) -> Tensor:
    """The model's gating with its first and last row exchanged, the last row zero again."""
    gating = model.gating.flip(0) if model.k == 2 else model.gating[[2, 1, 0]]
    return gating - gating[-1]


@dataclass(frozen=True)
class PhaseSpec:
    """near_twins over angles (degrees) and noise levels; quadrature of ``points`` inputs."""

    angles: tuple[float, ...] = (2.0, 3.5, 5.0, 7.0, 10.0, 14.0, 20.0)
    sigmas: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0)
    gate_norm: float = 2.0
    points: int = 1024
    nodes: int = 8


@dataclass(frozen=True, eq=False)
class PhaseRecord:
    """By angle and sigma (angles, sigmas): excess, nats by which the minimum reached from the
    exchanged gates lies above the one reached from W* (NaN where both are the same); curvature, the
    least eigenvalue of the Hessian there; apart, the distance of the two; slope, the gradient's
    norm."""

    spec: PhaseSpec
    excess: Tensor
    curvature: Tensor
    apart: Tensor
    slope: Tensor


def run_phase(spec: PhaseSpec) -> PhaseRecord:
    """Where does descent from the exchanged gates end, in the population?"""
    rows = []
    for angle in spec.angles:
        for sigma in spec.sigmas:
            truth = near_twins(angle, spec.gate_norm, sigma)
            exact = population(truth, spec.points, spec.nodes)
            best = descend(exact, truth.gating)
            other = descend(exact, exchanged(truth))
            apart = float((other - best).norm())
            excess = exact.loss(other) - exact.loss(best) if apart > 1e-3 else math.nan
            least = float(torch.linalg.eigvalsh(exact.hessian(other))[0])
            rows.append([excess, least, apart, float(exact.gradient(other).norm())])
    table = torch.tensor(rows, dtype=torch.float64)
    return PhaseRecord(spec, *table.T.reshape(4, len(spec.angles), len(spec.sigmas)))
