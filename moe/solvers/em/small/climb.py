"""Iterations of all starts, each until it stops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from moe.solvers.em.small.expectation import SmallSamples, expectation_small
from moe.solvers.em.small.maximisation import iterated_small
from moe.solvers.linear import Array

_MOST_ENTRIES, _MOST_PRODUCTS = 30_000, 300_000


def is_small(starts: int, rows: int, n: int, d: int) -> bool:
    """Whether a pass of S starts is so short that NumPy is quicker (measured). rows: weights a
    sample has in a start, k and one for each pair of gates."""
    return starts * rows * n <= _MOST_ENTRIES and n * d * d <= _MOST_PRODUCTS


@dataclass(frozen=True)
class SmallEnd:
    """Where each start ended: regressors, gating (S, k, d), sigma (S, k); iterations (S,),
    converged (S,); trace (T, S) of log-likelihoods."""

    regressors: Array
    gating: Array
    sigma: Array
    iterations: NDArray[np.int64]
    converged: NDArray[np.bool_]
    trace: Array


@np.errstate(all="ignore")  # what is not finite is not stepped to
def climb_small(
    data: SmallSamples,
    regressors: Tensor,
    gating: Tensor,
    sigma: Tensor,
    iterations: int,
    tolerance: float,
) -> SmallEnd:
    """EM from regressors, gating (S, k, d) and sigma (S, k) until an iteration gains less than
    ``tolerance``."""
    step = expectation_small(data, regressors.numpy(), gating.numpy(), sigma.numpy())
    starts = len(step.sigma)
    ends = [part.copy() for part in (step.regressors, step.gating, step.sigma)]
    spent, converged = np.zeros(starts, np.int64), np.zeros(starts, bool)
    running, trace = np.arange(starts), [step.log_likelihood]
    for iteration in range(1, iterations + 1):
        step, gain, dropped = iterated_small(data, step)
        done = gain < tolerance
        trace.append(trace[-1].copy())
        trace[-1][running] = step.log_likelihood
        if done.any() or iteration == iterations:
            for end, part in zip(ends, (step.regressors, step.gating, step.sigma), strict=True):
                end[running] = part
            spent[running] = iteration
            converged[running[done & ~dropped]] = True
            running, step = running[~done], step[~done]
        if len(running) == 0:
            break
    return SmallEnd(ends[0], ends[1], ends[2], spent, converged, np.stack(trace))
