"""From samples to parameters: moments, L_4, L_log, then the joint likelihood."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from moe.checks import (
    as_samples,
    check_at_least,
    check_experts,
    check_positive,
    warn_unless_gaussian,
)
from moe.likelihood.diagnostics import doubts, noiseless
from moe.metrics import match
from moe.model.mixture import MoE
from moe.model.nonlinearity import Nonlinearity, as_nonlinearity
from moe.randomness import as_seed, stream
from moe.recovery.coordinates import Coordinates, coordinates_of, sample_order
from moe.recovery.judging import LOOSE, TIGHT, End, Field, follow, model_of
from moe.recovery.results import Origin, Recovery, Stage
from moe.recovery.starts import (
    NoStartError,
    Problem,
    Stopwatch,
    Way,
    fourth_moments,
    gates_too,
    search,
    third_moments,
)
from moe.solvers.em import EMResult, expectation_maximisation

__all__ = ["recover"]

_EXTREME = 1e100


def recover(
    x: Any,
    y: Any,
    k: int,
    nonlinearity: str | Callable[[Tensor], Tensor] | Nonlinearity = "linear",
    sigma: float | None = None,
    seed: Any = 0,
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
    3. L_log: the gates by EM with the regressors held, on all samples; sigma learned, hence
       inflated at first by the regressors' error.
    4. likelihood: joint EM from there with sigma learned on its way down, at last held at
       ``sigma`` where that is given. Norms of the regressors are free here.

    If the moments cannot be trusted (M's k-th eigenvalue lies within its noise, or L_4 has no
    minimum), or something speaks against the fit (``doubts`` of ``moe.likelihood.diagnostics`` at
    p < 1e-3), the start from third moments is tried where M can be trusted
    (``moe.solvers.tensor_power``). If that does not settle it, or there are fewer than 100 samples
    a weight, where such tests see little, EM is started at random, annealed expert by expert, on a
    subsample (``moe.recovery.restarts``).
    Where a few such starts disagree they are recombined, up to ``restarts`` starts in all
    (``moe.recovery.recombination``). Where that costs little (k (k + 1) d^2 <= 3,000; no more than
    20 weights, or 150 samples for each) eight starts with random gates run too. The highest
    likelihood wins, by more than a nat: ``origin`` says which start it was. Where EM was searched
    for at random, or a random start won, the answer must have been reached twice, by ways that have
    nothing in common: otherwise ``converged`` is False. (Book, chapter 8: how often that still
    passes a wrong answer.)

    Equivariant up to rounding: all of it happens in coordinates that the samples themselves decide
    (``moe.recovery.coordinates``), so units and order of columns, any linear map of x, the order of
    the samples, and for linear, ReLU and leaky ReLU experts the unit of y, change nothing but the
    units of the answer. Experts come by falling share of the samples, (1/n) sum_n P(i | x_n, y_n),
    equal shares by the first coefficient.

    gated: False where the weights are known to be equal and constant, W = 0, which is then held.

    mu, lam: the weights of L_4, by default inside the benign region 0 < mu < 1,
    lam > mu / min_i E[p_i] (see ``moe.solvers.l4.minimise_l4``); a pair given outside it draws a
    warning.

    seed: whatever ``moe.randomness.as_seed`` takes. The streams drawn from it have nothing in
    common with those of any other purpose, so the seed of the data will do as well as another.

    Theory (paper): x ~ N(0, I), |a_i| = 1, gates orthogonal to the regressors' span. Inputs far
    from Gaussian draw a warning; the likelihood stage does not need any of these.
    Works in float64 on the CPU. Where L_4 has no minimum the stages "L4" and "L_log" are missing.

    Raises TypeError or ValueError for an argument that cannot be used, naming it. Non-convergence
    is never raised: see ``converged``, ``doubts`` and ``reason``.
    """
    seed = as_seed(seed)
    x, y = (part.to("cpu", torch.float64) for part in as_samples(x, y))
    g = as_nonlinearity(nonlinearity)
    known = None if sigma is None else check_positive(sigma, "sigma")
    k = check_experts(k, x.shape[1])
    for name, weight in (("mu", mu), ("lam", lam)):
        if weight is not None:
            check_positive(weight, name)
    starts, restarts, iterations = (
        check_at_least(count, 1, name)
        for name, count in (("starts", starts), ("restarts", restarts), ("iterations", iterations))
    )
    if not isinstance(gated, bool):
        raise TypeError(f"gated: expected True or False, got {gated!r}")
    _check_data(x, y, k, gated, g)
    warn_unless_gaussian(x)
    order = sample_order(x, y, seed)
    x, y = x[order], y[order]
    coordinates = coordinates_of(x, y, g, known)
    level = None if known is None else known / coordinates.scale
    if level is not None and not 1 / _EXTREME < level < _EXTREME:
        raise ValueError(
            f"sigma: expected a noise level within a factor of {_EXTREME:g} of the size of y, got "
            f"{known:g}"
        )
    full = Problem(*coordinates.of(x, y), k, g, level, gated)
    plan: list[tuple[Way, Callable[[Field], bool]]] = [
        (partial(fourth_moments, mu=mu, lam=lam, starts=starts), lambda so_far: True),
        (third_moments, lambda so_far: so_far.doubted),
        (gates_too, lambda so_far: full.gates_are_cheap),
        (partial(search, starts=restarts), lambda so_far: so_far.unsettled),
    ]
    fit = _brought_back(_carried_out(plan, full, iterations, seed, coordinates), coordinates, x, y)
    if not fit.converged:
        warnings.warn(f"recover: converged is False: {fit.reason}", stacklevel=2)
    return fit


