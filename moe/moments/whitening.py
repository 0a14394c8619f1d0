"""Whitening: the coordinates in which M = sum_i E[p_i] a_i a_i' is the identity."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.checks import as_floating, check_experts
from moe.exceptions import TooFewEigenvaluesError


@dataclass(frozen=True, eq=False)
class Whitening:
    """The top-k eigenspace of M and the coordinates in which M is the identity (derived).

    Attributes:
        basis: U (d, k), orthonormal eigenvectors of the k largest eigenvalues.
        eigenvalues: (k,), decreasing, positive.
        all_eigenvalues: (d,), decreasing; a gap after the k-th speaks for k experts.
    """

    basis: Tensor
    eigenvalues: Tensor
    all_eigenvalues: Tensor

    @property
    def whitener(self) -> Tensor:
        """V = U diag(eigenvalues^-1/2), (d, k): V' M V = I."""
        return self.basis * self.eigenvalues.rsqrt()

    @property
    def dewhitener(self) -> Tensor:
        """U diag(eigenvalues^1/2), (d, k): its transpose is a left inverse of V."""
        return self.basis * self.eigenvalues.sqrt()

    def apply(self, tensor: Tensor) -> Tensor:
        """T[V, ..., V] for a tensor (k, ..., k) given in the coordinates of U."""
        k = len(self.eigenvalues)
        if any(size != k for size in tensor.shape):
            raise ValueError(
                f"tensor: expected shape ({k}, ..., {k}) in the coordinates of the basis, "
                f"got {tuple(tensor.shape)}"
            )
        scale = self.eigenvalues.rsqrt()
        for axis in range(tensor.ndim):
            tensor = tensor * scale.reshape(k, *[1] * (tensor.ndim - 1 - axis))
        return tensor


def whiten(second_moment: Tensor, k: int) -> Whitening:
    """The top-k eigenspace, by value, of M = sum_i E[p_i] a_i a_i' (d, d), and its whitening.

    Raises TooFewEigenvaluesError (a ValueError) when fewer than k eigenvalues are positive, and
    ValueError when M is not square, finite, or of at least k rows.
    """
    m = as_floating(second_moment, "second_moment")
    if m.ndim != 2 or m.shape[0] != m.shape[1]:
        raise ValueError(f"second_moment: expected shape (d, d), got {tuple(m.shape)}")
    d = m.shape[0]
    k = check_experts(k, d)
    values, vectors = (part.flip(-1) for part in torch.linalg.eigh((m + m.T) / 2))
    floor = d * torch.finfo(m.dtype).eps * float(values.abs().max())
    positive = int((values > floor).sum())
    if positive < k:
        raise TooFewEigenvaluesError(
            f"second_moment: expected at least k = {k} positive eigenvalues, got {positive} of "
            f"{d}: there are too few samples, or k is too large"
        )
    return Whitening(vectors[:, :k], values[:k], values)
