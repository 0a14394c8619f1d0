"""First steps for the headline's squared loss and L_4: the best of a grid, on other mixtures.

The squared loss may have Adam as well; L_4 stays with plain descent, the paper's own method. A step
so long that the squared loss leaves the truth when started there is no contestant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from moe.experiments.common.mixtures import mixtures_of
from moe.experiments.recovery.headline_stream import (
    Spec,
    dual_rows,
    losses_of,
    regressor_errors,
    schedule,
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
    errors, kept = _ends(other, grid)
    tuning = Tuning(spec, errors, kept)
    (optimiser, step), (_, l4_step) = tuning.best("squared loss"), tuning.best("L_4")
    chosen = replace(spec, squared_optimiser=optimiser, squared_step=step, l4_step=l4_step)
    return Tuning(chosen, errors, kept)


def _ends(spec: Spec, grid: Grid) -> tuple[dict[Key, Tensor], dict[Key, Tensor]]:
    """E_reg (seeds,) where each run of the grid ends, all at once on one stream: from the random
    start, and of the squared loss from the truth as well."""
    truths, start = mixtures_of(spec), starts_of(spec)
    experts = torch.stack([truth.regressors for truth in truths])
    gates = torch.stack([truth.gating for truth in truths])[:, :-1]
    squared, others = (_keys(loss, grid[loss]) for loss in ("squared loss", "L_4"))
    keys = [*squared, *squared, *others]  # at random, from the truth, and L_4 at random
    begun = [start] * len(squared) + [experts] * len(squared) + [start] * len(others)
    along = [gates if rows is experts else torch.zeros_like(gates) for rows in begun]
    lengths = start.new_tensor([step for *_, step in keys]).repeat_interleave(spec.seeds)
    descent = gradient_descent(
        losses_of(spec, truths, 2 * len(squared) * spec.seeds),
        [torch.cat(begun), torch.cat(along)],
        step=schedule(spec, lengths, spec.steps),
        iterations=spec.steps,
        optimiser=[optimiser for _, optimiser, _ in keys for _ in truths],
        every=spec.steps,
    )
    ends = descent.parameters[0].unflatten(0, (len(keys), -1))
    ends = torch.cat([ends[: 2 * len(squared)], dual_rows(ends[2 * len(squared) :])])
    lost = descent.diverged.view(len(keys), -1)
    errors = torch.where(lost, 1.0, regressor_errors(ends, truths))
    first, kept, last = errors.split([len(squared), len(squared), len(others)])
    found = dict(zip([*squared, *others], [*first, *last], strict=True))
    return found, dict(zip(squared, kept, strict=True))


def _keys(loss: str, ways: dict[str, tuple[float, ...]]) -> list[Key]:
    return [(loss, optimiser, step) for optimiser, steps in ways.items() for step in steps]
