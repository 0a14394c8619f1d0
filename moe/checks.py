"""Checks of what callers pass in; messages name the argument, expected and got."""

from __future__ import annotations

import math
import operator
from typing import Any, SupportsIndex

import numpy as np
import torch
from torch import Tensor

from moe.exceptions import NonGaussianInputWarning, warn


def as_floating(value: Any, name: str) -> Tensor:
    """``value`` as a finite floating-point tensor (float64 unless it already is floating point).

    Arrays may have any strides and byte order, be read-only, long double, or hold Python numbers.
    Raises TypeError for data that are not numbers, ValueError for NaN, infinite or masked entries.
    """
    tensor = value.detach() if isinstance(value, Tensor) else _from_array(value, name)
    if tensor.layout != torch.strided or tensor.is_meta:
        raise TypeError(f"{name}: expected a dense tensor with data, got {tensor.layout}")
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{name}: expected real numbers, got dtype {tensor.dtype}")
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.float64)
    if not bool(torch.isfinite(tensor.sum())) and bool((~torch.isfinite(tensor)).any()):
        bad = int((~torch.isfinite(tensor)).sum())
        raise ValueError(f"{name}: expected finite values, got {bad} NaN or infinite entries")
    return tensor


def _from_array(value: Any, name: str) -> Tensor:
    """A tensor of anything numpy can read, float64 where torch has no such type."""
    wrong = f"{name}: expected an array or tensor of numbers, got {type(value).__name__}"
    if np.ma.isMaskedArray(value) and np.ma.is_masked(value):
        masked = int(np.ma.getmaskarray(value).sum())
        raise ValueError(
            f"{name}: expected no masked entries, got {masked}: leave those samples out, or fill "
            "them (numpy.ma.compress_rows, .filled)"
        )
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O":
            if any(isinstance(entry, (str, bytes)) for entry in array.flat):
                raise TypeError(f"{wrong} that holds text")
            array = array.astype(np.float64)
        if array.dtype.kind == "f" and array.dtype.itemsize > 8:
            array = array.astype(np.float64)
        native = array.dtype.newbyteorder("=")
        return torch.from_numpy(np.require(array, dtype=native, requirements=["C", "W"]))
    except (TypeError, ValueError, RuntimeError) as error:
        if str(error).startswith(wrong):
            raise
        raise TypeError(f"{wrong} ({error})") from error


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
        if isinstance(k, bool):
            raise TypeError("a truth value")
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


def check_at_least(value: Any, least: int, name: str) -> int:
    """The count called ``name`` as an int, at least ``least``. Raises TypeError, ValueError."""
    try:
        count = operator.index(value)
    except TypeError:
        count = None
    if count is None or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected a whole number, got {value!r}")
    if count < least:
        raise ValueError(f"{name}: expected at least {least}, got {count}")
    return count


def check_positive(value: Any, name: str) -> float:
    """``value`` as a finite float > 0. Raises TypeError, ValueError."""
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected a positive number, got {value!r}") from error
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name}: expected a positive finite number, got {number!r}")
    return number


def warn_unless_gaussian(x: Tensor) -> None:
    """Warn when the inputs are far from Gaussian and centred, whatever their covariance.

    Each column is judged in units of its own spread by statistics with a known sampling spread at
    this n: the mean has standard deviation n^-1/2, the fourth moment (96/n)^1/2. A warning wants an
    excess over six of those and over 0.1 or 0.3. A constant column draws one too.
    """
    n = len(x)
    unit = x / x.abs().amax(0).clamp_min(torch.finfo(x.dtype).tiny)
    varies = unit.std(0) > 1e-12
    centred = unit[:, varies] - unit[:, varies].mean(0)
    spread = centred.square().mean(0).sqrt()
    mean = (unit[:, varies].mean(0) / spread).abs()
    kurtosis = (centred / spread).pow(4).mean(0)
    far = [
        bool((mean > max(0.1, 6 / n**0.5)).any()),
        bool(((kurtosis - 3).abs() > max(0.3, 6 * (96 / n) ** 0.5)).any()),
        not bool(varies.all()),
    ]
    if any(far):
        seen = [f"{int((~varies).sum())} constant columns"] * far[2]
        if bool(varies.any()):
            seen.append(
                f"max |mean| = {float(mean.max()):.2f} standard deviations, kurtosis between "
                f"{float(kurtosis.min()):.2f} and {float(kurtosis.max()):.2f} (3 for a Gaussian)"
            )
        warn(
            "x: expected inputs close to Gaussian with mean zero, got "
            + ", ".join(seen)
            + ". The moment stages assume that; the likelihood stage does not",
            NonGaussianInputWarning,
        )
