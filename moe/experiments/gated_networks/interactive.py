"""Gates in the plane, to move: the norm of the gating parameters and the angle between them."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moe.experiments.gated_networks.gates import gate_map, planar_moe
from moe.experiments.shown.interactive.figure import (
    Control,
    Interactive,
    Panel,
    moving,
    square,
)
from moe.experiments.shown.interactive.marks import (
    PALETTE,
    heat,
    line,
    points,
    segments,
    words,
    xy,
)
from moe.model.mixture import MoE

NORMS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
ANGLES = (30, 60, 90, 120, 150, 180)
_EXTENT, _CELLS = 3.0, 25
_RADII, _DIRECTIONS, _FAR = 120, 480, 8.0


def fan(norm: float, angle: float) -> MoE:
    """Three planar experts with |w_1| = |w_2| = ``norm``, ``angle`` degrees apart, and w_3 = 0; the
    model of ``planar_moe`` at 60 degrees."""
    model = planar_moe(norm)
    turn = torch.tensor([-angle / 2, angle / 2], dtype=torch.float64).deg2rad()
    axis = model.gating[0] + model.gating[1]  # halfway between the two
    turn = turn + torch.atan2(axis[1], axis[0])
    rows = norm * torch.stack([turn.cos(), turn.sin()], dim=1)
    return MoE(model.regressors, torch.cat([rows, torch.zeros_like(rows[:1])]), model.sigma)


def edges(model: MoE, extent: float) -> Tensor:
    """(k (k - 1), 2): where the ray from the origin on which p_i = p_j are the largest leaves the
    square |x_1|, |x_2| <= ``extent``; NaN where there is no such ray, two rows a pair."""
    ends = []
    for i in range(model.k):
        for j in range(i):
            across = model.gating[i] - model.gating[j]
            ray = torch.stack([-across[1], across[0]]) / across.norm()
            for way in (ray, -ray):
                products = model.gating @ way
                edge = products[i] >= products.max() - 1e-9
                ends.append(way * extent / way.abs().max() if edge else way * torch.nan)
    return torch.stack(ends)


def regions(model: MoE) -> int:
    """How many experts are the likeliest somewhere: in one of 720 directions."""
    turn = (torch.arange(720, dtype=torch.float64) + 0.25) * math.pi / 360
    return len(model.gate(100 * torch.stack([turn.cos(), turn.sin()], 1)).argmax(1).unique())


def proportions(model: MoE) -> tuple[Tensor, float]:
    """E[p_i(x)] and E[max_i p_i(x)] for Gaussian inputs in the plane. In polar coordinates: steep
    gates jump between directions, which a grid over the plane would see too coarsely."""
    node, weight = np.polynomial.legendre.leggauss(_RADII)
    radius = torch.tensor(_FAR / 2 * (node + 1))
    mass = torch.tensor(_FAR / 2 * weight) * radius * (-radius.square() / 2).exp()
    turn = 2 * math.pi * (torch.arange(_DIRECTIONS, dtype=torch.float64) + 0.5) / _DIRECTIONS
    way = torch.stack([turn.cos(), turn.sin()], 1)
    gate = model.gate((radius[:, None, None] * way).reshape(-1, 2)).view(_RADII, _DIRECTIONS, -1)
    return mass @ gate.mean(1), float(mass @ gate.amax(2).mean(1))


def _saying(norm: float, angle: float) -> str:
    model = fan(norm, angle)
    shares, largest = proportions(model)
    across = float((model.gating[0] - model.gating[1]).norm())
    parts = ", ".join(f"{share:.0%}" for share in shares)
    three = regions(model) == 3
    rest = "three regions" if three else "two regions: expert 3 is the likeliest nowhere"
    return (
        f"Gate norm {norm:g}, {angle}° between w₁ and w₂: {rest}. Between experts 1 and 2 the edge "
        f"is {2 * math.log(9) / across:.2g} wide. They answer {parts} of the inputs; the likeliest "
        f"expert is drawn {largest:.0%} of the time."
    )


def _gating(corners: NDArray[np.float64]) -> Panel:
    """The gating parameters (ANGLES, 3, 2) over |w_1|, and their convex hull."""
    by = ("angle",)
    rows = [
        points(*xy(corners[:, i : i + 1]), by=by, colour=colour, label=f"expert {i + 1}", size=7)
        for i, colour in enumerate(("blue", "orange", "green"))
    ]
    beside = 1.25 * corners
    beside[:, 2, 1] = -0.25  # w_3 = 0
    return square(
        "The gating parameters as points, divided by their norm, and the triangle between them",
        [
            line(*xy(corners[:, [0, 1, 2, 0]]), by=by, colour="grey", dash="--"),
            *rows,
            words(*xy(beside), ["w₁", "w₂", "w₃"], by=by),
        ],
        *(1.5, "first coordinate", "second coordinate", "gating parameters / norm"),
    )


@moving
def gates_in_the_plane() -> Interactive:
    """Left: colours mixed by p_i(x), edges of regions. Right: the gating parameters."""
    models = [[fan(norm, angle) for angle in ANGLES] for norm in NORMS]
    gates = [[gate_map(m, extent=_EXTENT, points=_CELLS).gate for m in row] for row in models]
    layers = np.array([[gate[..., 1:].permute(2, 0, 1).numpy() for gate in row] for row in gates])
    half = _EXTENT * (1 + 1 / (_CELLS - 1))  # cells reach half a step beyond their middles
    ends = np.array([edges(fan(1.0, angle), _EXTENT).numpy() for angle in ANGLES])
    corners = np.array([fan(1.0, angle).gating.numpy() for angle in ANGLES])
    zero = np.zeros(ends.shape[1])
    plane = square(
        "Map of the plane of inputs, coloured by the experts' probabilities; lines are edges "
        "between regions",
        [
            heat(layers, (-half, half, -half, half), by=("norm", "angle"), colours=PALETTE[:3]),
            segments(zero, zero, *xy(ends), by=("angle",), colour="black", width=1.5),
        ],
        *(half, "x₁", "x₂", "probabilities p₁, p₂, p₃ mix colours"),
    )
    controls = [
        Control("norm", "gate norm", [f"{norm:g}" for norm in NORMS], 3),
        Control("angle", "angle w₁ to w₂", [f"{angle}°" for angle in ANGLES], 1),
    ]
    return Interactive(
        controls,
        [plane, _gating(corners)],
        lambda norm, angle: _saying(NORMS[norm], ANGLES[angle]),
    )
