"""How many samples do I need? The limit laws, to move: mixture, dimension and error wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from moe.experiments.common.error_law import ErrorLaw
from moe.experiments.regressor_loss.law import MOST_EXPERTS
from moe.experiments.sample_complexity.errors import Cell, Spec, limit_laws
from moe.experiments.shown.interactive.figure import Control, Interactive, Panel, moving
from moe.experiments.shown.interactive.marks import Mark, line, points
from moe.randomness import stream

DIMENSIONS = (10, 20, 50, 100)
ERRORS = (0.001, 0.005, 0.02, 0.05, 0.1)
DRAWS = 1_500  # from a law: its median to about one per cent
_LOOKS = {
    "average": ("vermilion", "--", "s", "L₄, plain moments"),
    "least_squares": ("blue", "", "o", "L₄, least squares"),
    "recover": ("black", ":", "^", "likelihood (bound)"),
}
_FEWEST, _LOWEST = 30, 1e-4  # samples and error at the ends of a law's line


def medians(law: ErrorLaw) -> list[float]:
    """The median of n E_reg in the limit of many samples, at each of the DIMENSIONS; as in
    ``ErrorLaw.worst``, with one set of draws for all of them."""
    generator, k = stream("limit"), len(law.outside)
    span = len(law.inside) // k
    inside, outside = (_root(part) for part in (law.inside, law.outside))
    normal = torch.randn(DRAWS, len(inside), generator=generator, dtype=inside.dtype)
    begun = (normal @ inside).view(DRAWS, k, span).square().sum(-1)
    rest = max(DIMENSIONS) - span
    normal = torch.randn(rest, DRAWS, k, generator=generator, dtype=inside.dtype)
    angles = begun + (normal @ outside).square().cumsum(0)
    at = [angles[d - span - 1] if d > span else begun for d in DIMENSIONS]
    return [float(each.amax(-1).median()) / 2 for each in at]


def _root(covariance: torch.Tensor) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp_min(0).sqrt()).T


def _measured(specs: Sequence[Spec], cells: Sequence[Cell], method: str) -> Mark:
    """Median errors of the chapter's data sets, where mixture and dimension are those chosen."""
    longest = max((len(c.sizes(method)) for c in cells if method in c.errors), default=0)
    x, y = np.full((2, len(specs), len(DIMENSIONS), longest), np.nan)
    for cell in cells:
        same = [i for i, s in enumerate(specs) if _mixture(s) == _mixture(cell.spec)]
        if same and cell.spec.d in DIMENSIONS and method in cell.errors:
            at = same[0], DIMENSIONS.index(cell.spec.d)
            if np.isnan(x[at]).all():  # of two cells alike the first
                count = len(cell.sizes(method))
                x[at][:count], y[at][:count] = cell.sizes(method), cell.median(method)
    colour, _, marker, _ = _LOOKS[method]
    return points(x, y, by=("mixture", "d"), colour=colour, marker=marker, size=4.5)


def _mixture(spec: Spec) -> tuple[str, int, float, float]:
    return spec.nonlinearity, spec.k, spec.sigma, spec.gate_norm


def _saying(spec: Spec, d: int, error: float, needed: NDArray[np.float64]) -> str:
    told = [f"{float(f'{n:.2g}'):,.0f}" for n in needed]
    weights = spec.k * d
    if needed[-1] < weights:  # where no law of many samples holds
        told[-1] = f"fewer than there are weights, {weights}"
    return (
        f"{_name(spec)}, d = {d}, error {error:g}: L₄ needs about {told[0]} samples with plain "
        f"moments, {told[1]} with least squares; the bound: {told[2]}."
    )


def _name(spec: Spec) -> str:
    return f"{spec.nonlinearity} experts, k = {spec.k}, σ = {spec.sigma:g}"


@moving
def samples_needed(specs: Sequence[Spec], cells: Sequence[Cell]) -> Interactive:
    """Left: samples for the error wanted, against d. Right: error against n, and what the data sets
    of the chapter gave. Of the specs only the mixtures count, not their d and sizes."""
    known = [replace(s, d=0, sizes=(), recover_sizes=()) for s in specs if s.k <= MOST_EXPERTS]
    specs = list(dict.fromkeys(replace(s, methods=(), starts=0) for s in known))
    found = [limit_laws(s.k, s.sigma, s.gate_norm, s.nonlinearity) for s in specs]
    limits = np.array([[medians(laws[method]) for laws in found] for method in _LOOKS])
    wanted = limits[:, :, None] / np.array(ERRORS)[:, None]  # methods, mixtures, errors, d
    weights = np.array([s.k for s in specs])[:, None, None] * np.array(DIMENSIONS)
    left, right = [], []
    for i, (method, (colour, dash, marker, label)) in enumerate(_LOOKS.items()):
        needed = np.where(wanted[i] < weights, np.nan, wanted[i])
        by: tuple[str, ...] = ("mixture", "error")
        left.append(line(DIMENSIONS, needed, by=by, colour=colour, dash=dash, label=label))
        here = needed.swapaxes(1, 2)[..., None]  # mixtures, d, errors, one
        place = np.broadcast_to(np.array(DIMENSIONS)[:, None, None], here.shape)
        by = ("mixture", "d", "error")
        left.append(points(place, here, by=by, colour=colour, marker=marker, size=6))
        ends = np.stack([limits[i].clip(_FEWEST), limits[i] / _LOWEST], -1)
        heights = limits[i, ..., None] / ends
        right.append(line(ends, heights, by=("mixture", "d"), colour=colour, dash=dash))
        right.append(_measured(specs, cells, method))
    goal, reach = np.array(ERRORS)[:, None] * np.ones(2), [_FEWEST, limits.max() / _LOWEST]
    right.append(line(reach, goal, by=("error",), colour="grey", width=1, label="error wanted"))
    ticks = [(float(d), str(d)) for d in DIMENSIONS]
    panels = [
        Panel(
            "Lines: samples needed against the dimension, for each method",
            left,
            "dimension d",
            "samples needed",
            "by the limit law",
            log="xy",
            ratio=0.85,
            x_ticks=ticks,
        ),
        Panel(
            "Lines: error against the number of samples for each method; marks: measured medians",
            right,
            "samples n",
            "median error",
            "and what was measured",
            log="xy",
            ratio=0.85,
        ),
    ]
    controls = [
        Control("mixture", "mixture", [_name(spec) for spec in specs], menu=True),
        Control("d", "dimension d", [str(d) for d in DIMENSIONS], 0),
        Control("error", "error wanted", [f"{error:g}" for error in ERRORS], ERRORS.index(0.05)),
    ]

    def said(mixture: int, d: int, error: int) -> str:
        needed = wanted[:, mixture, error, d]
        return _saying(specs[mixture], DIMENSIONS[d], ERRORS[error], needed)

    return Interactive(controls, panels, said)
