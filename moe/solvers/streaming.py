"""Moments of data that never fit in memory: from chunks, from arrays on disk, from Dask arrays."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from moe.checks import check_experts, check_positive
from moe.exceptions import (
    DependentFeaturesError,
    DoubtfulFitWarning,
    TooFewEigenvaluesError,
    warn,
)
from moe.model.nonlinearity import Nonlinearity, as_nonlinearity
from moe.moments.best import best_transforms
from moe.moments.bounded import BoundedTransform
from moe.moments.estimate import (
    DIRECT_FEATURES,
    METHODS,
    TOLERANCE,
    Method,
    Moments,
    ScoreMoment,
    chosen,
)
from moe.moments.hermite import feature_count
from moe.moments.least_squares import PowerSums, fit_matrix_free, power_sums
from moe.moments.passes import Passes, open_source
from moe.moments.transforms import OutputTransform, solved_transform, warn_if_even
from moe.moments.whitening import whiten
from moe.solvers.l4 import L4Moments, NoMinimumError, noise_level


def stream_moments(
    source: Any,
    transform: OutputTransform,
    *,
    basis: Tensor | None = None,
    method: Method = "average",
    workers: int = 1,
) -> Moments:
    """`Moments` of all samples of ``source``, in one pass; memory does not grow with n.

    source, workers: chunks, functions that return chunks, arrays on disk or Dask arrays, and among
    how many processes they are divided; see `moe.moments.passes.open_source`.
    transform, basis, method: see `Moments`.

    Raises TypeError or ValueError for a source or samples that cannot be used, naming the chunk.
    """
    return open_source(source, workers).fold(
        partial(_accumulated, transform=transform, basis=basis, method=method)
    )


def stream_l4_moments(
    source: Any,
    k: int,
    nonlinearity: str | Callable[[Tensor], Tensor] | Nonlinearity = "linear",
    sigma: float | None = None,
    *,
    method: Literal["auto", "average", "centred", "least_squares"] = "auto",
    bounded: bool = False,
    workers: int = 1,
) -> tuple[L4Moments, Tensor]:
    """What L_4 needs of the samples, and E[y x] (d,): ``minimise_l4(*stream_l4_moments(...), g)``.

    The first pass over ``source`` (see `stream_moments`) gives M, E[y x] and, where ``sigma`` is
    None, the noise level from the variance of y (Q_2 and c_2 do not depend on sigma: derived); the
    second one T in M's top-k eigenspace. Those two passes suffice for the plain average (memory
    O(d^2 + k^4)) and for least squares on few features, d <= 12 and k <= 4; beyond, each iteration
    of conjugate gradients is one more pass, about five in all with many samples, and so is
    centring where ``sigma`` is to be found first. "auto" chooses as
    `moe.moments.estimate.score_moment` does. In float64; inputs are taken to be N(0, I).

    bounded: by the transforms that `moe.moments.best.best_transforms` finds, for Gaussian noise,
    with one pass more where Q_2 is among them; with method "auto" only.

    Raises TypeError for a source that can be iterated over only once, NoMinimumError where M has
    fewer than k positive eigenvalues, and as `stream_moments`.
    """
    if method not in ("auto", *METHODS):
        raise ValueError(f"method: expected one of {('auto', *METHODS)}, got {method!r}")
    if bounded and method != "auto":
        raise ValueError(f"method: expected 'auto' where bounded is True, got {method!r}")
    k = check_experts(k, sys.maxsize)
    passes = open_source(source, workers)
    if not passes.again:
        raise TypeError(
            "source: expected chunks that can be iterated over again (T needs a second pass after "
            f"M), got a {type(source).__name__}; pass a list of functions that return the chunks, "
            "an object whose __iter__ starts anew, or a pair of arrays"
        )
    g = as_nonlinearity(nonlinearity)
    known = None if sigma is None else check_positive(sigma, "sigma")
    quadratic = solved_transform(g, known or 0.0, 2)
    warn_if_even(g)
    first = passes.fold(partial(_gathered, transform=quadratic, method=method))
    level = first.noise_level(g) if known is None else known
    quadratic, quartic = (solved_transform(g, level, m) for m in (2, 4))
    check_experts(k, len(first.outputs))
    if bounded:
        quadratic, quartic = best_transforms(g, level, len(first.outputs), k, first.count)
    gathered = first
    if isinstance(quadratic, BoundedTransform):
        gathered = passes.fold(partial(_gathered, transform=quadratic, method="average"))
    second = _estimate(passes, gathered, quadratic, _way(quadratic, method))
    try:
        whitening = whiten(second.tensor, k)
    except TooFewEigenvaluesError as error:
        raise NoMinimumError(str(error)) from error
    way = _way(quartic, method)
    inside = passes.fold(partial(_gathered, transform=quartic, method=way, basis=whitening.basis))
    if inside.count != first.count:
        raise ValueError(
            f"source: expected the same samples in every pass, got {first.count} in the first "
            f"and {inside.count} in the second"
        )
    fourth = _estimate(passes, inside, quartic, way, whitening.basis)
    moments = L4Moments(level, second, fourth, whitening, whitening.apply(fourth.tensor))
    return moments, first.outputs / first.count


def _way(transform: OutputTransform, method: str) -> str:
    """The method asked for, or the plain average, whose constant a bounded transform has chosen."""
    return "average" if isinstance(transform, BoundedTransform) else method


@dataclass(frozen=True)
class _Sums:
    """What one pass gathers: the outputs' mean and squared deviations, sum y x, and moments."""

    count: int
    mean: float
    deviations: float
    outputs: Tensor
    moments: Moments | PowerSums

    def merge(self, other: _Sums) -> _Sums:
        if len(self.outputs) != len(other.outputs):
            raise ValueError(
                "source: expected the same number of columns in all chunks, "
                f"got {len(self.outputs)} and {len(other.outputs)}"
            )
        count, gap = self.count + other.count, other.mean - self.mean
        return _Sums(
            count,
            self.mean + gap * other.count / count,
            self.deviations + other.deviations + gap**2 * self.count * other.count / count,
            self.outputs + other.outputs,
            copy(self.moments).merge(other.moments),  # type: ignore[arg-type]
        )

    def noise_level(self, g: Nonlinearity) -> float:
        return noise_level(self.deviations / max(self.count - 1, 1), g)


