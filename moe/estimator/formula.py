"""Formulas, by formulaic: "y ~ x1 + x2 | z1" and back to columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_CONSTANT = "Intercept"
_BLIND = ("constant", "equal")


@dataclass(frozen=True, eq=False)
class FormulaDesign:
    """A formula whose terms have been read off a data frame (categories, centres of ``scale``, ...
    are those of that frame)."""

    formula: str
    output: Any
    experts: Any
    gate: Any

    @classmethod
    def read(cls, formula: str, data: Any) -> FormulaDesign:
        """Raises ImportError without formulaic, ValueError unless there is an output and an
        intercept in both parts (``fit_intercept=False`` is for arrays)."""
        try:
            from formulaic import Formula
        except ImportError as error:
            raise ImportError(
                "from_formula: expected formulaic to be installed (pip install formulaic)"
            ) from error
        parts = Formula(formula)
        if not hasattr(parts, "rhs"):
            raise ValueError(f'formula: expected "y ~ x | z", got {formula!r}')
        right = parts.rhs if isinstance(parts.rhs, tuple) else (parts.rhs,)
        if len(right) > 2:
            raise ValueError(f"formula: expected at most one bar, got {formula!r}")
        specs = [part.get_model_matrix(data).model_spec for part in (parts.lhs, *right)]
        found = cls(formula, specs[0], specs[1], specs[-1])
        for spec in specs[1:]:
            if _CONSTANT not in spec.column_names:
                raise ValueError(
                    f"formula: expected an intercept in both parts, got {formula!r}; without "
                    "intercepts fit arrays with fit_intercept=False"
                )
        return found

    @property
    def features(self) -> dict[str, list[str]]:
        """Names of the experts' and the gate's columns among those of ``inputs``."""
        experts, gate = (
            [name for name in spec.column_names if name != _CONSTANT]
            for spec in (self.experts, self.gate)
        )
        return {"expert_features": experts, "gate_features": gate}

    def refuse(self, parameters: Mapping[str, Any]) -> None:
        """Raise ValueError for parameters that a formula says already, and for a bar without a gate
        behind it."""
        for name in ("expert_features", "gate_features", "fit_intercept"):
            if name in parameters:
                raise ValueError(
                    f"{name}: expected none beside a formula, which says it: {self.formula!r}"
                )
        gate = parameters.get("gate")
        if self.gate is not self.experts and isinstance(gate, str) and gate in _BLIND:
            raise ValueError(f"formula: expected no bar with gate={gate!r}, got {self.formula!r}")

    @property
    def variables(self) -> set[str]:
        """What the terms of both parts are made of: columns of the data frame, functions."""
        return {str(name) for spec in (self.experts, self.gate) for name in spec.variables}

    def inputs(self, data: Any) -> Any:
        """The columns of both parts as a data frame; what already has them passes."""
        import pandas

        wanted = [
            *dict.fromkeys([*self.features["expert_features"], *self.features["gate_features"]])
        ]
        matrices = [_matrix(spec, data) for spec in (self.experts, self.gate)]
        joined = pandas.concat(matrices, axis=1)
        kept = wanted or [_CONSTANT]  # "y ~ 1": a column that neither part looks at
        return joined.loc[:, ~joined.columns.duplicated()][kept].astype(np.float64)

    def samples(self, data: Any) -> tuple[Any, Any]:
        """Inputs and outputs."""
        y = _matrix(self.output, data)
        if y.shape[1] != 1:
            raise ValueError(f"formula: expected one output, got {list(y.columns)}")
        return self.inputs(data), np.asarray(y, dtype=np.float64)[:, 0]


def _matrix(spec: Any, data: Any) -> Any:
    """The columns of one part. Raises ValueError for a level of a factor, ``f`` or ``C(f)``, that
    the fit has not seen: it would count as the first one."""
    for factor, (_, state) in spec.encoder_state.items():
        name = str(factor).removeprefix("C(").split(",")[0].removesuffix(")").strip("` ")
        if "categories" not in state or name not in data:
            continue
        known = list(state["categories"])
        unseen = [level for level in data[name].dropna().unique() if level not in known]
        if unseen:
            raise ValueError(f"X: column {name!r}: expected levels out of {known}, got {unseen}")
    return spec.get_model_matrix(data, na_action="raise")
