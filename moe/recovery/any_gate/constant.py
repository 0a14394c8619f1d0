"""Experts by a likelihood that ignores the gate: from a start, EM with constant proportions."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from moe.likelihood.diagnostics import dependence_p_value, exact, in_words
from moe.randomness import stream
from moe.recovery.arguments import Task
from moe.recovery.results import Origin
from moe.recovery.starts import NoStartError, Problem, Starts, fourth_moments, search, third_moments
from moe.solvers.constant_gate import climb_constant_gate
from moe.solvers.em.cells import CellFit

TIGHT = 1e-2
_LEVEL, _TESTED, _ROUGH = 1e-4, 100_000, 1.0


def constant(task: Task) -> tuple[Starts, Tensor, CellFit, tuple[str, ...]]:
    """The best start, the regressors from moments alone (NaN where they refuse), and EM with
    constant proportions from that start.

    L_4's start and that of third moments both run on a part of the samples, and the better goes on:
    a wrong end of either may well be calibrated. Random starts are searched for where it is not.
    """
    problem, ways = task.problem, (fourth_moments, third_moments, search)
    best: tuple[Starts, CellFit, float] | None = None
    refusals: list[str] = []
    moments = torch.full((problem.k, problem.x.shape[1]), math.nan, dtype=problem.x.dtype)
    generator, part = stream("recover", task.seed), problem.part()
    for way in ways:
        if way is search and best is not None and not uncalibrated(problem, best[1]):
            break
        try:
            begun = way(problem, part, task.options, generator)
        except NoStartError as refusal:
            refusals.append(str(refusal))
            continue
        if begun.origin is not Origin.SEARCH and bool(moments.isnan().all()):
            moments = begun.regressors[0]
        first = _on_part(problem, part, begun, task.options.iterations)
        if best is not None and first.log_likelihood <= best[2] + _ROUGH:
            continue
        span = _span(problem, begun)
        at = (projected(first.regressors, span), first.sigma, first.proportions[0])
        fit = _em(problem, *at, span, TIGHT, task.options.iterations)
        if best is None or fit.log_likelihood > best[1].log_likelihood + _ROUGH:
            best = begun, fit, first.log_likelihood
    if best is None:
        raise RuntimeError("no way gave a start")  # the search always does
    return best[0], moments, best[1], tuple(refusals)


def _on_part(problem: Problem, part: Problem, begun: Starts, most: int) -> CellFit:
    """EM with constant proportions on a part of the samples, from the start that is best there."""
    k, span = problem.k, _span(problem, begun)
    known = bool(begun.proportions.isfinite().all())
    shares = begun.proportions if known else torch.full_like(begun.proportions, 1.0 / k)
    fits = [
        _em(part, projected(rows, span), problem.sigma or sigma, shares, span, _ROUGH, most)
        for rows, sigma in zip(begun.regressors, begun.sigma.tolist(), strict=True)
    ]
    return max(fits, key=lambda fit: fit.log_likelihood)


def _span(problem: Problem, begun: Starts) -> Tensor | None:
    return None if problem.g.is_linear else span_of(begun)


def _em(
    problem: Problem,
    rows: Tensor,
    sigma: float,
    shares: Tensor,
    span: Tensor | None,
    tolerance: float,
    most: int,
) -> CellFit:
    x, g = projected(problem.x, span), problem.g
    fit = climb_constant_gate(
        x, problem.y, rows, sigma, shares, g, iterations=most, tolerance=tolerance
    )
    return replace(fit, regressors=lifted(fit.regressors, span))


def span_of(start: Starts) -> Tensor:
    """An orthonormal basis (d, k) of the experts' span."""
    return torch.linalg.qr(start.regressors[0].T).Q


def projected(rows: Tensor, span: Tensor | None) -> Tensor:
    return rows if span is None else rows @ span


def lifted(rows: Tensor, span: Tensor | None) -> Tensor:
    return rows if span is None else rows @ span.T


def uncalibrated(problem: Problem, fit: CellFit) -> list[str]:
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
        f"proportions, {in_words(p_value)}: the gate looks into the span, the noise is not "
        "Gaussian, or the experts are wrong"
    ]
