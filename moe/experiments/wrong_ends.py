"""Wrong ends of EM hold right experts: how many, and how many of those that two ends share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from moe.experiments.baselines import em
from moe.experiments.problems import SUCCESS, Setting, draw
from moe.experiments.sweep import by_spec, sweep
from moe.metrics import regressor_error_of
from moe.randomness import child_seed
from moe.solvers.recombination import shared

_RIGHT = 0.98


@dataclass(frozen=True)
class Spec:
    """Random starts of EM with a sigma each on one kind of problem, and where to stop them."""

    setting: Setting
    starts: int = 24
    iterations: int = 60


@dataclass(frozen=True)
class Record:
    """Over all wrong ends of all data sets: the share of their experts that are right, and the
    share of right ones among those that a pair of ends of the same data set has in common."""

    spec: Spec
    right: float
    right_of_shared: float


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
    records = []
    for mine in by_spec(trials, runs):
        total = {name: sum(one.result[name] for one in mine) for name in mine[0].result}
        records.append(
            Record(
                mine[0].spec,
                total["right"] / max(1.0, total["experts"]),
                total["right_of_shared"] / max(1.0, total["shared"]),
            )
        )
    return records
