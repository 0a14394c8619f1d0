"""M by least squares over matrices of rank k: the small noise of least squares at any d."""

from __future__ import annotations

import torch
from torch import Tensor

from moe.moments.transforms import OutputTransform
from moe.moments.whitening import whiten

_ROWS = 20_000


def low_rank_moment(
    x: Tensor, y: Tensor, transform: OutputTransform, k: int, sweeps: int = 3
) -> Tensor:
    """An estimate of M = E[Q_2(y) S_2(x)] / c_2, (d, d), that uses rank M = k (derived).

    With q = Q_2(y) / c_2 and M_k the part of M_hat in its top-k eigenspace, repeat

        r_t = q_t - <M_k, S_2(x_t)> / 2,     M_hat = M_k + mean of (r_t - mean r) S_2(x_t),

    from M_k = 0: a gradient step of least squares, projected on rank k. A fixed point has the noise
    of full least squares, r in place of Q_2, but fits about k d numbers instead of d^2 / 2 and asks
    only for n well above k d. Each sweep costs one product X' diag(r) X.

    x (n, d), y (n,), k experts. Raises ValueError where M_hat has fewer than k positive
    eigenvalues.
    """
    q = transform(y) / transform.normaliser
    basis, values = x.new_zeros(x.shape[1], 0), x.new_zeros(0)
    moment = _step(x, q, basis, values)
    for _ in range(sweeps - 1):
        top = whiten(moment, k)
        basis, values = top.basis, top.eigenvalues
        moment = _step(x, q, basis, values)
    return moment


def _step(x: Tensor, q: Tensor, basis: Tensor, values: Tensor) -> Tensor:
    fitted = torch.cat([(rows @ basis).square() @ values for rows in x.split(_ROWS)])
    residual = q - (fitted - values.sum()) / 2
    residual = residual - residual.mean()
    moment = (basis * values) @ basis.T
    for rows, r in zip(x.split(_ROWS), residual.split(_ROWS), strict=True):
        moment = moment + rows.T @ (r[:, None] * rows) / len(x)
    return moment
