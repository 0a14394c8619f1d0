"""From samples to parameters: moments, L_4, L_log, then the joint likelihood."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

from torch import Tensor

from moe.checks import warn_unless_gaussian
from moe.exceptions import DoubtfulFitWarning, warn
from moe.model.nonlinearity import Nonlinearity
from moe.moments.transforms import warn_if_even
from moe.recovery.any_gate.experts import Experts
from moe.recovery.any_gate.fitting import experts_of
from moe.recovery.arguments import task_of
from moe.recovery.plan import carried_out
from moe.recovery.results import Recovery
from moe.recovery.verdict import verdict
from moe.threads import one_thread

__all__ = ["recover"]


@overload
def recover(
    x: Any,
    y: Any,
    k: int,
    nonlinearity: str | Callable[[Tensor], Tensor] | Nonlinearity = ...,
    sigma: float | None = ...,
    seed: Any = ...,
    *,
    gate: Literal["softmax", "constant"] = ...,
    mu: float | None = ...,
    lam: float | None = ...,
    gated: bool = ...,
    starts: int = ...,
    restarts: int = ...,
    iterations: int = ...,
    initial: Any = ...,
) -> Recovery: ...


@overload
def recover(
    x: Any,
    y: Any,
    k: int,
    nonlinearity: str | Callable[[Tensor], Tensor] | Nonlinearity = ...,
    sigma: float | None = ...,
    seed: Any = ...,
    *,
    gate: Literal["any"],
    classifiers: Sequence[Any] | None = ...,
    mu: float | None = ...,
    lam: float | None = ...,
    starts: int = ...,
    restarts: int = ...,
    iterations: int = ...,
) -> Experts: ...


def recover(
    x: Any,
    y: Any,
    k: int,
    nonlinearity: str | Callable[[Tensor], Tensor] | Nonlinearity = "linear",
    sigma: float | None = None,
    seed: Any = 0,
    *,
    gate: str = "softmax",
    classifiers: Sequence[Any] | None = None,
    mu: float | None = None,
    lam: float | None = None,
    gated: bool = True,
    starts: int = 32,
    restarts: int = 300,
    iterations: int = 500,
    initial: Any = None,
) -> Recovery | Experts:
    """The parameters of a mixture of k experts, from samples x (n, d) and y (n,).

    1. moments: M and T (least squares where n allows and experts are linear; else by bounded
       transforms made for Gaussian noise), T in the top-k eigenspace of M.
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
    Where a few such starts disagree, and there are eight experts or more and ten samples for each
    of k d weights, experts that found nothing are drawn again (``moe.recovery.repair``); else, or
    where that does not settle it, the starts are recombined, up to ``restarts`` in all
    (``moe.recovery.recombination``).
    Where that costs little (k (k + 1) d^2 <= 3,000; no more than 20 weights, or 150 samples for
    each) eight starts with random gates run too. The highest likelihood wins, by more than a nat:
    ``origin`` says which start it was. Where EM was searched for at random, or a random start won,
    the experts must have been reached twice, by ways that have nothing in common: otherwise
    ``converged`` is False. (Book, chapter 8: how often that still passes a wrong answer.)

    Equivariant up to rounding: all of it happens in coordinates that the samples themselves decide
    (``moe.recovery.coordinates``), so units and order of columns, any linear map of x, the order of
    the samples, and for linear, ReLU and leaky ReLU experts the unit of y, change nothing but the
    units of the answer. Experts come by falling share of the samples, (1/n) sum_n P(i | x_n, y_n),
    equal shares by the first coefficient.

    gate: "softmax"; "constant" where the weights are known to be equal and constant, W = 0, which
    is then held (``gated=False`` says the same); "any" where nothing is known of the gate but that
    it does not look into the experts' span. Then experts, sigma and proportions come back, an
    ``Experts``: from L_4, a likelihood with constant proportions, and the best of the
    ``classifiers`` as the gate, cross-fitted (``moe.recovery.any_gate``; book, chapter 10). They
    have ``fit(X, y, sample_weight)`` and ``predict_proba(X)``. "softmax" among them stands for the
    softmax likelihood, which is not right for any gate, but efficient for its own: it is taken
    where it gains most and a test finds no difference from the others' experts (linear g). None
    tries it, a linear classifier and gradient-boosted trees; an empty sequence tries none. A given
    sigma is that of the moments and of the softmax candidate; the others learn their own.

    mu, lam: the weights of L_4, by default inside the benign region 0 < mu < 1,
    lam > mu / min_i E[p_i] (see ``moe.solvers.l4.minimise_l4``); a pair given outside it draws a
    warning.

    initial: a start of your own, one more way beside the others (not with gate="any"): a model, a
    ``Recovery``, or regressors (k, d) or (S, k, d), for S starts with flat gates. It is followed
    last, as every start is (L_log, then the joint likelihood), and trusted no more: it wins by more
    than a nat (``origin`` is then "given"), or the answer is what it would be without it; and it
    supports no other answer, for it may be an earlier one to the same samples.

    seed: whatever ``moe.randomness.as_seed`` takes. The streams drawn from it have nothing in
    common with those of any other purpose, so the seed of the data will do as well as another.

    Theory (paper): x ~ N(0, I), |a_i| = 1, gates orthogonal to the regressors' span. Inputs far
    from Gaussian draw a ``moe.NonGaussianInputWarning``; the likelihood stage does not need any of
    these. An answer that is not to be trusted draws a ``moe.DoubtfulFitWarning``, an even
    nonlinearity a ``moe.SignsLostWarning``. The logger "moe" gets a line a stage (INFO).
    Works in float64 on the CPU. Where L_4 has no minimum the stages "L4" and "L_log" are missing.

    Raises TypeError or ValueError for an argument that cannot be used, naming it. Non-convergence
    is never raised: see ``converged``, ``doubts`` and ``reason``.
    """
    if gate not in ("softmax", "constant", "any"):
        raise ValueError(f"gate: expected 'softmax', 'constant' or 'any', got {gate!r}")
    if initial is not None and gate == "any":
        raise ValueError(
            "initial: expected None if gate is 'any', which has starts of its own only"
        )
    if classifiers is not None and gate != "any":
        raise ValueError(f"classifiers: expected None unless gate is 'any', got gate {gate!r}")
    task = task_of(
        x,
        y,
        k,
        nonlinearity,
        sigma,
        seed,
        mu=mu,
        lam=lam,
        gated=gated if gate == "softmax" else False,
        starts=starts,
        restarts=restarts,
        iterations=iterations,
        initial=initial,
    )
    warn_unless_gaussian(task.x)
    with one_thread():
        fit = experts_of(task, classifiers) if gate == "any" else verdict(carried_out(task))
    warn_if_even(task.problem.g)  # a constant g is even too, and has been refused by now
    if not fit.converged:
        warn(f"recover: converged is False: {fit.reason}", DoubtfulFitWarning)
    return fit
