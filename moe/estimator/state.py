"""Pickles of an estimator whose nonlinearity plain pickle cannot take (a lambda, say)."""

from __future__ import annotations

import pickle
from typing import Any

from joblib import wrap_non_picklable_objects


def packed(state: dict[str, Any]) -> dict[str, Any]:
    """The state with a nonlinearity that pickles, by value where it must be; it comes back as it
    was. PicklingError, which names it, if none can."""
    g = state.get("nonlinearity")
    for form in (g, wrap_non_picklable_objects(g, keep_wrapper=False)):
        try:
            pickle.dumps(form)
        except Exception as error:
            why = error
        else:
            return {**state, "nonlinearity": form}
    raise pickle.PicklingError(
        f"nonlinearity: expected a function that can be pickled, got {g!r} ({why})"
    ) from why
