"""Figures of the recovery chapter: the headline panels, the authors' readings, the stages."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from moe.experiments.recovery.headline import GATES, Record
from moe.experiments.recovery.stages import Record as StagesRecord
from moe.experiments.recovery.tables import LABELS
from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, band, bars, drawing, subplots

_HELD, _LEARNED, _TRUE = GATES
_STYLES = {
    "squared loss": ("vermilion", "--"),
    "L_4": ("blue", "-"),
    _HELD: ("sky", "-"),
    _LEARNED: ("blue", "-"),
    _TRUE: ("green", "-."),
}
_EM = r"EM, $\sigma$ learned, on stored samples"

# Read off the plots of the authors' public slides: (epoch, error). k, d, n, sigma are not stated.
READING = 0.02  # our guess of how far a reading may be off
SLIDES_REGRESSORS = {
    "squared loss": [(0, 0.8), (1000, 0.29)],
    "L_4": [(0, 0.8), (350, 0.0), (1000, 0.0)],
}
SLIDES_PLATEAUS = (0.34, 0.18)
SLIDES_GATES = {
    "squared loss": [(0, 0.61), (850, 0.95), (2000, 0.58)],
    _LEARNED: [(0, 0.70), (2000, 0.0)],
    _TRUE: [(0, 0.93), (2000, 0.0)],
}
_SLIDES_LABELS = {
    "squared loss": "squared loss",
    "L_4": "$L_4$",
    _LEARNED: r"$L_{\log}$, experts from $L_4$",
    _TRUE: r"$L_{\log}$, true experts",
}


@drawing
def headline(records: dict[str, Record]) -> Figure:
    """A row for each setting, experts left and gates right: median over seeds and 10-90 % band
    against the samples seen, both axes logarithmic; EM as points."""
    figure, axes = subplots(len(records), 2, height=3.1, sharex=True, sharey="col")
    for row, (name, record) in zip(axes, records.items(), strict=True):
        seen = {"squared loss": record.regressor_samples}
        _curves(row[0], record.regressor, {**seen, "L_4": record.regressor_samples})
        _curves(row[1], record.gate, {**seen, **dict.fromkeys(GATES, record.gate_samples)})
        _points(row[0], record.spec.em_sizes, record.em)
        _points(row[1], record.spec.em_sizes, record.em_gate)
        for axis, what in zip(row, ("experts", "gates"), strict=True):
            axis.set(title=f"{what}, {name}", xscale="log", yscale="log")
        row[0].set_ylabel(r"regressor error $E_{\rm reg}$ (1)")
        row[1].set_ylabel(r"gating error $E_{\rm gate}$ (1)")
    for axis in axes[-1]:
        axis.set_xlabel("fresh samples seen")
    handles = dict(zip(*reversed(axes[0, 0].get_legend_handles_labels()), strict=True))
    handles |= dict(zip(*reversed(axes[0, 1].get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
    return figure


def _curves(axes: Axes, runs: dict[str, Tensor], samples: dict[str, Tensor]) -> None:
    """Without the start, where no sample has been seen."""
    for name, values in runs.items():
        colour, dashes = _STYLES[name]
        band(
            axes,
            samples[name][1:],
            values[1:],
            colour=COLOURS[colour],
            linestyle=dashes,
            label=LABELS[name],
        )


def _points(axes: Axes, sizes: Sequence[int], values: Tensor) -> None:
    low, middle, high = (values.quantile(q, dim=1) for q in (0.1, 0.5, 0.9))
    bars(axes, sizes, low, high, colour=COLOURS["black"], label=_EM)
    axes.plot(sizes, middle, "D:", color=COLOURS["black"], linewidth=1, markersize=4, label=_EM)


@drawing
def slides() -> Figure:
    """The readings off the authors' slides, as points; nothing between them was read."""
    figure, axes = subplots(1, 2, height=3.0)
    for axis, readings, title, label in (
        (axes[0, 0], SLIDES_REGRESSORS, "experts", "regressor error (1)"),
        (axes[0, 1], SLIDES_GATES, "gates", "gating error (1)"),
    ):
        for marker, (name, points) in zip("sov", readings.items(), strict=False):
            epochs, values = zip(*points, strict=True)
            axis.errorbar(
                epochs,
                values,
                READING,
                fmt=marker,
                color=COLOURS[_STYLES[name][0]],
                label=_SLIDES_LABELS[name],
                linestyle=":",
                linewidth=1,
                elinewidth=1.5,
                capsize=4,
                markersize=3,
            )
        axis.set(title=title, xlabel="epochs (their unit)", ylabel=label, ylim=(-0.05, 1.6))
        axis.legend(loc="upper right")
    for plateau in SLIDES_PLATEAUS:
        axes[0, 0].axhline(plateau, xmax=0.3, color=COLOURS["blue"], linewidth=1, alpha=0.5,
                           label=hidden("plateaus of $L_4$"))  # fmt: skip
    axes[0, 0].annotate(
        "plateaus of $L_4$", (310, SLIDES_PLATEAUS[0]), color=COLOURS["blue"], va="center"
    )
    return figure


@drawing
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
            label=hidden(LABELS[name]),
        )
        axis.set(title=LABELS[name], xlabel="fresh samples seen (millions)", yscale="log")
    axes[0, 0].set_ylabel(r"regressor error $E_{\rm reg}$ (1)")
    return figure


@drawing
def stages(record: StagesRecord) -> Figure:
    """E_reg and E_gate of each stage against n, with the oracle's as the floor."""
    figure, axes = subplots(1, 2, height=3.6)
    sizes = record.spec.sizes
    _lines(
        axes[0, 0],
        sizes,
        {"$L_4$ alone": record.l4, "recover": record.final, "oracle": record.oracle},
        ("blue", "orange", "black"),
    )
    _lines(
        axes[0, 1],
        sizes,
        {
            r"$L_{\log}$, $\sigma$ held": record.gate_held,
            r"$L_{\log}$, $\sigma$ learned": record.gate_log,
            "recover": record.gate_final,
            "oracle": record.gate_oracle,
        },
        ("sky", "blue", "orange", "black"),
    )
    axes[0, 0].set_ylabel(r"regressor error $E_{\rm reg}$ (1)")
    axes[0, 1].set_ylabel(r"gating error $E_{\rm gate}$ (1)")
    return figure


def _lines(
    axes: Axes, sizes: Sequence[int], rows: dict[str, Tensor], colours: Sequence[str]
) -> None:
    for (name, values), colour, marker in zip(rows.items(), colours, "osvD^", strict=False):
        dashes = ":" if name == "oracle" else "-"
        band(axes, sizes, values, colour=COLOURS[colour], label=name, linestyle=dashes)
        middle = values.nanquantile(0.5, dim=1)
        axes.plot(sizes, middle, marker, color=COLOURS[colour], markersize=5, label=hidden(name))
    axes.set(xscale="log", yscale="log", xlabel="samples n")
    axes.set_xticks(sizes, [f"{n:,}" for n in sizes])
    axes.set_xticks([], minor=True)
    axes.legend(fontsize=8.5)
