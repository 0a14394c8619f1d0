"""Hermite coefficients of y^m and of Q_m(y), to move: the experts' function, m and sigma."""

from __future__ import annotations

from itertools import product
from math import factorial

import numpy as np
import torch
from numpy.polynomial.hermite_e import hermevander
from numpy.typing import NDArray
from torch import Tensor

from moe.experiments.common.gaussian_integrals import line_rule, noise_averaged
from moe.experiments.shown.interactive.figure import Control, Interactive, Panel, moving
from moe.experiments.shown.interactive.marks import line, segments
from moe.experiments.stein.estimators import power_transform
from moe.model.nonlinearity import NONLINEARITIES, Nonlinearity
from moe.moments.transforms import OutputTransform, output_transform

Array = NDArray[np.float64]
SIGMAS = (0.0, 0.1, 0.5)
DEGREES = (2, 3, 4)
HIGHEST = 6
_Z = torch.linspace(-3, 3, 41, dtype=torch.float64)
_APART = 0.16  # of the two bars at one j


def shares(transform: OutputTransform, g: Nonlinearity, sigma: float) -> tuple[Tensor, Tensor]:
    """E[q He_j] / sqrt(j! Var q), j = 1..HIGHEST, whose squares sum to at most one; and q on a few
    z, centred and over its standard deviation. q(z) = E_xi[Q(g(z) + sigma xi)]."""
    z, weight = line_rule(g.kinks)
    q = noise_averaged(transform, g, sigma, z)
    mean = weight @ q
    sd = (weight @ (q - mean).square()).sqrt()
    size = torch.tensor([float(factorial(j)) for j in range(HIGHEST + 1)], dtype=z.dtype).sqrt()
    all_of_them = (weight * q) @ torch.from_numpy(hermevander(z.numpy(), HIGHEST)) / size / sd
    return all_of_them[1:], (noise_averaged(transform, g, sigma, _Z) - mean) / sd


def _saying(name: str, sigma: float, degree: int, power: Tensor, noise: float) -> str:
    wrong = ", ".join(f"{value:z.2f}" for value in power[: degree - 1].tolist())
    m = "₂₃₄"[degree - 2]
    return (
        f"{name}, σ = {sigma:g}: y{'²³⁴'[degree - 2]} has {wrong} below j = {degree}, where gates "
        f"come in, and {power[degree - 1]:z.2f} at j = {degree}. Q{m} has nothing below; its noise "
        f"is {noise:.2g} per unit of signal."
    )


def _panels(powers: Array, chosen: Array, two: Array, curves: Array) -> list[Panel]:
    """Of the coefficients by j and of the functions by z, both for y^m and for Q_m."""
    by, j = ("g", "degree", "sigma"), np.arange(1, HIGHEST + 1)
    bars, lines = [], []
    for heights, values, colour, dash, side, label in (
        (powers, two, "vermilion", "--", -_APART, "yᵐ"),
        (chosen, curves, "blue", "", _APART, "Qₘ"),
    ):
        ends = (j + side, 0 * j, j + side, heights)
        bars.append(segments(*ends, by=by, colour=colour, label=label, width=9))
        lines.append(line(_Z, values, by=by, colour=colour, dash=dash))
    m = np.array(DEGREES)[:, None]
    ends = (m, 0 * m - 1, m, 0 * m + 1)
    frame = segments(*ends, by=("degree",), colour="grey", dash=":", width=1.5, label="j = m")
    left = Panel(
        "Bars: Hermite coefficients of the two functions for j from 1 to 6",
        *([frame, *bars], "j", "coefficient", "E[q Heⱼ] / √(j! Var q)"),
        x_range=(0.4, 6.6),
        x_ticks=[(float(i), str(i)) for i in j.tolist()],
        y_range=(-1.05, 1.05),
        ratio=0.8,
    )
    right = Panel(
        "Lines: the mean of y to the m, and of Q, given z",
        *(lines, "z", "q(z), in its own standard deviations", "the two functions"),
        ratio=0.8,
    )
    return [left, right]


@moving
def hermite_coefficients() -> Interactive:
    """Left: the coefficients as bars. Right: the two functions of z."""
    family = list(product(NONLINEARITIES.values(), DEGREES, SIGMAS))
    shape = (len(NONLINEARITIES), len(DEGREES), len(SIGMAS))
    transforms = [output_transform(g, sigma, degree) for g, degree, sigma in family]
    powers = [shares(power_transform(degree), g, sigma) for g, degree, sigma in family]
    chosen = [shares(q, g, sigma) for q, (g, _, sigma) in zip(transforms, family, strict=True)]

    def stacked(found: list[tuple[Tensor, Tensor]], part: int) -> Array:
        rows: Array = np.array([pair[part].numpy() for pair in found]).reshape(*shape, -1)
        return rows.round(4)

    parts = (stacked(found, part) for part in (0, 1) for found in (powers, chosen))
    said = [
        _saying(g.name, sigma, degree, power, q.noise)
        for (g, degree, sigma), (power, _), q in zip(family, powers, transforms, strict=True)
    ]
    table = np.array(said).reshape(shape)
    names = [g.name.replace("_", " ") for g in NONLINEARITIES.values()]
    controls = [
        Control("g", "experts", names, 1, menu=True),
        Control("degree", "degree m", [str(degree) for degree in DEGREES], 1),
        Control("sigma", "noise σ", [f"{sigma:g}" for sigma in SIGMAS], 1),
    ]
    return Interactive(
        controls, _panels(*parts), lambda g, degree, sigma: str(table[g, degree, sigma])
    )
