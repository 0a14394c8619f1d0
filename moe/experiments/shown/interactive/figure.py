"""Figures that a reader moves: families of curves computed here, looked up and drawn in the page.

A figure is `Control`s (sliders and menus), `Panel`s of marks, and a sentence for every position of
the controls. Nothing is computed in the page, and it loads nothing.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from html import escape
from itertools import product
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np
from numpy.typing import NDArray

from moe.experiments.shown.interactive.figures_still import still
from moe.experiments.shown.interactive.marks import Mark, digits
from moe.experiments.shown.tables import MIME, Source

# The path from the root of the repository, by which the book knows that a chapter depends on it.
_TEMPLATE = Path(__file__).parents[4] / "moe/experiments/shown/interactive/page.html"
_PAD = 0.04  # of an axis, beyond the data
_PICTURE = """<div tabindex="0"><img alt="{alt}" src="data:image/svg+xml;base64,{svg}"></div>
<p>This figure moves where scripts run. Here it stands still, at {where}. {said}</p>"""
_POWER = re.compile(r"(\d(?:\.\d+)?)e([+-]\d+)\b")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
P = ParamSpec("P")


@dataclass(frozen=True)
class Control:
    """A slider, or a menu, over a few values as the reader sees them; ``start`` counts from 0."""

    name: str
    label: str
    values: Sequence[str]
    start: int = 0
    menu: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.start < len(self.values):
            raise ValueError(f"start: expected 0 to {len(self.values) - 1}, got {self.start}")


@dataclass(frozen=True, eq=False)
class Panel:
    """Marks on axes. ``alt`` says what is drawn; ``log`` names the logarithmic axes; ranges hold
    all data and are theirs, with a margin, where none is given; ratio is height over width."""

    alt: str
    marks: Sequence[Mark]
    x: str
    y: str
    title: str = ""
    log: str = ""
    ratio: float = 0.7
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    x_ticks: Sequence[tuple[float, str]] | None = None
    y_ticks: Sequence[tuple[float, str]] | None = None

    def axis(self, name: str) -> dict[str, Any]:
        """Label, range, scale and ticks of "x" or "y"; ValueError where data lie outside."""
        log, given = name in self.log, self.x_range if name == "x" else self.y_range
        data = np.concatenate([*self._coordinates(name)])
        if log and (data <= 0).any():
            raise ValueError(f"{name}: expected positive values on a logarithmic axis")
        low, high = given or _padded(data, log)
        if data.min() < low or data.max() > high:
            raise ValueError(
                f"{name}: expected a range that holds {data.min():g} to {data.max():g}, "
                f"got {low:g} to {high:g}"
            )
        ticks = self.x_ticks if name == "x" else self.y_ticks
        label = self.x if name == "x" else self.y
        told = {"label": label, "range": [digits(low), digits(high)], "log": log}
        return told | ({"ticks": [list(tick) for tick in ticks]} if ticks else {})

    def _coordinates(self, name: str) -> Iterator[NDArray[Any]]:
        for mark in self.marks:
            if mark.kind == "heat":
                extent = mark.look["extent"]
                yield np.asarray(extent[:2] if name == "x" else extent[2:], dtype=float)
            for key in (name, f"{name}2"):
                values = mark.data.get(key, np.empty(0)).ravel()
                yield values[np.isfinite(values)]

    def json(self) -> dict[str, Any]:
        look = {"alt": self.alt, "title": self.title, "ratio": self.ratio}
        axes = {"x": self.axis("x"), "y": self.axis("y")}
        return look | axes | {"marks": [mark.json() for mark in self.marks]}


def square(alt: str, marks: Sequence[Mark], size: float, x: str, y: str, title: str) -> Panel:
    """A panel as high as wide, from -size to size on both axes."""
    ends = (-size, size)
    return Panel(alt, marks, x, y, title, ratio=1.0, x_range=ends, y_range=ends)


@dataclass(frozen=True, eq=False)
class Interactive:
    """Controls, panels, and what to say at each position: ``say`` takes the positions by name.

    Raises ValueError where a mark's shape is not that of its controls, or data lie off an axis.
    """

    controls: Sequence[Control]
    panels: Sequence[Panel]
    say: Callable[..., str]
    source: Source | None = None

    def __post_init__(self) -> None:
        lengths = {control.name: len(control.values) for control in self.controls}
        for panel in self.panels:
            for mark in panel.marks:
                mark.check(lengths)

    @property
    def data(self) -> dict[str, Any]:
        """What the page is given."""
        by = [control.name for control in self.controls]
        lengths = [len(control.values) for control in self.controls]
        every = product(*map(range, lengths))
        said = [_powers(self.say(**dict(zip(by, at, strict=True)))) for at in every]
        for sentence in said:
            if "$" in sentence or "\\" in sentence:
                raise ValueError(f"say: expected letters, not TeX, got {sentence!r}")
        sentences = np.array(said).reshape(*lengths, 1).tolist()
        controls = [
            {"name": c.name, "label": c.label, "values": list(c.values)}
            | {"start": c.start, "menu": c.menu}
            for c in self.controls
        ]
        say = {"by": by, "follows": ["words"], "words": sentences}
        return {"controls": controls, "panels": [p.json() for p in self.panels], "say": say}

    @property
    def html(self) -> str:
        data = self.data
        told = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        template = _TEMPLATE.read_text(encoding="utf-8")
        page = template.replace("__STILL__", self._still(data["panels"]))
        return page.replace("__DATA__", told.replace("<", "\\u003c"))

    def _still(self, panels: Sequence[dict[str, Any]]) -> str:
        """A picture of the panels where the controls begin, and what is to be said there."""
        at = {control.name: control.start for control in self.controls}
        svg = still(panels, at)
        where = "; ".join(f"{c.label}: {c.values[c.start]}" for c in self.controls)
        return _PICTURE.format(
            alt=escape(" ".join(panel.alt for panel in self.panels)),
            svg=base64.b64encode(svg.encode()).decode(),
            where=escape(where),
            said=escape(_powers(self.say(**at))),
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        place = self.source
        where = (
            {"file": place.file, "line": place.line, "function": place.function} if place else {}
        )
        return {"text/html": self.html, "text/plain": "A figure to move", MIME: where}


def moving(build: Callable[P, Interactive]) -> Callable[P, Interactive]:
    """Remember which function made the figure, for the link below it."""

    @wraps(build)
    def made(*args: P.args, **kwargs: P.kwargs) -> Interactive:
        figure = build(*args, **kwargs)
        source = Source.of(build.__code__)
        return Interactive(figure.controls, figure.panels, figure.say, source)

    return made


def _powers(sentence: str) -> str:
    """Numbers as people write them: 4.5e-07 as 4.5 · 10⁻⁷."""

    def told(match: re.Match[str]) -> str:
        exponent = int(match[2])
        return (
            f"{match[1]}\u202f·\u202f10{str(exponent).translate(_RAISED)}" if exponent else match[1]
        )

    return _POWER.sub(told, sentence)


def _padded(data: NDArray[Any], log: bool) -> tuple[float, float]:
    low, high = (float(v) for v in (data.min(), data.max()))
    if log:
        low, high = np.log10(low), np.log10(high)
    pad = _PAD * ((high - low) or 1.0)
    low, high = low - pad, high + pad
    return (10**low, 10**high) if log else (low, high)
