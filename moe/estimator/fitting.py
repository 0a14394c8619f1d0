"""One fit from beginning to end: design, number of experts, search, order, results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moe.estimator.choosing import Chosen, Data, choose
from moe.estimator.degenerate import (
    copies_of,
    dependent,
    doubts,
    lonely_rows,
    pooled,
    too_few,
)
from moe.estimator.design import design_of, distinct
from moe.estimator.results import MixtureResults
from moe.estimator.search import Report, climbed, searched
from moe.estimator.starting import start_of
from moe.estimator.task import Effort, Found, Task
from moe.likelihood.sandwich import curvature
from moe.model.nonlinearity import Nonlinearity
from moe.model.regressions import Regressions

Array = NDArray[np.float64]
_AUTO = range(1, 9)


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked for: the estimator's parameters, the columns of experts and gate by place and
    all columns' names, the nonlinearity, the start (None: search), the seed, whether weights came.
    """

    parameters: Mapping[str, Any]
    names: list[str]
    experts: list[int]
    gate: list[int]
    g: Nonlinearity
    start: Any
    seed: int
    weighted: bool

    @property
    def effort(self) -> Effort:
        """How hard to look."""
        of = self.parameters
        return Effort(of["mu"], of["lam"], of["l4_starts"], of["n_init"], of["max_iter"], of["tol"])

    @property
    def ks(self) -> list[int]:
        """The numbers of experts to choose from, rising."""
        wanted = self.parameters["n_experts"]
        if isinstance(wanted, str):
            return list(_AUTO)
        if not isinstance(wanted, Iterable):
            return [int(wanted)]
        ks = list(wanted)
        if not ks or any(isinstance(k, bool) or int(k) != k or k < 1 for k in ks):
            raise ValueError(f"n_experts: expected whole numbers of at least 1, got {wanted!r}")
        return sorted({int(k) for k in ks})


@dataclass(frozen=True, eq=False)
class Fit:
    """A finished fit: the law on the raw designs, experts in their final order; columns of experts
    and gate by place; what ``MoERegressor`` shows of it."""

    law: Regressions
    experts: list[int]
    gate: list[int]
    ones: tuple[bool, bool]
    proportions: Array
    found: Found
    chosen: Chosen
    against: tuple[str, ...]
    results: MixtureResults
    moments: Tensor


def fitted(x: Array, y: Array, weights: Array, request: Request, report: Report) -> Fit:
    """The mixture of the samples x (n, m), y (n,) with these weights (n,)."""
    x, y, weights = distinct(x, y, weights)
    copies = 1 if request.weighted else copies_of(weights)
    data = torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(weights)
    chosen = choose(data, request.ks, request.seed, _held_out(request), report)
    task = task_of(data, request, chosen.k)
    found = _found(task, request, report)
    law = _ordered(task, found.law)
    against = list(found.doubts) + list(chosen.doubts)
    if few := too_few(task):
        against = [few]
    else:
        against += doubts(law, task, copies)
    against += [] if few else lonely_rows(data[0], request.names)
    return _finished(law, task, replace(found, law=law), chosen, against, not few, request)


def task_of(data: Data, request: Request, k: int) -> Task:
    """The samples on white designs."""
    (x, y, weights), of = data, request.parameters
    design = design_of(
        x,
        y,
        weights,
        request.g,
        of["sigma"],
        experts=request.experts,
        gate=request.gate,
        intercept=bool(of["fit_intercept"]),
        softmax=of["gate"] == "softmax",
    )
    sigma = None if of["sigma"] is None else float(of["sigma"]) / design.scale
    return Task(
        design,
        design.experts.white(x),
        design.gate.white(x),
        design.output(y),
        weights,
        k,
        request.g,
        sigma,
        of["noise"] == "each",
        of["gate"],
    )


def _found(task: Task, request: Request, report: Report) -> Found:
    if too_few(task):
        return Found(pooled(task), 1, False, "least squares", 1, ())
    if request.start is None:
        return searched(task, request.effort, request.seed, report)
    design = task.design
    blocks = design.experts, design.gate
    raw = start_of(
        request.start,
        task.k,
        (len(blocks[0].columns), len(blocks[1].columns)),
        (blocks[0].ones, blocks[1].ones),
        task.g,
        design.scale * float(task.y.std()),
    )
    return climbed(task, design.forth(raw), request.effort)


def _held_out(request: Request) -> Callable[[Data, Data, int], tuple[Tensor, Regressions, Task]]:
    """For ``choose``: what a fit of k experts to some samples says of others. Fits with the wrong k
    are not waited for: 60 random starts, 100 iterations."""
    effort = {"n_init": min(60, request.parameters["n_init"])}
    effort["max_iter"] = min(100, request.parameters["max_iter"])
    quick = replace(request, parameters={**request.parameters, **effort}, start=None)

    def fit(part: Data, others: Data, k: int) -> tuple[Tensor, Regressions, Task]:
        task = task_of(part, quick, k)
        law = _found(task, quick, lambda stage, done, of: None).law
        design, (x, y, _) = task.design, others
        density = law.log_density(design.experts.white(x), design.gate.white(x), design.output(y))
        return density - np.log(design.scale), law, task

    return fit


def _ordered(task: Task, law: Regressions) -> Regressions:
    """Experts by falling share of the samples, equal shares by the first raw coefficient."""
    share = (task.weights @ law.responsibilities(task.x, task.z, task.y)).tolist()
    first = task.design.back(law).experts[:, 0].tolist()
    order = sorted(range(law.k), key=lambda i: (share[i], first[i]), reverse=True)
    return law.reordered(torch.tensor(order))


def _finished(
    law: Regressions,
    task: Task,
    found: Found,
    chosen: Chosen,
    against: list[str],
    regular: bool,
    request: Request,
) -> Fit:
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
            "Gate": task.gate,
            "Noise": "known" if task.sigma is not None else request.parameters["noise"],
        },
        curvature(law, task.x, task.z, task.y, task.weights) if regular else None,
        task.free,
        design.jacobian(law.k),
    )
    return Fit(
        raw,
        design.experts.columns.tolist(),
        design.gate.columns.tolist(),
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
