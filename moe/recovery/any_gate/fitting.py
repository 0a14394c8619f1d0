"""Experts without a model of the gate: L_4, a likelihood that ignores the gate, then candidates.

Moments of order 3 and 4 are consistent for every gate that does not look into the experts' span
(book, chapter 10; derived). At the truth the likelihood with constant proportions, and that with a
gate that is constant on cells and has their mean proportions, have no expected score, and in the
span a maximum. They are more exact, the more so the more the gate tells. The softmax likelihood is
none of these: it is taken where it agrees with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from moe.likelihood.cells import cell_covariance, profiled
from moe.likelihood.diagnostics import crowding
from moe.likelihood.hausman import Hausman, influence_of
from moe.metrics import match
from moe.model.mixture import MoE
from moe.randomness import child_seed
from moe.recovery.any_gate.classified_gate import ClassifiedGate, fold_cells
from moe.recovery.any_gate.constant import (
    TIGHT,
    constant,
    lifted,
    projected,
    span_of,
    uncalibrated,
)
from moe.recovery.any_gate.experts import Experts
from moe.recovery.any_gate.softmax import SoftmaxGate, agreement, softmax_fit
from moe.recovery.any_gate.span import Influence, contradicted
from moe.recovery.arguments import Task
from moe.recovery.starts import Problem, Starts
from moe.solvers.em.cells import CellFit, cell_em
from moe.solvers.em.samples import sigma_floor

SOFTMAX, LEVEL = "softmax", 0.05


def cell_classifiers() -> tuple[Any, ...]:
    """A linear one, and gradient-boosted trees. These have 64 bins: weighted quantiles for 255 cost
    more than the trees, and cells gained no more with them (measured)."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # slow to import, seldom needed
    from sklearn.linear_model import LogisticRegression

    trees = HistGradientBoostingClassifier(
        max_iter=50, max_bins=64, min_samples_leaf=200, early_stopping=False, random_state=0
    )
    return LogisticRegression(), trees


@dataclass(frozen=True, eq=False)
class _Found:
    """A fit, the cells of its proportions, what gate they are (None: one cell), the gains of all
    that was tried, the name of what was chosen; Hausman's test and the covariance of the softmax
    fit, where they were asked for."""

    fit: CellFit
    cells: Tensor
    gate: ClassifiedGate | SoftmaxGate | None
    gains: dict[str, float]
    chosen: str | None = None
    test: Hausman | None = None
    covariance: Tensor | None = None


def experts_of(task: Task, classifiers: Sequence[Any] | None) -> Experts:
    """The experts of a task, whatever its gate.

    1. The starts of L_4 and of third moments; annealed random starts, where both are refused or
       what they lead to is not calibrated in the span, where any gate leaves y a mixture with
       constant proportions.
    2. EM with constant proportions, learned, which Newton's method ends for linear experts.
    3. For each of the ``classifiers`` (None: "softmax" and ``cell_classifiers()``; empty: none) but
       "softmax", cross-fitted cells and EM with proportions of their own; the best stays, if it
       gains more nats than it has proportions.
    4. For "softmax", if g is linear, the softmax likelihood, from 2. It is taken if it gains more
       than the best so far and Hausman's test does not reject, at the level 0.05, that both
       estimate the same experts.

    For nonlinear g, 2 and 3 see the samples in the span of the moments alone: outside of it the
    truth need not be a maximum. That span has an error that is not part of any covariance here, so
    there is nothing to hold a softmax fit against, and it is not tried.
    """
    start, moments, fit, refusals = constant(task)
    span = None if task.problem.g.is_linear else span_of(start)
    none = torch.zeros(len(task.problem.x), dtype=torch.long)
    found = _Found(fit, none, None, {})
    complement = torch.linalg.svd(fit.regressors).Vh[task.problem.k :].T
    if complement.shape[1] and task.problem.k > 1:
        wanted = (SOFTMAX, *cell_classifiers()) if classifiers is None else classifiers
        wanted = (wanted,) if isinstance(wanted, str) else wanted
        by_cells = [each for each in wanted if not _is_softmax(each)]
        found = _classified(task, found, by_cells, complement, span)
        if len(by_cells) < len(wanted) and span is None:
            found = _softmax(task, fit, found)
    return _brought_back(task, start, moments, found, span, refusals)


def _is_softmax(classifier: Any) -> bool:
    return isinstance(classifier, str) and classifier == SOFTMAX


def _classified(
    task: Task, plain: _Found, classifiers: Sequence[Any], complement: Tensor, span: Tensor | None
) -> _Found:
    """The classifier whose cells gain most, or constant proportions where none gain."""
    problem, fit, best, gains = task.problem, plain.fit, plain, dict[str, float]()
    g, x, y = problem.g, problem.x, problem.y
    inside, seen = (projected(part, span) for part in (fit.regressors, x))
    soft = fit.responsibilities(x, y, plain.cells, g)
    for number, classifier in enumerate(classifiers):
        place = child_seed(task.seed, "gate", number)
        cells, models, quantisers = fold_cells(classifier, x @ complement, soft, place)
        begin, most = (inside, fit.sigma, fit.proportions[0]), task.options.iterations
        new = cell_em(seen, y, *begin, g, cells, iterations=most, tolerance=TIGHT)
        name = type(classifier).__name__
        name = f"{name} {number + 1}" if name in gains else name
        free = (len(cells.unique()) - 1) * (problem.k - 1)
        gains[name] = new.log_likelihood - fit.log_likelihood - free
        if gains[name] > gains.get(best.chosen or "", 0.0):
            new = replace(new, regressors=lifted(new.regressors, span))
            gate = ClassifiedGate(complement, models, quantisers, new.proportions)
            best = _Found(new, cells, gate, gains, name)
    return replace(best, gains=gains)


