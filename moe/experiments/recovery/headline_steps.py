"""First steps for the headline's squared loss and L_4: the best of a grid, on other mixtures.

The squared loss may have Adam as well; L_4 stays with plain descent, the paper's own method. A step
so long that the squared loss leaves the truth when started there is no contestant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from moe.experiments.common.mixtures import mixtures_of
from moe.experiments.recovery.headline_stream import (
    Spec,
    dual_rows,
    l4_loss_of,
    regressor_errors,
    schedule,
    squared_loss_of,
    starts_of,
)
from moe.randomness import child_seed
from moe.solvers.gradient import gradient_descent

KEEPS = 0.05
Key = tuple[str, str, float]
Grid = dict[str, dict[str, tuple[float, ...]]]
GRID: Grid = {
    "squared loss": {
        "sgd": (0.03, 0.1, 0.3, 1.0, 3.0),
        "adam": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
    },
    "L_4": {"sgd": (0.003, 0.01, 0.03)},
}
SMALL_GRID: Grid = {
    "squared loss": {"sgd": (0.1, 1.0), "adam": (0.01, 0.1)},
    "L_4": {"sgd": (0.003, 0.01)},
}


@dataclass(frozen=True, eq=False)
class Tuning:
    """spec: as given, with the best optimiser and first step of each loss; errors: (loss,
    optimiser, first step) -> E_reg at the end (seeds,), one where a run left every bound; kept: the
    same for the squared loss from the truth."""

    spec: Spec
    errors: dict[Key, Tensor]
    kept: dict[Key, Tensor]

    def admitted(self, key: Key) -> bool:
        """Whether a run from the truth stays near it, in the mean."""
        return key not in self.kept or float(self.kept[key].mean()) < KEEPS

    def best(self, loss: str) -> tuple[str, float]:
        """Optimiser and first step with the lowest mean E_reg among those admitted, among all where
        none is; a tie goes to the first."""
        own = [key for key in self.errors if key[0] == loss]
        admitted = [key for key in own if self.admitted(key)] or own
        _, optimiser, step = min(admitted, key=lambda key: float(self.errors[key].mean()))
        return optimiser, step

    def at_edge(self, loss: str) -> bool:
        """Whether the best step is the longest or the shortest that was tried."""
        optimiser, step = self.best(loss)
        tried = [key[2] for key in self.errors if key[:2] == (loss, optimiser)]
        return step in (min(tried), max(tried))


def run(spec: Spec, seeds: int, grid: Grid = GRID) -> Tuning:
    """The grid (loss -> optimiser -> first steps) on ``seeds`` mixtures that the spec's own runs
    never see."""
    other = replace(spec, seeds=seeds, seed=child_seed(spec.seed, "tuning"))
    errors: dict[Key, Tensor] = {}
    kept: dict[Key, Tensor] = {}
    for loss, ways in grid.items():
        for optimiser, steps in ways.items():
            for step, ends in zip(steps, _ends(other, loss, optimiser, steps), strict=True):
                errors[loss, optimiser, step] = ends[0]
                if loss == "squared loss":
                    kept[loss, optimiser, step] = ends[1]
    tuning = Tuning(spec, errors, kept)
    (optimiser, step), (_, l4_step) = tuning.best("squared loss"), tuning.best("L_4")
    chosen = replace(spec, squared_optimiser=optimiser, squared_step=step, l4_step=l4_step)
    return Tuning(chosen, errors, kept)


def _ends(spec: Spec, loss: str, optimiser: str, steps: tuple[float, ...]) -> Tensor:
    """E_reg (steps, starts, seeds) of all first steps at once, from the random start and, of the
    squared loss, from the truth. Parameters in units of c take steps c^2 times (SGD) or c times
    (Adam) as long."""
    truths, start = mixtures_of(spec), starts_of(spec)
    begun, gates = [start], [torch.zeros_like(start[:, :-1])]
    whole: Callable[..., Tensor] = l4_loss_of(spec, truths)
    if loss == "squared loss":
        whole = squared_loss_of(spec, truths)
        begun.append(torch.stack([truth.regressors for truth in truths]))
        gates.append(torch.stack([truth.gating for truth in truths])[:, :-1])
    parameters = [torch.cat(part).repeat(len(steps), 1, 1) for part in (begun, gates)]
    if loss == "L_4":
        parameters = parameters[:1]
    lengths = torch.tensor(steps, dtype=start.dtype)
    unit = lengths.sqrt() if optimiser == "sgd" else lengths
    unit = unit.repeat_interleave(len(begun) * spec.seeds)[:, None, None]
    descent = gradient_descent(
        lambda *scaled: whole(*(unit * part for part in scaled)),
        [part / unit for part in parameters],
        step=schedule(spec, 1.0, spec.steps),
        iterations=spec.steps,
        optimiser=optimiser,
        every=spec.steps,
    )
    rows = unit * descent.parameters[0]
    shape = (len(steps), len(begun), -1)
    rows = (dual_rows(rows) if loss == "L_4" else rows).unflatten(0, shape)
    return torch.where(descent.diverged.view(shape), 1.0, regressor_errors(rows, truths))
