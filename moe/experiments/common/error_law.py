"""How far an efficient estimate is from the truth: the Cramer-Rao bound as a law of angles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.likelihood.efficiency import cramer_rao, fisher_information
from moe.model.mixture import MoE
from moe.randomness import stream


def reference_mixture(
    k: int, d: int, sigma: float = 0.1, gate_norm: float = 1.0, nonlinearity: str = "linear"
) -> MoE:
    """Orthonormal regressors e_1..e_k, and gates gate_norm e_{k+1}..e_{2k-1}, then zero.

    Every method of the book treats all rotations of it alike, so the axes are no loss, and a sweep
    over d or k changes nothing else. Raises ValueError when d < 2k - 1.
    """
    if d < 2 * k - 1:
        raise ValueError(f"d: expected at least 2k - 1 = {2 * k - 1} axes, got {d}")
    axes = torch.eye(d, dtype=torch.float64)
    gating = torch.zeros(k, d, dtype=torch.float64)
    gating[:-1] = gate_norm * axes[k : 2 * k - 1]
    return MoE(axes[:k].clone(), gating, sigma, nonlinearity)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class ErrorLaw:
    """The Gaussian limit of sqrt(n) times the error of the regressors' directions.

    inside (k r, k r): covariance over (expert, axis) in the span of regressors and gates, r its
    dimension; outside (k, k): over experts, along any direction orthogonal to that span: those are
    exchangeable, independent of each other and of the inside; rest: their number, d - r.
    """

    inside: Tensor
    outside: Tensor
    rest: int

    def in_dimension(self, d: int) -> ErrorLaw:
        """The same mixture in R^d: only the number of outside directions changes (derived)."""
        span = len(self.inside) // len(self.outside)
        if d < span:
            raise ValueError(f"d: expected at least the dimension {span} of the span, got {d}")
        return ErrorLaw(self.inside, self.outside, d - span)

    @property
    def squared_angles(self) -> Tensor:
        """lim n E theta_i^2, theta_i the angle between estimate and a_i, (k,): affine in d."""
        k = len(self.outside)
        return self.inside.diagonal().view(k, -1).sum(1) + self.rest * self.outside.diagonal()

    def worst(self, draws: int = 10_000, seed: int = 0) -> Tensor:
        """Draws from the limit law of n E_reg = n max_i theta_i^2 / 2, (draws,)."""
        k = len(self.outside)
        generator = stream("limit", seed)
        angles = _gaussian(self.inside, draws, generator).view(draws, k, -1).square().sum(-1)
        for _ in range(self.rest):
            angles += _gaussian(self.outside, draws, generator).square()
        return angles.amax(-1) / 2

    def median(self) -> float:
        """The median of ``worst``: what n E_reg is in the typical data set."""
        return float(self.worst().median())


def _gaussian(covariance: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    normal = torch.randn(draws, len(values), generator=generator, dtype=covariance.dtype)
    return normal @ (vectors * values.clamp_min(0).sqrt()).T


def span_of(model: MoE) -> Tensor:
    """An orthonormal basis (d, r) of span{a_i, w_i}; its first k columns span the regressors."""
    regressors = torch.linalg.qr(model.regressors.T).Q
    gating = model.gating[:-1].T
    gating = gating - regressors @ (regressors.T @ gating)
    left, sizes, _ = torch.linalg.svd(gating, full_matrices=False)
    return torch.cat([regressors, left[:, sizes > 1e-9]], 1)


def bound_law(
    truth: MoE, *, sigma_known: bool = False, samples: int = 60_000, seed: int = 0
) -> ErrorLaw:
    """The smallest error law of any unbiased estimate: the Cramer-Rao bound, in angles.

    The covariance bound of a_i, projected on the tangent space at a_i and divided by |a_i|^2. Its
    Fisher information is taken by Monte Carlo, to about one per cent, in r + 1 dimensions: the
    log-likelihood depends on x through span{a, w} alone, so it is the same for every direction
    orthogonal to the span (derived). Raises ValueError where the information is singular.
    """
    basis = span_of(truth)
    k, span = truth.k, basis.shape[1]
    regressors, gating = (
        torch.nn.functional.pad(rows @ basis, (0, 1)) for rows in (truth.regressors, truth.gating)
    )
    gating[-1] = 0.0
    reduced = MoE(regressors, gating, truth.sigma, truth.nonlinearity)
    generator = stream("information", seed)
    bound = cramer_rao(reduced, 1, sigma_known=sigma_known, samples=samples, generator=generator)
    size = k * (span + 1)
    covariance = bound.covariance[:size, :size].view(k, span + 1, k, span + 1)
    norms = regressors.norm(dim=1)
    tangent = tangent_projections((regressors / norms[:, None])[:, :span])
    inside = torch.einsum("iab,ibjc,jdc->iajd", tangent, covariance[:, :-1, :, :-1], tangent)
    scale = torch.outer(norms, norms)
    inside = inside / scale[:, None, :, None]
    outside = covariance[:, -1, :, -1] / scale
    return ErrorLaw(inside.reshape(k * span, k * span), outside, truth.d - span)


def bound_when_told(truth: MoE, *, samples: int = 60_000, seed: int = 0) -> Tensor:
    """The bound on E theta_i^2 of an estimate that is told what L_4's theory assumes, over that of
    one which is not, (k,): sigma, the norms of the a_i, gates orthogonal to all of them.

    The parameters move along the tangents at the a_i, and the gates in the complement of the span.
    """
    matrix = fisher_information(truth, samples=samples, generator=stream("information", seed))
    k = truth.k
    complement = torch.linalg.svd(truth.regressors).Vh[k:].T
    tangents = [torch.linalg.svd(a[None]).Vh[1:].T for a in truth.regressors]
    ways = torch.block_diag(*tangents, *[complement] * (k - 1))
    told = torch.linalg.inv(ways.T @ matrix[:-1, :-1] @ ways)
    covariance, size = torch.linalg.inv(matrix), k * truth.d
    untold = ways[:size].T @ covariance[:size, :size] @ ways[:size]
    angles = [part.diagonal()[: k * (truth.d - 1)].view(k, -1).sum(1) for part in (told, untold)]
    return angles[0] / angles[1]


def tangent_projections(unit_rows: Tensor) -> Tensor:
    """I - a_i a_i', (k, r, r)."""
    identity = torch.eye(unit_rows.shape[1], dtype=unit_rows.dtype)
    return identity - unit_rows[:, :, None] * unit_rows[:, None, :]