def _accumulated(
    x: Tensor, y: Tensor, *, transform: OutputTransform, basis: Tensor | None, method: Method
) -> Moments:
    return Moments(transform, x.shape[1], basis, method).update(x, y)


def _gathered(
    x: Tensor,
    y: Tensor,
    *,
    transform: OutputTransform,
    method: str,
    basis: Tensor | None = None,
) -> _Sums:
    x, y = x.double(), y.double()
    moments: Moments | PowerSums
    if method in ("average", "centred"):
        way: Method = "average" if method == "average" else "centred"
        moments = _accumulated(x, y, transform=transform, basis=basis, method=way)
    elif _features(transform, x.shape[1], basis) <= DIRECT_FEATURES:
        moments = _accumulated(x, y, transform=transform, basis=basis, method="least_squares")
    else:
        moments = _product(x, y, transform=transform, basis=basis)
    mean = y.mean()
    return _Sums(len(y), float(mean), float((y - mean).square().sum()), y @ x, moments)


def _product(
    x: Tensor,
    y: Tensor,
    *,
    transform: OutputTransform,
    basis: Tensor | None,
    coefficients: Sequence[Tensor] | None = None,
) -> PowerSums:
    x, q = x.double(), transform(y.double()) / transform.normaliser
    return power_sums(x, q, transform.degree, basis, coefficients)


def _features(transform: OutputTransform, d: int, basis: Tensor | None) -> int:
    return feature_count(d if basis is None else basis.shape[1], transform.degree)


def _estimate(
    passes: Passes,
    sums: _Sums,
    transform: OutputTransform,
    method: str,
    basis: Tensor | None = None,
) -> ScoreMoment:
    """The moment from what a pass has gathered, with more passes where least squares need them."""
    degree, moments, n = transform.degree, sums.moments, sums.count
    order = len(sums.outputs) if basis is None else basis.shape[1]
    features = feature_count(order, degree)
    best = chosen(transform, order, n) if method == "auto" else method
    if best == "least_squares":
        if isinstance(moments, Moments):
            try:
                return ScoreMoment(moments.tensor(), "least_squares", n, features)
            except DependentFeaturesError:
                if method == "least_squares":
                    raise
        else:
            step = partial(_product, transform=transform, basis=basis)
            fit, converged = fit_matrix_free(
                lambda c: moments if c is None else passes.fold(partial(step, coefficients=c)),
                *(order, degree, TOLERANCE, torch.float64),
            )
            if not converged:
                warn(
                    "stream_l4_moments: conjugate gradients stopped before they converged; are the "
                    "inputs close to N(0, I), and n well above the number of features?",
                    DoubtfulFitWarning,
                )
            return ScoreMoment(fit, "least_squares", n, features, converged)
    plain: Method = "average" if method == "average" else "centred"
    made_for_it = isinstance(moments, Moments) and moments.transform.sigma == transform.sigma
    if isinstance(moments, Moments) and (plain == "average" or made_for_it):
        return ScoreMoment(moments.tensor(plain), plain, n, features)
    again = passes.fold(partial(_gathered, transform=transform, basis=basis, method=plain)).moments
    assert isinstance(again, Moments)
    return ScoreMoment(again.tensor(), plain, n, features)
