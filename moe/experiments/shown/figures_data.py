"""The data of a figure as CSV, read off what is drawn: one row a point, one column a quantity."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from io import StringIO
from typing import Any

import numpy as np
from matplotlib import cbook
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection, LineCollection, PathCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from moe.experiments.shown.figures_names import SCALE, panel_name, parts, series_names, words

HEAD = ("panel", "kind", "label", "colour", "x", "y", "value")
LIMIT = 2_000
_FEW = 20  # points of an artist that are never thinned
Point = tuple[float | str, float | str, float | str]


def data_of(figure: Figure) -> tuple[str, str]:
    """CSV with the columns HEAD, at most about LIMIT rows, and a note where points were left out.

    panel: the number of the axes, from 1, their title and what is drawn against what; kind: "line",
    "points", "segments" (two rows each; error bars are segments), "outline" of a band or region
    (of level lines the level is the value), "bar" (its middle and height), "cells" of a map; label:
    what the series is called, else a number in the panel. A coordinate that is not in units of the
    axes, as the ends of a line across a panel, stays empty; on an axis whose ticks bear words it is
    the nearest word. A scale of colours is no panel.
    """
    artists = []
    panels = [axes for axes in figure.axes if axes.get_label() != SCALE]
    for number, axes in enumerate(panels, 1):
        panel = panel_name(axes, number)
        for kind, artist, label, points in _artists(axes):
            artists.append(((panel, kind, label, _colour(artist)), points))
    step = _step([len(points) for _, points in artists])
    written = StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(HEAD)
    for name, points in artists:
        every = step if len(points) > _FEW else 1
        rows.writerows((*name, *map(_short, point)) for point in points[::every])
    return written.getvalue(), "" if step == 1 else f"1 in {step} points of long series"


def _step(lengths: list[int]) -> int:
    """The least thinning of the long series that keeps all of them together below LIMIT rows."""
    fixed = sum(length for length in lengths if length <= _FEW)
    long = sum(length for length in lengths if length > _FEW)
    step = -(-long // max(LIMIT - fixed, 1))
    return max(step, 1)


def _artists(axes: Axes) -> Iterator[tuple[str, Artist, str, list[Point]]]:
    """Kind, artist, label and points of everything drawn that holds data; caps of bars are none."""
    held = [part for container in axes.containers for part in parts(container)]
    caps = {part for each in axes.containers for part in cbook.flatten(each)} - {*held}
    names, across, up = series_names(axes), words(axes.xaxis), words(axes.yaxis)
    order = 0
    for artist in axes.get_children():
        kind, points = _points(artist, axes)
        if points and artist not in caps:
            order += 1
            placed = [(_place(x, across), _place(y, up), value) for x, y, value in points]
            yield kind, artist, names.get(artist, str(order)), placed


def _place(value: float | str, called: Callable[[float], float | str]) -> float | str:
    return value if isinstance(value, str) else called(value)


def _colour(artist: Any) -> str:
    """As "#rrggbb"; empty where an artist has many."""
    if isinstance(artist, AxesImage | QuadMesh):
        return ""
    if isinstance(artist, Line2D):
        return to_hex(artist.get_color())
    faces = np.atleast_2d(artist.get_facecolor())
    colours = np.atleast_2d(artist.get_edgecolor()) if faces.size == 0 else faces
    return to_hex(colours[0]) if len(colours) == 1 and colours.size else ""


def _points(artist: Artist, axes: Axes) -> tuple[str, list[Point]]:
    drawn: Any = artist  # whose annotations allow more than it returns
    if isinstance(artist, Line2D):
        kind = "points" if drawn.get_linestyle() == "None" else "line"
        return kind, _in_data(drawn, axes, drawn.get_xydata())
    if isinstance(artist, QuadMesh):
        corners = np.asarray(drawn.get_coordinates())
        middles = (corners[:-1, :-1] + corners[1:, 1:]) / 2
        return "cells", _cells(middles[..., 0], middles[..., 1], drawn.get_array())
    if isinstance(artist, AxesImage):
        rows, columns = drawn.get_array().shape[:2]
        left, right, low, high = drawn.get_extent()
        x = left + (np.arange(columns) + 0.5) * (right - left) / columns
        y = low + (np.arange(rows) + 0.5) * (high - low) / rows
        upright = y if drawn.origin == "lower" else y[::-1]
        across, up = np.broadcast_arrays(x, upright[:, None])
        return "cells", _cells(across, up, drawn.get_array())
    if isinstance(artist, PathCollection):
        return "points", _in_data(drawn, axes, drawn.get_offsets(), offsets=True)
    if isinstance(artist, ContourSet):
        values = drawn.layers if drawn.filled else drawn.levels
        return "outline", [
            (x, y, value)
            for value, path in zip(values, drawn.get_paths(), strict=True)
            for x, y in path.vertices
        ]
    if isinstance(artist, Collection):
        kind = "segments" if isinstance(artist, LineCollection) else "outline"
        vertices = [point for path in drawn.get_paths() for point in path.vertices]
        return kind, _in_data(drawn, axes, vertices)
    if isinstance(artist, Rectangle) and artist is not axes.patch:
        (x, y), (wide, high) = drawn.get_xy(), (drawn.get_width(), drawn.get_height())
        return "bar", _in_data(drawn, axes, [(x + wide / 2, y + high)])
    return "", []


def _in_data(artist: Any, axes: Axes, points: Iterable[Any], offsets: bool = False) -> list[Point]:
    transform = artist.get_offset_transform() if offsets else artist.get_transform()
    with_x, with_y = transform.contains_branch_seperately(axes.transData)
    if not (with_x or with_y):
        return []
    found: list[Point] = [(x if with_x else "", y if with_y else "", "") for x, y in points]
    return found if with_x and with_y else list(dict.fromkeys(found))


def _cells(x: Any, y: Any, values: Any) -> list[Point]:
    if np.ndim(values) != 2:  # a picture in colours
        return []
    shown: Any = np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)
    return list(zip(x.ravel(), y.ravel(), shown.ravel(), strict=True))


def _short(value: Any) -> str:
    return value if isinstance(value, str) else f"{float(value):.6g}"
