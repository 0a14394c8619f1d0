"""The population's L_log with the true regressors, by quadrature, and problems to try it on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.gating_loss.information import (
    GateInformation,
    curvature_of,
    shared_curvature,
)
from moe.model.mixture import MoE, full_gating, gaussian_log_density
from moe.moments.quadrature import gauss_hermite


@dataclass(frozen=True, eq=False)
class Population:
    """L_log's expectation as a weighted sum over N inputs and M answers at each, the same for every
    gating: x (N, d), weight (M, N) of sum one, bumps (M, k, N) = log N(y; g(<a_i, x>), sigma^2)."""

    x: Tensor
    weight: Tensor
    bumps: Tensor

    def belief(self, gating: Tensor) -> Tensor:
        """log p_i(x) at a gating (k, d): (k, N)."""
        return (gating @ self.x.T).log_softmax(0)

    def responsibilities(self, gating: Tensor) -> Tensor:
        """r_i(x, y), (M, k, N)."""
        return (self.belief(gating) + self.bumps).softmax(1)

    def loss(self, gating: Tensor) -> float:
        """L_log at a gating (k, d), in nats."""
        joint = self.belief(gating) + self.bumps
        return -float((self.weight * torch.logsumexp(joint, 1)).sum())

    def change(self, gating: Tensor) -> Tensor:
        """E (r_i - p_i | x) times the weight of x, (k, N)."""
        labels = (self.weight[:, None] * self.responsibilities(gating)).sum(0)
        return labels - self.weight.sum(0) * self.belief(gating).exp()

    def gradient(self, gating: Tensor) -> Tensor:
        """- E (r_i - p_i) x of the free rows, (k - 1, d)."""
        return -self.change(gating)[:-1] @ self.x

    def information(self, gating: Tensor) -> GateInformation:
        """E Cov(p) (x) x x' and E Cov(r) (x) x x' of the free rows."""
        free = self.responsibilities(gating)[:, :-1]
        heavy = self.weight[:, None] * free
        covariance = -torch.einsum("min,mjn->ijn", free, heavy)
        covariance.diagonal().add_(heavy.sum(0).T)
        p = self.belief(gating).exp().T
        complete = shared_curvature(self.x, p, self.weight.sum(0))
        return GateInformation(complete, curvature_of(self.x, covariance))

    def hessian(self, gating: Tensor) -> Tensor:
        """E (Cov(p) - Cov(r)) (x) x x' of the free rows, ((k - 1) d, (k - 1) d)."""
        return self.information(gating).observed

    def em_step(self, gating: Tensor) -> Tensor:
        """The gating (k, d) after one step of EM with a complete M-step: the logistic regression on
        the present responsibilities, by Newton's method with steps that are halved as needed."""
        mass = self.weight.sum(0)
        labels = (self.weight[:, None] * self.responsibilities(gating)).sum(0)

        def objective(trial: Tensor) -> float:
            return -float((labels * self.belief(trial)).sum())

        for _ in range(30):
            p = self.belief(gating).exp()
            gradient = (mass * p - labels)[:-1] @ self.x
            if float(gradient.norm()) < 1e-8:
                break
            curvature = shared_curvature(self.x, p.T, mass)
            move = torch.linalg.solve(curvature, gradient.flatten()).view_as(gradient)
            moved = halved(objective, gating, -move)
            if moved is gating:
                break
            gating = moved
        return gating


def population(model: MoE, points: int, nodes: int = 10) -> Population:
    """x from the first ``points`` (a power of two) of Sobol's sequence, the drawn expert summed
    with its probability, the noise by Gauss and Hermite's ``nodes``: M = k nodes."""
    engine = torch.quasirandom.SobolEngine(model.d)
    uniform = engine.draw(points, dtype=torch.float64) + 0.5 / points
    x = torch.special.ndtri(uniform)
    node, step = (torch.from_numpy(v) for v in gauss_hermite(nodes))
    mean = model.expert_means(x).T
    y = mean[:, None] + model.sigma * node[:, None]
    weight = model.gate(x).T[:, None] * step[:, None] / points
    bumps = gaussian_log_density(y.flatten(0, 1)[:, None] - mean, model.sigma)
    return Population(x, weight.flatten(0, 1), bumps)


def halved(loss: Callable[[Tensor], float], gating: Tensor, move: Tensor) -> Tensor:
    """gating (k, d) + move (k - 1, d) / 2^h with the least h that lowers the loss; ``gating``
    itself if none does."""
    before = loss(gating)
    for halving in range(20):
        trial = gating + full_gating(move / 2**halving)
        if loss(trial) < before:
            return trial
    return gating


def descend(exact: Population, gating: Tensor, *, steps: int = 60) -> Tensor:
    """Newton's method from a gating (k, d), made a descent: absolute curvatures, and each step is
    halved until the loss falls. Ends in a minimum, or after ``steps``."""
    for _ in range(steps):
        gradient = exact.gradient(gating)
        if float(gradient.norm()) < 1e-8:
            break
        values, vectors = torch.linalg.eigh(exact.hessian(gating))
        size = values.abs().clamp_min(1e-4)
        move = -(vectors @ ((vectors.T @ gradient.flatten()) / size)).view_as(gradient)
        moved = halved(exact.loss, gating, move * min(1.0, 1.0 / float(move.norm())))
        if moved is gating:
            break
        gating = moved
    return gating


def near_twins(
    angle: float, gate_norm: float, sigma: float, d: int = 5, cosine: float = 0.0
) -> MoE:
    """k = 3 unit regressors, the first and the last ``angle`` degrees apart, the second orthogonal
    to both, and two gates of the given norm and mutual cosine orthogonal to them: A2 to A4 hold."""
    regressors, gating = torch.zeros(2, 3, d, dtype=torch.float64)
    turn = math.radians(angle)
    regressors[0, 0] = regressors[1, 2] = 1.0
    regressors[2, 0], regressors[2, 1] = math.cos(turn), math.sin(turn)
    gating[0, 3], gating[1, 3] = gate_norm, gate_norm * cosine
    gating[1, 4] = gate_norm * math.sqrt(1 - cosine**2)
    return MoE(regressors, gating, sigma)


def hollow() -> MoE:
    """k = 3 linear experts that meet A2 to A4, whose L_log is not convex even at W = 0: two of them
    20 degrees apart, with opposite gates of norm 4."""
    model = near_twins(20.0, 4.0, 0.3)
    gating = torch.zeros_like(model.gating)
    gating[0], gating[1] = model.gating[0], -model.gating[0]
    return MoE(model.regressors[[0, 2, 1]], gating, model.sigma)


def exchanged(model: MoE) -> Tensor:
    """The model's gating with its first and last row exchanged, the last row zero again."""
    gating = model.gating.flip(0) if model.k == 2 else model.gating[[2, 1, 0]]
    return gating - gating[-1]
