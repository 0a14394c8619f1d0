"""From columns as users have them to coordinates in which fits are made, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moe.model.nonlinearity import Nonlinearity
from moe.model.regressions import Regressions
from moe.recovery.coordinates import coordinates_of

Array = NDArray[np.float64]


def counted(x: Array, y: Array, weights: Array) -> tuple[Array, Array, Array]:
    """The samples that count, sorted: those of weight zero left out."""
    kept = weights > 0
    x, y, weights = x[kept], y[kept], weights[kept]
    order = np.lexsort((weights, *x.T[::-1], y))
    return x[order], y[order], weights[order]


def distinct(x: Array, y: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Rows (x, y) that differ out of sorted ones (``counted``), each with the weights of its copies
    added up. So a sample of weight 2 is the sample twice, to the bit."""
    new = np.ones(len(y), dtype=bool)
    new[1:] = (y[1:] != y[:-1]) | (x[1:] != x[:-1]).any(1)
    first = np.flatnonzero(new)
    return x[first], y[first], np.add.reduceat(weights, first)


@dataclass(frozen=True, eq=False)
class Block:
    """Some columns of X, centred and whitened: x_c = (x[columns] - centre) basis.

    columns (c,), centre (c,), basis (c, r), r their rank; with ``ones`` a one stands behind.
    """

    columns: Tensor
    centre: Tensor
    basis: Tensor
    ones: bool

    @property
    def width(self) -> int:
        """Columns of the whitened design, the ones included."""
        return self.basis.shape[1] + self.ones

    @property
    def deficient(self) -> bool:
        """Whether the columns depend on one another (or do not vary)."""
        return self.basis.shape[1] < self.basis.shape[0]

    def raw(self, x: Tensor) -> Tensor:
        """The design as users see it: the columns of x (n, m), then a one, (n, c + 1)."""
        return self._closed(x[:, self.columns])

    def white(self, x: Tensor) -> Tensor:
        """The design that fits are made on, (n, r + 1)."""
        return self._closed((x[:, self.columns] - self.centre) @ self.basis)

    def _closed(self, x: Tensor) -> Tensor:
        return torch.cat([x, x.new_ones(len(x), 1)], 1) if self.ones else x

    @property
    def back(self) -> Tensor:
        """The linear map from coefficients on ``white`` to those on ``raw``, (c + 1, r + 1)."""
        if not self.ones:
            return self.basis
        top = torch.nn.functional.pad(self.basis, (0, 1))
        last = torch.nn.functional.pad(-self.centre @ self.basis, (0, 1), value=1.0)
        return torch.cat([top, last[None]])

    def forth(self, rows: Tensor) -> Tensor:
        """Coefficients (k, c + 1) on ``raw`` as coefficients (k, r + 1) on ``white``."""
        return rows @ torch.linalg.pinv(self.back).T


@dataclass(frozen=True, eq=False)
class Design:
    """Two blocks, one for the experts and one for the gate, and the output's units.

    y_c = (y - shift) / scale; shift is zero unless g is linear and the experts have an intercept,
    scale is one unless g is homogeneous. g(c z) = c g(z), so a_raw = scale back a_c.
    """

    experts: Block
    gate: Block
    shift: float
    scale: float

    @property
    def common(self) -> bool:
        """Whether experts and gate look at the same columns."""
        return self.experts is self.gate

    def output(self, y: Tensor) -> Tensor:
        """y in the units that fits are made in."""
        return (y - self.shift) / self.scale

    def back(self, law: Regressions) -> Regressions:
        """A law found on the white designs, for the raw ones."""
        experts = self.scale * law.experts @ self.experts.back.T
        if self.experts.ones:
            experts[:, -1] += self.shift
        gates = law.gates @ self.gate.back.T
        return Regressions(experts, gates, self.scale * law.sigmas, law.nonlinearity)

    def forth(self, law: Regressions) -> Regressions:
        """A law for the raw designs, on the white ones."""
        experts = law.experts.clone()
        if self.experts.ones:
            experts[:, -1] -= self.shift
        gates = self.gate.forth(law.gates)
        return Regressions(
            self.experts.forth(experts / self.scale), gates, law.sigmas / self.scale,
            law.nonlinearity,
        )  # fmt: skip

    def jacobian(self, k: int) -> Tensor:
        """d theta_raw / d theta_white, theta as in ``moe.likelihood.sandwich``."""
        parts = [self.scale * self.experts.back] * k + [self.gate.back] * (k - 1)
        return torch.block_diag(*parts, torch.eye(k, dtype=torch.float64))


def design_of(
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    g: Nonlinearity,
    sigma: float | None,
    *,
    experts: list[int],
    gate: list[int],
    intercept: bool,
    softmax: bool,
) -> Design:
    """Coordinates that the samples decide (``moe.recovery.coordinates``), block by block.

    experts, gate: which columns of x (n, m); a gate that is no softmax has none, and always a one.
    """
    shift = 0.0
    if intercept and g.is_linear:
        shift = float(weights @ y / weights.sum())
    first, scale = _block(x, y - shift, weights, g, sigma, experts, intercept)
    if not softmax:
        second = _block(x, y - shift, weights, g, sigma, [], True)[0]
    elif gate == experts:
        second = first
    else:
        second = _block(x, y - shift, weights, g, sigma, gate, intercept)[0]
    return Design(first, second, shift, scale)


def _block(
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    g: Nonlinearity,
    sigma: float | None,
    columns: list[int],
    ones: bool,
) -> tuple[Block, float]:
    part = x[:, columns]
    largest = part.abs().amax(0) if len(columns) else part[0]
    centre = part.new_zeros(len(columns))
    if ones:
        unit = part / torch.where(largest > 0, largest, 1.0)
        centre = (weights @ unit / weights.sum()) * torch.where(largest > 0, largest, 1.0)
    part = part - centre
    varies = part.abs().amax(0) > 1e-13 * largest if len(columns) else largest > 0
    root = (weights / weights.mean()).sqrt()
    kept = part[:, varies] * root[:, None]
    if kept.shape[1] == 0:
        kept = root[:, None]
    turn = y * root if bool(y.any()) else root
    found = coordinates_of(kept, turn, g, sigma)
    basis = part.new_zeros(len(columns), found.basis.shape[1] if bool(varies.any()) else 0)
    if basis.shape[1]:
        basis[varies] = found.basis
    return Block(torch.tensor(columns, dtype=torch.int64), centre, basis, ones), found.scale
