"""The figure of chapter 10."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from moe.experiments.any_gate.likelihood.curves import (
    CONSTANT,
    L4,
    OFFSETS,
    RECOVER,
    SOFTMAX,
    Record,
)
from moe.experiments.any_gate.likelihood.limits import Limits
from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, bars, drawing, subplots

STYLES: dict[str, tuple[str, Any, str, str]] = {
    L4: ("blue", "-", "o", "$L_4$ alone"),
    SOFTMAX: ("vermilion", "--", "s", "softmax EM from the truth"),
    OFFSETS: ("orange", "-.", "^", "the same with offsets"),
    CONSTANT: ("green", ":", "D", "$L_4$, then constant proportions"),
    RECOVER: ("black", "none", "*", "softmax recover"),
}
_LIMIT: dict[str, Any] = {"color": COLOURS["vermilion"], "linestyle": (0, (1, 1)), "linewidth": 1}


@drawing
def errors_figure(record: Record, limits: Limits) -> Figure:
    """E_reg against n: a row a gate, a column a sigma; medians over mixtures, bars their range; the
    median of softmax's limits as a line."""
    spec = record.spec
    shape = (len(spec.kinds), len(spec.sigmas))
    figure, axes = subplots(*shape, height=1.65, sharex=True, sharey="col")
    for row, kind in zip(axes, spec.kinds, strict=True):
        for panel, sigma in zip(row, spec.sigmas, strict=True):
            for method in [m for m in STYLES if len(record.errors[kind, sigma].get(m, ()))]:
                values = record.errors[kind, sigma][method].numpy()
                _line(panel, np.array(record.sizes(method, sigma)), values, method)
            panel.set(xscale="log", yscale="log")
            panel.xaxis.set_minor_formatter(NullFormatter())
            if sigma == limits.spec.sigma and kind in limits.errors and kind != "softmax":
                level = float(limits.errors[kind].median())
                panel.axhline(level, label=hidden("softmax's limit"), **_LIMIT)
        row[0].set_ylabel(f"{kind}\n" + r"$E_{\mathrm{reg}}$")
    for panel, sigma in zip(axes[0], spec.sigmas, strict=True):
        panel.set_title(rf"$\sigma = {sigma:g}$")
    for panel in axes[-1]:
        panel.set_xlabel("samples $n$")
    used = [m for m in STYLES if any(len(e.get(m, ())) for e in record.errors.values())]
    handles = [*map(_handle, used), Line2D([], [], label="softmax's limit", **_LIMIT)]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def _line(panel: Any, sizes: Any, values: Any, method: str) -> None:
    colour, dashes, marker, label = STYLES[method]
    answered = np.isfinite(values).any(1)
    sizes, values = sizes[answered], values[answered]
    low, middle, high = (np.nanquantile(values, q, axis=1) for q in (0.0, 0.5, 1.0))
    bars(panel, sizes, low, high, colour=COLOURS[colour], label=label)
    size = 8 if method == RECOVER else 4
    style = {"color": COLOURS[colour], "linestyle": dashes, "marker": marker, "markersize": size}
    panel.plot(sizes, middle, label=hidden(label), **style)


def _handle(method: str) -> Line2D:
    colour, dashes, marker, label = STYLES[method]
    style: Any = {"linestyle": dashes, "marker": marker, "markersize": 5, "label": label}
    return Line2D([], [], color=COLOURS[colour], **style)
