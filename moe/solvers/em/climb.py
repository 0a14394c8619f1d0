"""Expectation-maximisation for mixtures of experts; many starts advance as one batch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from moe.model.mixture import MoE
from moe.model.nonlinearity import Nonlinearity
from moe.solvers.em.expectation import EStep, expectation
from moe.solvers.em.maximisation import iterated
from moe.solvers.em.samples import Columns, Samples, sigma_floor
from moe.solvers.em.small import SmallSamples, climb_small, is_small
from moe.solvers.linear import RIDGE

_PARAMETERS = ("regressors", "gating", "sigma")

__all__ = ["EMResult", "expectation_maximisation", "sigma_floor"]


@dataclass(frozen=True, eq=False)
class EMResult:
    """Where each of S starts ended.

    regressors, gating (S, k, d); sigma (S,), or (S, k) where each expert has its own;
    log_likelihood (S,) summed over samples, in nats; iterations (S,) int; converged (S,) bool;
    trace (T, S), the log-likelihood at every iteration (constant after a start has stopped);
    passes: over the samples, one for each start and iteration, those of starts that were dropped on
    the way included; path: the recorded (regressors, gating, sigma), if asked.
    """

    regressors: Tensor
    gating: Tensor
    sigma: Tensor
    log_likelihood: Tensor
    iterations: Tensor
    converged: Tensor
    trace: Tensor
    passes: int = 0
    path: tuple[tuple[Tensor, Tensor, Tensor], ...] = ()

    def __getitem__(self, starts: Tensor | list[int] | slice) -> EMResult:
        """Only these starts, in this order, without the path."""
        return EMResult(
            self.regressors[starts],
            self.gating[starts],
            self.sigma[starts],
            self.log_likelihood[starts],
            self.iterations[starts],
            self.converged[starts],
            self.trace[:, starts],
            self.passes,
        )

    def outside(self) -> EMResult:
        """The same in tensors that may be used outside of ``torch.inference_mode``."""
        own: dict[str, Any] = {
            name: part.clone() for name, part in vars(self).items() if torch.is_tensor(part)
        }
        path = tuple((a.clone(), w.clone(), s.clone()) for a, w, s in self.path)
        return replace(self, **own, path=path)

    def to(self, dtype: torch.dtype) -> EMResult:
        """The same with its real numbers in another precision, without the path."""
        real = ("regressors", "gating", "sigma", "log_likelihood", "trace")
        return replace(self, **{name: getattr(self, name).to(dtype) for name in real}, path=())

    def model(self, start: int, nonlinearity: Nonlinearity) -> MoE:
        """Where one start ended, as a mixture with one sigma."""
        sigma = float(self.sigma[start])
        return MoE(self.regressors[start], self.gating[start], sigma, nonlinearity)

    @property
    def best(self) -> EMResult:
        """The start with the highest log-likelihood alone."""
        return self[[int(self.log_likelihood.argmax())]]


def expectation_maximisation(
    x: Tensor,
    y: Tensor,
    regressors: Tensor,
    gating: Tensor,
    sigma: Tensor | float,
    nonlinearity: Nonlinearity,
    *,
    learn: Collection[str] = _PARAMETERS,
    iterations: int = 500,
    tolerance: float = 1e-6,
    record: bool = False,
    hard: bool = False,
    counts: Tensor | None = None,
    columns: Columns | None = None,
    prior_variance: float | None = None,
) -> EMResult:
    """EM from S starts at once: exact weighted least squares for linear experts, Gauss-Newton steps
    for others, Newton steps for the gates (Jordan, Jacobs 1994; by conjugate gradients where there
    are many: ``moe.solvers.em.gates``). Its rate: ``moe.likelihood.information.em_rate``.

    x (n, d); y (n,); regressors, gating (S, k, d) or (k, d); sigma a number, (S,) or (S, k).
    ``learn`` names what moves; the rest is held, so ``learn=("gating",)`` is EM on L_log and
    leaving out "sigma" is EM with the noise held. "sigmas" instead of "sigma" gives each expert a
    noise level of its own, with a weak inverse-gamma prior against collapse (0.3 d samples at
    ``prior_variance``, None: a hundredth of y's), whose log is then part of ``log_likelihood``.

    Each step is halved until the log-likelihood does not fall, so the trace is monotone. A start
    stops when one iteration gains less than ``tolerance`` nats in total (not per sample: where its
    last steps were full it is then within about sqrt(tolerance) standard errors of a stationary
    point, up to a factor that grows as EM's rate nears one). It also stops where every step is
    dropped (no part of them climbs), and is not ``converged`` then.

    ``hard`` rounds the responsibilities to 0 and 1 (classification EM; Celeux, Govaert 1992). What
    rises is then the classification likelihood sum_n max_i log p_i(x_n) N(y_n; ...), and that is
    what ``log_likelihood`` and ``trace`` hold.

    ``counts`` (n,) > 0, how often each sample counts. ``columns``: places of the columns of x that
    experts, and that gates look at; other coefficients, zero in the starts, stay so.

    A common sigma that is learned does not fall below 1e-7 of the root mean square of y
    (``sigma_floor``): there the outputs have no noise. An expert without samples stays put.

    Memory does not grow with n beyond the data. Raises ValueError for an unknown name in ``learn``.
    """
    known = (*_PARAMETERS, "sigmas")
    unknown = set(learn) - set(known)
    if unknown or {"sigma", "sigmas"} <= set(learn):
        raise ValueError(
            f'learn: expected names out of {known}, "sigma" or "sigmas" but not both; '
            f"got {sorted(learn)}"
        )
    if regressors.ndim == 2:
        regressors, gating = regressors[None], gating[None]
    starts, k, _ = regressors.shape
    with torch.inference_mode():
        data = Samples(x, y, starts, k, learn, hard, counts, columns, prior_variance)
        level = torch.as_tensor(sigma, dtype=x.dtype)
        own = data.own or level.ndim == 2
        level = (level if level.ndim == 2 else level.expand(starts)[:, None]).expand(starts, k)
        begin = regressors.clone(), gating.expand_as(regressors).clone(), level.clone()
        plain = counts is None and columns is None and not (record or hard)
        alike = x.is_cpu and x.dtype == y.dtype == level.dtype == gating.dtype == regressors.dtype
        if plain and alike and nonlinearity.is_linear and _is_small(data, x, starts, k):
            run = _climbed_small(data, x, y, begin, own, iterations, tolerance)
        else:
            state = expectation(data, nonlinearity, *begin)
            run = _climbed(data, nonlinearity, state, own, iterations, tolerance, record)
    return run.outside()


def _is_small(data: Samples, x: Tensor, starts: int, k: int) -> bool:
    """Whether NumPy is quicker, and has all that it takes."""
    formed = data.free == 0 or data.pairs > 0
    return x.dtype in RIDGE and formed and is_small(starts, k + data.pairs, len(x), x.shape[1])


def _climbed_small(
    data: Samples,
    x: Tensor,
    y: Tensor,
    begin: tuple[Tensor, Tensor, Tensor],
    own: bool,
    iterations: int,
    tolerance: float,
) -> EMResult:
    """In NumPy."""
    end = climb_small(SmallSamples(data, x, y), *begin, iterations, tolerance)
    parts = (end.regressors, end.gating, end.sigma, end.trace, end.iterations, end.converged)
    regressors, weights, sigma, trace, spent, converged = map(torch.from_numpy, parts)
    level = sigma if own else sigma[:, 0].clone()
    passes = int(spent.sum())
    return EMResult(regressors, weights, level, trace[-1], spent, converged, trace, passes)


def _climbed(
    data: Samples,
    g: Nonlinearity,
    state: EStep,
    own: bool,
    iterations: int,
    tolerance: float,
    record: bool,
) -> EMResult:
    """Iterations of all starts, each until it stops. own: whether each expert has its own sigma."""
    starts = len(state.log_likelihood)
    end = [part.clone() for part in (state.regressors, state.gating, state.sigma)]
    spent = torch.zeros(starts, dtype=torch.int64)
    converged = torch.zeros(starts, dtype=torch.bool)
    running = torch.arange(starts)
    trace, path = [state.log_likelihood], [_snapshot(end, own)]
    for iteration in range(1, iterations + 1):
        state, gain, dropped = iterated(data, g, state)
        value = state.log_likelihood
        trace.append(value if len(value) == starts else trace[-1].index_copy(0, running, value))
        done = gain < tolerance
        stop = bool(done.any())
        if record or stop or iteration == iterations:
            spent[running] = iteration
            for mine, theirs in zip(end, vars(state).values(), strict=False):
                mine[running] = theirs
        if record:
            path.append(_snapshot(end, own))
        if stop:
            converged[running[done & ~dropped]] = True
            running, state = running[~done], state[~done]
        if len(running) == 0:
            break
    return EMResult(
        *_snapshot(end, own),
        trace[-1].clone(),
        spent,
        converged,
        torch.stack(trace),
        int(spent.sum()),
        tuple(path) if record else (),
    )


def _snapshot(end: list[Tensor], own: bool) -> tuple[Tensor, Tensor, Tensor]:
    regressors, gating, sigma = end
    return regressors.clone(), gating.clone(), (sigma if own else sigma[:, 0]).clone()
