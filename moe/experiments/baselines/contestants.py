"""The contestants: every way to fit a mixture of experts, each as strong as its users make it.

All are functions of a ``Problem``: the same samples, the same random start, the same stopping rule.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from moe.exceptions import DoubtfulFitWarning
from moe.experiments.baselines.gradient import descend
from moe.experiments.common.moment_starts import l4_regressors, t3_regressors
from moe.experiments.common.problems import Fit, NoStartError, Problem
from moe.recovery import recover
from moe.solvers.em import EMResult, expectation_maximisation

MANY = 20
ITERATIONS = 500
TOLERANCE = 1e-3
ROUND = 15
COOLING, COOLING_STEPS = 0.9, 10
SHORT = 0.1

Noise = Literal["held", "one", "each"]


def em(
    problem: Problem,
    regressors: Tensor,
    sigma: Tensor | float,
    noise: Noise,
    *,
    gating: Tensor | None = None,
    hard: bool = False,
    iterations: int = ITERATIONS,
    record: bool = False,
) -> EMResult:
    """Joint EM from regressors (S, k, d), flat gates unless given; the gates are learned where the
    problem has any. noise: sigma is held, or learned, one for all experts or one for each."""
    names = {"held": [], "one": ["sigma"], "each": ["sigmas"]}[noise]
    if noise == "each":
        sigma = torch.as_tensor(sigma).reshape(-1, 1).expand(regressors.shape[:2])
    return expectation_maximisation(
        problem.x,
        problem.y,
        regressors,
        torch.zeros_like(regressors) if gating is None else gating,
        sigma,
        problem.nonlinearity,
        learn=["regressors", *["gating"] * problem.gated, *names],
        iterations=iterations,
        tolerance=TOLERANCE,
        hard=hard,
        record=record,
    )


def ends(
    problem: Problem,
    regressors: Tensor,
    sigma: Tensor | float,
    noise: Noise,
    gating: Tensor | None = None,
    hard: bool = False,
) -> EMResult:
    """``em`` of every start; with a sigma each it is run on with one sigma, as the model says, once
    all have converged."""
    end = em(problem, regressors, sigma, noise, gating=gating, hard=hard)
    if noise != "each":
        return end
    level = end.sigma.square().mean(1).sqrt()
    left = max(ROUND, ITERATIONS - int(end.iterations.min()))
    last = em(problem, end.regressors, level, "one", gating=end.gating, iterations=left)
    return replace(last, passes=end.passes + last.passes)


def joint(
    problem: Problem,
    regressors: Tensor,
    sigma: Tensor | float,
    noise: Noise,
    gating: Tensor | None = None,
    hard: bool = False,
) -> Fit:
    """``ends``, the best start by likelihood."""
    every = ends(problem, regressors, sigma, noise, gating, hard)
    end = every.best
    return Fit(end.regressors[0], end.gating[0], float(end.sigma[0]), every.passes)


def random(
    problem: Problem,
    noise: Noise,
    *,
    starts: int = 1,
    hard: bool = False,
    scale: float = 1.0,
    spread: float = 1.0,
) -> Fit:
    """EM from random rows N(0, I/d), the best of ``starts``; sigma held at the truth's, or learned
    from y's standard deviation. scale and spread multiply the two (see ``tuning``: where sigma is
    held, SHORT rows do best)."""
    sigma = problem.sigma if noise == "held" else spread * problem.y.std()
    return joint(problem, scale * problem.starts(starts), sigma, noise, hard=hard)


def raced(problem: Problem, *, starts: int = MANY) -> Fit:
    """EM from many random starts at once, sigma learned, one for all: every 15 iterations the worse
    half is dropped."""
    rows, gating, sigma = problem.starts(starts), None, problem.y.std().expand(starts)
    spent = 0
    while len(rows) > 1:
        fit = em(problem, rows, sigma, "one", gating=gating, iterations=ROUND)
        spent += fit.passes
        best = fit.log_likelihood.argsort(descending=True)[: len(rows) // 2]
        rows, gating, sigma = fit.regressors[best], fit.gating[best], fit.sigma[best]
    end = joint(problem, rows, sigma, "one", gating)
    return replace(end, passes=end.passes + spent)


def cooled(problem: Problem, *, factor: float = COOLING, steps: int = COOLING_STEPS) -> Fit:
    """EM with sigma held at every moment, but lowered by hand: from y's spread by ``factor`` every
    ``steps`` iterations down to the truth's, where it runs until it converges."""
    rows, gating, spent = problem.starts(1), None, 0
    for fit in lowered(problem, rows, float(problem.y.std()), factor, steps):
        rows, gating, spent = fit.regressors, fit.gating, spent + fit.passes
    end = joint(problem, rows, problem.sigma, "held", gating)
    return replace(end, passes=end.passes + spent)


