"""What ``recover`` hands back: the fit, the stages on the way, and how far to trust them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from moe.efficiency import ParameterErrors, standard_errors
from moe.model import MoE


@dataclass(frozen=True, eq=False)
class Stage:
    """What one stage of ``recover`` knew when it ended.

    name: "moments", "L4", "L_log" or "likelihood"; regressors (k, d) and gating (k, d), None where
    not yet known; sigma, None where not yet known; trace: what the stage's solver recorded (T,) -
    eigenvalues of M for "moments", the values of L_4 reached by the starts for "L4", the
    log-likelihood in nats per sample for the others; iterations; seconds of wall time.
    """

    name: str
    regressors: Tensor | None
    gating: Tensor | None
    sigma: float | None
    trace: Tensor
    iterations: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Recovery:
    """What ``recover`` found.

    model: the fitted MoE; proportions (k,): estimates of E[p_i(x)] from the moments, in the
    model's order (NaN where they gave no start); stages in order; log_likelihood: summed over
    samples, in nats; mu, lam: the weights L_4 was minimised with; converged: the likelihood stage
    converged and nothing speaks against the fit; reason: in words.
    """

    model: MoE
    proportions: Tensor
    stages: tuple[Stage, ...]
    log_likelihood: float
    mu: float
    lam: float
    converged: bool
    reason: str
    _samples: tuple[Tensor, Tensor] = field(repr=False)
    _sigma_known: bool = field(repr=False)

    def stage(self, name: str) -> Stage:
        """The stage of that name. Raises KeyError naming the stages there are."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(f"stage {name!r}: expected one of {[s.name for s in self.stages]}")

    @cached_property
    def standard_errors(self) -> ParameterErrors:
        """Standard errors of the fitted parameters, from the observed Fisher information."""
        return standard_errors(self.model, *self._samples, sigma_known=self._sigma_known)
