"""Many small positive semidefinite systems at once, and products of matrices on one thread."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.floating]
RIDGE = {torch.float64: 1e-9, torch.float32: 1e-6}
_MOST_ALONE = 200_000  # multiplications; OpenBLAS starts threads from 2^18 on


def solve_ridged(matrix: Tensor, right: Tensor, scale: float) -> Tensor:
    """Solutions of (matrix + tiny ridge) z = right; (..., m, m), (..., m) -> (..., m).

    ``scale``: the diagonal the matrix would have with all weights one; below rounding of that the
    matrix of an expert without samples counts as zero. Where there is no finite solution the
    step is zero.
    """
    least = torch.finfo(matrix.dtype).eps * scale
    ridge = RIDGE[matrix.dtype] * matrix.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(least)
    solid = matrix.clone()
    solid.diagonal(dim1=-2, dim2=-1).add_(ridge[..., None])
    factor, failed = torch.linalg.cholesky_ex(solid)
    solution = torch.cholesky_solve(right[..., None], factor)[..., 0]
    if bool(failed.any()) or not math.isfinite(float(solution.sum())):
        sound = torch.isfinite(solution).all(-1) & (failed == 0)
        solution = torch.where(sound[..., None], solution, 0.0)
    return solution


def product(one: Array, other: Array) -> Array:
    """A product of matrices on one thread: NumPy's library takes several for large ones, which wait
    for one another longer than they work, and torch has been told not to (``moe.threads``)."""
    if one.size * other.shape[1] <= _MOST_ALONE:
        return one @ other
    return torch.mm(torch.from_numpy(one), torch.from_numpy(other)).numpy()
