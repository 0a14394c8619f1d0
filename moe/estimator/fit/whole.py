"""One fit from beginning to end: design, number of experts, search, order, doubts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moe.estimator.fit.choosing import choose
from moe.estimator.fit.classified import Classified, classified
from moe.estimator.fit.design import counted, distinct
from moe.estimator.fit.doubts.degenerate import (
    copies_of,
    doubts,
    gate_doubts,
    lonely_rows,
    pooled,
    too_few,
)
from moe.estimator.fit.doubts.fewer import fewer_are_enough
from moe.estimator.fit.finishing import Fit, finished
from moe.estimator.fit.request import Request
from moe.estimator.fit.search import Report, climbed, searched
from moe.estimator.fit.starting import same_shape, start_of
from moe.estimator.fit.task import Data, Found, Task, task_of
from moe.model.regressions import Regressions
from moe.recovery.verdict import by_share

Array = NDArray[np.float64]


def fitted(x: Array, y: Array, weights: Array, request: Request, report: Report) -> Fit:
    """The mixture of the samples x (n, m), y (n,) with these weights (n,)."""
    samples = counted(x, y, weights)
    plain = request.under("softmax") if request.classifies else request
    chosen = choose(_tensors(*samples), request.ks, request.seed, _held_out(request), report)
    data = _tensors(*distinct(*samples))
    copies = 1 if request.weighted else copies_of(data[2].numpy())
    task = task_of(data, plain, chosen.k)
    found, gate = _found(task, plain, report), None
    if request.classifies and task.k > 1 and not too_few(task):
        best = classified(data, request, _begins(data, task, found, plain, report), report)
        task, found, gate, plain = best.task, best.found, best.gate, best.request
    law = _ordered(task, found.law)
    against = list(found.doubts) + list(chosen.doubts)
    if few := too_few(task):
        against = [few]
    else:
        against += doubts(law, task, copies) + ([] if gate else gate_doubts(law, task))
        asked = len(request.ks) == 1 and gate is None  # held-out samples have chosen else
        against += fewer_are_enough(law, task, plain.options) if asked else []
    against += [] if few else lonely_rows(data[0], request.names)
    return finished(task, replace(found, law=law), chosen, against, not few, plain, gate)


def _begins(
    data: Data, task: Task, found: Found, request: Request, report: Report
) -> list[tuple[Task, Found]]:
    """Where a classifier takes over: a fit with a softmax gate, and one that ignores the gate,
    which a gate far from softmax does not bend; from a start of the user's own alone."""
    if request.start is not None:
        return [(task, found)]
    flat = request.under("constant")
    other = task_of(data, flat, task.k)
    return [(task, found), (other, _found(other, flat, report))]


def _tensors(x: Array, y: Array, weights: Array) -> Data:
    return torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(weights)


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
    are not waited for: 60 random starts, 100 iterations; of a classifier one cross-fit."""
    effort = {"n_init": min(60, request.parameters["n_init"])}
    effort["max_iter"] = min(100, request.parameters["max_iter"])
    quick = replace(request, parameters={**request.parameters, **effort}, start=None)
    plain = quick.under("softmax") if quick.classifies else quick

    def fit(part: Data, others: Data, k: int) -> tuple[Tensor, Regressions, Task]:
        data = _tensors(*distinct(*(each.numpy() for each in part)))
        task = task_of(data, plain, k)
        best = Classified(task, _found(task, plain, _silent), None, plain)
        if quick.classifies and k > 1 and not too_few(task):
            begins = _begins(data, task, best.found, plain, _silent)
            best = classified(data, quick, begins, _silent, rounds=1)
        law, design, (x, y, _) = best.found.law, best.task.design, others
        x = best.inputs(x)
        density = law.log_density(design.experts.white(x), design.gate.white(x), design.output(y))
        return density - np.log(design.scale), law, best.task

    return fit


def _silent(stage: str, done: int, of: int) -> None:
    """A report that says nothing."""


def _ordered(task: Task, law: Regressions) -> Regressions:
    """In ``recover``'s order, by the raw coefficients."""
    shares = task.weights @ law.responsibilities(task.x, task.z, task.y)
    return law.reordered(by_share(shares, task.design.back(law).experts))
