"""Pickles of an estimator whose nonlinearity plain pickle cannot take (a lambda, say)."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import cloudpickle  # type: ignore[import-untyped]


@dataclass(frozen=True)
class _Portable:
    """A function by value."""

    text: bytes


def packed(state: dict[str, Any]) -> dict[str, Any]:
    """The state with a nonlinearity that pickles; PicklingError, which names it, if none can."""
    g = state.get("nonlinearity")
    try:
        pickle.dumps(g)
    except Exception:
        try:
            return {**state, "nonlinearity": _Portable(cloudpickle.dumps(g))}
        except Exception as error:
            raise pickle.PicklingError(
                f"nonlinearity: expected a function that can be pickled, got {g!r} ({error})"
            ) from error
    return state


def unpacked(state: dict[str, Any]) -> dict[str, Any]:
    """The state as it was."""
    g = state.get("nonlinearity")
    if isinstance(g, _Portable):
        return {**state, "nonlinearity": cloudpickle.loads(g.text)}
    return state