def lowered(
    problem: Problem,
    rows: Tensor,
    level: float,
    factor: float,
    steps: int,
    *,
    record: bool = False,
) -> Iterator[EMResult]:
    """EM with sigma held at ``level`` for ``steps`` iterations, then at ``factor`` times that, and
    so on while it is above the truth's; each from where the last one ended."""
    gating = None
    while level > problem.sigma:
        fit = em(problem, rows, level, "held", gating=gating, iterations=steps, record=record)
        yield fit
        rows, gating, level = fit.regressors, fit.gating, factor * level


def gates_only(problem: Problem, rows: Tensor) -> EMResult:
    """L_log with the regressors (1, k, d) held: the gates, where there are any, and sigma, which
    comes out inflated by the regressors' error."""
    return expectation_maximisation(
        problem.x,
        problem.y,
        rows,
        torch.zeros_like(rows),
        problem.y.std(),
        problem.nonlinearity,
        learn=["sigma", *["gating"] * problem.gated],
        tolerance=1.0,
    )


def alone(problem: Problem, start: Callable[[Problem], Tensor]) -> Fit:
    """Regressors from moments, gates by L_log; no joint step."""
    gates = gates_only(problem, start(problem)[None])
    return Fit(gates.regressors[0], gates.gating[0], problem.sigma, gates.passes)


def refined(problem: Problem, start: Callable[[Problem], Tensor], noise: Noise = "each") -> Fit:
    """``alone``, then joint EM."""
    gates = gates_only(problem, start(problem)[None])
    end = joint(problem, gates.regressors, gates.sigma, noise, gates.gating)
    return replace(end, passes=end.passes + gates.passes)


def full(problem: Problem, *, restarts: int = 300) -> Fit:
    """``recover``, not told sigma."""
    parameters = (2 * problem.k - 1 if problem.gated else problem.k) * problem.x.shape[1] + 1
    if len(problem.y) <= parameters:
        raise NoStartError("recover asks for more samples than parameters")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtfulFitWarning)
        fit = recover(
            problem.x,
            problem.y,
            problem.k,
            problem.nonlinearity,
            seed=problem.seed,
            gated=problem.gated,
            restarts=restarts,
        )
    return Fit(fit.model.regressors, fit.model.gating, fit.model.sigma, fit.passes, fit.converged)


def oracle(problem: Problem) -> Fit:
    """EM from the truth: the floor."""
    truth = problem.truth
    return joint(problem, truth.regressors[None], truth.sigma, "one", truth.gating[None])


METHODS: dict[str, Callable[[Problem], Fit]] = {
    "squared loss, SGD": partial(descend, loss="squared", optimiser="sgd"),
    "squared loss, Adam": partial(descend, loss="squared", optimiser="adam"),
    "likelihood, SGD": partial(descend, loss="likelihood", optimiser="sgd"),
    "likelihood, Adam": partial(descend, loss="likelihood", optimiser="adam"),
    "EM, hard": partial(random, noise="held", hard=True, scale=SHORT),
    "EM, hard, best of 20": partial(random, noise="held", hard=True, starts=MANY, scale=SHORT),
    "EM, sigma held": partial(random, noise="held", scale=SHORT),
    "EM, sigma held, best of 20": partial(random, noise="held", starts=MANY, scale=SHORT),
    "EM, sigma lowered by hand": cooled,
    "EM, sigma learned": partial(random, noise="one"),
    "EM, sigma learned, 20 raced": raced,
    "EM, a sigma each": partial(random, noise="each"),
    "L_4 alone, plain moments": partial(alone, start=partial(l4_regressors, method="average")),
    "L_4 alone": partial(alone, start=l4_regressors),
    "L_4, plain moments, then EM": partial(refined, start=partial(l4_regressors, method="average")),
    "L_4, then EM": partial(refined, start=l4_regressors),
    "T_3 alone": partial(alone, start=t3_regressors),
    "T_3, then EM, one sigma": partial(refined, start=t3_regressors, noise="one"),
    "T_3, then EM": partial(refined, start=t3_regressors),
    "recover": full,
    "oracle": oracle,
}
