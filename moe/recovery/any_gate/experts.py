"""What ``recover(..., gate="any")`` hands back: experts, without a model of the gate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from moe.likelihood.hausman import Hausman
from moe.model.nonlinearity import Nonlinearity
from moe.recovery.any_gate.classified_gate import ClassifiedGate
from moe.recovery.any_gate.softmax import SoftmaxGate


@dataclass(frozen=True, eq=False)
class Experts:
    """What ``recover(..., gate="any")`` found: the experts, and nothing assumed of the gate.

    regressors (k, d), by falling proportions (k,); sigma; nonlinearity; moments (k, d): the experts
    from L_4 or third moments alone, unit rows, in the same order, NaN where the moments refused;
    gate: the gate that was chosen, x (n, d) -> (n, k), a classified one or softmax; None where none
    beat constant proportions; chosen: its name among the gains; gains: for each that was tried,
    log-likelihood over constant proportions less the number of parameters it has more, in nats (an
    estimate of what new samples would gain: Akaike 1973); hausman: the test that the softmax
    likelihood and the best of the others estimate the same experts (Hausman 1978), None where it
    was not made; log_likelihood in nats; origin: "L4", "T3" or "annealed"; doubts: what speaks
    against the fit; refusals: which way gave no start.

    ``chosen`` is "softmax" only if that gains most and the test does not reject at the level 0.05.
    A bias that the test does not see stays: the nearer to
    softmax the gate, and the fewer the samples, the likelier (book, chapter 10).
    """

    regressors: Tensor
    sigma: float
    proportions: Tensor
    nonlinearity: Nonlinearity
    moments: Tensor
    gate: ClassifiedGate | SoftmaxGate | None
    chosen: str | None
    gains: dict[str, float]
    hausman: Hausman | None
    log_likelihood: float
    origin: str
    doubts: tuple[str, ...]
    refusals: tuple[str, ...]
    covariance: Tensor

    @property
    def gating(self) -> Tensor | None:
        """The weights (k, d) of a softmax gate, None of any other."""
        return self.gate.weights if isinstance(self.gate, SoftmaxGate) else None

    @property
    def converged(self) -> bool:
        """EM converged and nothing speaks against the fit. Where an expert is rarely asked, and
        samples are few, the tests may see nothing against a wrong one (book, chapter 10)."""
        return not self.doubts

    @property
    def reason(self) -> str:
        """All of it in words."""
        return (
            "; ".join([*self.doubts, *self.refusals])
            or "EM converged, and nothing was seen against the fit"
        )

    @cached_property
    def standard_errors(self) -> Tensor:
        """Of the regressors, (k, d): the sandwich's, since the gate need not be the true one; as if
        the gate that was chosen had been the only candidate.

        NaN for nonlinear g, whose span is that of the moments, with an error of its own, and where
        the outputs show no noise: a likelihood has no curvature there."""
        size = self.regressors.numel()
        return self.covariance.diagonal()[:size].sqrt().view_as(self.regressors)

    def weights(self, x: Tensor) -> Tensor:
        """The gate at x (n, d), or the proportions where there is none: (n, k)."""
        return self.proportions.expand(len(x), -1) if self.gate is None else self.gate(x)

    def mean(self, x: Tensor) -> Tensor:
        """E[y | x] with those weights, (n,)."""
        return (self.weights(x) * self.nonlinearity(x @ self.regressors.T)).sum(1)
