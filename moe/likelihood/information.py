"""Score and information of the log-likelihood, through the model's 2k linear predictors.

All parameters act through eta_i = <a_i, x>, omega_i = <w_i, x> and tau = log sigma. With
u_i = omega_i + log N(y; g(eta_i), sigma^2), r = softmax(u), p = softmax(omega),

    log P(y | x) = logsumexp u - logsumexp omega,
    score        = sum_i r_i grad u_i - sum_i p_i grad omega_i,
    - Hessian    = { sum_i r_i (-Hess u_i) + Cov_p[grad omega] } - Cov_r[grad u].

The braces are the complete-data information, the last term is the missing one (Louis 1982;
Dempster, Laird, Rubin 1977). Derived; tested against autograd.

The parameter vector is theta = (a_1, ..., a_k, w_1, ..., w_{k-1}, log sigma), length
P = (2k - 1) d + 1.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from moe.likelihood.grams import Grams
from moe.model.mixture import MoE

Kind = Literal["observed", "complete", "missing", "outer"]

_CHUNK = 65_536


def pack(model: MoE) -> Tensor:
    """theta = (A, W without its last row, log sigma), (P,)."""
    log_sigma = model.regressors.new_tensor([model.sigma]).log()
    return torch.cat([model.regressors.flatten(), model.gating[:-1].flatten(), log_sigma])


def unpack(theta: Tensor, like: MoE) -> MoE:
    """The model with parameter vector ``theta`` and the shapes and nonlinearity of ``like``."""
    k, d = like.k, like.d
    regressors, gating = (
        theta[: k * d].reshape(k, d),
        theta[k * d : -1].reshape(k - 1, d),
    )
    last = torch.zeros_like(regressors[:1])
    sigma = float(theta[-1].exp())
    return MoE(regressors, torch.cat([gating, last]), sigma, like.nonlinearity)


def _predictor_terms(model: MoE, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Per-sample score (q, n), complete and missing curvatures (q, q, n), log density (n,).

    q = 2k: eta_1..eta_k, omega_1..omega_{k-1}, tau.
    """
    k, n, variance = model.k, len(x), model.sigma**2
    eta = (x @ model.regressors.T).T
    joint = model.log_joint(x, y).T
    r, p = torch.softmax(joint, 0), model.gate(x).T
    slope = model.nonlinearity.derivative(eta)
    residual = y - model.nonlinearity(eta)
    in_eta = residual * slope / variance
    in_tau = residual.square() / variance - 1.0

    score = torch.cat([r * in_eta, (r - p)[:-1], (r * in_tau).sum(0, keepdim=True)])

    complete = x.new_zeros(2 * k, 2 * k, n)
    experts, gates = torch.arange(k), torch.arange(k, 2 * k - 1)
    bend = residual * model.nonlinearity.second_derivative(eta)
    complete[experts, experts] = r * (slope.square() - bend) / variance
    complete[experts, -1] = complete[-1, experts] = 2 * r * in_eta
    complete[-1, -1] = (2 * r * (in_tau + 1)).sum(0)
    complete[k:-1, k:-1] = -p[:-1, None] * p[None, :-1]
    complete[gates, gates] += p[:-1]

    gradient = x.new_zeros(k, 2 * k, n)
    gradient[experts, experts] = in_eta
    gradient[experts[:-1], gates] = 1.0
    gradient[:, -1] = in_tau
    mean = (r[:, None] * gradient).sum(0)
    missing = torch.einsum("in,ian,ibn->abn", r, gradient, gradient) - mean[:, None] * mean[None]
    return score, complete, missing, torch.logsumexp(joint, 0)


def _assemble(curvature: Tensor, x: Tensor) -> Tensor:
    """sum_n J_n' C_n J_n (P, P) from C (q, q, n), J the Jacobian of the predictors in theta."""
    q, d = curvature.shape[0] - 1, x.shape[1]
    row, column = torch.triu_indices(q, q)
    blocks = Grams(x)(curvature[row, column])
    matrix = x.new_zeros(q * d + 1, q * d + 1)
    body = x.new_zeros(q, q, d, d)
    body[row, column] = blocks
    body[column, row] = blocks
    matrix[:-1, :-1] = body.permute(0, 2, 1, 3).reshape(q * d, q * d)
    matrix[:-1, -1] = matrix[-1, :-1] = (curvature[:-1, -1] @ x).flatten()
    matrix[-1, -1] = curvature[-1, -1].sum()
    return matrix


def information(
    model: MoE, x: Tensor, y: Tensor, kind: Kind = "observed"
) -> tuple[float, Tensor, Tensor]:
    """Log-likelihood, its gradient (P,) and an information matrix (P, P), summed over samples.

    kind: "observed" (minus the Hessian of the log-likelihood), "complete" and "missing" (observed =
    complete - missing), or "outer" (outer products of the per-sample scores).
    x (n, d), y (n,). Cost O(n k^2 d^2) in matrix products; memory bounded by chunks.
    """
    size = (2 * model.k - 1) * model.d + 1
    matrix, gradient, log_likelihood = x.new_zeros(size, size), x.new_zeros(size), 0.0
    for start in range(0, len(x), _CHUNK):
        xs, ys = x[start : start + _CHUNK], y[start : start + _CHUNK]
        score, complete, missing, log_density = _predictor_terms(model, xs, ys)
        if kind == "observed":
            curvature = complete - missing
        elif kind == "outer":
            curvature = score[:, None] * score[None]
        else:
            curvature = complete if kind == "complete" else missing
        matrix += _assemble(curvature, xs)
        gradient += torch.cat([(score[:-1] @ xs).flatten(), score[-1:].sum(1)])
        log_likelihood += float(log_density.sum())
    return log_likelihood, gradient, matrix


def scores(model: MoE, x: Tensor, y: Tensor) -> Tensor:
    """Gradients of every sample's log-density in theta, x (n, d), y (n,) -> (n, P). All of them are
    in memory at once: call it with a part of the samples."""
    score = _predictor_terms(model, x, y)[0].T
    weights = (score[:, :-1, None] * x[:, None]).flatten(1)
    return torch.cat([weights, score[:, -1:]], 1)


def em_rate(complete: Tensor, missing: Tensor) -> float:
    """EM's local linear rate: the largest eigenvalue of I - I_complete^-1 I_observed.

    Both matrices (q, q), restricted to the components of theta that EM updates (the gates alone,
    say). An M-step that is exact, or one Newton step on the complete-data objective, has this rate
    (Dempster, Laird, Rubin 1977). Equal to the largest eigenvalue of I_complete^-1 I_missing.
    """
    factor = torch.linalg.cholesky(complete)
    half = torch.linalg.solve_triangular(factor, missing, upper=False)
    both = torch.linalg.solve_triangular(factor, half.mT, upper=False)
    return float(torch.linalg.eigvalsh(both)[-1])
