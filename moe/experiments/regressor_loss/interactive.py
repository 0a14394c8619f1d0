"""L_4 of one row and the dual basis, to move: the angle between the two experts, one of which can
be dragged, and their proportions."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moe.experiments.shown.interactive.figure import (
    Control,
    Interactive,
    Panel,
    moving,
    square,
)
from moe.experiments.shown.interactive.marks import heat, points, segments, words, xy
from moe.losses import dual_basis, l4_population
from moe.metrics import regressor_error_of

ANGLES = tuple(range(30, 151, 10))
SHARES = (0.3, 0.4, 0.5)  # of expert 1
CELLS = 32


def pair(angle: float) -> Tensor:
    """Two unit experts: a_1 on the first axis, a_2 at ``angle`` degrees from it."""
    turn = math.radians(angle)
    return torch.tensor([[1.0, 0.0], [math.cos(turn), math.sin(turn)]], dtype=torch.float64)


def minima(angle: float, share: float, mu: float, lam: float) -> Tensor:
    """(2, 2): the minimisers of L_4, the dual basis with the lengths of the theorem."""
    p = torch.tensor([share, 1 - share], dtype=torch.float64)
    lengths = (lam / (lam - mu / p)).sqrt() / p.sqrt()
    return lengths[:, None] * dual_basis(pair(angle))


def valley(angle: float, share: float, mu: float, lam: float, size: float) -> Tensor:
    """(L_4 - least) / (lambda - least) of a single row to the power 1/3, at most one; lambda is the
    value at zero; on |a_1|, |a_2| <= size, (second axis, first axis)."""
    p = torch.tensor([share, 1 - share], dtype=torch.float64)
    middles = size * (2 * torch.arange(CELLS, dtype=torch.float64) + 1 - CELLS) / CELLS
    up, across = torch.meshgrid(middles, middles, indexing="ij")
    rows = torch.stack([across, up], -1)[..., None, :]
    truth, ends = pair(angle), minima(angle, share, mu, lam)[:, None]
    least = l4_population(ends, truth, p, mu, lam).min()
    values = l4_population(rows, truth, p, mu, lam)
    return ((values - least).clamp_min(0) / (lam - least)).pow(1 / 3).clamp_max(1)


def _saying(angle: int, share: float, mu: float, lam: float) -> str:
    lowest, truth = minima(angle, share, mu, lam), pair(angle)
    back = regressor_error_of(dual_basis(lowest), truth)
    exact = "not at all" if back < 1e-12 else f"by {back:.1g}"
    lengths = " and ".join(f"{length:.2f}" for length in lowest.norm(dim=1).tolist())
    return (
        f"Experts {angle}° apart, expert 1 with {share:.0%} of the data. Minima have the lengths "
        f"{lengths}, each is perpendicular to the other expert, {abs(90 - angle)}° from its own. "
        f"Read as experts they err by {regressor_error_of(lowest, truth):.2g}, their dual {exact}."
    )


def _directions(experts: NDArray[np.float64], duals: NDArray[np.float64]) -> Panel:
    """Unit vectors (ANGLES, 2, 2) each."""
    zero, by = np.zeros(2), ("angle",)
    far = np.array([[1.14], [1.24], [1.14], [1.14]])  # the second clears its handle
    beside = far * np.concatenate([experts, duals], 1)
    dual = {"colour": "vermilion", "dash": "--", "label": "dual basis"}
    return square(
        "Two experts as arrows of length one, the second of which can be dragged, and the two "
        "directions of the dual basis, each perpendicular to one expert",
        [
            segments(zero, zero, *xy(duals), by=by, head=True, width=2.5, **dual),
            segments(zero, zero, *xy(experts), by=by, head=True, label="experts"),
            points(*xy(experts[:, 1:]), by=by, size=9, drag="angle"),
            words(*xy(beside), ["a₁", "a₂", "ã₁", "ã₂"], by=by),
        ],
        *(1.3, "first coordinate", "second", "directions: drag a₂"),
    )


@moving
def dual_basis_at_an_angle(mu: float, lam: float) -> Interactive:
    """Left: experts and dual directions. Right: L_4 of a row, and its minima."""
    shares = [share for share in SHARES if lam > 1.05 * mu / share]
    experts = np.array([pair(angle).numpy() for angle in ANGLES])
    ends = np.array([[minima(a, p, mu, lam).numpy() for p in shares] for a in ANGLES])
    duals = ends[:, 0] / np.linalg.norm(ends[:, 0], axis=-1, keepdims=True)
    size = 1.15 * float(np.abs(ends).max())
    cells = [[valley(a, p, mu, lam, size)[None].numpy() for p in shares] for a in ANGLES]
    zero, both, by = np.zeros(2), np.concatenate([ends, -ends], axis=2), ("angle", "share")
    square_mark = {"colour": "vermilion", "marker": "s", "label": "minima of a row"}
    wells = square(
        "Map of the loss of one row over the plane, with squares at its four minima",
        [
            heat(cells, (-size, size, -size, size), by=by),
            segments(zero, zero, *xy(experts), by=("angle",), colour="sky"),
            points(*xy(both), by=by, size=6, **square_mark),
        ],
        *(size, "first coordinate", "second", "L₄ of one row: dark is low"),
    )
    controls = [
        Control("angle", "angle a₁ to a₂", [f"{angle}°" for angle in ANGLES], ANGLES.index(60)),
        Control("share", "share of expert 1", [f"{share:g}" for share in shares], len(shares) - 1),
    ]
    return Interactive(
        controls,
        [_directions(experts, duals), wells],
        lambda angle, share: _saying(ANGLES[angle], shares[share], mu, lam),
    )
