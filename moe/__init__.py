"""Mixtures of experts with a softmax gate: models, losses with benign landscapes, and recovery.

Public names are loaded on first use, so that ``import moe`` stays cheap and a chapter of the book
depends only on the modules it touches.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

logging.getLogger("moe").addHandler(logging.NullHandler())

_PUBLIC = {
    "DoubtfulFitWarning": "moe.exceptions",
    "Experts": "moe.recovery.any_gate.experts",
    "MoE": "moe.model.mixture",
    "MoERegressor": "moe.estimator.regressor",
    "Nonlinearity": "moe.model.nonlinearity",
    "NonGaussianInputWarning": "moe.exceptions",
    "OutsideTheoryWarning": "moe.exceptions",
    "Recovery": "moe.recovery.results",
    "SignsLostWarning": "moe.exceptions",
    "align": "moe.metrics",
    "choose_k": "moe.recovery.selection",
    "cramer_rao": "moe.likelihood.efficiency",
    "gating_error": "moe.metrics",
    "learnability": "moe.moments.transforms",
    "output_transform": "moe.moments.transforms",
    "random_moe": "moe.model.mixture",
    "recover": "moe.recovery",
    "regressor_error": "moe.metrics",
    "samples_for_l4": "moe.solvers.prediction",
    "standard_errors": "moe.likelihood.efficiency",
    "stream": "moe.randomness",
    "stream_l4_moments": "moe.solvers.streaming",
}

__all__ = list(_PUBLIC)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'moe' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__