def _check_data(x: Tensor, y: Tensor, k: int, gated: bool, g: Nonlinearity) -> None:
    n, d = x.shape
    parameters = (2 * k - 1 if gated else k) * d + 1
    if n <= parameters:
        count = "(2k - 1) d + 1" if gated else "k d + 1"
        raise ValueError(
            f"x: expected more samples than the model has parameters, {count} = {parameters}, "
            f"got n = {n}"
        )
    if not bool(x.any()):
        raise ValueError("x: expected inputs that are not all zero")
    largest = float(y.abs().max())
    if largest > _EXTREME and not g.is_homogeneous:
        raise ValueError(
            f"y: expected outputs below {_EXTREME:g} in size for {g.name} experts, got {largest:g}"
        )
    if largest == 0 or float((y / largest).std()) <= 1e-12:
        raise ValueError(f"y: expected outputs that vary, got the constant {float(y[0]):.6g}")


def _carried_out(
    plan: Sequence[tuple[Way, Callable[[Field], bool]]],
    full: Problem,
    iterations: int,
    seed: int,
    coordinates: Coordinates,
) -> Recovery:
    """The ways of the plan that are wanted, in order, then the leader refined on all samples."""
    generator = stream("recover", seed)
    part = full.part()
    exact = part is full and full.sigma is None  # then the part's own fit is the answer
    stages: list[Stage] = []
    field, (mu, lam), watch, passes = Field(full), (math.nan, math.nan), Stopwatch(), 0
    for way, wanted in plan:
        if not wanted(field):
            continue
        try:
            begun = way(full, part, generator)
        except NoStartError as refusal:
            field, stages = field.refused(str(refusal)), [*stages, *refusal.stages]
            continue
        watch.lap()
        gates, ends = follow(part, begun, iterations, TIGHT if exact else LOOSE)
        field, stages = field.joined_by(ends), [*stages, *begun.stages]
        passes += begun.passes + gates.passes + ends[0].run.passes
        if begun.origin is Origin.FOURTH_MOMENTS:
            mu, lam = begun.weights
            runs, data = [gates], [part]
            if part is not full:
                runs, data = [gates, _gates_on_all(full, gates)], [part, full]
                passes += runs[-1].passes
            stages.append(_stage("L_log", runs, data, watch.lap()))
    runs, data = [field.leader.run], [part]
    if not exact:
        runs, data = [*runs, _refined(full, field.leader, iterations)], [*data, full]
        passes += runs[-1].passes
    stages.append(_stage("likelihood", runs, data, watch.lap()))
    return _verdict(full, field, runs[-1], tuple(stages), mu, lam, passes, iterations, coordinates)


