"""L_4's value, gradient and Hessian at many points, by contractions of T with its symmetries folded
away; one lambda, or one and a tensor of its own for each point. In torch or in NumPy, as the points
are."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe.likelihood.grams import upper_places
from moe.solvers.linear import product

Array = Any
"""Tensors or NumPy's arrays; all of one kind."""


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
    points: Array, folded: Array, mu: float, lam: float | Array
) -> tuple[Array, Array]:
    """(...) and (..., k, k) at points (..., k, k)."""
    k = points.shape[-1]
    row, column, *_ = _places(k, torch.is_tensor(points))
    products = points[..., row] * points[..., column]
    mixed = products.sum(-2)[..., None, :] - (1 + mu) * products
    matrices = _product(mixed, folded, k)
    cubic = _times(matrices, points)
    excess = (points * points).sum(-1) - 1
    pull = _of_each(lam, 1) * excess
    value = (cubic * points).sum((-2, -1)) + (pull * excess).sum(-1)
    return value, 4 * (cubic + pull[..., None] * points)


def hessian(points: Array, folded: Array, mu: float, lam: float | Array) -> Array:
    """(..., k, k, k, k) at points (..., k, k)."""
    k = points.shape[-1]
    row, column, place, each = _places(k, torch.is_tensor(points))
    left, right = points[..., row, :], points[..., column, :]
    pairs = left[..., row] * right[..., column] + left[..., column] * right[..., row]
    blocks = _product(pairs, folded / 2, k)  # T(b_i b_j'), i <= j
    bent = _own_memory(8 * blocks[..., place, :, :].swapaxes(-3, -2))
    own = blocks[..., place[each, each], :, :]
    pull = _of_each(lam, 1) * ((points * points).sum(-1) - 1)
    diagonal = 4 * own.sum(-3)[..., None, :, :] - 12 * (1 + mu) * own
    diagonal = diagonal + 8 * _of_each(lam, 3) * points[..., :, None] * points[..., None, :]
    diagonal[..., each, each] += 4 * pull[..., None]
    of_rows = _of_rows(bent)
    of_rows += diagonal
    return bent


def _times(matrices: Array, points: Array) -> Array:
    """Each of (..., k, k, k) times its row of (..., k, k): by whichever is quicker (measured)."""
    if torch.is_tensor(points):
        return (matrices @ points[..., None])[..., 0]
    return (matrices * points[..., None, :]).sum(-1)


def _own_memory(array: Array) -> Array:
    return array.contiguous() if torch.is_tensor(array) else np.ascontiguousarray(array)


def _of_rows(bent: Array) -> Array:
    """A view of the blocks (..., k, k, k) of each row alone."""
    if torch.is_tensor(bent):
        return bent.diagonal(dim1=-4, dim2=-2).movedim(-1, -3)
    return np.einsum("...iaib->...iab", bent)


def _product(weights: Array, folded: Array, k: int) -> Array:
    """Matrices (..., k, k) of weights (..., pairs)."""
    shape = (*weights.shape[:-1], k, k)
    if folded.ndim > 2 or torch.is_tensor(weights):
        return (weights @ folded).reshape(shape)
    return product(weights.reshape(-1, weights.shape[-1]), folded).reshape(shape)


def _of_each(lam: float | Array, dims: int) -> float | Array:
    """lambda, or those of each point with so many dimensions more."""
    return lam if isinstance(lam, float | int) else lam[(..., *[None] * dims)]


@cache
@torch.inference_mode(False)
def _places(k: int, tensors: bool) -> tuple[Array, ...]:
    """Rows and columns of the upper half; where each entry of (k, k) is among them; 0..k-1."""
    found = *torch.triu_indices(k, k), upper_places(k), torch.arange(k)
    return found if tensors else tuple(part.numpy() for part in found)
