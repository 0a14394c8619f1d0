"""The squared loss of two experts over the plane of gates, to move: angle and norm of the gate."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from moe.experiments.shown.interactive.figure import Control, Interactive, moving, square
from moe.experiments.shown.interactive.marks import heat, points, xy
from moe.experiments.standard_losses.spurious_minima import gate_profile, oblique_pair
from moe.experiments.standard_losses.squared_phase import CERTIFIED, NONE, Phase

EXTENT, CELLS = 2.2, 34  # even: w = 0 has no value
NORMS = (0.5, 1.0, 2.0, 4.0)  # as far as they were tried
_NODES, _DECADES = 24, 3.0


def profile(angle: float, norm: float) -> Tensor:
    """log10 of F(w) over its largest value on the grid of w / |w*|, at least -3 (CELLS, CELLS): the
    first index runs across delta*, from below; the second along it."""
    half = EXTENT * (1 - 1 / CELLS)
    axis = torch.linspace(-half, half, CELLS, dtype=torch.float64)
    gates = norm * torch.cartesian_prod(axis, axis)  # the regressors' second axis is delta*
    values = gate_profile(oblique_pair(angle, norm), gates, _NODES).view(CELLS, CELLS)
    return (values / values.max()).clamp_min(10**-_DECADES).log10()


def _saying(phase: Phase, norm: int, angle: int) -> str:
    """Of a cell of the phase diagram, by its row and column."""
    here = f"Gate norm {phase.spec.norms[norm]:g}, {phase.spec.angles[angle]:g}° from δ*: "
    if phase.kind[norm, angle] == NONE:
        return here + f"none of {phase.spec.starts} random starts ends at a spurious minimum."
    proved = "certified" if phase.kind[norm, angle] == CERTIFIED else "too flat to certify"
    return (
        here + f"a spurious minimum, {proved}, {phase.excess[norm, angle]:.2g} above the truth; "
        f"least curvature {phase.curvature[norm, angle]:.1e}. "
        f"{phase.reached[norm, angle]:.0%} of {phase.spec.starts} random starts end there."
    )


@moving
def gate_plane(phase: Phase) -> Interactive:
    """F(w) with the truths and what the random starts of each cell found."""
    angles, norms = phase.spec.angles, [norm for norm in phase.spec.norms if norm in NORMS]
    rows = [phase.spec.norms.index(norm) for norm in norms]
    cells = [[profile(angle, norm)[None].numpy() for angle in angles] for norm in norms]
    truths = np.array([oblique_pair(angle, 1.0).gating[0].flip(0).numpy() for angle in angles])[
        :, None
    ] * [[1], [-1]]
    found = phase.gate[rows].flip(-1).numpy() / np.array(norms)[:, None, None]
    ends = found[:, :, None] * [[1], [-1]]
    ends[np.abs(ends).max((2, 3)) > EXTENT] = np.nan
    by, cross = ("norm", "angle"), {"colour": "vermilion", "label": "spurious minimum"}
    panel = square(
        "Map of the excess squared loss over the plane of gates, regressors minimised out. "
        "Dots are the truth and its relabelling, crosses spurious minima",
        [
            heat(cells, (-EXTENT, EXTENT, -EXTENT, EXTENT), by=by, limits=(-_DECADES, 0.0)),
            points(*xy(truths), by=("angle",), colour="sky", label="truth", size=7),
            points(*xy(ends), by=by, marker="x", size=7, **cross),
        ],
        *(EXTENT, "w / |w*|, along δ*", "across δ*", "excess loss, logarithmic: dark is low"),
    )
    controls = [
        Control("norm", "gate norm", [f"{norm:g}" for norm in norms], norms.index(2.0)),
        Control("angle", "angle to δ*", [f"{angle:g}°" for angle in angles], angles.index(60)),
    ]
    return Interactive(controls, [panel], lambda norm, angle: _saying(phase, rows[norm], angle))
