"""What the parts of a figure are called in its data: its panels, its series, places on its axes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.container import ErrorbarContainer
from matplotlib.contour import ContourSet
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

SCALE = "<colorbar>"  # as matplotlib labels the axes of a scale of colours
HIDDEN = "_ "
"""A label that begins so stays out of legends, and names its series in the data all the same."""
_NEAR = 0.3  # of the step between two words on an axis


def hidden(label: str) -> str:
    """A label for the data alone."""
    return HIDDEN + label


def panel_name(axes: Axes, number: int) -> str:
    """The number, the title and the axes' labels; what only the first panel of a column says is
    said of those below it too, and likewise along a row."""
    column, row = _beside(axes)
    title = _first(axes.get_title(), *(other.get_title() for other in column))
    y = _first(axes.get_ylabel(), *(other.get_ylabel() for other in row))
    x = _first(axes.get_xlabel(), *(other.get_xlabel() for other in reversed(column)))
    if axes.figure is not None and not x:
        x = axes.figure.get_supxlabel()
    labels = " against ".join(filter(None, (y, x)))
    return " ".join(f"{number} {': '.join(filter(None, (title, labels)))}".split())


def series_names(axes: Axes) -> dict[Artist, str]:
    """What the parts of a panel are called: by their own label, that of their container, or that of
    the scale of their colours; parts that nothing names are left out."""
    names = {part: _told(part.get_label()) or _shades(part) for part in axes.get_children()}
    for container in axes.containers:
        names |= dict.fromkeys(parts(container), _told(container.get_label()))
    return {part: name for part, name in names.items() if name}


def parts(container: Any) -> list[Artist]:
    """The artists of a container that hold data: of error bars the line and the bars, no caps."""
    if isinstance(container, ErrorbarContainer):
        line, _, bars = container.lines
        return [*filter(None, [line]), *bars]
    return [part for part in container if isinstance(part, Artist)]


def words(axis: Axis) -> Callable[[float], float | str]:
    """A place on an axis as its ticks call it, where they bear words or other numbers."""
    if not isinstance(axis.get_major_locator(), FixedLocator):
        return float
    places: Any = np.array(axis.get_majorticklocs(), dtype=np.float64)
    labels = axis.get_major_formatter().format_ticks(places)
    if not _otherwise(places, labels):
        return float
    plain = [" ".join(label.split()) for label in labels]

    def called(place: float) -> str:
        near = np.abs(places - place)
        first, *others = near.argsort()
        if near[first] < _NEAR or not others:
            return plain[first]
        return f"between {plain[first]} and {plain[others[0]]}"

    return called


def _otherwise(places: Any, labels: list[str]) -> bool:
    if any(label and not re.search(r"\d", label) for label in labels):
        return True
    try:
        read = [float(label.replace(",", "").replace("k", "e3")) for label in labels]
    except ValueError:
        return False
    return not np.allclose(read, places, rtol=0.1)


def _beside(axes: Axes) -> tuple[list[Axes], list[Axes]]:
    """The panels of the same column, top to bottom, and of the same row, left to right."""
    place = axes.get_subplotspec()
    if place is None or axes.figure is None:
        return [], []
    others = [(o, s) for o in axes.figure.axes if (s := o.get_subplotspec()) is not None]
    same = [(o, s) for o, s in others if s.get_gridspec() is place.get_gridspec()]
    column = [o for o, s in same if s.colspan == place.colspan]
    row = [o for o, s in same if s.rowspan == place.rowspan]
    return column, row


def _first(*texts: str) -> str:
    return next(filter(None, texts), "")


def _told(label: object) -> str:
    text = str(label or "").removeprefix(HIDDEN)
    return "" if text.startswith("_") else " ".join(text.split())


def _shades(artist: Any) -> str:
    """What the colours of a map say: its scale's label, or that of the figure's only scale."""
    if isinstance(artist, Line2D) or getattr(artist, "get_array", lambda: None)() is None:
        return ""
    panels = artist.figure.axes
    scales = [axes for axes in panels if axes.get_label() == SCALE]
    own = [artist.colorbar.ax] if artist.colorbar is not None else scales
    if len(own) == 1:
        return " ".join((own[0].get_ylabel() or own[0].get_xlabel()).split())
    return "level lines" if isinstance(artist, ContourSet) else ""
