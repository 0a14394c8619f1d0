"""What is drawn in a figure that a reader moves: lines, points, bands, segments, words, maps.

A coordinate of a mark is one row of numbers, or an array of rows whose leading axes are the
controls in ``by``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moe.experiments.shown.style import CYCLE

COLOURS = ("blue", "orange", "green", "vermilion", "purple", "sky", "grey", "black")
LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_LOW_TO_HIGH = ((0, 52, 110), (87, 98, 120), (165, 156, 116), (254, 232, 56))  # as in cividis
PALETTE = tuple(tuple(bytes.fromhex(colour[1:])) for colour in CYCLE)
"""The colours of the still figures, in their order, as red, green and blue."""


@dataclass(frozen=True, eq=False)
class Mark:
    """Something drawn: its coordinates, the controls they may follow, and how it looks."""

    kind: str
    data: Mapping[str, NDArray[Any]]
    by: Sequence[str]
    look: Mapping[str, Any]

    def check(self, lengths: Mapping[str, int]) -> None:
        """ValueError unless every coordinate is a row, or an array of rows over ``by``."""
        for control in self.by:
            if control not in lengths:
                raise ValueError(f"by: expected one of {', '.join(lengths)}, got {control!r}")
        family = tuple(lengths[control] for control in self.by)
        for name, values in self.data.items():
            if values.shape[:-1] not in ((), family):
                raise ValueError(f"{name}: expected rows, or {family} of them, got {values.shape}")

    def json(self) -> dict[str, Any]:
        told = {name: _short(values) for name, values in self.data.items()}
        follows = [name for name, values in self.data.items() if values.ndim > 1]
        look = {name: value for name, value in self.look.items() if value not in ("", None, False)}
        return {"kind": self.kind, "by": list(self.by), "follows": follows, **look, **told}


def _mark(
    kind: str, by: Sequence[str], colour: str, data: Mapping[str, ArrayLike], **look: Any
) -> Mark:
    if colour not in COLOURS:
        raise ValueError(f"colour: expected one of {', '.join(COLOURS)}, got {colour!r}")
    arrays = {name: np.asarray(values, dtype=float) for name, values in data.items()}
    return Mark(kind, arrays, by, {"colour": colour, **look})


def xy(places: Any) -> tuple[Any, Any]:
    """x and y of points (..., 2)."""
    return places[..., 0], places[..., 1]


def line(
    x: ArrayLike,
    y: ArrayLike,
    *,
    by: Sequence[str] = (),
    colour: str = "blue",
    dash: str = "",
    label: str = "",
    width: float = 2,
) -> Mark:
    """A line through the points; NaN is a gap."""
    return _mark("line", by, colour, {"x": x, "y": y}, dash=dash, label=label, width=width)


def band(
    x: ArrayLike,
    y: ArrayLike,
    y2: ArrayLike,
    *,
    by: Sequence[str] = (),
    colour: str = "blue",
    label: str = "",
) -> Mark:
    """The region between y and y2, which are NaN at the same places."""
    return _mark("band", by, colour, {"x": x, "y": y, "y2": y2}, label=label)


def points(
    x: ArrayLike,
    y: ArrayLike,
    *,
    by: Sequence[str] = (),
    colour: str = "blue",
    label: str = "",
    marker: str = "o",
    size: float = 4,
    shade: ArrayLike | None = None,
    other: str = "",
    drag: str = "",
) -> Mark:
    """Markers "o", "x", "^" or "s". ``shade`` in [0, 1] mixes the colour ``other`` (0) with
    ``colour`` (1). ``drag``: the one point can be dragged, which moves the control of that name."""
    data = {"x": x, "y": y} | ({} if shade is None else {"shade": shade})
    look = dict(label=label, marker=marker, size=size, other=other, drag=drag)
    return _mark("points", by, colour, data, **look)


def segments(
    x: ArrayLike,
    y: ArrayLike,
    x2: ArrayLike,
    y2: ArrayLike,
    *,
    by: Sequence[str] = (),
    colour: str = "blue",
    dash: str = "",
    label: str = "",
    width: float = 2.5,
    head: bool = False,
) -> Mark:
    """From (x, y) to (x2, y2): bars where they are wide, arrows with ``head``."""
    data = {"x": x, "y": y, "x2": x2, "y2": y2}
    return _mark("segments", by, colour, data, dash=dash, label=label, width=width, head=head)


def words(
    x: ArrayLike,
    y: ArrayLike,
    said: Sequence[str],
    *,
    by: Sequence[str] = (),
    colour: str = "black",
    anchor: str = "",
) -> Mark:
    """A word at each point; they do not follow the controls, the places may."""
    mark = _mark("text", by, colour, {"x": x, "y": y}, anchor=anchor)
    return Mark(mark.kind, {**mark.data, "words": np.asarray(said)}, by, mark.look)


def heat(
    values: ArrayLike,
    extent: tuple[float, float, float, float],
    *,
    by: Sequence[str] = (),
    colours: Sequence[Sequence[int]] = _LOW_TO_HIGH,
    limits: tuple[float, float] | None = None,
    crisp: bool = False,
) -> Mark:
    """A map (..., layers, rows, columns), its first row lowest, in 64 steps between ``limits``.

    extent: left, right, low and high edge. One layer runs through the colours; several are shares
    that mix them, the first colour having what is left to one. NaN is left clear. ``crisp``: the
    cells keep their edges.
    """
    grid = np.asarray(values, dtype=float)
    *_, layers, _, columns = grid.shape
    if layers > 1 and len(colours) != layers + 1:
        raise ValueError(f"colours: expected {layers + 1}, got {len(colours)}")
    low, high = limits or (0.0, 1.0)
    seen = np.isfinite(grid)
    step = np.where(seen, np.round(63 * (np.clip(grid, low, high) - low) / (high - low)), 64)
    letters = np.array([*LEVELS, " "])[step.astype(int)].reshape(-1, grid.shape[-2] * columns)
    cells = np.array(["".join(row) for row in letters]).reshape(grid.shape[:-2])
    look = {"columns": columns, "extent": list(extent), "colours": [list(c) for c in colours]}
    look |= {"crisp": crisp}
    return Mark("heat", {"cells": cells}, by, look)


def digits(value: float) -> float | int | None:
    """Four significant digits; whole numbers without a point."""
    if not np.isfinite(value):
        return None
    short = float(f"{value:.4g}")
    return int(short) if short.is_integer() else short


def _short(values: NDArray[Any]) -> Any:
    if values.dtype.kind in "US":
        return values.tolist()
    if values.ndim > 1:
        return [_short(part) for part in values]
    return [digits(value) for value in values.tolist()]
