"""L_log of two experts with the paths of EM and of gradient descent, to move: iterations."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from moe.experiments.gating_loss.landscape.minima import PlaneRecord
from moe.experiments.shown.interactive.figure import (
    Control,
    Interactive,
    Panel,
    moving,
    square,
)
from moe.experiments.shown.interactive.marks import heat, line, points, xy

_LATER = (14, 20, 30, 50, 80, 120, 200, 300, 400)
_LEAST = 1e-3  # distances below are not told apart: the quadrature's error is near


def moments(record: PlaneRecord) -> list[int]:
    """The iterations at which the paths are shown: all of the first ten, then fewer."""
    last = len(record.descent[0]) - 1
    return [t for t in (*range(11), *_LATER) if t <= last]


def until(paths: list[Tensor], times: list[int], now: int) -> Tensor:
    """(., 2): each path at the times, as far as ``now``, where it rests; NaN between two paths."""
    parts = []
    for path in paths:
        shown = [path[min(t, now, len(path) - 1)] for t in times]
        parts += [torch.stack(shown), torch.full((1, 2), torch.nan, dtype=path.dtype)]
    return torch.cat(parts[:-1])


def _distances(paths: list[Tensor], truth: Tensor, times: list[int]) -> Tensor:
    """(paths, times): how far each is from W*."""
    return torch.stack(
        [torch.stack([(p[min(t, len(p) - 1)] - truth).norm() for t in times]) for p in paths]
    )


def _saying(t: int, em: Tensor, descent: Tensor) -> str:
    def told(distances: Tensor) -> str:
        if distances.max() <= _LEAST:
            return f"all within {_LEAST:g}"
        return ", ".join(f"{max(value, _LEAST):.2g}" for value in distances.tolist())

    return (
        f"Iteration {t}. How far the three runs are from the true gate: EM {told(em)}; gradient "
        f"descent {told(descent)}."
    )


@moving
def valley(record: PlaneRecord) -> Interactive:
    """Left: the loss and both kinds of paths so far. Right: distance to W* by iteration."""
    times, size = moments(record), record.spec.extent
    rise = (record.loss - record.loss.min()).sqrt()
    half = size * (1 + 1 / (record.spec.grid - 1))  # cells reach half a step beyond their middles
    cells = (rise / rise.max()).T[None].numpy()
    kinds = (("EM", record.em, "blue", ""), ("gradient descent", record.descent, "orange", "--"))
    paths, curves, distances = [], [], []
    for name, runs, colour, dash in kinds:
        drawn = np.array([until(runs, times, now).numpy() for now in times])
        ends = drawn[:, len(times) - 1 :: len(times) + 1]
        paths += [
            line(*xy(drawn), by=("t",), colour=colour, dash=dash, label=name),
            points(*xy(ends), by=("t",), colour=colour, size=5),
        ]
        away = _distances(runs, record.truth, times)
        distances.append(away)
        shown = away.clamp_min(_LEAST)[:, 1:]
        across = [*times[1:], np.nan] * len(runs)
        along = torch.nn.functional.pad(shown, (0, 1), value=torch.nan).flatten()
        curves.append(line(across, along, colour=colour, dash=dash))
        now = np.where(np.array(times) > 0, times, np.nan)[:, None] + 0 * away.T.numpy()
        curves.append(points(now, away.clamp_min(_LEAST).T, by=("t",), colour=colour, size=5))
    star = {"colour": "vermilion", "marker": "x", "label": "true gate"}
    plane = square(
        "Map of the loss over the plane of gates, with three paths of EM and of descent",
        [
            heat(cells, (-half, half, -half, half)),
            *paths,
            points(*xy(record.truth[None]), size=7, **star),
        ],
        *(half, "w₁ along a₁ − a₂", "along w₁*", "population loss: dark is low"),
    )
    clock = Panel(
        alt="Lines: distance from the true gate against iterations, for each path",
        marks=curves,
        x="iterations",
        y="distance from W* (at least 0.001)",
        log="xy",
        ratio=1.0,
        title="how far from the true gate",
    )
    controls = [Control("t", "iterations", [str(t) for t in times], 3)]
    return Interactive(
        controls,
        [plane, clock],
        lambda t: _saying(times[t], distances[0][:, t], distances[1][:, t]),
    )
