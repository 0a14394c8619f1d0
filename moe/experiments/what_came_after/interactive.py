"""An expert moved, or its halves moved apart, by as much as one wants: does the law show it?"""

from __future__ import annotations

import math

import numpy as np

from moe.experiments.shown.interactive.figure import Control, Interactive, Panel, moving
from moe.experiments.shown.interactive.marks import line, points
from moe.experiments.what_came_after.too_many.contact import MOVES, Record, blind_until
from moe.experiments.what_came_after.too_many.rates import FREE, KNOWN, SPLIT

_LOOKS = {KNOWN: ("blue", "", "o"), SPLIT: ("vermilion", "--", "s"), FREE: ("green", ":", "^")}


def _saying(record: Record, kind: str, step: int) -> str:
    distance = float(record.distances[kind][step])
    samples = _rounded_down(blind_until(distance))
    return (
        f"{MOVES[kind].capitalize()} by {record.steps[step]:g}: Hellinger distance {distance:.2g}. "
        f"Up to {samples:,.0f} samples every test between this mixture and the truth is wrong with "
        "probability 1/4 or more."
    )


def _rounded_down(number: float) -> int:
    """A whole number of two digits, and no larger."""
    unit = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return math.floor(number / unit) * unit


@moving
def neighbours(record: Record) -> Interactive:
    """Left: the density of y at one input, of the truth and of its neighbour. Right: their distance
    over all inputs against the move."""
    by, kinds = ("kind", "step"), list(MOVES)
    near = np.array([record.near[kind] for kind in kinds])
    left = [
        line(record.y, record.truth.round(4), colour="black", width=3, label="the truth"),
        line(record.y, near.round(4), by=by, colour="orange", dash="--", label="its neighbour"),
    ]
    right = []
    for row, kind in enumerate(kinds):
        colour, dash, marker = _LOOKS[kind]
        distances = record.distances[kind]
        at = np.full((len(kinds), len(record.steps), 1), np.nan)
        at[row, :, 0] = distances
        place = np.broadcast_to(np.array(record.steps)[:, None], at.shape)
        right += [
            line(record.steps, distances, colour=colour, dash=dash, label=MOVES[kind]),
            points(place, at, by=by, colour=colour, marker=marker, size=6.5),
        ]
    where = f"at x = ({record.x[0]:g}, {record.x[1]:g})"
    panels = [
        Panel("Two curves: densities of the output", left, "y", "density", where, ratio=0.85),
        Panel(
            "Three lines: distance of the laws against the move; a mark where the slider stands",
            right,
            "moved by δ",
            "Hellinger distance",
            "over all inputs",
            log="xy",
            ratio=0.85,
            x_ticks=[(0.02, "0.02"), (0.05, "0.05"), (0.1, "0.1"), (0.2, "0.2"), (0.4, "0.4")],
        ),
    ]
    controls = [
        Control("kind", "what is moved", [MOVES[kind] for kind in kinds], 2, menu=True),
        Control("step", "by δ", [f"{s:g}" for s in record.steps], len(record.steps) - 4),
    ]
    return Interactive(controls, panels, lambda kind, step: _saying(record, kinds[kind], step))
