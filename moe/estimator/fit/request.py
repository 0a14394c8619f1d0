"""What a user asks of one fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from moe.model.nonlinearity import Nonlinearity
from moe.recovery.starts import Options

_AUTO = range(1, 9)


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked for: the estimator's parameters, the columns of experts and gate by place and
    all columns' names, the nonlinearity, the start (None: search), the seed, whether weights came,
    and whether the start is the previous fit, which counts only where its shape is that asked for.
    """

    parameters: Mapping[str, Any]
    names: list[str]
    experts: list[int]
    gate: list[int]
    g: Nonlinearity
    start: Any
    seed: int
    weighted: bool
    warm: bool = False

    @property
    def classifies(self) -> bool:
        """Whether a classifier is to be the gate."""
        gate = self.parameters["gate"]
        return not isinstance(gate, str) or gate == "any"

    def under(self, gate: str) -> Request:
        """The same with another gate."""
        return replace(self, parameters={**self.parameters, "gate": gate})

    @property
    def options(self) -> Options:
        """How hard to look."""
        of = self.parameters
        return Options(
            of["mu"],
            of["lam"],
            of["l4_starts"],
            of["n_init"],
            of["max_iter"],
            tolerance=of["tol"],
            newton=True,
        )

    @property
    def ks(self) -> list[int]:
        """The numbers of experts to choose from, rising."""
        wanted = self.parameters["n_experts"]
        if isinstance(wanted, str):
            return list(_AUTO)
        ks = list(wanted) if isinstance(wanted, Iterable) else [wanted]
        if not ks or any(isinstance(k, bool) or int(k) != k or k < 1 for k in ks):
            raise ValueError(f"n_experts: expected whole numbers of at least 1, got {wanted!r}")
        return sorted({int(k) for k in ks})
