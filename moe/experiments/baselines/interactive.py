"""The responsibilities of EM while sigma falls, to move: iteration, and what is done to sigma."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moe.experiments.baselines.stuck import WAYS, Watched
from moe.experiments.common.problems import SUCCESS, Problem, draw
from moe.experiments.shown.interactive.figure import Control, Interactive, Panel, moving
from moe.experiments.shown.interactive.marks import heat, line, points, segments
from moe.metrics import match
from moe.model.mixture import gaussian_log_density
from moe.randomness import child_seed

EACH = 8  # samples shown of each expert
_COLOURS = {
    "held": "vermilion",
    "lowered by hand": "orange",
    "learned": "blue",
    "one each": "green",
}
_PAPER, _INK = (240, 240, 240), (0, 52, 110)


def by_expert(problem: Problem) -> Tensor:
    """(k EACH,): samples, sorted by the expert that answered, as far as the truth can tell."""
    owners = problem.truth.responsibilities(problem.x, problem.y)
    shown = [owners[:, i].gt(0.9).nonzero()[:EACH, 0] for i in range(problem.k)]
    if min(map(len, shown)) < EACH:
        raise ValueError(f"problem: expected {EACH} samples of each expert that are surely its own")
    return torch.cat(shown)


def responsibilities(problem: Problem, rows: Tensor, sigmas: Tensor, shown: Tensor) -> Tensor:
    """(T, k, shown): of the samples, at each point of a path; rows in the order in which the last
    of them match the true experts."""
    residual = problem.y[shown] - problem.nonlinearity(rows @ problem.x[shown].T)
    found = torch.softmax(gaussian_log_density(residual, sigmas[..., None]), 1)
    return found[:, match(rows[-1], problem.truth.regressors)]


def _saying(way: str, t: int, sigma: float, sharp: float, error: float) -> str:
    where = "it has arrived" if error < SUCCESS else "not arrived"
    return (
        f"σ {way}, iteration {t}: σ is {sigma:.2g}, the largest responsibility {sharp:.2f} in the "
        f"mean; the worst expert's error is {error:.2g}, {where}."
    )


def _map(cells: NDArray[np.float64], k: int) -> Panel:
    """Responsibilities by way and time, (., ., 1, k, k EACH)."""
    edges, right, top = EACH * np.arange(1, k) + 0.5, k * EACH + 0.5, k + 0.5
    ends = (edges, 0 * edges + 0.5, edges, 0 * edges + top)
    extent, inks = (0.5, right, 0.5, top), (_PAPER, _INK)
    return Panel(
        "Map: rows are the model's experts, columns samples sorted by the true expert; dark "
        "where an expert answers for a sample",
        [
            heat(cells, extent, by=("way", "t"), colours=inks, crisp=True),
            segments(*ends, colour="orange", width=1),
        ],
        *("sample, sorted by the true expert", "expert of the model", "responsibilities"),
        ratio=0.8,
        x_range=(0.5, right),
        y_range=(0.5, top),
        y_ticks=[(i, str(i)) for i in range(1, k + 1)],
    )


def _clock(iterations: NDArray[np.float64], sigma: NDArray[np.float64]) -> Panel:
    """sigma (ways, T), with a dot at the way and time of the controls."""
    marks = [
        line(iterations, sigma[i], colour=_COLOURS[way], width=1.5, label=f"σ {way}")
        for i, way in enumerate(WAYS)
    ]
    place = np.broadcast_to(iterations[:, None], (*sigma.shape, 1))
    marks.append(points(place, sigma[..., None], by=("way", "t"), colour="black", size=5))
    return Panel(
        "Lines: sigma against the iteration, for four ways; a dot where the slider stands",
        *(marks, "1 + iteration", "σ of the model", "the noise level"),
        log="xy",
        ratio=0.8,
    )


@moving
def annealing(record: Watched, seed: int) -> Interactive:
    """The data set on which the run with sigma held ends worst. Left: who answers for which sample.
    Right: sigma over the iterations."""
    worst = int(record.error["held"][-1].argmax())
    problem = draw(record.setting, child_seed(seed, worst))
    shown, times, names = by_expert(problem), record.times, list(WAYS)
    maps = [responsibilities(problem, *record.paths[way][worst], shown).numpy() for way in WAYS]

    def chosen(of: dict[str, Tensor]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.array([of[way][:, worst].numpy() for way in WAYS])
        return found

    sigma, error, sharp = chosen(record.sigma), chosen(record.error), chosen(record.sharp)
    panels = [
        _map(np.array(maps)[:, :, None], problem.k),
        _clock(1.0 + times.numpy(), sigma),
    ]
    controls = [
        Control("way", "σ", names, names.index("learned"), menu=True),
        Control("t", "iteration", [str(int(t)) for t in times], 1),
    ]

    def said(way: int, t: int) -> str:
        values = (float(runs[way, t]) for runs in (sigma, sharp, error))
        return _saying(names[way], int(times[t]), *values)

    return Interactive(controls, panels, said)
