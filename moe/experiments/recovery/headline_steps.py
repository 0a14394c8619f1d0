"""First steps for the headline's squared loss and L_4: the best of a grid, on other mixtures.

The squared loss may have Adam as well; L_4 stays with plain descent, the paper's own method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from moe.experiments.recovery.headline_stream import (
    Spec,
    dual_rows,
    l4_loss_of,
    mixtures_of,
    regressor_errors,
    schedule,
    squared_loss_of,
    starts_of,
)
from moe.randomness import child_seed
from moe.solvers.gradient import gradient_descent

Grid = dict[str, dict[str, tuple[float, ...]]]
GRID: Grid = {
    "squared loss": {"sgd": (0.03, 0.1, 0.3, 1.0), "adam": (0.003, 0.01, 0.03, 0.1)},
    "L_4": {"sgd": (0.003, 0.01, 0.03)},
}
SMALL_GRID: Grid = {
    "squared loss": {"sgd": (0.1, 1.0), "adam": (0.01, 0.1)},
    "L_4": {"sgd": (0.003, 0.01)},
}


@dataclass(frozen=True, eq=False)
class Tuning:
    """spec: as given, with the best optimiser and first step of each loss; errors: (loss,
    optimiser, first step) -> E_reg at the end (seeds,), one where a run left every bound."""

    spec: Spec
    errors: dict[tuple[str, str, float], Tensor]

    def best(self, loss: str) -> tuple[str, float]:
        """Optimiser and first step with the lowest mean E_reg; a tie goes to the first."""
        means = {key: float(errors.mean()) for key, errors in self.errors.items() if key[0] == loss}
        _, optimiser, step = min(means, key=lambda key: means[key])
        return optimiser, step


def run(spec: Spec, seeds: int, grid: Grid = GRID) -> Tuning:
    """The grid (loss -> optimiser -> first steps) on ``seeds`` mixtures that the spec's own runs
    never see."""
    other = replace(spec, seeds=seeds, seed=child_seed(spec.seed, "tuning"))
    errors = {
        (loss, optimiser, step): ends
        for loss, ways in grid.items()
        for optimiser, steps in ways.items()
        for step, ends in zip(steps, _ends(other, loss, optimiser, steps), strict=True)
    }
    tuning = Tuning(spec, errors)
    (optimiser, step), (_, l4_step) = tuning.best("squared loss"), tuning.best("L_4")
    chosen = replace(spec, squared_optimiser=optimiser, squared_step=step, l4_step=l4_step)
    return Tuning(chosen, errors)


def _ends(spec: Spec, loss: str, optimiser: str, steps: tuple[float, ...]) -> Tensor:
    """E_reg (steps, seeds) of all first steps at once: parameters in units of c take steps c^2
    times (SGD) or c times (Adam) as long."""
    truths, start = mixtures_of(spec), starts_of(spec)
    lengths = torch.tensor(steps, dtype=start.dtype)
    unit = (lengths.sqrt() if optimiser == "sgd" else lengths).repeat_interleave(spec.seeds)
    unit = unit[:, None, None]
    begun = start.repeat(len(steps), 1, 1)
    parameters = [begun, torch.zeros_like(begun[:, :-1])]
    whole: Callable[..., Tensor] = squared_loss_of(spec, truths)
    if loss == "L_4":
        parameters, whole = parameters[:1], l4_loss_of(spec, truths)
    descent = gradient_descent(
        lambda *scaled: whole(*(unit * part for part in scaled)),
        [part / unit for part in parameters],
        step=schedule(spec, 1.0, spec.steps),
        iterations=spec.steps,
        optimiser=optimiser,
        every=spec.steps,
    )
    rows = unit * descent.parameters[0]
    rows = (dual_rows(rows) if loss == "L_4" else rows).unflatten(0, (len(steps), -1))
    gone = descent.diverged.view(len(steps), -1)
    return torch.where(gone, 1.0, regressor_errors(rows, truths))
