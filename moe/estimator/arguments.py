"""What users pass in."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from moe.estimator.answers import Answers
from moe.estimator.fit.classified import weight_argument

_COUNT = Interval(Integral, 1, None, closed="left")
_WHOLE = Interval(Integral, 0, None, closed="left")
_POSITIVE = Interval(Real, 0, None, closed="neither")

CONSTRAINTS: dict[str, list[Any]] = {
    "n_experts": [_COUNT, StrOptions({"auto"}), range, "array-like"],
    "nonlinearity": [str, callable],
    "gate": [
        StrOptions({"softmax", "constant", "equal", "any"}),
        HasMethods(["fit", "predict_proba"]),
    ],
    "expert_features": [None, "array-like"],
    "gate_features": [None, "array-like"],
    "fit_intercept": ["boolean"],
    "noise": [StrOptions({"shared", "each"})],
    "sigma": [None, _POSITIVE],
    "start": [None, "array-like", dict, Answers],
    "n_init": [_COUNT],
    "l4_starts": [_COUNT],
    "mu": [None, _POSITIVE],
    "lam": [None, _POSITIVE],
    "max_iter": [_COUNT],
    "tol": [Interval(Real, 0, None, closed="left")],
    "random_state": ["random_state", _WHOLE, Generator, torch.Generator],
    "warm_start": ["boolean"],
    "verbose": ["verbose"],
}
"""What each parameter of ``MoERegressor`` may be."""


def refuse_masked(**arrays: Any) -> None:
    """Raise ValueError for a masked array with masked entries: scikit-learn drops the mask."""
    for name, array in arrays.items():
        if np.ma.isMaskedArray(array) and np.ma.is_masked(array):
            count = int(np.ma.getmaskarray(array).sum())
            raise ValueError(
                f"{name}: expected no masked entries, got {count}: leave those samples out, or "
                "fill them (numpy.ma.compress_rows, .filled)"
            )


def refuse_unweighted(gate: Any) -> None:
    """Raise TypeError for a classifier that takes no weights: responsibilities are weights."""
    if isinstance(gate, str):
        return
    if isinstance(gate, type):
        raise TypeError(
            f"gate: expected a classifier, got the class {gate.__name__}: {gate.__name__}()"
        )
    if weight_argument(gate) is None:
        raise TypeError(
            "gate: expected a classifier whose fit takes sample_weight, got "
            f"{type(gate).__name__}, whose fit does not"
        )


def column_names(model: Any, d: int) -> list[str]:
    """What a fit calls its d columns: as a data frame named them, else x0, x1, ... as
    scikit-learn has it."""
    return [str(name) for name in getattr(model, "feature_names_in_", (f"x{j}" for j in range(d)))]


def columns_named(
    wanted: Iterable[Any] | None, names: list[str], argument: str, some: bool = False
) -> list[int]:
    """Places of columns given by name or place, in their order; all of them for None. With ``some``
    there must be one."""
    if wanted is None:
        return list(range(len(names)))
    found = []
    for each in list(wanted):
        if isinstance(each, str):
            if each not in names:
                raise ValueError(f"{argument}: expected names out of {names}, got {each!r}")
            found.append(names.index(each))
        elif isinstance(each, (int, np.integer)) and not isinstance(each, bool):
            if not -len(names) <= each < len(names):
                raise ValueError(f"{argument}: expected places below {len(names)}, got {int(each)}")
            found.append(int(each) % len(names))
        else:
            raise TypeError(f"{argument}: expected names or places of columns, got {each!r}")
    if some and not found:
        raise ValueError(
            f"{argument}: expected a column, for fit_intercept is False or the gate a classifier, "
            "got none"
        )
    if len(set(found)) < len(found):
        raise ValueError(f"{argument}: expected columns that differ, got {list(wanted)}")
    return found
