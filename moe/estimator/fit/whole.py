"""One fit from beginning to end: design, number of experts, search, order, doubts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moe.estimator.fit.choosing import Data, choose
from moe.estimator.fit.degenerate import copies_of, doubts, lonely_rows, pooled, too_few
from moe.estimator.fit.design import counted, design_of, distinct
from moe.estimator.fit.finishing import Fit, finished
from moe.estimator.fit.request import Request
from moe.estimator.fit.search import Report, climbed, searched
from moe.estimator.fit.starting import same_shape, start_of
from moe.estimator.fit.task import Found, Task
from moe.model.regressions import Regressions
from moe.recovery.verdict import by_share

Array = NDArray[np.float64]


def fitted(x: Array, y: Array, weights: Array, request: Request, report: Report) -> Fit:
    """The mixture of the samples x (n, m), y (n,) with these weights (n,)."""
    samples = counted(x, y, weights)
    chosen = choose(_tensors(*samples), request.ks, request.seed, _held_out(request), report)
    data = _tensors(*distinct(*samples))
    copies = 1 if request.weighted else copies_of(data[2].numpy())
    task = task_of(data, request, chosen.k)
    found = _found(task, request, report)
    law = _ordered(task, found.law)
    against = list(found.doubts) + list(chosen.doubts)
    if few := too_few(task):
        against = [few]
    else:
        against += doubts(law, task, copies)
    against += [] if few else lonely_rows(data[0], request.names)
    return finished(task, replace(found, law=law), chosen, against, not few, request)


def _tensors(x: Array, y: Array, weights: Array) -> Data:
    return torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(weights)


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
    design = task.design
    blocks = design.experts, design.gate
    widths = len(blocks[0].columns), len(blocks[1].columns)
    other = request.warm and not same_shape(request.start, task.k, widths)
    if request.start is None or other:
        return searched(task, request.options, request.seed, report)
    raw = start_of(
        request.start,
        task.k,
        widths,
        (blocks[0].ones, blocks[1].ones),
        task.g,
        design.scale * float(task.y.std()),
    )
    return climbed(task, design.forth(raw), request.options)


def _held_out(request: Request) -> Callable[[Data, Data, int], tuple[Tensor, Regressions, Task]]:
    """For ``choose``: what a fit of k experts to some samples says of others. Fits with the wrong k
    are not waited for: 60 random starts, 100 iterations."""
    effort = {"n_init": min(60, request.parameters["n_init"])}
    effort["max_iter"] = min(100, request.parameters["max_iter"])
    quick = replace(request, parameters={**request.parameters, **effort}, start=None)

    def fit(part: Data, others: Data, k: int) -> tuple[Tensor, Regressions, Task]:
        task = task_of(_tensors(*distinct(*(each.numpy() for each in part))), quick, k)
        law = _found(task, quick, lambda stage, done, of: None).law
        design, (x, y, _) = task.design, others
        density = law.log_density(design.experts.white(x), design.gate.white(x), design.output(y))
        return density - np.log(design.scale), law, task

    return fit


def _ordered(task: Task, law: Regressions) -> Regressions:
    """In ``recover``'s order, by the raw coefficients."""
    shares = task.weights @ law.responsibilities(task.x, task.z, task.y)
    return law.reordered(by_share(shares, task.design.back(law).experts))
