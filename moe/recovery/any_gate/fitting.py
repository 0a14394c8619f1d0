"""Experts without a model of the gate: L_4, a likelihood that ignores the gate, then cells of one.

Moments of order 3 and 4 are consistent for every gate that does not look into the experts' span
(book, chapter 10; derived). At the truth the likelihood with constant proportions, and that with a
gate that is constant on cells and has their mean proportions, have no expected score, and in the
span a maximum. They are more exact, the more so the more the gate tells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from moe.likelihood.cells import cell_covariance
from moe.likelihood.diagnostics import dependence_p_value, exact
from moe.metrics import match
from moe.randomness import child_seed, stream
from moe.recovery.any_gate.classified_gate import ClassifiedGate, fold_cells
from moe.recovery.any_gate.experts import Experts
from moe.recovery.arguments import Task
from moe.recovery.results import Origin
from moe.recovery.starts import NoStartError, Problem, Starts, fourth_moments, search, third_moments
from moe.solvers.cells import CellFit, cell_em

_LEVEL, _TESTED = 1e-4, 100_000
_ROUGH, _TIGHT = 1.0, 1e-2


def default_classifiers() -> tuple[Any, ...]:
    """A linear one, and gradient-boosted trees."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # slow to import, seldom needed
    from sklearn.linear_model import LogisticRegression

    trees = HistGradientBoostingClassifier(
        max_iter=50, learning_rate=0.1, min_samples_leaf=200, early_stopping=False, random_state=0
    )
    return LogisticRegression(), trees


def experts_of(task: Task, classifiers: Sequence[Any] | None) -> Experts:
    """The experts of a task, whatever its gate.

    1. L_4; third moments, then annealed random starts, where that is
       refused or what it leads to is not calibrated in the span, where any gate leaves y a mixture
       with constant proportions.
    2. EM with constant proportions, learned.
    3. For each of the ``classifiers`` (None: ``default_classifiers()``; empty: none) cross-fitted
       cells and EM with proportions of their own; the best stays, if it gains more nats than it has
       proportions.

    For nonlinear g, 2 and 3 see the samples in the span of the moments alone: outside of it the
    truth need not be a maximum.
    """
    problem, seed, most = task.problem, task.seed, task.options.iterations
    start, moments, fit, refusals = _constant(task)
    span = None if problem.g.is_linear else _span(start)
    g, x, y = problem.g, problem.x, problem.y
    none = torch.zeros(len(x), dtype=torch.long)
    best, gate, gains, found, top = fit, None, dict[str, float](), none, 0.0
    inside, seen = (_project(part, span) for part in (fit.regressors, x))
    complement = torch.linalg.svd(fit.regressors).Vh[problem.k :].T
    wanted = default_classifiers() if classifiers is None else classifiers
    for number, classifier in enumerate(wanted if complement.shape[1] and problem.k > 1 else ()):
        soft = fit.responsibilities(x, y, none, g)
        place = child_seed(seed, "gate", number)
        cells, models, quantisers = fold_cells(classifier, x @ complement, soft, place)
        begin = (inside, fit.sigma, fit.proportions[0])
        new = cell_em(seen, y, *begin, g, cells, iterations=most, tolerance=_TIGHT)
        name = type(classifier).__name__
        name = f"{name} {number + 1}" if name in gains else name
        free = (len(cells.unique()) - 1) * (problem.k - 1)
        gains[name] = new.log_likelihood - fit.log_likelihood - free
        if gains[name] > top:
            top = gains[name]
            best = replace(new, regressors=_outside(new.regressors, span))
            gate, found = ClassifiedGate(complement, models, quantisers, new.proportions), cells
    return _brought_back(task, start, moments, best, gate, gains, found, span, refusals)


def _constant(task: Task) -> tuple[Starts, Tensor, CellFit, tuple[str, ...]]:
    """The best start, the regressors from moments alone (NaN where they refuse), and EM with
    constant proportions from that start."""
    problem, ways = task.problem, (fourth_moments, third_moments, search)
    best: tuple[Starts, CellFit] | None = None
    refusals: list[str] = []
    moments = torch.full((problem.k, problem.x.shape[1]), math.nan, dtype=problem.x.dtype)
    generator, part = stream("recover", task.seed), problem.part()
    for way in ways:
        try:
            begun = way(problem, part, task.options, generator)
        except NoStartError as refusal:
            refusals.append(str(refusal))
            continue
        if begun.origin is not Origin.SEARCH and bool(moments.isnan().all()):
            moments = begun.regressors[0]
        fit = _followed(problem, part, begun, task.options.iterations)
        if best is None or fit.log_likelihood > best[1].log_likelihood + _ROUGH:
            best = begun, fit
        if not _uncalibrated(problem, best[1]):
            break
    if best is None:
        raise RuntimeError("no way gave a start")  # the search always does
    return best[0], moments, best[1], tuple(refusals)


