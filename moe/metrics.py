"""Errors of an estimate. ONE permutation matches experts and gates together."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from moe.checks import as_floating
from moe.exceptions import OutsideTheoryWarning, warn
from moe.model.mixture import MoE


def absolute_cosines(estimate: Tensor, truth: Tensor) -> Tensor:
    """|<a_i, a*_j>| / (|a_i| |a*_j|): (k, d), (k, d) -> (k, k); 0 for a zero row.

    Raises ValueError when the shapes differ.
    """
    if estimate.shape != truth.shape or estimate.ndim != 2:
        raise ValueError(
            f"estimate: expected the truth's shape {tuple(truth.shape)} (k, d), "
            f"got {tuple(estimate.shape)}"
        )
    tiny = torch.finfo(truth.dtype).tiny
    unit = estimate.to(truth.dtype) / estimate.norm(dim=1, keepdim=True).clamp_min(tiny)
    cosines: Tensor = (unit @ (truth / truth.norm(dim=1, keepdim=True).clamp_min(tiny)).T).abs()
    return cosines


def match(estimate: Tensor, truth: Tensor) -> Tensor:
    """The permutation pi that maximises the worst |cos| between estimate[pi[i]] and truth[i].

    Among the permutations with that worst value, the one with the largest sum: the assignment of
    largest sum, if no permutation can have a better worst value. Otherwise a bottleneck assignment:
    a binary search over the k^2 cosines for the largest threshold that still admits a perfect
    matching, then the largest sum of what is left. Polynomial in k, not k!.

    estimate (k, d), truth (k, d) -> (k,) int64 indices into the rows of ``estimate``.
    """
    return _matched(absolute_cosines(estimate, truth))


def _matched(absolute: Tensor) -> Tensor:
    """The permutation of ``match`` from the |cos| (k, k), estimates in rows."""
    cosines = absolute.T.detach().cpu().double().numpy()
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    bound = min(cosines.max(0).min(), cosines.max(1).min())
    if cosines[rows, columns].min() < bound:
        columns = _bottleneck(cosines)
    return torch.from_numpy(columns)


def _bottleneck(cosines: np.ndarray) -> np.ndarray:
    """For each row a column: the worst value is as large as can be, then the sum."""
    k, levels = len(cosines), np.unique(cosines)
    low, high = 0, len(levels) - 1
    while low < high:
        middle = (low + high + 1) // 2
        allowed = (cosines >= levels[middle]).astype(float)
        perfect = allowed[linear_sum_assignment(allowed, maximize=True)].sum() == k
        low, high = (middle, high) if perfect else (low, middle - 1)
    penalised = np.where(cosines >= levels[low], cosines, -k)
    columns: np.ndarray = linear_sum_assignment(penalised, maximize=True)[1]
    return columns


def regressor_error_of(estimate: Tensor, truth: Tensor) -> float:
    """E_reg for two arrays of regressors (k, d); see ``regressor_error``."""
    cosines = absolute_cosines(estimate, truth)
    worst = cosines[_matched(cosines), torch.arange(len(truth))].min()
    return max(0.0, 1.0 - float(worst))


def _check_truth(truth: Tensor) -> None:
    """Raise for parallel regressors (no permutation is then meant), warn for dependent ones."""
    cosines = absolute_cosines(truth, truth).fill_diagonal_(0)
    k = len(truth)
    if k > 1 and float(cosines.max()) > 1 - 1e-12:
        i, j = divmod(int(cosines.argmax()), k)
        raise ValueError(
            f"truth: expected experts that differ, got parallel regressors {i} and {j}"
        )
    rank = int(torch.linalg.matrix_rank(truth))
    if rank < k:
        warn(
            f"truth: expected k = {k} linearly independent regressors, got rank {rank}: "
            "moments cannot tell them apart",
            OutsideTheoryWarning,
        )


def _rows(value: Any, name: str) -> Tensor:
    """The regressors (k, d) of a model, or of an array of them."""
    return value.regressors if isinstance(value, MoE) else as_floating(value, name)


def regressor_error(estimate: Any, truth: Any) -> float:
    """E_reg = 1 - max_pi min_i |<a_i, a*_pi(i)>| over unit rows (the paper's metric as recalled).

    estimate, truth: a model each, or an array of regressors (k, d), as another package gives them.
    In [0, 1]; 1 - cos of the worst expert's angle. Blind to signs and norms. Raises TypeError or
    ValueError for other shapes and for a truth with parallel regressors, warns for linearly
    dependent ones (``OutsideTheoryWarning``).
    """
    rows, true = _rows(estimate, "estimate"), _rows(truth, "truth")
    if true.ndim != 2 or len(true) == 0:
        raise ValueError(f"truth: expected shape (k, d), got {tuple(true.shape)}")
    _check_truth(true)
    return regressor_error_of(rows, true)


def align(estimate: MoE, truth: MoE) -> MoE:
    """``estimate`` with its experts in the truth's order, its gates relative to the last one."""
    return estimate.reordered(match(estimate.regressors, truth.regressors))


def gating_error_of(estimate: Tensor, truth: Tensor) -> float:
    """E_gate for two arrays of gates (k, d), experts in the same order; see ``gating_error``."""
    centred = truth - truth.mean(0)
    difference = estimate - truth
    return float((difference - difference.mean(0)).norm()) / (float(centred.norm()) or 1.0)


def gating_error(estimate: MoE, truth: MoE) -> float:
    """E_gate = |C (W_pi - W*)|_F / |C W*|_F, C = I - 11'/k, with pi chosen on the regressors.

    Recalled, but for C: the gate knows rows up to a common shift, and subtracting their mean
    favours no expert, where a last row of zeros made the error depend on which one stands last. For
    constant gates, C W* = 0, the absolute error |C W_pi|_F. Refuses and warns of the same truths as
    ``regressor_error``.
    """
    _check_truth(truth.regressors)
    return gating_error_of(align(estimate, truth).gating, truth.gating)
