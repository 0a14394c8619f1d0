"""Wrong ends of EM hold right experts: how many, and how many of those that two ends share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from moe.experiments.baselines.contestants import em
from moe.experiments.common.problems import SUCCESS, Setting, draw
from moe.experiments.engine.sweep import by_spec, sweep
from moe.metrics import regressor_error_of
from moe.randomness import child_seed
from moe.recovery.recombination import shared

_RIGHT = 0.98


@dataclass(frozen=True)
class Spec:
    """Random starts of EM with a sigma each on one kind of problem, and where to stop them."""

    setting: Setting
    starts: int = 16
    iterations: int = 60


@dataclass(frozen=True)
class Record:
    """Counts by data set, over its wrong ends: experts, right ones; over all ordered pairs of such
    ends: experts of the first that the second has too, right ones of those."""

    spec: Spec
    experts: tuple[float, ...]
    rights: tuple[float, ...]
    shared: tuple[float, ...]
    rights_of_shared: tuple[float, ...]

    @property
    def right(self) -> float:
        """The share of right experts in wrong ends."""
        return sum(self.rights) / max(1.0, sum(self.experts))

    @property
    def right_of_shared(self) -> float:
        """The share of right ones among the experts that two wrong ends share."""
        return sum(self.rights_of_shared) / max(1.0, sum(self.shared))


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """Counts over the ends with E_reg >= 0.05: experts, right ones (|cos| > 0.98 to a true one);
    over all ordered pairs of such ends: experts of the first that the second has too, right ones
    of those."""
    problem = draw(spec.setting, seed)
    rows = problem.starts(spec.starts)
    ends = em(problem, rows, problem.y.std(), "each", iterations=spec.iterations).regressors
    truth = problem.truth.regressors
    wrong = ends[[regressor_error_of(rows, truth) >= SUCCESS for rows in ends]]
    cosine = (torch.nn.functional.normalize(wrong, dim=2) @ truth.T).abs()
    right = cosine.amax(2) > _RIGHT
    first, second = (~torch.eye(len(wrong), dtype=torch.bool)).nonzero().T
    common = shared(wrong[first], wrong[second])
    return {
        "experts": float(right.numel()),
        "right": float(right.sum()),
        "shared": float(common.sum()),
        "right_of_shared": float((common & right[first]).sum()),
    }


def run(specs: Sequence[Spec], runs: int, seed: int = 0) -> list[Record]:
    """Every spec on ``runs`` data sets."""
    trials = sweep(trial, specs, [child_seed(seed, run) for run in range(runs)])
    names = ("experts", "right", "shared", "right_of_shared")
    return [
        Record(spec, *(tuple(one.result[name] for one in mine) for name in names))
        for spec, mine in zip(specs, by_spec(trials, runs), strict=True)
    ]
