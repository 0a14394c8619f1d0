"""What ``recover`` hands back: the fit, the stages on the way, and how far to trust them."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from torch import Tensor

from moe.likelihood.efficiency import ParameterErrors, standard_errors
from moe.model.mixture import MoE


class Origin(StrEnum):
    """Where the start that won came from."""

    FOURTH_MOMENTS = "L4"
    THIRD_MOMENTS = "T3"
    SEARCH = "annealed"
    GATES = "annealed with gates"
    GIVEN = "given"
    LEAST_SQUARES = "least squares"


_WON = {
    Origin.THIRD_MOMENTS: "the start from third moments won",
    Origin.SEARCH: "a random annealed start won",
    Origin.GATES: "a random start with gates won",
    Origin.GIVEN: "the given start won",
}


@dataclass(frozen=True, eq=False)
class Stage:
    """What one stage of ``recover`` knew when it ended.

    name: "moments", "L4", "L_log", "gates", "search" or "likelihood"; regressors and gating (k, d)
    and sigma, None where not yet known; trace (T,), what the stage's solver recorded: eigenvalues
    of M for "moments", the values of L_4 reached by the starts for "L4", the log-likelihood in nats
    per sample for the others, "gates" and "search" that of the ends they hand on; iterations, where
    there are several starts the passes of all together; seconds of wall time. Where EM goes on from
    a part of the samples to all of them, or from a learned sigma to the given one, the trace joins
    both runs and need not rise where they meet.
    """

    name: str
    regressors: Tensor | None
    gating: Tensor | None
    sigma: float | None
    trace: Tensor
    iterations: int
    seconds: float

    @property
    def value(self) -> float:
        """What it reached: the largest eigenvalue of M, the lowest L_4 of all starts, or the
        log-likelihood in nats per sample."""
        if self.name in ("L_log", "likelihood"):
            return float(self.trace[-1])
        return float(self.trace.min() if self.name == "L4" else self.trace.max())


@dataclass(frozen=True, eq=False)
class Recovery:
    """What ``recover`` found.

    model: the fitted MoE, its experts by falling share of the samples; proportions (k,): estimates
    of E[p_i(x)] from the moments, in the model's order (NaN where they gave no start); stages in
    order; log_likelihood: summed over samples, in nats; mu, lam: the weights L_4 was minimised
    with; passes: over samples, one for each start and iteration of EM, those of the search and of
    starts that lost included (where EM worked on a part of the samples, over that part); origin:
    where the start that won came from; supporters: how many ways that have nothing in common
    ended where it did, its own included (a given start supports
    itself only); doubts: what speaks against the fit, in words, or says that EM had not converged;
    refusals: which way gave no start, and why, and, where there are doubts and another start won,
    whether L_4 alone had too few samples (``moe.samples_for_l4``); noiseless: every sample is
    fitted exactly (``moe.likelihood.diagnostics.noiseless``), and a sigma that was learned is at
    its floor, 1e-7 of the outputs.

    Pickles hold the standard errors, where there are any, instead of the samples.
    """

    model: MoE
    proportions: Tensor
    stages: tuple[Stage, ...]
    log_likelihood: float
    mu: float
    lam: float
    passes: int
    origin: Origin
    supporters: int
    doubts: tuple[str, ...]
    refusals: tuple[str, ...]
    noiseless: bool
    _samples: tuple[Tensor, Tensor] | None = field(repr=False)
    _sigma_known: bool = field(repr=False)

    @property
    def converged(self) -> bool:
        """The likelihood stage converged and nothing speaks against the fit."""
        return not self.doubts

    @property
    def reason(self) -> str:
        """All of it in words."""
        said = [*self.doubts, *(why for why in self.refusals if why.startswith("L_4"))]
        if self.noiseless:
            said.append("the outputs have no noise: every sample is fitted exactly")
        if self.origin in _WON:
            said.append(_WON[self.origin])
        return "; ".join(said) or "joint EM converged and the fit is calibrated"

    def stage(self, name: str) -> Stage:
        """The stage of that name. Raises KeyError naming the stages there are."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(f"stage {name!r}: expected one of {[s.name for s in self.stages]}")

    @cached_property
    def standard_errors(self) -> ParameterErrors:
        """Standard errors of the fitted parameters, from the observed Fisher information.

        Raises ValueError where that is not positive definite.
        """
        if self._samples is None:
            raise ValueError(
                "standard_errors: expected a positive definite information matrix, which this fit "
                "did not have when it was pickled"
            )
        return standard_errors(self.model, *self._samples, sigma_known=self._sigma_known)

    def __getstate__(self) -> dict[str, Any]:
        with suppress(ValueError):
            _ = self.standard_errors
        return {**self.__dict__, "_samples": None}


class Stopwatch:
    """Wall time since the last lap."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap, which ends here."""
        now = time.perf_counter()
        elapsed, self._last = now - self._last, now
        return elapsed
