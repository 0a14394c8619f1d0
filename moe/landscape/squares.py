"""The population L_4 as a quadratic program in squared coordinates (derived; book, chapter 5).

With orthonormal v_m, beta_im = <v_m, b_i> and u_im = beta_im^2 >= 0, the whitened population L_4 is

    f(u) = sum_m [(sum_i u_im)^2 - (1 + mu) sum_i u_im^2] / p_m + lambda sum_i (sum_m u_im - 1)^2,

quadratic in the matrix u (row i, expert m), of as many rows as one likes. Its gradient by beta is
2 beta_im f_im with f_im = df / du_im, its Hessian 4 diag(beta) (Hess f) diag(beta) + 2 diag(f_im).

For orthogonal experts (delta / 2) |A|^2 is linear in u within their span,
(delta / 2) sum_im u_im / p_m, so that with delta > 0 the loss is quadratic in u too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.checks import as_floating, check_positive


@dataclass(frozen=True, eq=False)
class GlobalMinimum:
    """b_m = +- s_m v_m: squared_norms (k,) s_m^2 = lambda / (lambda - mu / p_m), and L_4 there."""

    squared_norms: Tensor
    value: float


def check_proportions(proportions: Tensor) -> Tensor:
    """Mixture proportions p_m = E[p_m(x)] as a tensor (k,); refused unless positive with sum 1."""
    p = as_floating(proportions, "proportions")
    if p.ndim != 1 or len(p) == 0:
        raise ValueError(f"proportions: expected shape (k,) with k >= 1, got {tuple(p.shape)}")
    if not bool((p > 0).all()) or abs(float(p.sum()) - 1) > 1e-6:
        raise ValueError(f"proportions: expected positive numbers with sum 1, got {p.tolist()}")
    return p


def population_tensor(proportions: Tensor, directions: Tensor | None = None) -> Tensor:
    """T = sum_m v_m^(4) / p_m, shape (k, k, k, k); v_m = rows of directions (identity)."""
    p = check_proportions(proportions)
    eye = torch.eye(len(p), dtype=p.dtype)
    v = eye if directions is None else directions
    if v.shape != eye.shape or float((v @ v.T - eye).abs().max()) > 1e-5:
        raise ValueError(f"directions: expected {len(p)} orthonormal rows, got {v.tolist()}")
    return torch.einsum("m,ma,mb,mc,md->abcd", 1 / p, v, v, v, v)


def squares_matrix(proportions: Tensor, mu: float, lam: float, rows: int | None = None) -> Tensor:
    """Hess f, shape (rows k, rows k), k rows by default; coordinates (i, m) in row-major order:

    2 delta_mn (1 - (1 + mu) delta_ij) / p_m + 2 lambda delta_ij.
    """
    k = len(proportions)
    own = torch.eye(k if rows is None else rows, dtype=proportions.dtype)
    within_expert = torch.kron(torch.ones_like(own) - (1 + mu) * own, torch.diag(1 / proportions))
    return 2 * within_expert + 2 * lam * torch.kron(own, torch.ones(k, k, dtype=own.dtype))


def squares_loss(
    squares: Tensor, proportions: Tensor, mu: float, lam: float, delta: float = 0.0
) -> Tensor:
    """f(u) + (delta / 2) sum_im u_im / p_m for u of shape (..., rows, k); returns (...)."""
    shared = squares.sum(-2).square() - (1 + mu) * squares.square().sum(-2)
    value = (shared / proportions).sum(-1) + lam * (squares.sum(-1) - 1).square().sum(-1)
    return value + delta / 2 * (squares / proportions).sum((-2, -1))


def squares_gradient(
    squares: Tensor, proportions: Tensor, mu: float, lam: float, delta: float = 0.0
) -> Tensor:
    """f_im = 2 [sum_j u_jm - (1 + mu) u_im] / p_m + 2 lambda (sum_n u_in - 1) + delta / (2 p_m),
    of the shape of squares."""
    shared = (squares.sum(-2, keepdim=True) - (1 + mu) * squares + delta / 4) / proportions
    return 2 * shared + 2 * lam * (squares.sum(-1, keepdim=True) - 1)


def coordinate_hessian(
    squares: Tensor, proportions: Tensor, mu: float, lam: float, delta: float = 0.0
) -> Tensor:
    """Hessian of L_4 by beta = sqrt(u), (..., rows k, rows k): 4 beta (Hess f) beta + 2 diag(f_im).

    At a critical point it splits: 2 f_im for each inactive coordinate, and the block
    4 diag(beta) (Hess f)_SS diag(beta) on the support S.
    """
    beta = squares.flatten(-2).sqrt()
    matrix = squares_matrix(proportions, mu, lam, squares.shape[-2])
    active = 4 * beta.unsqueeze(-1) * beta.unsqueeze(-2) * matrix
    slope = squares_gradient(squares, proportions, mu, lam, delta).flatten(-2)
    return active + torch.diag_embed(2 * slope)


def check_bounded(proportions: Tensor, mu: float, lam: float) -> tuple[Tensor, float, float]:
    """The three parameters, refused unless mu, lambda > 0 and lambda > mu / min_m p_m."""
    p, mu, lam = (
        check_proportions(proportions),
        check_positive(mu, "mu"),
        check_positive(lam, "lam"),
    )
    bound = mu / float(p.min())
    if not lam > bound:
        raise ValueError(
            f"lam: expected more than mu / min(proportions) = {bound:.6g}, or L_4 has no minimum; "
            f"got {lam}"
        )
    return p, mu, lam


def global_minimum(proportions: Tensor, mu: float, lam: float) -> GlobalMinimum:
    """s_m^2 = lambda / (lambda - mu / p_m), value -sum_m mu / (p_m - mu / lambda) (derived).

    ValueError when lambda <= mu / min_m p_m: L_4 is then not bounded below.
    """
    p, mu, lam = check_bounded(proportions, mu, lam)
    return GlobalMinimum(lam / (lam - mu / p), -float((mu / (p - mu / lam)).sum()))
