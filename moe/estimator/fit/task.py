"""What is fitted, and how hard; one design for experts and gate together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from moe.estimator.fit.design import Design, design_of
from moe.estimator.fit.request import Request
from moe.model.nonlinearity import Nonlinearity
from moe.model.regressions import Regressions
from moe.recovery.arguments import noise_level

_MOST = 100_000

Data = tuple[Tensor, Tensor, Tensor]
"""Inputs (n, m), outputs (n,), weights (n,)."""


@dataclass(frozen=True, eq=False)
class Found:
    """The end of a search, on the white designs; the doubts are those of the search alone."""

    law: Regressions
    iterations: int
    converged: bool
    origin: str
    supporters: int
    doubts: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the columns of experts and gate stand in the one design (D columns) that EM sees: their
    places, or None for all of them."""

    width: int
    experts: Tensor | None
    gate: Tensor | None

    def spread(self, experts: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients (..., p) and (..., q) in their places, (..., D) each, zero elsewhere."""
        return self._put(experts, self.experts), self._put(gates, self.gate)

    def gathered(self, experts: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
        """The way back from ``spread``."""
        if self.experts is not None:
            experts = experts[..., self.experts]
        return experts, gates if self.gate is None else gates[..., self.gate]

    def _put(self, rows: Tensor, places: Tensor | None) -> Tensor:
        if places is None:
            return rows
        return rows.new_zeros(*rows.shape[:-1], self.width).index_copy(-1, places, rows)


@dataclass(frozen=True, eq=False)
class Task:
    """What is fitted: samples on white designs, outputs in their units, and what is held.

    weights (n,); sigma None where it is learned; each: one noise level an expert; gate "softmax",
    "constant" (which has no columns but the ones) or "equal" (held at zero). A kind of gate that is
    no linear softmax would be one more value, with its own M-step in ``search``.
    """

    design: Design
    x: Tensor
    z: Tensor
    y: Tensor
    weights: Tensor
    k: int
    g: Nonlinearity
    sigma: float | None
    each: bool
    gate: str

    @property
    def own(self) -> bool:
        """Whether there are several noise levels."""
        return self.each and self.k > 1

    @property
    def parameters(self) -> int:
        """Free parameters of the model."""
        return int(self.free.shape[1])

    @cached_property
    def free(self) -> Tensor:
        """T of ``moe.likelihood.sandwich``: theta = T phi, (P, F)."""
        experts, gates = self.k * self.x.shape[1], (self.k - 1) * self.z.shape[1]
        blocks = [torch.eye(experts), torch.eye(gates), torch.eye(self.k)]
        if self.gate == "equal":
            blocks[1] = torch.zeros(gates, 0)
        if self.sigma is not None:
            blocks[2] = torch.zeros(self.k, 0)
        elif not self.each:
            blocks[2] = torch.ones(self.k, 1)
        return torch.block_diag(*blocks).double()

    @property
    def even(self) -> bool:
        """Whether all samples weigh the same."""
        return bool((self.weights == self.weights[0]).all())

    @cached_property
    def layout(self) -> Layout:
        """The one design: x where the gate's columns are the same, else those of x, those of z, and
        one column of ones at the end for both."""
        if self.design.common:
            return Layout(self.x.shape[1], None, None)
        first, second = self.design.experts.basis.shape[1], self.design.gate.basis.shape[1]
        ones = first + second
        experts = [*range(first), *([ones] if self.design.experts.ones else [])]
        gate = [*range(first, ones), *([ones] if self.design.gate.ones else [])]
        width = ones + (self.design.experts.ones or self.design.gate.ones)
        return Layout(width, torch.tensor(experts), torch.tensor(gate))

    @cached_property
    def inputs(self) -> Tensor:
        """The one design, (n, D)."""
        layout = self.layout
        if layout.experts is None or layout.gate is None:
            return self.x
        inputs = self.x.new_zeros(len(self.x), layout.width)
        inputs[:, layout.experts] = self.x
        inputs[:, layout.gate] = self.z
        return inputs

    def rows(self, rows: Tensor) -> Task:
        """Only these samples, in this order."""
        return replace(
            self, x=self.x[rows], z=self.z[rows], y=self.y[rows], weights=self.weights[rows]
        )

    def score(self, law: Regressions) -> float:
        """The log-likelihood, sum_n w_n log P(y_n | x_n, z_n), in the units of ``y``."""
        return float(self.weights @ law.log_density(self.x, self.z, self.y))


def task_of(data: Data, request: Request, k: int) -> Task:
    """The samples on white designs. Raises ValueError for a sigma given in other units than y's."""
    (x, y, weights), of = data, request.parameters
    design = design_of(
        x,
        y,
        weights,
        request.g,
        of["sigma"],
        experts=request.experts,
        gate=request.gate,
        intercept=bool(of["fit_intercept"]),
        softmax=of["gate"] == "softmax",
    )
    sigma = None if of["sigma"] is None else noise_level(float(of["sigma"]), design.scale)
    return Task(
        design,
        design.experts.white(x),
        design.gate.white(x),
        design.output(y),
        weights,
        k,
        request.g,
        sigma,
        of["noise"] == "each",
        of["gate"],
    )


def fair_rows(weights: Tensor) -> Tensor:
    """Rows in proportion to their weights: at even steps along the cumulated weights. All of them
    for equal weights; for other whole ones, which are counts, each as often as it counts, but no
    more than a hundred thousand (or all) in all; else as many as weights are worth,
    (sum w)^2 / sum w^2."""
    if bool((weights == weights[0]).all()):
        return torch.arange(len(weights))
    total = float(weights.sum())
    if bool((weights == weights.round()).all()):
        count = int(min(total, max(len(weights), _MOST)))
    else:
        count = max(1, int(total**2 / weights.square().sum()))
    steps = (torch.arange(count, dtype=weights.dtype) + 0.5) / count * weights.sum()
    return torch.searchsorted(weights.cumsum(0), steps).clamp_max(len(weights) - 1)
