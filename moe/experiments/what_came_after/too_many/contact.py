"""How close the neighbours of a mixture are: an expert moved, or its two halves moved apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moe.experiments.what_came_after.likelihood import Form, log_density
from moe.experiments.what_came_after.too_many.rates import (
    FREE,
    KINDS,
    KNOWN,
    SPLIT,
    Spec,
    exact,
    halved,
    truth,
)
from moe.moments.quadrature import gauss_hermite

Array = NDArray[np.float64]
MOVES = {
    KNOWN: "one expert moved",
    SPLIT: "its halves moved apart",
    FREE: "intercepts apart, variances lowered",
}
STEPS = tuple(float(step) for step in np.geomspace(0.02, 0.4, 14).round(3))
_REACH = 1.5  # of the input at which densities are shown


def neighbour(kind: str, step: float, seed: int = 0) -> tuple[Form, Tensor]:
    """The mixture of ``rates`` with its first expert moved by ``step`` along the first coordinate
    (KNOWN), with its halves moved apart by +- step (SPLIT), or with their intercepts moved apart by
    +- step and their variances less by step^2, which keeps mean and variance at every x (FREE)."""
    spec = Spec(kind, 0)
    rows, gating = truth(spec, seed)
    if kind == KNOWN:
        near = exact(spec, rows, gating)
        near[0] += step
        return spec.form(2), near
    form = spec.form(3)
    own = torch.zeros(form.width, dtype=torch.float64)
    own[-1 if kind == FREE else 0] = step
    near = halved(spec, rows, gating, 0, own, torch.zeros(spec.d + 1, dtype=torch.float64))
    if kind == FREE:
        near[-2:] = 0.5 * math.log(spec.sigma**2 - step**2)
    return form, near


def contact(kind: str, step: float, seed: int = 0) -> float:
    """Hellinger distance of the laws of (x, y) of the mixture and of its neighbour, by quadrature:
    H^2 = E[int (f^(1/2) - f_near^(1/2))^2 dy] / 2."""
    x, weight, y = _grid()
    gaps = (_at_the_truth(seed) - _root(*neighbour(kind, step, seed), x, y)).square().sum(1)
    return float((weight @ (gaps * float(y[1] - y[0]) / 2)).sqrt())


def _grid() -> tuple[Tensor, Tensor, Tensor]:
    """Inputs with their weights, and outputs."""
    node, weight = (torch.from_numpy(v) for v in gauss_hermite(14))
    y = torch.linspace(-12, 12, 601, dtype=torch.float64)
    return torch.cartesian_prod(node, node), torch.outer(weight, weight).flatten(), y


@lru_cache(1)
def _at_the_truth(seed: int) -> Tensor:
    """What every move is compared with."""
    x, _, y = _grid()
    return _root(*neighbour(KNOWN, 0, seed), x, y)


def _root(form: Form, theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The root of the density of every y at every x, (len(x), len(y))."""
    logs = log_density(form, theta, x.repeat_interleave(len(y), 0), y.repeat(len(x)))
    return (logs / 2).exp().view(len(x), -1) / (2 * math.pi) ** 0.25


def blind_until(distance: float) -> float:
    """The number of samples up to which every test between two laws at that Hellinger distance is
    wrong with probability 1/4 or more, as the mean of its two errors.

    That mean is (1 - TV) / 2 at least, TV <= (1 - (1 - H^2)^(2n))^(1/2) for n samples (Le Cam).
    """
    return 0.5 * math.log(0.75) / math.log1p(-(distance**2))


@dataclass(frozen=True, eq=False)
class Record:
    """distances[kind], one a step; densities at the input x: ``truth`` over y, and near[kind] a row
    a step."""

    steps: tuple[float, ...]
    distances: dict[str, Array]
    x: Array
    y: Array
    truth: Array
    near: dict[str, Array]


def run(seed: int = 0, steps: tuple[float, ...] = STEPS) -> Record:
    """All moves. The input is on the first axis, on the side where the expert that is moved has
    the larger share."""
    x = _REACH * torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    _, gating = truth(Spec(KNOWN, 0), seed)
    x = x if gating[0, 0] > 0 else -x
    y = torch.linspace(-5, 5, 81, dtype=torch.float64)

    def density(kind: str, step: float) -> Array:
        return _root(*neighbour(kind, step, seed), x, y).square()[0].numpy()

    return Record(
        steps,
        {kind: np.array([contact(kind, step, seed) for step in steps]) for kind in KINDS},
        x[0].numpy(),
        y.numpy(),
        density(KNOWN, 0.0),
        {kind: np.array([density(kind, step) for step in steps]) for kind in KINDS},
    )