def _softmax(task: Task, plain: CellFit, right: _Found) -> _Found:
    """The softmax fit where it gains more than ``right`` and agrees with it, else that."""
    rival = softmax_fit(task, plain)
    if rival is None:
        return right
    agreed = agreement(task.problem, rival, right.cells, right.fit)
    test = None if agreed is None else agreed[0]
    known = replace(right, gains={**right.gains, SOFTMAX: rival.gain}, test=test)
    best = right.gains.get(right.chosen or "", 0.0)
    if agreed is None or not (agreed[0].p_value >= LEVEL and rival.gain > best):
        return known
    one = torch.zeros_like(right.cells)
    return replace(
        known, fit=rival.fit, cells=one, gate=rival.gate, chosen=SOFTMAX, covariance=agreed[1]
    )


def _covariance(problem: Problem, found: _Found, fit: CellFit, order: Tensor) -> Tensor:
    """Of the regressors of ``fit``, which are those of ``found`` in this order, (k d, k d). Raises
    ValueError where the likelihood has no definite maximum."""
    if found.covariance is None:
        at = (fit.regressors, fit.sigma, fit.proportions, found.cells, problem.g)
        return cell_covariance(problem.x, problem.y, *at)[0][:-1, :-1]
    places = torch.arange(fit.regressors.numel()).view_as(fit.regressors)[order].flatten()
    return found.covariance[places][:, places]


def _influence(problem: Problem, found: _Found) -> Influence:
    """Of the samples on the regressors found, to first order. Raises ValueError where the
    likelihood has no definite maximum there."""
    x, y, fit, size = problem.x, problem.y, found.fit, found.fit.regressors.numel()
    if isinstance(found.gate, SoftmaxGate):
        model = MoE(fit.regressors, found.gate.weights, fit.sigma, problem.g)
        influence = influence_of(model, x, y, sigma_known=problem.sigma is not None)
        return lambda rows: len(x) * influence(x[rows], y[rows])
    at = (fit.regressors, fit.sigma, fit.proportions, found.cells, problem.g)
    profile = profiled(x, y, *at)
    turn = len(x) * profile.inverse[:, :size]
    return lambda rows: profile.scores(x[rows], y[rows], found.cells[rows]) @ turn


def _brought_back(
    task: Task,
    start: Starts,
    moments: Tensor,
    found: _Found,
    span: Tensor | None,
    refusals: tuple[str, ...],
) -> Experts:
    problem, coordinates, fit, gate = task.problem, task.coordinates, found.fit, found.gate
    shares = fit.proportions[found.cells].mean(0)
    order = shares.argsort(descending=True)
    fit = replace(fit, regressors=fit.regressors[order], proportions=fit.proportions[:, order])
    against = uncalibrated(problem, replace(fit, proportions=shares[order][None]))
    load = fit.responsibilities(problem.x, problem.y, found.cells, problem.g).sum(0)
    means = problem.g(problem.x @ fit.regressors.T)
    against += crowding(means, load, fit.sigma, problem.x.shape[1])
    if span is None:
        own = found.fit
        against += contradicted(
            problem, own.regressors, shares, own.sigma, lambda: _influence(problem, found)
        )
    if not fit.converged:
        against.insert(0, "EM had not converged")
    if problem.scarce:
        against.append("fewer than 100 samples a weight: tests of a fit see little")
    size = fit.regressors.numel()
    covariance = torch.full((size, size), math.nan, dtype=problem.x.dtype)
    if span is None and fit.sigma > 2 * sigma_floor(problem.y):
        try:
            covariance = _covariance(problem, found, fit, order)
        except ValueError:
            against.append("the likelihood has no definite maximum there")
    lift = coordinates.scale * torch.block_diag(*[coordinates.basis] * problem.k)
    rows = coordinates.regressors(moments)
    rows = rows / rows.norm(dim=1, keepdim=True)
    regressors = coordinates.regressors(fit.regressors)
    return Experts(
        regressors,
        coordinates.scale * fit.sigma,
        shares[order],
        problem.g,
        rows[match(rows, regressors)] if bool(rows.isfinite().all()) else rows,
        None if gate is None else gate.reordered(order).through(coordinates.basis),
        found.chosen,
        found.gains,
        found.test,
        fit.log_likelihood - len(problem.y) * math.log(coordinates.scale),
        start.origin.value,
        tuple(against),
        refusals,
        lift @ covariance @ lift.T,
    )
