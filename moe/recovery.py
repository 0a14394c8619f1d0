"""From samples to parameters: moments, L_4, L_log, then the joint likelihood."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from moe.checks import (
    as_samples,
    check_at_least,
    check_experts,
    check_positive,
    warn_unless_standard_gaussian,
)
from moe.diagnostics import doubts
from moe.metrics import match
from moe.model import MoE
from moe.nonlinearity import Nonlinearity, as_nonlinearity
from moe.results import Recovery, Stage
from moe.solvers.em import EMResult, expectation_maximisation
from moe.solvers.l4 import L4Fit, L4Moments, NoMinimumError, l4_moments_of, minimise_l4
from moe.solvers.recombination import agree
from moe.solvers.restarts import race
from moe.solvers.spectral import spectral_start

_SUBSAMPLE = 4_000
_SUSPICIOUS = 1e-3
_RESOLUTION = 0.4
_SCARCE = 100
_LOOSE, _TIGHT = 1.0, 1e-6


def recover(
    x: Any,
    y: Any,
    k: int,
    nonlinearity: str | Callable[[Tensor], Tensor] | Nonlinearity = "linear",
    sigma: float | None = None,
    seed: int = 0,
    *,
    mu: float | None = None,
    lam: float | None = None,
    gated: bool = True,
    starts: int = 32,
    restarts: int = 300,
    iterations: int = 500,
) -> Recovery:
    """The parameters of a mixture of k experts, from samples x (n, d) and y (n,).

    1. moments: M and T, least squares where n allows, T in the top-k eigenspace of M.
    2. L4: minimised in whitened coordinates from ``starts`` random starts at once; the best gives
       the regressors (unit rows) and the proportions. Signs from E[y x] = sum_i p_i E[g'] a_i.
    3. L_log: the gates by EM with the regressors held; sigma learned, hence inflated at first by
       the regressors' error.
    4. likelihood: joint EM from there with sigma learned on its way down, at last held at
       ``sigma`` where that is given. Norms of the regressors are free here.

    If the moments cannot be trusted (M's k-th eigenvalue lies within its noise, or L_4 has no
    minimum), or the fit is in doubt (``moe.diagnostics.doubts`` at p < 1e-3, or fewer than
    100 (2k - 1) d samples, where such tests see little), EM is started at random, annealed expert
    by expert, on a subsample (``moe.solvers.restarts``), after the start from third moments where M
    can be trusted (``moe.solvers.spectral``). Where a few such starts disagree they are recombined,
    up to ``restarts`` starts in all (``moe.solvers.recombination``). The highest likelihood wins,
    and ``reason`` says which start it was. It must then have been reached twice, by ways that have
    nothing in common: otherwise it may be wrong, and ``converged`` is False.

    gated: False where the weights are known to be equal and constant, W = 0, which is then held.

    mu, lam: the weights of L_4, by default inside the benign region 0 < mu < 1,
    lam > mu / min_i E[p_i] (see ``moe.solvers.l4.minimise_l4``); a pair given outside it draws a
    warning.

    Theory (paper): x ~ N(0, I), |a_i| = 1, gates orthogonal to the regressors' span. Inputs far
    from N(0, I) draw a warning; the likelihood stage does not need any of these.
    Works in float64. Where L_4 has no minimum the stages "L4" and "L_log" are missing.

    Raises TypeError or ValueError for an argument that cannot be used, naming it. Non-convergence
    is never raised: see ``converged`` and ``reason``.
    """
    x, y = (part.double() for part in as_samples(x, y))
    k = check_experts(k, x.shape[1])
    g = as_nonlinearity(nonlinearity)
    known = None if sigma is None else check_positive(sigma, "sigma")
    for name, weight in (("mu", mu), ("lam", lam)):
        if weight is not None:
            check_positive(weight, name)
    efforts = {"starts": starts, "restarts": restarts, "iterations": iterations}
    for name, count in efforts.items():
        check_at_least(count, 1, name)
    _check_data(x, y, k)
    warn_unless_standard_gaussian(x)

    gating = ("gating",) if gated else ()
    generator = torch.Generator().manual_seed(seed)
    few = _subset(x, y, k, generator)
    refine = len(few[1]) < len(y) or known is not None
    stages: list[Stage] = []
    notes: list[str] = []
    moments: L4Moments | None = None
    l4: L4Fit | None = None
    fit: EMResult | None = None
    proportions = x.new_full((k,), math.nan)
    lonely = False

    def follow(start: Tensor, level: Tensor) -> tuple[EMResult, EMResult]:
        """L_log, then the joint likelihood, on the subset, of S starts (S, k, d)."""
        zero = torch.zeros_like(start)
        gates = expectation_maximisation(
            *few, start, zero, level, g, learn=("sigma", *gating), tolerance=_LOOSE
        )
        joint = expectation_maximisation(
            *few,
            gates.regressors,
            gates.gating,
            gates.sigma,
            g,
            learn=("regressors", "sigma", *gating),
            iterations=iterations,
            tolerance=_LOOSE if refine else _TIGHT,
        )
        return gates, joint

    def doubtful(fit: EMResult) -> bool:
        return not bool(fit.converged) or bool(doubts(_model(fit, g), *few, level=_SUSPICIOUS))

    clock = _Clock()
    try:
        moments = l4_moments_of(x, y, k, g, known, resolution=_RESOLUTION)
        eigenvalues = moments.whitening.all_eigenvalues
        stages.append(Stage("moments", None, None, moments.sigma, eigenvalues, 1, clock.lap()))
        l4 = minimise_l4(moments, y @ x / len(y), generator, mu=mu, lam=lam, starts=starts)
    except NoMinimumError as error:
        notes.append(f"L_4 gave no start: {error}")
    if l4 is not None:
        values, count = l4.solution.values, l4.solution.iterations
        stages.append(Stage("L4", l4.regressors, None, None, values, count, clock.lap()))
        gates, fit = follow(l4.regressors, y.std())
        stages.append(_stage("L_log", [gates], [few], clock.lap()))
        proportions = l4.proportions[match(l4.regressors, fit.regressors[0])]
    doubted = fit is None or doubtful(fit)
    if moments is not None and doubted:
        with suppress(ValueError):
            start, shares = spectral_start(x, y, moments, g, generator)
            _, other = follow(start, y.std())
            if fit is None or _ahead(other, fit):
                notes.append("the start from third moments won")
                fit, proportions = other, shares[match(start, other.regressors[0])]
                doubted = doubtful(fit)
    scarce = k > 1 and len(y) < _SCARCE * (2 * k - 1) * x.shape[1]
    if fit is None or scarce or doubted:
        size = max(_SUBSAMPLE, 40 * k * x.shape[1])
        ahead = race(few[0][:size], few[1][:size], k, g, generator, starts=restarts)
        _, raced = follow(ahead.regressors, ahead.sigma.square().mean(1).sqrt())
        found = [*raced.regressors, *(fit.regressors if fit else ())]
        if fit is None or _ahead(raced.best, fit):
            notes.append("a random annealed start won")
            if fit is not None:
                proportions = proportions[match(fit.regressors[0], raced.best.regressors[0])]
            fit = raced.best
        lonely = sum(agree(fit.regressors[0], other) for other in found) < 2
    runs, data = [fit], [few]
    if refine:
        fit = expectation_maximisation(
            x,
            y,
            fit.regressors,
            fit.gating,
            known or fit.sigma,
            g,
            learn=("regressors", *gating) if known else ("regressors", "sigma", *gating),
            iterations=iterations,
            tolerance=_TIGHT,
        )
        runs, data = [*runs, fit], [*data, (x, y)]
    model = _model(fit, g)
    stages.append(_stage("likelihood", runs, data, clock.lap()))

    against = doubts(model, x, y)
    if lonely:
        against.append("of all starts only one reached the highest likelihood found")
    if not bool(fit.converged):
        against.insert(0, f"joint EM had not converged after {iterations} iterations")
    reason = "; ".join(against + notes) or "joint EM converged and the fit is calibrated"
    if against:
        warnings.warn(f"recover: converged is False: {reason}", stacklevel=2)
    return Recovery(
        model,
        proportions[match(runs[0].regressors[0], model.regressors)],
        tuple(stages),
        float(fit.log_likelihood),
        l4.mu if l4 else math.nan,
        l4.lam if l4 else math.nan,
        converged=not against,
        reason=reason,
        _samples=(x, y),
        _sigma_known=known is not None,
    )


def _check_data(x: Tensor, y: Tensor, k: int) -> None:
    n, d = x.shape
    parameters = (2 * k - 1) * d + 1
    if n <= parameters:
        raise ValueError(
            f"x: expected more samples than the model has parameters, (2k - 1) d + 1 = "
            f"{parameters}, got n = {n}"
        )
    if float(y.std()) <= 1e-12 * (1 + float(y.abs().max())):
        raise ValueError(f"y: expected outputs that vary, got the constant {float(y[0]):.6g}")


def _subset(x: Tensor, y: Tensor, k: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A random subset, large enough to find the basin; all samples unless that saves half."""
    n, d = x.shape
    size = max(_SUBSAMPLE, 40 * (2 * k - 1) * d)
    if n < 2 * size:
        return x, y
    chosen = torch.randperm(n, generator=generator)[:size]
    return x[chosen], y[chosen]


class _Clock:
    """Wall time since the last lap."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        now = time.perf_counter()
        elapsed, self._last = now - self._last, now
        return elapsed


def _ahead(one: EMResult, other: EMResult) -> bool:
    return float(one.log_likelihood) > float(other.log_likelihood) + 1.0


def _model(fit: EMResult, g: Nonlinearity) -> MoE:
    return MoE(fit.regressors[0], fit.gating[0], float(fit.sigma[0]), g)


def _stage(
    name: str, runs: Sequence[EMResult], data: Sequence[tuple[Tensor, Tensor]], seconds: float
) -> Stage:
    last = runs[-1]
    return Stage(
        name,
        last.regressors[0],
        last.gating[0],
        float(last.sigma[0]),
        torch.cat([run.trace[:, 0] / len(y) for run, (_, y) in zip(runs, data, strict=True)]),
        sum(int(run.iterations[0]) for run in runs),
        seconds,
    )
