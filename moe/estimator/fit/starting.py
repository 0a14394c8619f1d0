"""A start of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from torch import Tensor

from moe.model.nonlinearity import Nonlinearity
from moe.model.regressions import Regressions

_KEYS = ("experts", "intercepts", "gates", "gate_intercepts", "sigma")


def start_of(
    start: Any, k: int, widths: tuple[int, int], ones: tuple[bool, bool], g: Nonlinearity,
    spread: float,
) -> Regressions:  # fmt: skip
    """``start`` as a law on the raw designs.

    start: a fitted MoERegressor (without its gate if that is a classifier), experts (k, columns),
    or a mapping of any of "experts", "intercepts", "gates", "gate_intercepts", "sigma" that holds
    "experts"; what is missing is zero, sigma the spread of y. widths: columns of experts and gate;
    ones: whether a one follows.
    """
    if isinstance(start, BaseEstimator) and not hasattr(start, "experts_"):
        raise NotFittedError("start: expected a fitted MoERegressor, got one that is not fitted")
    if hasattr(start, "experts_"):
        keys = _KEYS if start.gate_ is None else [key for key in _KEYS if "gate" not in key]
        given = {key: getattr(start, f"{key}_") for key in keys}
    elif isinstance(start, Mapping):
        given = dict(start)
        unknown = [key for key in given if key not in _KEYS]
        if unknown or "experts" not in given:
            raise ValueError(f'start: expected keys out of {_KEYS}, "experts" among them, got '
                             f"{list(given)}")  # fmt: skip
    else:
        given = {"experts": start}
    experts = _shaped(given["experts"], (k, widths[0]), "experts")
    gates = _shaped(given.get("gates", np.zeros((k, widths[1]))), (k, widths[1]), "gates")
    if ones[0]:
        experts = _closed(experts, given.get("intercepts", np.zeros(k)), "intercepts")
    if ones[1]:
        gates = _closed(gates, given.get("gate_intercepts", np.zeros(k)), "gate_intercepts")
    sigma = np.broadcast_to(np.asarray(given.get("sigma", spread), dtype=np.float64), (k,))
    if not (np.isfinite(sigma).all() and (sigma > 0).all()):
        raise ValueError(f"start: expected a positive sigma, got {sigma}")
    return Regressions(experts, gates - gates[-1], torch.tensor(sigma), g)


def same_shape(fit: Any, k: int, widths: tuple[int, int]) -> bool:
    """Whether a fit has k experts on as many columns, and so its gate unless it is a classifier."""
    gate = fit.gate_ is not None or fit.gates_.shape == (k, widths[1])
    return bool(fit.experts_.shape == (k, widths[0]) and gate)


def _shaped(value: Any, shape: tuple[int, ...], name: str) -> Tensor:
    try:
        array: NDArray[np.float64] = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"start: expected numbers for {name}, got {value!r}") from error
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"start: expected finite {name} of shape {shape}, for k = {shape[0]} "
                         f"experts, got shape {array.shape}")  # fmt: skip
    return torch.tensor(array)


def _closed(rows: Tensor, last: Any, name: str) -> Tensor:
    return torch.cat([rows, _shaped(last, (len(rows),), name)[:, None]], 1)
