"""The figures of chapter 13."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, bars, drawing, subplots
from moe.experiments.what_came_after.too_many import contact, least_squares, rates
from moe.experiments.what_came_after.too_many.least_squares import SIGMOID, SOFTMAX, Case

Style = tuple[str, Any, str]
LIKELIHOOD: dict[str, Style] = {
    rates.KNOWN: ("blue", "-", "o"),
    rates.SPLIT: ("vermilion", "--", "s"),
    rates.FREE: ("green", ":", "D"),
}
SQUARES: dict[Case, Style] = {
    ("tanh", SOFTMAX, 2): ("blue", "-", "o"),
    ("linear", SOFTMAX, 2): ("sky", "-.", "^"),
    ("tanh", SOFTMAX, 3): ("vermilion", "--", "s"),
    ("linear", SOFTMAX, 3): ("green", ":", "D"),
    ("tanh", SIGMOID, 3): ("purple", (0, (5, 1, 1, 1)), "v"),
}


@drawing
def rates_figure(record: rates.Record) -> Figure:
    """Left: distance of the experts against n, with the powers that the orders of contact say;
    right: Hellinger distance of the densities."""
    names = {"distance": "distance of the experts", "hellinger": "Hellinger distance"}
    figure, axes = _two_panels(record, names, LIKELIHOOD, rates.NAMES)
    for kind, (colour, *_) in LIKELIHOOD.items():
        if kind in record.values["distance"]:
            first = np.median(record.values["distance"][kind][0].numpy())
            power = -1 / (2 * rates.ORDERS[kind])
            n = np.array([record.sizes[0], record.sizes[-1]], dtype=float)
            axes[0][0].plot(n, first * (n / n[0]) ** power, color=COLOURS[colour], lw=0.7, ls="-",
                            label=hidden(f"{rates.NAMES[kind]}, power {power:.3g}"))  # fmt: skip
    shown = [kind for kind in LIKELIHOOD if kind in record.values["distance"]]
    _legend(figure, [(rates.NAMES[kind], LIKELIHOOD[kind]) for kind in shown])
    return figure


@drawing
def contact_figure(record: contact.Record, at: float = 0.3) -> Figure:
    """Left: densities of the output at one input, of the truth and of its neighbours at the step
    nearest to ``at``; right: Hellinger distances of the laws against the step."""
    figure, axes = subplots(1, 2, height=3.4)
    densities, distances = axes[0]
    place = int(np.abs(np.array(record.steps) - at).argmin())
    densities.plot(record.y, record.truth, color="black", linestyle="-", linewidth=3, alpha=0.4,
                   label=hidden("the truth"))  # fmt: skip
    for kind, (colour, dashes, marker) in LIKELIHOOD.items():
        looks: Any = {"color": COLOURS[colour], "linestyle": dashes}
        looks["label"] = hidden(contact.MOVES[kind])
        densities.plot(record.y, record.near[kind][place], **looks)
        distances.plot(record.steps, record.distances[kind], marker=marker, markersize=4, **looks)
    densities.set(xlabel="output $y$", ylabel="density at one input")
    distances.set(
        xscale="log", yscale="log", xlabel=r"moved by $\delta$", ylabel="Hellinger distance"
    )
    distances.set_xticks(ticks := [0.02, 0.05, 0.1, 0.2, 0.4], map(str, ticks))
    distances.xaxis.set_minor_locator(NullLocator())
    truth: Style = ("grey", "-", "")
    moves = [(contact.MOVES[kind], style) for kind, style in LIKELIHOOD.items()]
    _legend(figure, [("the truth", truth), *moves], columns=2)
    return figure


@drawing
def squares_figure(record: least_squares.Record) -> Figure:
    """Distance from a true expert to the nearest fitted one, and error of the mean, against n."""
    names = {"worst": "worst expert", "mean": "error of the mean"}
    figure, _ = _two_panels(record, names, SQUARES, least_squares.NAMES)
    shown = [case for case in SQUARES if case in record.values["worst"]]
    _legend(figure, [(least_squares.NAMES[case], SQUARES[case]) for case in shown])
    return figure


def _two_panels(
    record: Any, names: dict[str, str], styles: dict[Any, Style], kinds: dict[Any, str]
) -> tuple[Figure, Any]:
    """A panel for each name (and its label) of the record's values, with a curve a kind."""
    figure, axes = subplots(1, 2, height=3.4, sharex=True)
    for panel, (name, label) in zip(axes[0], names.items(), strict=True):
        for kind, style in styles.items():
            if kind in record.values[name]:
                _curve(panel, record.sizes, record.values[name][kind].numpy(), style, kinds[kind])
        _scales(panel, record.sizes, label)
    return figure, axes


def _scales(panel: Any, sizes: tuple[int, ...], label: str) -> None:
    panel.set(xscale="log", yscale="log", xlabel="samples $n$", ylabel=label)
    panel.set_xticks(sizes, [f"{n:,}" for n in sizes])
    panel.xaxis.set_minor_locator(NullLocator())


def _curve(panel: Any, sizes: Any, values: Any, style: Style, label: str) -> None:
    colour, dashes, marker = style
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), axis=1)
    bars(panel, sizes, low, high, colour=COLOURS[colour], label=label)
    looks: Any = {"linestyle": dashes, "marker": marker, "markersize": 5}
    panel.plot(sizes, middle, color=COLOURS[colour], label=hidden(label), **looks)


def _legend(figure: Figure, styles: list[tuple[str, Style]], columns: int = 3) -> None:
    handles = []
    for text, (colour, dashes, marker) in styles:
        looks: Any = {"linestyle": dashes, "marker": marker, "markersize": 5}
        handles.append(Line2D([], [], color=COLOURS[colour], label=text, **looks))
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)
