"""Coordinates that the samples alone decide: units, and the order of rows and columns, drop out.

A mixture of experts is equivariant: with x replaced by x B the regressors and gates become
B^-1 a, B^-1 w, and where g is positively homogeneous (linear, ReLU, leaky ReLU) y replaced by c y
gives c a, c sigma. A fit keeps that only if everything random or rounded on the way does too. So it
is made in coordinates that turn with the samples, and brought back (derived).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from moe.model.mixture import MoE
from moe.model.nonlinearity import Nonlinearity
from moe.randomness import stream

LEVEL = 0.1  # of the noise, in units of the experts' outputs, where it is not known
_TELLING = 0.1
_TILT = 0.37


@dataclass(frozen=True, eq=False)
class Coordinates:
    """x_c = x basis, y_c = y / scale: sum_n x_c x_c' = n I, and y_c as large as unit experts make
    it.

    basis (d, r), r the rank of the samples' second moment; back (r, d): the samples are x_c back;
    scale 1 unless g is homogeneous.
    """

    basis: Tensor
    back: Tensor
    scale: float

    def of(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """x (n, d), y (n,) in these coordinates: (n, r), (n,)."""
        return x @ self.basis, y / self.scale

    def inside(self, regressors: Tensor, gating: Tensor) -> tuple[Tensor, Tensor]:
        """Regressors and gates (..., d) for the samples as they came, in these coordinates: the
        same outputs and gates at every sample, (..., r) each."""
        return regressors @ self.back.T / self.scale, gating @ self.back.T

    def regressors(self, rows: Tensor) -> Tensor:
        """Rows (..., r) as regressors of the samples as they came, (..., d)."""
        return self.scale * rows @ self.basis.T

    def gating(self, rows: Tensor) -> Tensor:
        """Rows (..., r) as gates of the samples as they came, (..., d)."""
        return rows @ self.basis.T

    def model(self, model: MoE) -> MoE:
        """The same law of y given x, for the samples as they came."""
        return MoE(
            self.regressors(model.regressors),
            self.gating(model.gating),
            self.scale * model.sigma,
            model.nonlinearity,
        )


def sample_order(x: Tensor, y: Tensor, seed: int) -> Tensor:
    """A random order of the samples that does not depend on the order in which they come: (n,).

    They are sorted by y, ties by the length of x in units of its columns, then permuted. So the
    first m samples are a random part, and the same one whatever the order and the units. (Where
    outputs tie, a general linear map of x can change it; rows that tie in both keep their order.)
    """
    length = (x / _root_mean_square(x)).square().sum(1)
    by_value = torch.from_numpy(np.lexsort((length.numpy(), y.numpy())))
    return by_value[torch.randperm(len(y), generator=stream("order of samples", seed))]


def coordinates_of(
    x: Tensor, y: Tensor, nonlinearity: Nonlinearity, sigma: float | None
) -> Coordinates:
    """The samples' own coordinates, x (n, d), y (n,) float64.

    Axes: the second moment of x becomes the identity, that of x weighted by y^2 + 0.37 y (y over
    its largest size) diagonal with falling entries, and y correlates positively with every axis.
    Directions without samples (a column that is a sum of others), to rounding, are left out: the
    regressors are then the shortest of those that fit. Whitening by the samples also spares the
    moments the difference between the samples' second moment and the identity. Where the samples
    themselves have a symmetry (a balanced design) the axes are not unique, nor is the search.
    """
    spread = _root_mean_square(x)
    unit = x / spread
    _, sizes, axes = torch.linalg.svd(torch.linalg.qr(unit, mode="r").R)
    kept = sizes > len(x) * torch.finfo(x.dtype).eps * sizes[0]
    white = axes[kept].T * (len(x) ** 0.5 / sizes[kept])
    inputs = unit @ white
    output = y / y.abs().max()
    weighted = inputs.T @ ((output.square() + _TILT * output)[:, None] * inputs)
    turn = torch.linalg.eigh(weighted)[1].flip(1)
    pull = (output @ inputs) @ turn
    turn = turn * torch.where(pull < 0, -1.0, 1.0).to(turn)
    back = turn.T @ (axes[kept] * (sizes[kept] / len(x) ** 0.5)[:, None]) * spread
    basis = (white @ turn) / spread[:, None]
    return Coordinates(basis, back, _output_scale(y, nonlinearity, sigma))


def _output_scale(y: Tensor, g: Nonlinearity, sigma: float | None) -> float:
    """How long the experts are, c in y = g(c <a, x>) + noise with unit a; 1 unless g(c z) = c g(z).

    From E y = c E g(z) where that is well away from zero, z ~ N(0, 1). Else from
    E y^2 = c^2 E g(z)^2 + sigma^2, with sigma = LEVEL c where it is not known: for linear g the
    moments' directions and proportions do not depend on that.
    """
    if not g.is_homogeneous:
        return 1.0
    largest = float(y.abs().max())
    mean, square = float((y / largest).mean()), float((y / largest).square().mean())
    right, left = g(y.new_tensor([1.0, -1.0])).tolist()  # g(z) = right z, z > 0; left |z|, z < 0
    first, second = (right + left) / math.sqrt(2 * math.pi), (right**2 + left**2) / 2
    if abs(first) > _TELLING * math.sqrt(second) and mean / first > _TELLING * math.sqrt(square):
        return largest * mean / first
    if sigma is None:
        return largest * math.sqrt(square / (second + LEVEL**2))
    ratio = sigma / largest
    signal = square - ratio * ratio
    return largest * math.sqrt(max(signal, _TELLING**2 * square) / second)


def _root_mean_square(x: Tensor) -> Tensor:
    """Of every column, (d,); 1 for a column of zeros. Does not overflow."""
    largest = x.abs().amax(0)
    largest = torch.where(largest > 0, largest, 1.0)
    root = largest * (x / largest).square().mean(0).sqrt()
    return torch.where(root > 0, root, 1.0)
