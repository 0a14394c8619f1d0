"""Fisher information, the Cramer-Rao bound, and standard errors of a fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from moe.checks import as_samples
from moe.likelihood.information import information
from moe.likelihood.sandwich import inverted
from moe.model.mixture import MoE
from moe.randomness import stream


@dataclass(frozen=True)
class ParameterErrors:
    """One standard deviation per parameter: regressors (k, d), gating (k, d) with a last row of
    zeros, sigma (0 where sigma is known); covariance (P, P) of theta = (A, W, log sigma)."""

    regressors: Tensor
    gating: Tensor
    sigma: float
    covariance: Tensor

    @property
    def regressor_mse(self) -> float:
        """Sum of the variances of all regressor entries, E|A_hat - A|_F^2."""
        return float(self.regressors.square().sum())

    @property
    def gating_mse(self) -> float:
        """Sum of the variances of all gating entries, E|W_hat - W|_F^2."""
        return float(self.gating.square().sum())


def _from_information(matrix: Tensor, model: MoE, sigma_known: bool, name: str) -> ParameterErrors:
    kept = matrix[:-1, :-1] if sigma_known else matrix
    covariance = torch.zeros_like(matrix)
    size = len(kept)
    covariance[:size, :size] = inverted(kept, name)
    return _from_covariance(covariance, model)


def _from_covariance(covariance: Tensor, model: MoE) -> ParameterErrors:
    k, d = model.k, model.d
    deviation = covariance.diagonal().sqrt()
    gating = torch.zeros_like(model.gating)
    gating[:-1] = deviation[k * d : -1].reshape(k - 1, d)
    return ParameterErrors(
        deviation[: k * d].reshape(k, d),
        gating,
        model.sigma * float(deviation[-1]),
        covariance,
    )


def fisher_information(
    model: MoE, *, samples: int = 100_000, generator: torch.Generator | None = None
) -> Tensor:
    """Fisher information of one sample, E[score score'] at ``model``, (P, P).

    By Monte Carlo over ``samples`` draws from the model itself (seed 0 unless a generator is
    given). theta = (A, W without its last row, log sigma). Derived.
    """
    generator = generator or stream("information", 0)
    x, y = model.sample(samples, generator)
    return information(model, x, y, "outer")[2] / samples


def cramer_rao(
    truth: MoE,
    n: int,
    *,
    sigma_known: bool = True,
    samples: int = 100_000,
    generator: torch.Generator | None = None,
) -> ParameterErrors:
    """The smallest standard deviations any unbiased estimator from n samples can have.

    The inverse of n times the Fisher information at the truth. ``sigma_known`` says whether the
    noise level is given (paper) or one more parameter. Raises ValueError when the information is
    singular: the parameters are then not identified.
    """
    matrix = n * fisher_information(truth, samples=samples, generator=generator)
    return _from_information(matrix, truth, sigma_known, "truth")


def standard_errors(
    model: MoE, x: Any, y: Any, *, sigma_known: bool = False, robust: bool = False
) -> ParameterErrors:
    """Standard errors of a maximum likelihood fit, from the observed information H at ``model``.

    H^-1; or, ``robust``, the sandwich H^-1 J H^-1, J the sum of the outer products of the scores
    (Huber 1967; White 1982): the same in the limit where the model is true, and the covariance
    about the limit of the fit where it is not (book, chapter 10).

    x (n, d), y (n,). Raises ValueError when the observed information is not positive definite.
    """
    x, y = as_samples(x, y)
    x, y = x.to(model.regressors.dtype), y.to(model.regressors.dtype)
    plain = _from_information(information(model, x, y)[2], model, sigma_known, "model")
    if not robust:
        return plain
    outer = information(model, x, y, "outer")[2]
    return _from_covariance(plain.covariance @ outer @ plain.covariance, model)