def _followed(problem: Problem, part: Problem, begun: Starts, most: int) -> CellFit:
    """EM with constant proportions, from the start that is best on a part of the samples."""
    k = problem.k
    span = None if problem.g.is_linear else _span(begun)
    known = bool(begun.proportions.isfinite().all())
    shares = begun.proportions if known else torch.full_like(begun.proportions, 1.0 / k)
    fits = [
        _em(part, _project(rows, span), problem.sigma or sigma, shares, span, _ROUGH, most)
        for rows, sigma in zip(begun.regressors, begun.sigma.tolist(), strict=True)
    ]
    found = max(fits, key=lambda fit: fit.log_likelihood)
    at = (_project(found.regressors, span), found.sigma, found.proportions[0])
    return _em(problem, *at, span, _TIGHT, most)


def _em(
    problem: Problem,
    rows: Tensor,
    sigma: float,
    shares: Tensor,
    span: Tensor | None,
    tolerance: float,
    most: int,
) -> CellFit:
    x, g = _project(problem.x, span), problem.g
    fit = cell_em(x, problem.y, rows, sigma, shares, g, iterations=most, tolerance=tolerance)
    return replace(fit, regressors=_outside(fit.regressors, span))


def _span(start: Starts) -> Tensor:
    """An orthonormal basis (d, k) of the experts' span."""
    return torch.linalg.qr(start.regressors[0].T).Q


def _project(rows: Tensor, span: Tensor | None) -> Tensor:
    return rows if span is None else rows @ span


def _outside(rows: Tensor, span: Tensor | None) -> Tensor:
    return rows if span is None else rows @ span.T


def _uncalibrated(problem: Problem, fit: CellFit) -> list[str]:
    """Doubts about constant proportions that no gate outside the span can explain."""
    from scipy.stats import kstest  # slow to import

    x, y = problem.x[:_TESTED], problem.y[:_TESTED]
    basis = torch.linalg.qr(fit.regressors.T).Q
    means = problem.g(x @ fit.regressors.T)
    if exact((y[:, None] - means).abs().amin(1), y):
        return []
    uniform = torch.special.ndtr((y[:, None] - means) / fit.sigma) @ fit.proportions[0]
    law = float(kstest(uniform.numpy(), "uniform").pvalue)
    p_value = min(1.0, 2 * min(law, dependence_p_value(uniform, x @ basis)))
    if p_value >= _LEVEL:
        return []
    return [
        "given the inputs in the experts' span the outputs are not a mixture with constant "
        f"proportions, p = {p_value:.1e}: the gate looks into the span, or the experts are wrong"
    ]


def _brought_back(
    task: Task,
    start: Starts,
    moments: Tensor,
    fit: CellFit,
    gate: ClassifiedGate | None,
    gains: dict[str, float],
    cells: Tensor,
    span: Tensor | None,
    refusals: tuple[str, ...],
) -> Experts:
    problem, coordinates = task.problem, task.coordinates
    shares = fit.proportions[cells].mean(0)
    order = shares.argsort(descending=True)
    fit = replace(fit, regressors=fit.regressors[order], proportions=fit.proportions[:, order])
    against = _uncalibrated(problem, replace(fit, proportions=shares[order][None]))
    if not fit.converged:
        against.insert(0, "EM had not converged")
    if problem.scarce:
        against.append("fewer than 100 samples a weight: tests of a fit see little")
    size = fit.regressors.numel()
    covariance = torch.full((size, size), math.nan, dtype=problem.x.dtype)
    if span is None:
        at = (fit.regressors, fit.sigma, fit.proportions, cells, problem.g)
        try:
            covariance = cell_covariance(problem.x, problem.y, *at)[0][:-1, :-1]
        except ValueError:
            against.append("the likelihood has no definite maximum there")
    lift = coordinates.scale * torch.block_diag(*[coordinates.basis] * problem.k)
    rows = coordinates.regressors(moments)
    rows = rows / rows.norm(dim=1, keepdim=True)
    regressors = coordinates.regressors(fit.regressors)
    if gate is not None:
        basis = coordinates.basis @ gate.complement
        gate = replace(gate, complement=basis, proportions=fit.proportions)
    return Experts(
        regressors,
        coordinates.scale * fit.sigma,
        shares[order],
        problem.g,
        rows[match(rows, regressors)] if bool(rows.isfinite().all()) else rows,
        gate,
        gains,
        fit.log_likelihood - len(problem.y) * math.log(coordinates.scale),
        start.origin.value,
        tuple(against),
        refusals,
        lift @ covariance @ lift.T,
    )
