"""The fits that the chapter shows: to whole tables, in the tables' own units."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from moe.estimator.regressor import MoERegressor
from moe.exceptions import DoubtfulFitWarning
from moe.experiments.real_data.data import SOURCES, Array, load


def fitted(name: str, rows: int | None = None, **options: Any) -> MoERegressor:
    """``MoERegressor`` of a whole table (or of so many rows, evenly spaced), with the table's
    number of experts unless told."""
    data = load(name)
    if rows is not None and rows < len(data.y):
        data = data.rows(np.linspace(0, len(data.y) - 1, rows).astype(np.int64))
    return quietly(MoERegressor(options.pop("n_experts", SOURCES[name].experts), **options), data.x,
                   data.y)  # fmt: skip


def quietly(model: MoERegressor, x: Array, y: Array) -> MoERegressor:
    """Fitted without warnings: the doubts stay on record (``doubts_``), and the chapter shows
    them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtfulFitWarning)
        return model.fit(x, y)


@dataclass(frozen=True)
class Change:
    """A change point. least_squares: the last year of the first part of the split with the least
    sum of squares; levels: the means before and after it; gate: where the fitted gate is 1/2;
    experts: what the two experts answer."""

    least_squares: float
    levels: tuple[float, float]
    gate: float
    experts: tuple[float, float]


def change_point() -> tuple[MoERegressor, Change]:
    """Two constant experts and a gate in time, for the Nile; beside them all splits, one by one."""
    data = load("nile")
    model = fitted("nile", expert_features=[])
    year, flow = data.x[:, 0], data.y
    squares = [
        float(sum(((part - part.mean()) ** 2).sum() for part in (flow[:i], flow[i:])))
        for i in range(1, len(flow))
    ]
    at = int(np.argmin(squares)) + 1
    crossing = float(-model.gate_intercepts_[0] / model.gates_[0, 0])
    before = int(model.predict_gate([[year[0]]])[0].argmax())
    levels = float(flow[:at].mean()), float(flow[at:].mean())
    answers = float(model.intercepts_[before]), float(model.intercepts_[1 - before])
    return model, Change(float(year[at - 1]), levels, crossing, answers)


@dataclass(frozen=True)
class Regimes:
    """US inflation from that of the quarter before, a noise level for each line, a gate that looks
    at time: two experts, three, and two without the quarters (times) that the rarest of the three
    answers."""

    two: MoERegressor
    three: MoERegressor
    calm: MoERegressor
    strays: Array

    @property
    def turn(self) -> float:
        """The time at which the gate of ``two`` is 1/2."""
        return float(-self.two.gate_intercepts_[0] / self.two.gates_[0, 0])


def regimes() -> Regimes:
    """See ``Regimes``."""
    options: dict[str, Any] = {"expert_features": [1], "gate_features": [0], "noise": "each"}
    two, three = (fitted("inflation", n_experts=k, **options) for k in (2, 3))
    data = load("inflation")
    strays = three.assign(data.x, data.y) == int(three.proportions_.argmin())
    calm = quietly(MoERegressor(2, **options), data.x[~strays], data.y[~strays])
    return Regimes(two, three, calm, data.x[strays, 0])


def passing(model: MoERegressor) -> float:
    """How long a gate of two experts in one column takes from 0.9 to 0.1, in its unit."""
    return float(2 * np.log(9) / abs(model.gates_[0, 0]))


def motorcycle_powers(x: Array) -> Array:
    """Time, and the first three powers of time in units of its spread: for a gate that bends."""
    unit = (x - x.mean(0)) / x.std(0)
    return np.column_stack([x, unit, unit**2, unit**3])


def hardening(model: MoERegressor, days: float = 28) -> tuple[float, float, float]:
    """The gate's mean weight of the expert that gains most strength a day, over the pieces of the
    concrete table that are younger than ``days``, of that age, and older."""
    data = load("concrete")
    place = data.columns.index("age")
    weight = model.predict_gate(data.x)[:, int(model.experts_[:, place].argmax())]
    age = data.x[:, place]
    parts = (age < days, age == days, age > days)
    young, at, old = (float(weight[part].mean()) for part in parts)
    return young, at, old


def bent_gates(**options: Any) -> dict[str, tuple[MoERegressor, Array]]:
    """Two straight lines for the motorcycle data under three gates, each with the columns it was
    fitted on: softmax of time, of its powers, and ``gate="any"``."""
    data = load("motorcycle")
    powers = motorcycle_powers(data.x)
    cubic = MoERegressor(2, expert_features=[0], gate_features=[1, 2, 3], **options)
    plain, free = MoERegressor(2, **options), MoERegressor(2, gate="any", **options)
    return {
        "softmax of time": (quietly(plain, data.x, data.y), data.x),
        "softmax of three powers": (quietly(cubic, powers, data.y), powers),
        'gate="any"': (quietly(free, data.x, data.y), data.x),
    }


def effects(name: str, model: MoERegressor) -> tuple[Array, Array]:
    """Slopes of the experts, each per standard deviation of its column, in units of the output:
    (k, d), and their robust standard errors; NaN where there are none."""
    spread = load(name).x.std(0)
    k, d = model.experts_.shape
    try:
        errors = model.results_.errors(robust=True)[: k * (d + 1)].reshape(k, d + 1)[:, :d]
    except ValueError:
        errors = np.full((k, d), np.nan)
    return model.experts_ * spread, errors * spread
