"""E_reg against n for the gate that one picks, and that gate outside the experts' span."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from moe.experiments.any_gate.gates import gated_experts
from moe.experiments.any_gate.likelihood.curves import (
    CONSTANT,
    L4,
    OFFSETS,
    RECOVER,
    SOFTMAX,
    Record,
)
from moe.experiments.shown.interactive.figure import (
    Control,
    Interactive,
    Panel,
    moving,
    square,
)
from moe.experiments.shown.interactive.marks import PALETTE, Mark, band, heat, line, points
from moe.randomness import child_seed

_LOOKS = {
    L4: ("blue", "", "o", "L₄ alone"),
    SOFTMAX: ("vermilion", "--", "s", "softmax EM from the truth"),
    OFFSETS: ("orange", "-.", "^", "the same with offsets"),
    CONSTANT: ("green", ":", "o", "L₄, then constant proportions"),
    RECOVER: ("black", "", "x", "softmax recover"),
}
EXTENT, CELLS = 2.5, 36


def gate_plane(record: Record, kind: str) -> NDArray[np.float64]:
    """p_2, p_3, ... (k - 1, CELLS, CELLS) of the first mixture with that gate, over the first two
    coordinates of v, the others zero; the first row is the lowest."""
    spec = record.spec
    truth = gated_experts(kind, spec.k, spec.d, spec.sigmas[0], child_seed(spec.seed, kind, 0))
    middles = EXTENT * (2 * torch.arange(CELLS, dtype=torch.float64) + 1 - CELLS) / CELLS
    second, first = torch.meshgrid(middles, middles, indexing="ij")
    v = torch.zeros(CELLS**2, spec.d - spec.k, dtype=torch.float64)
    v[:, 0], v[:, 1] = first.flatten(), second.flatten()
    shares: NDArray[np.float64] = truth.gate(v).T[1:].reshape(spec.k - 1, CELLS, CELLS).numpy()
    return shares


def _curves(record: Record, method: str) -> list[Mark]:
    """Medians over mixtures and the band from the best to the worst, by gate and sigma."""
    spec, by = record.spec, ("gate", "sigma")
    most = max(len(record.sizes(method, sigma)) for sigma in spec.sigmas)
    x = np.full((len(spec.kinds), len(spec.sigmas), most), np.nan)
    low, middle, high = np.full((3, *x.shape), np.nan)
    for i, kind in enumerate(spec.kinds):
        for j, sigma in enumerate(spec.sigmas):
            errors = record.errors[kind, sigma].get(method)
            if errors is None or not len(errors):
                continue
            sizes = record.sizes(method, sigma)
            for n, values in enumerate(errors.numpy()):
                if (given := values[np.isfinite(values)]).size:
                    x[i, j, n] = sizes[n]
                    low[i, j, n], high[i, j, n] = given.min(), given.max()
                    middle[i, j, n] = np.median(given)
    colour, dash, marker, label = _LOOKS[method]
    alone = method == RECOVER  # at one size
    marks = [points(x, middle, by=by, colour=colour, marker=marker, label=label if alone else "")]
    if not alone:
        marks = [
            band(x, low, high, by=by, colour=colour),
            line(x, middle, by=by, colour=colour, dash=dash, label=label),
            *marks,
        ]
    return marks


def _saying(record: Record, kind: str, sigma: float) -> str:
    last, told = record.spec.sizes[-1], {}
    for method in (L4, SOFTMAX, CONSTANT):
        values = record.at(kind, sigma, method, last).numpy()
        given = values[np.isfinite(values)]
        told[method] = f"{np.median(given):.2g}" if given.size else "no answer"
    return (
        f"Gate: {kind}, σ = {sigma:g}. Median error with {last:,} samples: L₄ alone {told[L4]}, "
        f"softmax from the truth {told[SOFTMAX]}, constant proportions {told[CONSTANT]}."
    )


@moving
def errors_by_gate(record: Record) -> Interactive:
    """Left: the gate. Right: errors against n for it."""
    spec = record.spec
    methods = [m for m in _LOOKS if any(len(e.get(m, ())) for e in record.errors.values())]
    marks = [mark for method in methods for mark in _curves(record, method)]
    maps = np.array([gate_plane(record, kind) for kind in spec.kinds])
    extent = (-EXTENT, EXTENT, -EXTENT, EXTENT)
    left = square(
        "Map of the gate over two directions outside the experts' span, one colour an expert",
        [heat(maps, extent, by=("gate",), colours=(PALETTE * spec.k)[: spec.k])],
        *(EXTENT, "v₁", "v₂", "the gate of one mixture"),
    )
    right = Panel(
        alt="Lines: regressor error against the number of samples, for each method",
        marks=marks,
        x="samples n",
        y="regressor error",
        log="xy",
        ratio=1.0,
        title="errors, best to worst mixture",
    )
    controls = [
        Control("gate", "gate", spec.kinds, min(1, len(spec.kinds) - 1), menu=True),
        Control("sigma", "noise σ", [f"{s:g}" for s in spec.sigmas], len(spec.sigmas) - 1),
    ]
    return Interactive(
        controls,
        [left, right],
        lambda gate, sigma: _saying(record, spec.kinds[gate], spec.sigmas[sigma]),
    )
