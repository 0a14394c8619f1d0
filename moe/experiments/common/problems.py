"""What every contestant is given, and what it hands back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.metrics import gating_error, regressor_error_of
from moe.model.mixture import MoE, random_moe
from moe.model.nonlinearity import Nonlinearity
from moe.randomness import stream

SUCCESS = 0.05
_BLOCK = 512


class NoStartError(RuntimeError):
    """A method of moments that found no start in these samples."""


@dataclass(frozen=True)
class Setting:
    """A kind of problem: k random unit experts in dimension d (``orthonormal``: orthogonal ones),
    gates of norm gate_norm orthogonal to them (0: no gates, and every method knows it), n samples.
    """

    k: int
    d: int
    n: int
    sigma: float = 0.05
    gate_norm: float = 0.0
    orthonormal: bool = False


@dataclass(frozen=True, eq=False)
class Problem:
    """Samples x (n, d), y (n,), what the theory takes as known (k, nonlinearity, sigma, gated), and
    a seed for whatever is random. ``truth`` is for the oracle and for the errors only."""

    x: Tensor
    y: Tensor
    k: int
    nonlinearity: Nonlinearity
    sigma: float
    gated: bool
    seed: int
    truth: MoE

    def generator(self) -> torch.Generator:
        """For what a solver draws beside ``starts``: the same stream at every call."""
        return stream("solver", self.seed)

    def starts(self, count: int) -> Tensor:
        """Regressors (count, k, d) ~ N(0, I/d): rows of length about one. The first of them is the
        same for every count."""
        d, generator = self.x.shape[1], stream("starts", self.seed)
        rows = [
            torch.randn(self.k, d, generator=generator, dtype=self.x.dtype) for _ in range(count)
        ]
        return torch.stack(rows) / d**0.5


@dataclass(frozen=True, eq=False)
class Fit:
    """regressors, gating (k, d), sigma; passes: E-steps over all samples (gradient descent: visits
    to samples, over their number), those of starts that lost included; converged: what ``recover``
    says of itself, None for all others."""

    regressors: Tensor
    gating: Tensor
    sigma: float
    passes: int
    converged: bool | None = None


def draw(setting: Setting, seed: int) -> Problem:
    """The problem of that seed: n samples are the first n of one endless sequence, so that problems
    of one seed that differ in n only share truth, samples and starts. Deterministic."""
    truth = random_moe(
        setting.k,
        setting.d,
        sigma=setting.sigma,
        gate_norm=setting.gate_norm,
        orthonormal=setting.orthonormal,
        generator=stream("truth", seed),
    )
    blocks = range(math.ceil(setting.n / _BLOCK))
    parts = [truth.sample(_BLOCK, stream("data", seed, block)) for block in blocks]
    x, y = (torch.cat(values)[: setting.n] for values in zip(*parts, strict=True))
    return Problem(
        x,
        y,
        setting.k,
        truth.nonlinearity,
        setting.sigma,
        setting.gate_norm > 0,
        seed,
        truth,
    )


def errors(fit: Fit, truth: MoE) -> tuple[float, float]:
    """E_reg and E_gate; (1, NaN) where the fit is not finite."""
    if not bool(torch.isfinite(fit.regressors).all() and torch.isfinite(fit.gating).all()):
        return 1.0, float("nan")
    regressor = regressor_error_of(fit.regressors, truth.regressors)
    gating = fit.gating - fit.gating[-1]
    return regressor, gating_error(MoE(fit.regressors, gating, 1.0, truth.nonlinearity), truth)
