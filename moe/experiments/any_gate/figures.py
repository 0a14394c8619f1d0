"""The figure of chapter 10."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from moe.experiments.any_gate.curves import CONSTANT, L4, OFFSETS, RECOVER, SOFTMAX, Record
from moe.experiments.common.style import COLOURS, bars, subplots

STYLES: dict[str, tuple[str, Any, str, str]] = {
    L4: ("blue", "-", "o", "$L_4$ alone"),
    SOFTMAX: ("vermilion", "--", "s", "softmax EM from the truth"),
    OFFSETS: ("orange", "-.", "^", "the same with offsets"),
    CONSTANT: ("green", ":", "D", "$L_4$, then constant proportions"),
    RECOVER: ("black", "", "*", "softmax recover"),
}


def errors_figure(record: Record) -> Figure:
    """E_reg against n: a row a sigma, a column a gate; medians over mixtures, bars their range."""
    spec = record.spec
    figure, axes = subplots(
        len(spec.sigmas), len(spec.kinds), height=1.75, sharex=True, sharey="row", width=8.2
    )
    for row, sigma in zip(axes, reversed(spec.sigmas), strict=True):
        for panel, kind in zip(row, spec.kinds, strict=True):
            for method, errors in record.errors[kind, sigma].items():
                if method not in STYLES or not len(errors):
                    continue
                colour, dashes, marker, _ = STYLES[method]
                sizes, values = np.array(record.sizes(method, sigma)), errors.numpy()
                low, high = np.nanmin(values, axis=1), np.nanmax(values, axis=1)
                bars(panel, sizes, low, high, colour=COLOURS[colour])
                panel.plot(
                    sizes,
                    np.nanmedian(values, axis=1),
                    marker=marker,
                    markersize=7 if method == RECOVER else 3.5,
                    color=COLOURS[colour],
                    linestyle=dashes or "none",
                )
            panel.set(xscale="log", yscale="log")
        row[0].set_ylabel(rf"$E_{{\mathrm{{reg}}}}$, $\sigma = {sigma:g}$")
    for panel, kind in zip(axes[0], spec.kinds, strict=True):
        panel.set_title(kind)
    for panel in axes[-1]:
        panel.set_xlabel("samples $n$")
    used = [m for m in STYLES if any(len(e.get(m, ())) for e in record.errors.values())]
    handles = [
        Line2D(
            [],
            [],
            color=COLOURS[STYLES[m][0]],
            linestyle=STYLES[m][1] or "none",
            marker=STYLES[m][2],
            label=STYLES[m][3],
            markersize=4.5,
        )
        for m in used
    ]
    figure.legend(handles=handles, loc="outside lower center", ncol=3, fontsize=9)
    plt.close(figure)
    return figure
