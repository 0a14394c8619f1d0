"""What a fitted mixture says along one column of its table, the others held at their medians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moe.estimator.regressor import MoERegressor
from moe.experiments.real_data.data import Array, load

PLACES = 17
HEIGHTS = np.linspace(-3.5, 5.5, 101)  # deviations of the output from its mean
LEAST = 0.05  # of the gate: below it an expert's line is not drawn
SEEN = 0.05  # of the largest density: a lower peak is none


@dataclass(frozen=True, eq=False)
class Along:
    """Of P values of one column: what each expert answers and its weight in the gate, (P, k),
    and the mean, (P,); the density of the output at the HEIGHTS, (P, H); that at the mean over the
    largest, (P,)."""

    table: str
    column: str
    values: Array
    answers: Array
    gate: Array
    mean: Array
    density: Array
    at_mean: Array

    @property
    def peaks(self) -> list[int]:
        """How many local maxima each density has among the heights, very low ones left out."""
        before, after = (np.pad(self.density, ((0, 0), side)) for side in ((1, 0), (0, 1)))
        risen, falls = self.density > before[:, :-1], self.density >= after[:, 1:]
        seen = self.density > SEEN * self.density.max(1, keepdims=True)
        return (risen & falls & seen).sum(1).tolist()


def along(table: str, column: str, model: MoERegressor) -> Along:
    """For a model of all columns of the table, in its units. From the least to the largest value of
    the column, in equal steps of rank among all that it has."""
    data = load(table)
    place = data.columns.index(column)
    had = np.unique(data.x[:, place])
    values = np.interp(np.linspace(0, len(had) - 1, PLACES), np.arange(len(had)), had)
    rows = np.tile(np.median(data.x, 0), (PLACES, 1))
    rows[:, place] = values
    mean = model.predict(rows)
    density = densities(model, rows, data.y.mean() + data.y.std() * HEIGHTS)
    reached = np.exp(model.score_samples(rows, mean))
    return Along(
        table,
        column,
        values,
        model.predict_experts(rows),
        model.predict_gate(rows),
        mean,
        density,
        reached / np.maximum(density.max(1), reached),
    )


def densities(model: MoERegressor, rows: Array, heights: Array) -> Array:
    """Of the output at every height, for each row: (P, H)."""
    repeated = np.repeat(rows, len(heights), 0)
    scores = model.score_samples(repeated, np.tile(heights, len(rows)))
    return np.exp(scores).reshape(len(rows), -1)
