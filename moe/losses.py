"""The losses: squared error, L_4 for the regressors in three forms, L_log for the gates.

Regressors and gating may carry leading batch dimensions (..., k, d); losses then have shape (...).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from moe.model.mixture import gaussian_log_density
from moe.model.nonlinearity import Nonlinearity
from moe.moments.transforms import OutputTransform


def squared_loss(
    regressors: Tensor, gating: Tensor, x: Tensor, y: Tensor, nonlinearity: Nonlinearity
) -> Tensor:
    """E (y - sum_i p_i(x; W) g(<a_i, x>))^2, the loss that gets stuck (paper).

    regressors, gating (..., k, d); x (..., n, d); y (..., n) -> (...). Samples come last inside: a
    softmax over a few experts is quick along many samples.
    """
    gate = torch.softmax(gating @ x.mT, dim=-2)
    mean = (gate * nonlinearity(regressors @ x.mT)).sum(-2)
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
    residual = y[..., None, :] - nonlinearity(regressors @ x.mT)
    gate = torch.log_softmax(gating @ x.mT, dim=-2)
    return -torch.logsumexp(gate + gaussian_log_density(residual, scale), dim=-2).mean(-1)


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
    over the data. Differentiable once, in the regressors; RuntimeError where a graph of the
    gradient is asked for (``create_graph``).
    """
    n = y.shape[-1]
    q4, q2 = (q(y) / (n * q.normaliser) for q in (quartic, quadratic))
    value: Tensor = _L4Samples.apply(regressors, x, q4, q2, mu, lam)  # type: ignore[no-untyped-call]
    return value + 0.5 * delta * regressors.square().sum((-2, -1)) if delta else value


class _L4Samples(torch.autograd.Function):
    """L_4 from samples with its gradient in closed form (derived), sums over samples weighted by
    q4, q2 (..., n).

    With p = <a_i, x>, s = |a_i|^2, G = A A', c_ij = 1 for i != j and c_ii = -mu, B = E[q4 p p'],
    b = diag B, e = E[q4] and t_i = E[q2 p_i^2] - s_i E[q2] - 1:
    L_4 = sum_ij c_ij (E[q4 p_i^2 p_j^2] - 4 G_ij B_ij + 2 e G_ij^2) + s'c (e s - 2 b) + lam |t|^2,
    and its slopes in p, G and s make the gradient in A.
    """

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, x: Tensor, q4: Tensor, q2: Tensor, mu: float, lam: float
    ) -> Tensor:
        c = 1 - (1 + mu) * torch.eye(a.shape[-2], dtype=a.dtype, device=a.device)
        q4, q2, p, inner = q4.unsqueeze(-2), q2.unsqueeze(-2), a @ x.mT, a @ a.mT
        squares, norms, weighted = p.square(), inner.diagonal(dim1=-2, dim2=-1), q4 * p
        products = weighted @ p.mT
        fours, pulls = c @ squares, norms @ c
        e4, e2, cg = q4.sum(-1), q2.sum(-1), c * inner
        off = (q2 * squares).sum(-1) - norms * e2 - 1
        b = products.diagonal(dim1=-2, dim2=-1)
        value: Tensor = (
            (weighted * p * fours).sum((-2, -1))
            + (cg * (2 * e4.unsqueeze(-1) * inner - 4 * products)).sum((-2, -1))
            + (pulls * (e4 * norms - 2 * b)).sum(-1)
            + lam * off.square().sum(-1)
        )
        if ctx.needs_input_grad[0]:
            along = 4 * weighted * (fours - pulls.unsqueeze(-1)) - 8 * cg @ weighted
            along += (4 * lam * off).unsqueeze(-1) * (q2 * p)
            turns = 8 * (e4.unsqueeze(-1) * cg - c * products)
            grows = 4 * (e4 * pulls - b @ c) - 4 * lam * off * e2
            ctx.save_for_backward(along @ x + turns @ a + grows.unsqueeze(-1) * a)
            ctx.shape = a.shape
        return value

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # a graph of the gradient is asked for, and would lack all this
            raise RuntimeError("l4_samples: differentiable once; l4_moments is twice")
        (slope,) = ctx.saved_tensors
        return (above[0][..., None, None] * slope).sum_to_size(ctx.shape), *[None] * 5


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
