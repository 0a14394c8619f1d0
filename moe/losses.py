"""The losses: squared error, L_4 for the regressors in three forms, L_log for the gates.

Regressors and gating may carry leading batch dimensions (..., k, d); losses then have shape (...).
"""

from __future__ import annotations

import torch
from torch import Tensor

from moe.model.mixture import gaussian_log_density, log_gate
from moe.model.nonlinearity import Nonlinearity
from moe.moments.transforms import OutputTransform


def squared_loss(
    regressors: Tensor, gating: Tensor, x: Tensor, y: Tensor, nonlinearity: Nonlinearity
) -> Tensor:
    """E (y - sum_i p_i(x; W) g(<a_i, x>))^2, the loss that gets stuck (paper).

    regressors, gating (..., k, d); x (..., n, d); y (..., n) -> (...).
    """
    mean = (log_gate(gating, x).exp() * nonlinearity(x @ regressors.mT)).sum(-1)
    return (y - mean).square().mean(-1)


def log_loss(
    gating: Tensor,
    regressors: Tensor,
    sigma: Tensor | float,
    x: Tensor,
    y: Tensor,
    nonlinearity: Nonlinearity,
) -> Tensor:
    """L_log(W; A) = -E log sum_i p_i(x; W) N(y; g(<a_i, x>), sigma^2) (paper).

    With A held fixed it is the gates' loss; as a function of both it is the joint negative
    log-likelihood. Shapes as for ``squared_loss``; sigma a number or (...). In nats per sample.
    """
    scale = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)[..., None, None]
    residual = y[..., None] - nonlinearity(x @ regressors.mT)
    joint = log_gate(gating, x) + gaussian_log_density(residual, scale)
    return -torch.logsumexp(joint, dim=-1).mean(-1)


def _combine(
    cross: Tensor,
    fourth: Tensor,
    second: Tensor,
    regressors: Tensor,
    mu: float,
    lam: float,
    delta: float,
) -> Tensor:
    """sum_{i != j} cross_ij - mu sum_i fourth_i + lam sum_i (second_i - 1)^2 + delta/2 |A|^2."""
    off_diagonal = cross.sum((-2, -1)) - cross.diagonal(dim1=-2, dim2=-1).sum(-1)
    return (
        off_diagonal
        - mu * fourth.sum(-1)
        + lam * (second - 1).square().sum(-1)
        + 0.5 * delta * regressors.square().sum((-2, -1))
    )


def l4_samples(
    regressors: Tensor,
    x: Tensor,
    y: Tensor,
    quartic: OutputTransform,
    quadratic: OutputTransform,
    mu: float,
    lam: float,
    delta: float = 0.0,
) -> Tensor:
    """L_4 from samples, through t_1, t_2, t_3 (paper for the shape; t's exact form recalled).

    L_4(A) = sum_{i != j} E[Q_4(y) t_1(a_i, a_j, x)] - mu sum_i E[Q_4(y) t_2(a_i, x)]
             + lam sum_i (E[Q_2(y) t_3(a_i, x)] - 1)^2 + delta/2 |A|_F^2,
    t_1 = S_4[u,u,v,v] / c_4, t_2 = S_4[u,u,u,u] / c_4, t_3 = S_2[u,u] / c_2.

    regressors (..., k, d); x (..., n, d); y (..., n) -> (...). Costs O(n k (d + k)) each call, by
    matrix products of the projections <a_i, x>; ``l4_moments`` is the same function after one pass
    over the data.
    """
    q4 = (quartic(y) / quartic.normaliser).unsqueeze(-1)
    q2 = (quadratic(y) / quadratic.normaliser).unsqueeze(-1)
    n = y.shape[-1]
    projections = x @ regressors.mT
    squares = projections.square()
    norms = regressors.square().sum(-1)
    inner = regressors @ regressors.mT
    sizes = norms.unsqueeze(-1) + torch.zeros_like(inner)
    weighted = (q4 * squares).mean(-2)
    cross = (
        (q4 * squares).mT @ squares / n
        - sizes * weighted.unsqueeze(-2)
        - sizes.mT * weighted.unsqueeze(-1)
        - 4 * inner * ((q4 * projections).mT @ projections / n)
        + q4.mean(-2, keepdim=True) * (sizes * sizes.mT + 2 * inner.square())
    )
    second = (q2 * squares).mean(-2) - norms * q2.mean(-2)
    fourth = cross.diagonal(dim1=-2, dim2=-1)
    return _combine(cross, fourth, second, regressors, mu, lam, delta)


def l4_moments(
    regressors: Tensor,
    second_moment: Tensor,
    fourth_moment: Tensor,
    mu: float,
    lam: float,
    delta: float = 0.0,
) -> Tensor:
    """L_4 from the moments M (d, d) and T (d, d, d, d): no sample is touched (derived).

    M = E[Q_2(y) S_2(x)] / c_2, T = E[Q_4(y) S_4(x)] / c_4; regressors (..., k, d) -> (...).
    In coordinates where M = I it is the whitened quartic.
    """
    d = second_moment.shape[0]
    squares = (regressors[..., :, None] * regressors[..., None, :]).flatten(-2)
    cross = squares @ fourth_moment.reshape(d * d, d * d) @ squares.mT
    second = squares @ second_moment.reshape(d * d)
    fourth = cross.diagonal(dim1=-2, dim2=-1)
    return _combine(cross, fourth, second, regressors, mu, lam, delta)


def l4_population(
    regressors: Tensor,
    truth: Tensor,
    proportions: Tensor,
    mu: float,
    lam: float,
    delta: float = 0.0,
) -> Tensor:
    """L_4 with exact expectations, S_im = <a_i, a*_m>^2 and p_m = E[p_m(x)] (derived).

    L_4(A) = sum_m p_m [sum_{i != j} S_im S_jm - mu sum_i S_im^2]
             + lam sum_i (sum_m p_m S_im - 1)^2 + delta/2 |A|_F^2.

    regressors (..., k, d); truth (k, d); proportions (k,) -> (...).
    """
    overlap = (regressors @ truth.mT).square()
    cross = (overlap * proportions) @ overlap.mT
    fourth = cross.diagonal(dim1=-2, dim2=-1)
    return _combine(cross, fourth, overlap @ proportions, regressors, mu, lam, delta)


def dual_basis(regressors: Tensor) -> Tensor:
    """Rows dual to those of A (..., k, d): pinv(A)', so that dual_basis(A) A' = I; an involution.

    Where L_4 has its minima in the population, up to lengths, orders and signs (derived; book,
    chapter 4).
    """
    dual: Tensor = torch.linalg.pinv(regressors).mT
    return dual
