"""A fit that is found, brought back to the columns as users have them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moe.estimator.fit.choosing import Chosen
from moe.estimator.fit.classified import ClassifiedGate
from moe.estimator.fit.doubts.degenerate import dependent
from moe.estimator.fit.request import Request
from moe.estimator.fit.task import Found, Task
from moe.estimator.results import MixtureResults
from moe.likelihood.sandwich import curvature
from moe.model.regressions import Regressions

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fit:
    """A finished fit: the law on the raw designs, experts in their final order; the names of all
    columns, those of experts and gate by place; the classifiers whose scores are the last of the
    columns, if any; what ``MoERegressor`` shows of it."""

    law: Regressions
    names: list[str]
    experts: list[int]
    gate: list[int]
    classified: ClassifiedGate | None
    ones: tuple[bool, bool]
    proportions: Array
    found: Found
    chosen: Chosen
    against: tuple[str, ...]
    results: MixtureResults
    moments: Tensor


def finished(
    task: Task,
    found: Found,
    chosen: Chosen,
    against: list[str],
    regular: bool,
    request: Request,
    gate_of: ClassifiedGate | None = None,
) -> Fit:
    """``found``, experts in their final order, with all that is told of it. against: what speaks
    against it; regular: whether the likelihood has a maximum there; gate_of: the classifiers."""
    law = found.law
    design, names, n = task.design, request.names, float(task.weights.sum())
    raw = design.back(law)
    shares = task.weights @ law.responsibilities(task.x, task.z, task.y) / n
    shift = n * float(np.log(design.scale))
    experts, gate = ([names[c] for c in b.columns.tolist()] for b in (design.experts, design.gate))
    notes = dependent(design.experts, "experts'", experts)
    if not design.common and len(gate):
        notes += dependent(design.gate, "gate's", gate)
    labels = _labels(law.k, _closed(experts, design.experts.ones), _closed(gate, design.gate.ones))
    classification = float(task.weights @ law.log_joint(task.x, task.z, task.y).amax(1)) - shift
    likelihood = task.score(law) - shift
    results = MixtureResults(
        labels,
        torch.cat([raw.experts.flatten(), raw.gates[:-1].flatten(), raw.sigmas.log()]).numpy(),
        likelihood,
        classification,
        n,
        task.parameters,
        shares.numpy(),
        raw.sigmas.numpy(),
        law.k,
        not task.each,
        (*against, *notes),
        {
            "Experts": f"{law.k}, {task.g.name}",
            "Gate": task.gate if gate_of is None else gate_of.name,
            "Noise": "known" if task.sigma is not None else request.parameters["noise"],
        },
        curvature(law, task.x, task.z, task.y, task.weights) if regular else None,
        task.free,
        design.jacobian(law.k),
    )
    return Fit(
        raw,
        names,
        design.experts.columns.tolist(),
        design.gate.columns.tolist(),
        gate_of,
        (design.experts.ones, design.gate.ones),
        shares.numpy(),
        found,
        chosen,
        tuple(against),
        results,
        second_moment(task),
    )


def second_moment(task: Task) -> Tensor:
    """Sum_n w_n x_n x_n' / sum_n w_n of the experts' raw design, (p, p): two experts' linear
    predictors differ by (a - b)' M (a - b) in the mean square."""
    raw = task.x @ torch.linalg.pinv(task.design.experts.back)
    return (raw.T * task.weights) @ raw / task.weights.sum()


def _closed(names: list[str], ones: bool) -> list[str]:
    return [*names, "intercept"] if ones else names


def _labels(k: int, experts: list[str], gate: list[str]) -> tuple[str, ...]:
    return (
        *(f"expert {i}: {name}" for i in range(k) for name in experts),
        *(f"gate {i}: {name}" for i in range(k - 1) for name in gate),
        *(f"noise {i}: log sigma" for i in range(k)),
    )
