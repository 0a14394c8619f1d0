"""The information of the gates on a sample: complete, missing and observed, and their minimiser."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.likelihood.information import em_rate
from moe.model.mixture import MoE, full_gating
from moe.solvers.em import expectation_maximisation


@dataclass(frozen=True, eq=False)
class GateInformation:
    """Information of the free gating rows, per sample, ((k-1) d, (k-1) d): observed = complete -
    missing is the Hessian of L_log."""

    complete: Tensor
    missing: Tensor

    @property
    def observed(self) -> Tensor:
        return self.complete - self.missing

    @property
    def em_rate(self) -> float:
        """rho(I_complete^-1 I_missing): the factor by which EM's error shrinks in a step."""
        return em_rate(self.complete, self.missing)

    @property
    def slowest(self) -> Tensor:
        """The direction v of EM's rate, in which v' missing v / v' complete v is largest."""
        factor = torch.linalg.cholesky(self.complete)
        half = torch.linalg.solve_triangular(factor, self.missing, upper=False)
        both = torch.linalg.solve_triangular(factor, half.mT, upper=False)
        top = torch.linalg.eigh(both).eigenvectors[:, -1:]
        return torch.linalg.solve_triangular(factor.mT, top, upper=True)[:, 0]

    @property
    def best_step(self) -> float:
        """2 / (h_min + h_max): the fixed step of the fastest gradient descent."""
        curvature = torch.linalg.eigvalsh(self.observed)
        return float(2 / (curvature[0] + curvature[-1]))

    @property
    def gradient_rate(self) -> float:
        """(h_max - h_min) / (h_max + h_min): gradient descent's factor with that step."""
        curvature = torch.linalg.eigvalsh(self.observed)
        return float((curvature[-1] - curvature[0]) / (curvature[-1] + curvature[0]))


def shared_curvature(x: Tensor, share: Tensor, weight: Tensor) -> Tensor:
    """sum_n weight_n Cov(share_n) (x) x_n x_n' of the free rows: x (n, d), share (n, k), weight
    (n,) -> ((k - 1) d, (k - 1) d)."""
    free = share.T[:-1]
    covariance = -free[:, None] * (weight * free)
    covariance.diagonal().add_((weight * free).T)
    return curvature_of(x, covariance)


def curvature_of(x: Tensor, covariance: Tensor) -> Tensor:
    """sum_n covariance_n (x) x_n x_n': x (n, d), covariance (f, f, n) -> (f d, f d)."""
    free, d = len(covariance), x.shape[1]
    blocks = x.new_zeros(free, d, free, d)
    for i in range(free):
        for j in range(i, free):
            blocks[i, :, j] = blocks[j, :, i] = (x * covariance[i, j, :, None]).T @ x
    return blocks.reshape(free * d, free * d)


def gate_information(model: MoE, x: Tensor, y: Tensor) -> GateInformation:
    """The gates' block of the complete and missing information at ``model``, per sample."""
    weight = torch.full_like(y, 1 / len(y))
    shares = (model.gate(x), model.responsibilities(x, y))
    return GateInformation(*(shared_curvature(x, share, weight) for share in shares))


def best_gates(model: MoE, x: Tensor, y: Tensor) -> MoE:
    """``model`` with the gating that minimises L_log on x, y: EM, then Newton to rounding error."""
    fit = expectation_maximisation(
        x,
        y,
        model.regressors,
        model.gating,
        model.sigma,
        model.nonlinearity,
        learn=("gating",),
        tolerance=1e-8,
    )
    gating = fit.gating[0]
    for _ in range(3):
        here = MoE(model.regressors, gating, model.sigma, model.nonlinearity)
        change = (here.responsibilities(x, y) - here.gate(x))[:, :-1]
        ascent = (change.T @ x / len(x)).flatten()
        step = torch.linalg.solve(gate_information(here, x, y).observed, ascent)
        gating = gating + full_gating(step.view(model.k - 1, model.d))
    return MoE(model.regressors, gating, model.sigma, model.nonlinearity)
