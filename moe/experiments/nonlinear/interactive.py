"""The error of L_4 against the noise level, to move: the nonlinearity and the number of samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moe.experiments.nonlinear.noise import Curve
from moe.experiments.nonlinear.recovery import GOAL
from moe.experiments.shown.interactive.figure import Control, Interactive, Panel, moving
from moe.experiments.shown.interactive.marks import line, points

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 1_000_000, 10_000_000)
_LOOKS = {
    "polynomial": ("vermilion", "--", "s", "L₄, polynomials"),
    "bounded": ("blue", "", "o", "L₄, bounded transforms"),
    "bound": ("black", ":", "^", "Cramér–Rao bound"),
}


def _saying(curve: Curve, n: int) -> str:
    def told(samples: float) -> str:
        error = GOAL * samples / n
        return f"{error:.2g}" if error < 1 else "no law, too few samples"

    i = len(curve.sigmas) - 1
    return (
        f"{curve.nonlinearity} experts, {n:,} samples, σ = {curve.sigmas[i]:g}: error with "
        f"polynomials {told(curve.polynomial[i])}, with bounded transforms "
        f"{told(curve.bounded[i])}, at the bound {told(curve.bound[i])}."
    )


@moving
def error_by_noise(curves: Sequence[Curve]) -> Interactive:
    """By the laws of many samples, in which the error falls like 1/n; left out where it would be
    above one. All curves are over the same noise levels."""
    sigmas, marks, by = curves[0].sigmas, [], ("g", "n")
    for name, (colour, dash, marker, label) in _LOOKS.items():
        needed = np.array([getattr(curve, name) for curve in curves])
        errors = GOAL * needed[:, None] / np.array(SIZES)[:, None]
        errors[errors > 1] = np.nan
        marks += [
            line(sigmas, errors, by=by, colour=colour, dash=dash, label=label),
            points(sigmas, errors, by=by, colour=colour, marker=marker),
        ]
    panel = Panel(
        "Lines: error against the noise level, for polynomials, bounded transforms and the bound",
        marks,
        "noise σ",
        "regressor error",
        "by the laws of many samples",
        log="xy",
        ratio=0.6,
        x_ticks=[(sigma, f"{sigma:g}") for sigma in sigmas],
    )
    controls = [
        Control("g", "experts", [curve.nonlinearity for curve in curves], menu=True),
        Control("n", "samples n", [f"{n:,}" for n in SIZES], SIZES.index(100_000)),
    ]
    return Interactive(controls, [panel], lambda g, n: _saying(curves[g], SIZES[n]))