def _gates_on_all(full: Problem, gates: EMResult) -> EMResult:
    """L_log on all samples, from where it ended on the part that is searched: the second loss as
    the theory has it, for whoever asks what the two losses alone are worth."""
    return expectation_maximisation(
        full.x,
        full.y,
        gates.regressors,
        gates.gating,
        gates.sigma,
        full.g,
        learn=full.learn,
        tolerance=LOOSE,
    )


def _refined(full: Problem, best: End, iterations: int) -> EMResult:
    """Joint EM on all samples, with sigma held at last where it is known."""
    run = best.run
    learn = [name for name in full.learn if name != "sigma" or full.sigma is None]
    return expectation_maximisation(
        full.x,
        full.y,
        run.regressors,
        run.gating,
        full.sigma or run.sigma,
        full.g,
        learn=("regressors", *learn),
        iterations=iterations,
        tolerance=TIGHT,
    )


def _verdict(
    full: Problem,
    field: Field,
    fit: EMResult,
    stages: tuple[Stage, ...],
    mu: float,
    lam: float,
    passes: int,
    iterations: int,
    coordinates: Coordinates,
) -> Recovery:
    """The one place that says whether the answer may be believed, and why not."""
    model, leader = model_of(fit, full), field.leader
    model = model.reordered(_by_share(model, full, coordinates))
    against = doubts(model, full.x, full.y)
    if field.lonely:
        against.append("of all starts only one reached the highest likelihood found")
    if not bool(fit.converged):
        against.insert(0, f"joint EM had not converged after {iterations} iterations")
    return Recovery(
        model,
        leader.proportions[match(leader.regressors, model.regressors)],
        stages,
        float(fit.log_likelihood),
        mu,
        lam,
        passes=passes,
        origin=leader.origin,
        supporters=field.supporters,
        doubts=tuple(against),
        refusals=field.refusals,
        noiseless=noiseless(model, full.x, full.y),
        _samples=(full.x, full.y),
        _sigma_known=full.sigma is not None,
    )


def _by_share(model: MoE, full: Problem, coordinates: Coordinates) -> Tensor:
    """The experts by falling share of the samples, equal ones by their first coefficient, (k,)."""
    share = model.responsibilities(full.x, full.y).mean(0).tolist()
    first = coordinates.regressors(model.regressors)[:, 0].tolist()
    return torch.tensor(sorted(range(model.k), key=lambda i: (share[i], first[i]), reverse=True))


def _stage(name: str, runs: Sequence[EMResult], data: Sequence[Problem], seconds: float) -> Stage:
    last = runs[-1]
    trace = [run.trace[:, 0] / len(part.y) for run, part in zip(runs, data, strict=True)]
    return Stage(
        name,
        last.regressors[0],
        last.gating[0],
        float(last.sigma[0]),
        torch.cat(trace),
        sum(int(run.iterations[0]) for run in runs),
        seconds,
    )


def _brought_back(fit: Recovery, coordinates: Coordinates, x: Tensor, y: Tensor) -> Recovery:
    """The answer for the samples x (n, d), y (n,) as they came."""
    shift = math.log(coordinates.scale)

    def stage(of: Stage) -> Stage:
        regressors = None if of.regressors is None else coordinates.regressors(of.regressors)
        if of.name == "L4" and regressors is not None:
            regressors = regressors / regressors.norm(dim=1, keepdim=True)
        return replace(
            of,
            regressors=regressors,
            gating=None if of.gating is None else coordinates.gating(of.gating),
            sigma=None if of.sigma is None else coordinates.scale * of.sigma,
            trace=of.trace if of.name in ("moments", "L4") else of.trace - shift,
        )

    return replace(
        fit,
        model=coordinates.model(fit.model),
        stages=tuple(stage(each) for each in fit.stages),
        log_likelihood=fit.log_likelihood - len(y) * shift,
        _samples=(x, y),
    )
