"""The responsibilities of EM while sigma falls, to move: iteration, and what is done to sigma."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moe.experiments.baselines.stuck import WAYS, Watched
from moe.experiments.common.interactive.figure import Control, Interactive, Panel, moving
from moe.experiments.common.interactive.marks import heat, line, points, segments
from moe.experiments.common.problems import SUCCESS, Problem, draw
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


@moving
def annealing(record: Watched, seed: int) -> Interactive:
    """The data set on which the run with sigma held ends worst. Left: who answers for which sample.
    Right: sigma and the error over the iterations."""
    worst = int(record.error["held"][-1].argmax())
    problem = draw(record.setting, child_seed(seed, worst))
    shown, k, times = by_expert(problem), record.setting.k, record.times
    maps = []
    for way in WAYS:
        rows, sigmas = record.paths[way][worst]
        maps.append(responsibilities(problem, rows, sigmas, shown).numpy())
    cells, by = np.array(maps)[:, :, None], ("way", "t")

    def chosen(of: dict[str, Tensor]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.array([of[way][:, worst].numpy() for way in WAYS])
        return found

    sigma, error, sharp = chosen(record.sigma), chosen(record.error), chosen(record.sharp)
    iterations = 1.0 + times.numpy()
    edges = EACH * np.arange(1, k) + 0.5
    left = Panel(
        alt="Map: rows are the model's experts, columns samples sorted by the true expert; dark "
        "where an expert answers for a sample",
        marks=[
            heat(
                cells,
                (0.5, k * EACH + 0.5, 0.5, k + 0.5),
                by=by,
                colours=(_PAPER, _INK),
                crisp=True,
            ),
            segments(edges, 0 * edges + 0.5, edges, 0 * edges + k + 0.5, colour="orange", width=1),
        ],
        x="sample, sorted by the true expert",
        y="expert of the model",
        title="responsibilities",
        ratio=0.8,
        x_range=(0.5, k * EACH + 0.5),
        y_range=(0.5, k + 0.5),
        y_ticks=[(i, str(i)) for i in range(1, k + 1)],
    )
    marks = []
    for i, way in enumerate(WAYS):
        marks.append(line(iterations, sigma[i], colour=_COLOURS[way], width=1.5, label=f"σ {way}"))
    place = np.broadcast_to(iterations[:, None], (len(WAYS), len(times), 1))
    marks.append(points(place, sigma[..., None], by=by, colour="black", size=5))
    clock = Panel(
        alt="Lines: sigma against the iteration, for four ways; a dot where the slider stands",
        marks=marks,
        x="1 + iteration",
        y="σ of the model",
        log="xy",
        ratio=0.8,
        title="the noise level",
    )
    names = list(WAYS)
    controls = [
        Control("way", "σ", names, names.index("learned"), menu=True),
        Control("t", "iteration", [str(int(t)) for t in times], 1),
    ]

    def said(way: int, t: int) -> str:
        values = (float(runs[way, t]) for runs in (sigma, sharp, error))
        return _saying(names[way], int(times[t]), *values)

    return Interactive(controls, [left, clock], said)
