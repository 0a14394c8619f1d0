"""Figures of the recovery chapter: the headline panels, the authors' readings, the stages."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from moe.experiments.headline import Record
from moe.experiments.stages import Record as StagesRecord
from moe.plotting.style import COLOURS, band, subplots

_STYLES = {
    "squared loss": ("vermilion", "--"),
    "L_4": ("blue", "-"),
    "L_log, experts from L_4": ("blue", "-"),
    "L_log, true experts": ("green", "-."),
}
_LABELS = {
    "squared loss": "squared loss",
    "L_4": "$L_4$",
    "L_log, experts from L_4": r"$L_{\log}$, experts from $L_4$",
    "L_log, true experts": r"$L_{\log}$, true experts",
}

# Read off the plots of the authors' public slides: (epoch, error). k, d, n, sigma are not stated.
SLIDES_REGRESSORS = {
    "squared loss": [(0, 0.8), (1000, 0.285)],
    "L_4": [(0, 0.8), (350, 0.005), (1000, 0.005)],
}
SLIDES_PLATEAUS = (0.34, 0.18)
SLIDES_GATES = {
    "squared loss": [(0, 0.61), (850, 0.95), (2000, 0.58)],
    "L_log, experts from L_4": [(0, 0.70), (2000, 0.0)],
    "L_log, true experts": [(0, 0.93), (2000, 0.0)],
}


def _curves(axes: Axes, samples: Tensor, runs: dict[str, Tensor], title: str, label: str) -> None:
    for name, values in runs.items():
        colour, dashes = _STYLES[name]
        band(
            axes,
            samples / 1e6,
            values,
            colour=COLOURS[colour],
            linestyle=dashes,
            label=_LABELS[name],
        )
    axes.set(title=title, xlabel="fresh samples seen (millions)", ylabel=label, ylim=(0, None))
    axes.legend()


def headline(record: Record) -> Figure:
    """Both panels: median over seeds and the 10-90 % band, against samples seen."""
    figure, axes = subplots(1, 2, height=3.4)
    _curves(
        axes[0, 0],
        record.regressor_samples,
        record.regressor,
        "experts",
        r"regressor error $E_{\rm reg}$ (1)",
    )
    _curves(
        axes[0, 1], record.gate_samples, _gates(record), "gates", r"gating error $E_{\rm gate}$ (1)"
    )
    plt.close(figure)
    return figure


def _gates(record: Record) -> dict[str, Tensor]:
    """The gate curves on the gate stage's own axis; the squared loss is cut to its length."""
    length = len(record.gate_samples)
    joint = record.gate["squared loss"]
    rows = np.linspace(0, len(joint) - 1, length).round().astype(int)
    return {**record.gate, "squared loss": joint[rows]}


def slides() -> Figure:
    """The readings off the authors' slides, as points; nothing between them was read."""
    figure, axes = subplots(1, 2, height=3.0)
    for axis, readings, title, label in (
        (axes[0, 0], SLIDES_REGRESSORS, "experts", "regressor error (1)"),
        (axes[0, 1], SLIDES_GATES, "gates", "gating error (1)"),
    ):
        for marker, (name, points) in zip("sov", readings.items(), strict=False):
            epochs, values = zip(*points, strict=True)
            axis.plot(
                epochs,
                values,
                marker,
                color=COLOURS[_STYLES[name][0]],
                label=_LABELS[name],
                linestyle=":",
                linewidth=1,
            )
        axis.set(title=title, xlabel="epochs (their unit)", ylabel=label, ylim=(-0.03, 1.6))
        axis.legend(loc="upper right")
    for plateau in SLIDES_PLATEAUS:
        axes[0, 0].axhline(plateau, xmax=0.3, color=COLOURS["blue"], linewidth=1, alpha=0.5)
    axes[0, 0].annotate(
        "plateaus of $L_4$", (310, SLIDES_PLATEAUS[0]), color=COLOURS["blue"], va="center"
    )
    plt.close(figure)
    return figure


def runs(record: Record) -> Figure:
    """Every run of the left panel as a line of its own: medians hide who gets stuck."""
    figure, axes = subplots(1, 2, height=3.2, sharey=True)
    for axis, name in zip(axes[0], record.regressor, strict=True):
        axis.plot(
            record.regressor_samples / 1e6,
            record.regressor[name],
            color=COLOURS[_STYLES[name][0]],
            linestyle="-",
            linewidth=0.9,
            alpha=0.6,
        )
        axis.set(title=_LABELS[name], xlabel="fresh samples seen (millions)", yscale="log")
    axes[0, 0].set_ylabel(r"regressor error $E_{\rm reg}$ (1)")
    plt.close(figure)
    return figure


def stages(record: StagesRecord) -> Figure:
    """E_reg and E_gate of each stage against n, with the oracle's as the floor."""
    figure, axes = subplots(1, 2, height=3.4)
    sizes = record.spec.sizes
    for axis, rows, label in (
        (
            axes[0, 0],
            [("$L_4$ alone", record.l4), ("recover", record.final), ("oracle", record.oracle)],
            r"regressor error $E_{\rm reg}$ (1)",
        ),
        (
            axes[0, 1],
            [
                (r"$L_4$, then $L_{\log}$", record.gate_log),
                ("recover", record.gate_final),
                ("oracle", record.gate_oracle),
            ],
            r"gating error $E_{\rm gate}$ (1)",
        ),
    ):
        for (name, values), colour, dashes, marker in zip(
            rows, ("blue", "orange", "black"), ("-", "-", ":"), "os^", strict=True
        ):
            band(axis, sizes, values, colour=COLOURS[colour], label=name, linestyle=dashes)
            axis.plot(sizes, values.nanmedian(1).values, marker, color=COLOURS[colour])
        axis.set(xscale="log", yscale="log", xlabel="samples n", ylabel=label)
        axis.legend()
    plt.close(figure)
    return figure
