"""Moments E[Q_m(y) S_m(B'x)] / c_m from samples: streamed, merged, or in one call."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from moe.checks import as_floating, as_samples, check_positive
from moe.exceptions import DoubtfulFitWarning, warn
from moe.moments.bounded import BoundedTransform
from moe.moments.centring import Method as Method
from moe.moments.centring import centre, cheapest
from moe.moments.hermite import (
    feature_count,
    hermite_features,
    hermite_from_powers,
    index_table,
    root_factorials,
    weighted_powers,
)
from moe.moments.least_squares import (
    chunks,
    fit_matrix_free,
    pass_entries,
    power_sums,
    solve_normal_equations,
)
from moe.moments.transforms import OutputTransform

METHODS: tuple[Method, ...] = ("average", "centred", "least_squares")
SAMPLES_PER_FEATURE = {2: 3, 3: 5, 4: 10}
DIRECT_FEATURES = 100
TOLERANCE = 1e-3
MAX_STREAMED_FEATURES = 5000


class Moments:
    """Running estimate of T = E[Q_m(y) S_m(B'x)] / c_m, a symmetric tensor of order m.

    "average": the mean of Q_m(y) S_m(B'x) / c_m (paper); memory O(k^m).
    "centred": the same with Q_m(y) - b, b the best constant (`moe.moments.centring`; derived): as
    unbiased, and never less accurate under the theory's assumptions.
    "least_squares": the degree-m coefficients of the ordinary least squares fit of Q_m(y) / c_m on
    all F Hermite features of degree <= m (derived: the same limit, less noise; book, chapter 3);
    memory O(F^2). Both are sums over samples: batches may come in any order and on any worker.

    Args:
        transform: Q_m with its normaliser c_m.
        dim: d, the number of inputs.
        basis: B (d, k) with orthonormal columns; the identity if None.
        method: "average", "centred" or "least_squares".
    """

    def __init__(
        self,
        transform: OutputTransform,
        dim: int,
        basis: Tensor | None = None,
        method: Method = "average",
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"method: expected one of {METHODS}, got {method!r}")
        self.transform = transform
        self.dim = int(dim)
        self.basis = None if basis is None else _as_basis(basis, self.dim)
        self.method = method
        self.count = 0
        order = self.dim if self.basis is None else self.basis.shape[1]
        self.features = feature_count(order, transform.degree)
        self._order = order
        self._dtype: torch.dtype | None = None
        if method != "least_squares":
            self._sums = [torch.zeros((order,) * transform.degree, dtype=torch.float64)]
        elif self.features > MAX_STREAMED_FEATURES:
            raise ValueError(
                f"method: 'least_squares' would keep the Gram matrix of {self.features} features "
                f"(degree {transform.degree} in {order} dimensions), more than "
                f"{MAX_STREAMED_FEATURES}; use 'average', a basis, or score_moment"
            )
        else:
            shapes = ((self.features, self.features), (self.features,))
            self._sums = [torch.zeros(shape, dtype=torch.float64) for shape in shapes]

    def update(self, x: Any, y: Any) -> Moments:
        """Add samples x (n, d), y (n,); returns self. Raises ValueError, TypeError on bad data."""
        x, y = as_samples(x, y)
        if x.shape[1] != self.dim:
            raise ValueError(f"x: expected {self.dim} columns, got shape {tuple(x.shape)}")
        return self._add(x, y)

    def _add(self, x: Tensor, y: Tensor) -> Moments:
        degree, average = self.transform.degree, self.method != "least_squares"
        shift = centre(self.transform, self._order) if self.method == "centred" else 0.0
        q = (self.transform(y) - shift) / self.transform.normaliser
        entries = pass_entries(self._order, degree) if average else 2 * self.features
        sums = [torch.zeros((), dtype=torch.float64)] * (degree + 1 if average else 2)
        for z, weights in chunks(x, q, self.basis, entries):
            if average:
                fresh = weighted_powers(z, weights, degree)
            else:
                features = hermite_features(z, degree)
                fresh = [features.T @ features, features.T @ weights]
            sums = [total + f.double() for total, f in zip(sums, fresh, strict=True)]
        self._accumulate([hermite_from_powers(sums)] if average else sums)
        self.count += len(y)
        self._dtype = torch.promote_types(x.dtype, self._dtype or x.dtype)
        return self

    def _accumulate(self, fresh: list[Tensor]) -> None:
        self._sums = [total + f.to(total) for total, f in zip(self._sums, fresh, strict=True)]

    def merge(self, other: Moments) -> Moments:
        """Add what `other` has seen; returns self. Raises ValueError unless both estimate alike."""
        same_basis = (self.basis is None and other.basis is None) or (
            self.basis is not None and other.basis is not None and self.basis.equal(other.basis)
        )
        mine = (self.transform, self.dim, self.method)
        if mine != (other.transform, other.dim, other.method) or not same_basis:
            raise ValueError(
                "other: expected the same transform, dim, basis and method, got "
                f"degree {other.transform.degree}, dim {other.dim}, method {other.method!r}, "
                f"{'the same' if same_basis else 'another'} basis"
            )
        self._accumulate(other._sums)
        self.count += other.count
        if other._dtype is not None:
            self._dtype = torch.promote_types(other._dtype, self._dtype or other._dtype)
        return self

    def tensor(self, method: Method | None = None) -> Tensor:
        """The estimate (k, ..., k), in the dtype of the samples. Raises ValueError if too few.

        method: `self.method` if None; the sums for least squares hold those of the others too.
        """
        degree, order = self.transform.degree, self._order
        if self.count == 0:
            raise ValueError("moments: expected at least 1 sample, got 0")
        if self.method != "least_squares":
            if method not in (None, self.method):
                raise ValueError(f"method: these moments accumulate {self.method!r} only")
            return (self._sums[0] / self.count).to(self._dtype)
        gram, target = self._sums
        if method in ("average", "centred"):
            if method == "centred":
                shift = centre(self.transform, order) / self.transform.normaliser
                target = target - shift * gram[:, 0]  # the first feature is the constant
            roots = root_factorials(order, degree)
            top = target[-len(roots) :] * roots / self.count
            return top[index_table(order, degree)].to(self._dtype)
        fit = solve_normal_equations(gram, target, self.count, order, degree, self._dtype)
        return fit.to(self._dtype)


@dataclass(frozen=True, eq=False)
class ScoreMoment:
    """An estimate of E[Q_m(y) S_m(B'x)] / c_m and how it came about.

    Attributes:
        tensor: (k, ..., k), symmetric, of order m.
        method: "average", "centred" or "least_squares".
        count: samples n.
        features: F, the coefficients that least squares fits (or would fit).
        converged: False when conjugate gradients stopped early (a warning was given).
    """

    tensor: Tensor
    method: Method
    count: int
    features: int
    converged: bool = True


def score_moment(
    x: Any,
    y: Any,
    transform: OutputTransform,
    method: Literal["auto", "average", "centred", "least_squares"] = "auto",
    basis: Tensor | None = None,
    tolerance: float = TOLERANCE,
) -> ScoreMoment:
    """E[Q_m(y) S_m(B'x)] / c_m from samples in memory; see `Moments` for the methods.

    "auto" takes the centred average, or least squares where that errs less with many samples, by
    the exact errors for orthonormal experts of equal share (`moe.moments.centring`: they need g and
    sigma, not the data), and n >= 3 F, 5 F, 10 F for m = 2, 3, 4 (measured); the plain average for
    a `BoundedTransform`, which has the best constant already. Least squares solves
    the normal equations for up to 100 features, and beyond that runs conjugate gradients that never
    form a feature (derived: the Gram matrix of Hermite features is near the identity).

    x (n, d), y (n,); basis (d, k) with orthonormal columns or None; tolerance: the error of
    conjugate gradients as a fraction of the sampling error of the estimate itself.
    Raises ValueError or TypeError on bad data, and for least squares with n < F.
    """
    if method not in ("auto", *METHODS):
        raise ValueError(f"method: expected one of {('auto', *METHODS)}, got {method!r}")
    tolerance = check_positive(tolerance, "tolerance")
    x, y = as_samples(x, y)
    n, d = x.shape
    basis = None if basis is None else _as_basis(basis, d)
    order = d if basis is None else basis.shape[1]
    features = feature_count(order, transform.degree)
    if method == "auto":
        method = chosen(transform, order, n)
    if method != "least_squares" or features <= DIRECT_FEATURES:
        tensor = Moments(transform, d, basis, method)._add(x, y).tensor()
        return ScoreMoment(tensor, method, n, features)
    z = x if basis is None else x @ basis.to(x)
    q, degree = transform(y) / transform.normaliser, transform.degree
    tensor, converged = fit_matrix_free(
        lambda coefficients: power_sums(z, q, degree, coefficients=coefficients),
        *(z.shape[1], degree, tolerance, z.dtype),
    )
    if not converged:
        warn(
            "score_moment: conjugate gradients stopped before they converged; are the inputs "
            "close to N(0, I), and n well above the number of features?",
            DoubtfulFitWarning,
        )
    return ScoreMoment(tensor.to(z), method, n, features, converged)


def chosen(transform: OutputTransform, order: int, n: float) -> Method:
    """What "auto" means in ``order`` dimensions with n samples; see `score_moment`."""
    if isinstance(transform, BoundedTransform):
        return "average"
    enough = n >= SAMPLES_PER_FEATURE[transform.degree] * feature_count(order, transform.degree)
    return cheapest(transform, order, order) if enough else "centred"


def _as_basis(basis: Any, dim: int) -> Tensor:
    b = as_floating(basis, "basis")
    if b.ndim != 2 or b.shape[0] != dim or not 1 <= b.shape[1] <= dim:
        raise ValueError(f"basis: expected shape ({dim}, k), k <= {dim}, got {tuple(b.shape)}")
    deviation = float((b.T @ b - torch.eye(b.shape[1], dtype=b.dtype)).abs().max())
    if deviation > math.sqrt(torch.finfo(b.dtype).eps):
        raise ValueError(f"basis: expected orthonormal columns, max |B'B - I| is {deviation:.1e}")
    return b
