"""What every figure shares: size, colours that survive colour blindness, bands over seeds."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property, wraps
from io import BytesIO
from typing import Any, ParamSpec

import numpy as np
from cycler import cycler
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike

from moe.experiments.shown.figures_data import data_of
from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.tables import MIME, Source

# Okabe and Ito's colours, ordered so that neighbours differ in lightness too.
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "black": "#222222",
    "grey": "#888888",
}
CYCLE = [COLOURS[name] for name in ("blue", "orange", "green", "vermilion", "purple", "sky")]
DASHES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1))]
SEQUENTIAL, DIVERGING = "cividis", "RdBu_r"
WIDTH = 7.0
_MARGIN = 0.1  # inches, as matplotlib has it
_PIXELS = 1.5  # of a PNG for one of the page, where the SVG stands
_FINE = 2  # the same, of what is pixels within a drawing of lines
_MANY = 1_000  # points of a cloud that an SVG holds one by one
_LEVEL = 1  # of compression: the book's pages pack the pixels of every PNG anew

_RULES: Any = {
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "figure.constrained_layout.use": True,
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "axes.prop_cycle": cycler(color=CYCLE) + cycler(linestyle=DASHES),
}
_LAID_OUT: Any = {"figure.constrained_layout.use": False}
"""No layout engine: to a figure that has one, if only "none", ``savefig`` draws twice."""

P = ParamSpec("P")


class BookFigure(Figure):
    """A figure that no registry holds, and that tells which function drew it, and its data."""

    source: Source | None = None

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """A PNG; where it was made, its data, and its SVG and PDF."""
        png = self._saved("png")
        width, height = (round(int.from_bytes(png[at : at + 4]) / _PIXELS) for at in (16, 20))
        shown: dict[str, Any] = {"image/png": base64.b64encode(png).decode()}
        if (place := self.source) is not None:
            text, note = data_of(self)
            svg = self.svg()
            pdf = base64.b64encode(self._saved("pdf")).decode()
            shown[MIME] = {**asdict(place), "csv": text, "note": note, "svg": svg, "pdf": pdf}
        return shown, {"image/png": {"width": width, "height": height}}

    def svg(self) -> str:
        return self._saved("svg").decode()

    def _saved(self, form: str) -> bytes:
        """The file; in a drawing of lines a map or a cloud of very many points is pixels.

        Axes are laid out before, once for all forms: that costs as much as a drawing, and
        ``savefig`` would do it twice a file.
        """
        if form != "png":
            for part in self.findobj(_dense):
                part.set_rasterized(True)
        dates: dict[str, Any] = {"Date" if form == "svg" else "CreationDate": None}
        options: dict[str, Any] = {"metadata": dates, "dpi": _FINE * self.dpi}
        if form == "png":
            options = {"pil_kwargs": {"compress_level": _LEVEL}, "dpi": _PIXELS * self.dpi}
        file = BytesIO()
        box = self._box
        with rc_context({**_RULES, **_LAID_OUT, "svg.hashsalt": "book"}):
            self.savefig(file, format=form, bbox_inches=box, **options)
        return file.getvalue()

    @cached_property
    def _box(self) -> Bbox:
        """What the artists take up, with a margin, in inches; axes stay where they are then.

        The layout alone decides that, and nothing is drawn for it.
        """
        with rc_context(_RULES):
            if (layout := self.get_layout_engine()) is not None:
                layout.execute(self)
            box = self.get_tightbbox().padded(_MARGIN)
        with rc_context(_LAID_OUT):
            self.set_layout_engine(None)
        return box


def _dense(artist: Artist) -> bool:
    if isinstance(artist, QuadMesh):
        return True
    return isinstance(artist, Collection) and len(artist.get_offsets()) > _MANY  # type: ignore[arg-type]


def drawing(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the book's style, whatever the style outside, and remember which function drew."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with rc_context(_RULES):
            drawn = draw(*args, **kwargs)
        if isinstance(drawn, BookFigure):
            drawn.source = Source.of(draw.__code__)
        return drawn

    return styled


def subplots(
    rows: int = 1, columns: int = 1, *, height: float = 3.2, width: float = WIDTH, **options: Any
) -> tuple[Figure, Any]:
    """An empty figure and its axes as a (rows, columns) array; height per row. For functions that
    are a ``drawing``."""
    drawn = BookFigure(figsize=(width, height * rows))
    return drawn, drawn.subplots(rows, columns, squeeze=False, **options)


def band(
    axes: Axes,
    x: ArrayLike,
    runs: ArrayLike,
    *,
    colour: str,
    label: str,
    linestyle: str | tuple[int, tuple[int, ...]] = "-",
    levels: tuple[float, float] = (0.1, 0.9),
) -> None:
    """The median over runs (T, seeds) as a line, the quantiles ``levels`` as a band around it."""
    values = np.asarray(runs, dtype=float)
    low, middle, high = np.nanquantile(values, [levels[0], 0.5, levels[1]], axis=1)
    told = hidden(f"{label}, {100 * levels[0]:g}-{100 * levels[1]:g} %")
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0, label=told)
    axes.plot(x, middle, color=colour, label=label, linestyle=linestyle)


def bars(
    axes: Axes, x: ArrayLike, low: ArrayLike, high: ArrayLike, *, colour: str, label: str
) -> None:
    """Pale upright bars from ``low`` to ``high`` at each x, behind a marker of the same colour; the
    label is for the data, not for a legend."""
    axes.vlines(x, low, high, color=colour, alpha=0.35, linewidth=3, label=hidden(label))
