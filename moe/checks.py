"""Checks of what callers pass in; messages name the argument, expected and got."""

from __future__ import annotations

import math
import operator
import warnings
from typing import Any, SupportsIndex

import numpy as np
import torch
from torch import Tensor


def as_floating(value: Any, name: str) -> Tensor:
    """``value`` as a finite floating-point tensor (float64 unless it already is floating point).

    Raises TypeError for data that are not numbers, ValueError for NaN or infinite entries.
    """
    try:
        tensor = value.detach() if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"{name}: expected an array or tensor of numbers, got {type(value).__name__} ({error})"
        ) from error
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{name}: expected real numbers, got dtype {tensor.dtype}")
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.float64)
    if not bool(torch.isfinite(tensor.sum())) and bool((~torch.isfinite(tensor)).any()):
        bad = int((~torch.isfinite(tensor)).sum())
        raise ValueError(f"{name}: expected finite values, got {bad} NaN or infinite entries")
    return tensor


def as_samples(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Inputs (n, d) and outputs (n,) as tensors of one dtype. Raises ValueError on other shapes."""
    x, y = as_floating(x, "x"), as_floating(y, "y")
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"x: expected shape (n, d) with n, d >= 1, got {tuple(x.shape)}")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or y.shape[0] != x.shape[0]:
        raise ValueError(
            f"y: expected shape ({x.shape[0]},) to match x of shape {tuple(x.shape)}, "
            f"got {tuple(y.shape)}"
        )
    dtype = torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype), y.to(dtype)


def check_experts(k: SupportsIndex, d: int) -> int:
    """The number of experts as an int with 1 <= k <= d. Raises TypeError, ValueError."""
    try:
        count = operator.index(k)
    except TypeError as error:
        raise TypeError(f"k: expected an integer number of experts, got {k!r}") from error
    if count < 1:
        raise ValueError(f"k: expected at least 1 expert, got {count}")
    if count > d:
        raise ValueError(
            f"k: expected at most d = {d} experts (k regressors in R^d must be linearly "
            f"independent), got {count}"
        )
    return count


def check_at_least(value: int, least: int, name: str) -> None:
    """Raises ValueError where the count called ``name`` is below ``least``."""
    if value < least:
        raise ValueError(f"{name}: expected at least {least}, got {value}")


def check_positive(value: Any, name: str) -> float:
    """``value`` as a finite float > 0. Raises TypeError, ValueError."""
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected a positive number, got {value!r}") from error
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name}: expected a positive finite number, got {number!r}")
    return number


def warn_unless_standard_gaussian(x: Tensor) -> None:
    """Warn when the inputs' mean, covariance or kurtosis is far from N(0, I)'s.

    Each statistic is compared with its sampling spread at this n: mean entries have standard
    deviation n^-1/2, covariance entries at most (2/n)^1/2, fourth moments (96/n)^1/2. A warning
    wants an excess over six of those and over 0.1 (mean, covariance) or 0.3 (kurtosis).
    """
    n, d = x.shape
    mean = float(x.mean(0).abs().max())
    centred = x - x.mean(0)
    covariance = centred.T @ centred / n
    deviation = float((covariance - torch.eye(d, dtype=x.dtype)).abs().max())
    scale = covariance.diagonal().clamp_min(torch.finfo(x.dtype).tiny).sqrt()
    kurtosis = (centred / scale).pow(4).mean(0)
    excess = float((kurtosis - 3).abs().max())
    far = [
        mean > max(0.1, 6 / n**0.5),
        deviation > max(0.1, 6 * (2 / n) ** 0.5),
        excess > max(0.3, 6 * (96 / n) ** 0.5),
    ]
    if any(far):
        warnings.warn(
            f"x: expected inputs close to N(0, I), got max |mean| = {mean:.2f}, "
            f"max |covariance - I| = {deviation:.2f}, kurtosis between {float(kurtosis.min()):.2f} "
            f"and {float(kurtosis.max()):.2f} (3 for a Gaussian). The moment stages assume the "
            "standard Gaussian; standardise x, or trust the likelihood stage only",
            stacklevel=3,
        )
