"""The complete lists of data sets, and how often there is more in them than in population."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from moe.experiments.common.shares import Share
from moe.experiments.landscape.empirical.lists import Case, Record
from moe.experiments.shown.style import COLOURS, CYCLE, DASHES, bars, drawing, subplots
from moe.landscape import CompleteList


@drawing
def lists_figure(record: Record) -> Figure:
    """Index against value of every critical point: the population's and, for the first data set of
    each size, the samples'."""
    sizes = [n for n, cases in record.cases.items() if cases]
    figure, (panels,) = subplots(1, 1 + len(sizes), height=3.0, sharey=True, sharex=True)
    _points(panels[0], record.exact, 0)
    panels[0].set_title("population")
    for panel, n in zip(panels[1:], sizes, strict=True):
        case = record.cases[n][0]
        _points(panel, case.listed, case.truth)
        panel.set_title(f"$n = {n:,}$")
    for panel in panels:
        panel.set(xlabel="index (1)", xlim=(-0.8, record.exact.curvatures.shape[1] + 0.8))
    panels[0].set_ylabel("value of $L_4$ (1)")
    handles: dict[str, Artist] = {}
    for panel in panels:
        shown, labels = panel.get_legend_handles_labels()
        handles |= dict(zip(labels, shown, strict=True))
    figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=3)
    return figure


def _points(panel: Axes, listed: CompleteList, truth: int) -> None:
    minimum = [i for i, kind in enumerate(listed.kinds) if kind == "minimum"]
    rest = [i for i in range(len(listed)) if i not in minimum]
    others = [i for i in minimum if i != truth]
    for which, colour, marker, size, label in (
        (rest, "grey", ".", 4, "saddles and the maximum"),
        ([truth] if truth >= 0 else [], "blue", "o", 9, "the truth's minimum"),
        (others, "vermilion", "^", 7, "other minima"),
    ):
        if which:
            style: dict[str, Any] = {"color": COLOURS[colour], "marker": marker, "markersize": size}
            panel.plot(
                listed.index[which], listed.values[which], linestyle="none", label=label, **style
            )


SHARES: tuple[tuple[str, Callable[[Case], bool]], ...] = (
    ("another minimum", lambda case: case.others > 0),
    ("truth's minimum missing", lambda case: case.truth < 0),
    ("not proved bounded", lambda case: case.margin <= 0),
)


@drawing
def shares_figure(records: Sequence[Record]) -> Figure:
    """Of the data sets, against n: with a minimum beside the truth's, without the truth's, and not
    proved bounded; a column a number of experts. Bars: 95 % intervals over data sets."""
    figure, (panels,) = subplots(1, len(records), height=3.0, sharey=True)
    for panel, record in zip(panels, records, strict=True):
        sizes = [n for n, cases in record.cases.items() if cases]
        for i, (label, has) in enumerate(SHARES):
            shares = [
                Share(sum(has(c) for c in record.cases[n]), len(record.cases[n])) for n in sizes
            ]
            low, high = zip(*(share.interval() for share in shares), strict=True)
            places = [n * 1.06 ** (i - 1) for n in sizes]
            bars(
                panel,
                places,
                [100 * v for v in low],
                [100 * v for v in high],
                colour=CYCLE[i],
                label=label,
            )
            panel.plot(
                places,
                [100 * share.value for share in shares],
                color=CYCLE[i],
                linestyle=DASHES[i],
                marker="o^s"[i],
                label=label,
            )
        panel.set(xscale="log", xlabel="samples $n$", title=f"{record.spec.problem.k} experts")
        panel.set_xticks(sizes, [f"{n:,}" for n in sizes])
        panel.xaxis.set_minor_locator(NullLocator())
    panels[0].set(ylabel="data sets (%)", ylim=(-3, 103))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure
