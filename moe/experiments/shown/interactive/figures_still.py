"""The same figure standing still, as readers find it first: on paper, and without scripts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from moe.experiments.shown.interactive.marks import LEVELS
from moe.experiments.shown.style import COLOURS, WIDTH, BookFigure, drawing, subplots

_PIXELS = re.compile('image-rendering:[^;"]*;?')
_POINT = 0.75  # of a line or a marker, for a pixel in the page
Json = Mapping[str, Any]
Seen = Mapping[str, Any]
"""Coordinates of a mark, where the controls stand."""


def still(panels: Sequence[Json], at: Mapping[str, int]) -> str:
    """An SVG of the panels, as the page is given them, with the controls ``at`` these places.

    Maps keep the few pixels they have; whoever shows them smooths those that are not crisp.
    """
    drawn = _drawn(panels, at)
    assert isinstance(drawn, BookFigure)
    crisp = any("crisp" in mark for panel in panels for mark in panel["marks"])
    return drawn.svg() if crisp else _PIXELS.sub("", drawn.svg())


@drawing
def _drawn(panels: Sequence[Json], at: Mapping[str, int]) -> Figure:
    """The panels, two in a row."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    height = WIDTH / 2 * max(panel["ratio"] for panel in panels) + 0.5
    drawn, axes = subplots(rows, columns, height=height, width=WIDTH * (1 if columns > 1 else 0.65))
    labels: dict[str, Any] = {}
    for panel, own in zip(panels, axes.flat, strict=False):
        _draw(own, panel, at)
        labels |= {label: one for one, label in zip(*own.get_legend_handles_labels(), strict=True)}
    for unused in list(axes.flat)[len(panels) :]:
        unused.remove()
    if labels:
        drawn.legend([*labels.values()], [*labels], loc="outside lower center", ncols=2)
    return drawn


def _draw(axes: Axes, panel: Json, at: Mapping[str, int]) -> None:
    for name, own in (("x", axes.xaxis), ("y", axes.yaxis)):
        told = panel[name]
        scale = "log" if told["log"] else "linear"
        axes.set(
            **{f"{name}label": told["label"], f"{name}scale": scale, f"{name}lim": told["range"]}
        )
        if "ticks" in told:
            own.set_ticks(*zip(*told["ticks"], strict=True))
            own.set_minor_formatter(NullFormatter())
    axes.set_title(panel["title"])
    axes.set_box_aspect(panel["ratio"])
    maps = [mark for mark in panel["marks"] if mark["kind"] == "heat"]
    axes.grid(not maps)
    for mark in (*maps, *(mark for mark in panel["marks"] if mark not in maps)):
        _KINDS[mark["kind"]](
            axes, mark, {name: _seen(mark, name, at) for name in _NAMES if name in mark}
        )


def _seen(mark: Json, name: str, at: Mapping[str, int]) -> Any:
    """The row of a coordinate where the controls stand."""
    found = mark[name]
    if name in mark["follows"]:
        for control in mark["by"]:
            found = found[at[control]]
    return found if name in ("words", "cells") else np.array(found, dtype=float)


def _look(mark: Json) -> dict[str, Any]:
    return {"color": COLOURS[mark["colour"]], "label": mark.get("label")}


def _line(axes: Axes, mark: Json, seen: Seen) -> None:
    width = _POINT * mark["width"]
    axes.plot(seen["x"], seen["y"], linestyle=mark.get("dash", "-"), linewidth=width, **_look(mark))


def _band(axes: Axes, mark: Json, seen: Seen) -> None:
    axes.fill_between(seen["x"], seen["y"], seen["y2"], alpha=0.22, linewidth=0, **_look(mark))


def _points(axes: Axes, mark: Json, seen: Seen) -> None:
    look = _look(mark)
    if "shade" in seen:
        ends = [_rgb(COLOURS[mark[name]]) for name in ("other", "colour")]
        look["color"] = (1 - seen["shade"][:, None]) * ends[0] + seen["shade"][:, None] * ends[1]
    size = (2 * _POINT * mark["size"]) ** 2
    look["edgecolors"] = "black" if "drag" in mark else None
    axes.scatter(seen["x"], seen["y"], s=size, marker=mark["marker"], zorder=3, **look)


def _rgb(colour: str) -> NDArray[np.float64]:
    return np.array(list(bytes.fromhex(colour[1:]))) / 255


def _segments(axes: Axes, mark: Json, seen: Seen) -> None:
    look, width = _look(mark), _POINT * mark["width"]
    style = {"linestyle": mark.get("dash", "-"), "linewidth": width, "color": look["color"]}
    for x, y, x2, y2 in zip(*(seen[name] for name in ("x", "y", "x2", "y2")), strict=True):
        if "head" in mark:
            arrow = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, **style}
            axes.annotate("", (x2, y2), (x, y), arrowprops=arrow)
        else:
            axes.plot([x, x2], [y, y2], solid_capstyle="butt", **style)
    axes.plot([], [], label=look["label"], **style)  # for the legend, however many there are


def _text(axes: Axes, mark: Json, seen: Seen) -> None:
    side = {"start": "left", "end": "right"}.get(mark.get("anchor", ""), "center")
    for x, y, said in zip(seen["x"], seen["y"], seen["words"], strict=True):
        if np.isfinite([x, y]).all():
            axes.text(x, y, said, ha=side, va="center", color=_look(mark)["color"], clip_on=True)


def _heat(axes: Axes, mark: Json, seen: Seen) -> None:
    levels = np.array([[LEVELS.find(letter) for letter in layer] for layer in seen["cells"]]) / 63
    levels = levels.reshape(len(levels), -1, mark["columns"])
    inks = np.array(mark["colours"], dtype=float) / 255
    if len(levels) > 1:  # shares: the first colour has the rest
        weights = np.concatenate([1 - levels.sum(0, keepdims=True), levels])
        picture = np.einsum("lrc,li->rci", weights, inks)
    else:
        places = np.linspace(0, 1, len(inks))
        picture = np.stack([np.interp(levels[0], places, ink) for ink in inks.T], -1)
    clear = np.where(levels[0] < 0, 0.0, 1.0)[..., None]
    left, right, low, high = mark["extent"]
    ends = [
        axes.transLimits.transform(axes.transScale.transform(end))
        for end in ((left, low), (right, high))
    ]
    axes.imshow(
        np.concatenate([np.clip(picture, 0, 1), clear], -1),
        extent=(ends[0][0], ends[1][0], ends[0][1], ends[1][1]),
        transform=axes.transAxes,
        origin="lower",
        aspect="auto",
        interpolation="none",
    )
    axes.autoscale(False)


_NAMES = ("x", "y", "x2", "y2", "shade", "words", "cells")
_KINDS = {
    "line": _line,
    "band": _band,
    "points": _points,
    "segments": _segments,
    "text": _text,
    "heat": _heat,
}
