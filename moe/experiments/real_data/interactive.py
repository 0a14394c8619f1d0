"""One column of a table, to move along: who answers, with what, and the law of the output there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moe.experiments.real_data.along import HEIGHTS, LEAST, PLACES, Along
from moe.experiments.real_data.data import SOURCES, Array, load
from moe.experiments.shown.interactive.figure import Control, Interactive, Panel, moving
from moe.experiments.shown.interactive.marks import Mark, line, points, segments

EXPERTS = (("blue", "", "o"), ("orange", "--", "s"), ("green", "-.", "^"))
_SAMPLES = 80  # of a table
_VIEW, _BOTH = ("view",), ("view", "place")


def _units(view: Along, outputs: Array) -> Array:
    """Outputs as deviations from the table's mean."""
    y = load(view.table).y
    return (outputs - y.mean()) / y.std()


def _share(view: Along, values: Array) -> Array:
    """Values of the column from 0, its least, to 1, its largest."""
    return (values - view.values[0]) / (view.values[-1] - view.values[0])


def _samples(views: Sequence[Along]) -> Mark:
    x, y = [], []
    for view in views:
        data = load(view.table)
        some = np.linspace(0, len(data.y) - 1, _SAMPLES).astype(int)
        x.append(_share(view, data.x[some, data.columns.index(view.column)]).round(3))
        y.append(_units(view, data.y[some]).round(2))
    return points(x, y, by=_VIEW, colour="grey", size=2.5, label="some of the samples")


def _expert(views: Sequence[Along], i: int, at: Array) -> tuple[list[Mark], list[Mark]]:
    """Expert i: its line where the gate gives it weight, with a mark at the place; its weight."""
    answers, weights = np.full((2, len(views), PLACES), np.nan)
    for row, view in enumerate(views):
        if i < view.gate.shape[1]:
            answers[row], weights[row] = _units(view, view.answers[:, i]), view.gate[:, i]
    inside = (answers > HEIGHTS[0]) & (answers < HEIGHTS[-1])
    answers = np.where((weights > LEAST) & inside, answers, np.nan).round(3)
    here, weight = answers[..., None], weights.round(3)[..., None]
    colour, dash, marker = EXPERTS[i]
    return [
        line(at, answers, by=_VIEW, colour=colour, dash=dash, label=f"expert {i}"),
        points(at[..., None], here, by=_BOTH, colour=colour, marker=marker, size=6),
    ], [segments(0 * weight, here, weight, here, by=_BOTH, colour=colour, width=7)]


def _saying(view: Along, place: int) -> str:
    shares = ", ".join(f"{i} with {share:.0%}" for i, share in enumerate(view.gate[place]))
    others = ", other columns at their medians" if len(load(view.table).columns) > 1 else ""
    unit, peaks = SOURCES[view.table].unit, view.peaks[place]
    return (
        f"{view.column.capitalize()} {view.values[place]:,.4g}{others}: experts {shares}; mean "
        f"{view.mean[place]:.4g}{f' {unit}' if unit else ''}. The density has "
        f"{peaks} peak{'s' if peaks > 1 else ''}; at the mean it is {view.at_mean[place]:.0%} of "
        "its largest value."
    )


@moving
def along_columns(views: Sequence[Along]) -> Interactive:
    """Left: the experts' answers along the column that is chosen, and the mean. Right: at one place
    of it the gate's weights, and the density of the output."""
    at = np.array([_share(view, view.values) for view in views]).round(4)
    mean = np.array([_units(view, view.mean) for view in views]).round(3)
    density = np.array([view.density / view.density.max(1, keepdims=True) for view in views])
    left = [_samples(views), line(at, mean, by=_VIEW, colour="black", width=1.2, label="mean")]
    right: list[Mark] = []
    for i in range(max(view.gate.shape[1] for view in views)):
        for marks, more in zip((left, right), _expert(views, i, at), strict=True):
            marks += more
    right.append(line(density.round(2), HEIGHTS, by=_BOTH, colour="purple", label="density"))
    ends = (float(HEIGHTS[0]), float(HEIGHTS[-1]))
    panels = [
        Panel(
            "Lines of the experts along a column, their mean and some of the samples",
            left,
            "from the column's least value to its largest",
            "output, deviations from its mean",
            ratio=0.95,
            y_range=ends,
            x_ticks=[(0, "0"), (0.5, "½"), (1, "1")],
        ),
        Panel(
            "At the place chosen: bars for the gate's weights, and the density of the output",
            right,
            "gate (bars); density over its largest",
            "output, deviations from its mean",
            ratio=0.95,
            y_range=ends,
            x_ticks=[(0, "0"), (0.5, "½"), (1, "1")],
        ),
    ]
    named = [f"{SOURCES[view.table].title}: {view.column}" for view in views]
    places = [f"{count + 1} of {PLACES}" for count in range(PLACES)]
    controls = [
        Control("view", "table and column", named, menu=True),
        Control("place", "along it", places, 2),
    ]
    return Interactive(controls, panels, lambda view, place: _saying(views[view], place))
