"""L_4's value, gradient and Hessian at many points, by contractions of T with its symmetries folded
away; one lambda, or one and a tensor of its own for each point."""

from __future__ import annotations

import torch
from torch import Tensor


def fold(points: Tensor, tensor: Tensor) -> Tensor:
    """T as a (k (k + 1) / 2, k^2) matrix that acts on the products b_a b_b, a <= b."""
    k = points.shape[-1]
    if points.ndim < 2 or points.shape[-2] != k:
        raise ValueError(f"points must have shape (..., k, k), got {tuple(points.shape)}")
    if tensor.shape != (k,) * 4:
        raise ValueError(f"tensor must have shape {(k,) * 4}, got {tuple(tensor.shape)}")
    if tensor.dtype != points.dtype:
        raise TypeError(f"tensor is {tensor.dtype}, points are {points.dtype}: expected the same")
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError("tensor must be finite, got NaN or infinite entries")
    slack = 1e3 * torch.finfo(tensor.dtype).eps * float(tensor.abs().max())
    for axis in range(3):
        if float((tensor - tensor.transpose(axis, axis + 1)).abs().max()) > slack:
            raise ValueError(f"tensor must be symmetric, but axes {axis} and {axis + 1} differ")
    row, column = torch.triu_indices(k, k, device=tensor.device)
    weight = torch.where(row == column, 1.0, 2.0).to(tensor.dtype)
    return (weight[:, None, None] * tensor[row, column]).flatten(1)


def value_and_gradient(
    points: Tensor, folded: Tensor, mu: float, lam: float | Tensor
) -> tuple[Tensor, Tensor]:
    k = points.shape[-1]
    row, column = torch.triu_indices(k, k, device=points.device)
    products = points.index_select(-1, row) * points.index_select(-1, column)
    mixed = products.sum(-2, keepdim=True) - (1 + mu) * products
    matrices = torch.unflatten(mixed @ folded, -1, (k, k))
    cubic = (matrices @ points.unsqueeze(-1)).squeeze(-1)
    excess = points.square().sum(-1) - 1
    pull = _of_each(lam, 1) * excess
    value = (cubic * points).sum((-2, -1)) + (pull * excess).sum(-1)
    return value, 4 * (cubic + pull.unsqueeze(-1) * points)


def _of_each(lam: float | Tensor, dims: int) -> float | Tensor:
    """lambda, or those of each start with so many dimensions more."""
    return lam[(..., *[None] * dims)] if isinstance(lam, Tensor) else lam


def hessian(points: Tensor, folded: Tensor, mu: float, lam: float | Tensor) -> Tensor:
    k = points.shape[-1]
    row, column = torch.triu_indices(k, k, device=points.device)
    left, right = points[..., row, :], points[..., column, :]
    pairs = left[..., row] * right[..., column] + left[..., column] * right[..., row]
    blocks = torch.unflatten(pairs @ (folded / 2), -1, (k, k))  # T(b_i b_j'), i <= j
    position = torch.empty(k, k, dtype=torch.long, device=points.device)
    position[row, column] = position[column, row] = torch.arange(len(row), device=points.device)
    hessian = 8 * blocks[..., position, :, :].transpose(-3, -2).contiguous()
    own = blocks[..., position.diagonal(), :, :]
    identity = torch.eye(k, dtype=points.dtype, device=points.device)
    pull = _of_each(lam, 1) * (points.square().sum(-1) - 1)
    diagonal = 4 * own.sum(-3, keepdim=True) - 12 * (1 + mu) * own
    diagonal = diagonal + 4 * pull[..., None, None] * identity
    diagonal = diagonal + 8 * _of_each(lam, 3) * points.unsqueeze(-1) * points.unsqueeze(-2)
    hessian.diagonal(dim1=-4, dim2=-2).add_(diagonal.movedim(-3, -1))
    return hessian
