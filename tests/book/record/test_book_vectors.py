"""Vector figures in fewer bytes: the same drawing, to a hundredth of a point."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from builder.record.vectors import light
from fontTools.pens.recordingPen import RecordingPen
from fontTools.svgLib.path import parse_path

from moe.experiments.shown.style import BookFigure, subplots


@pytest.fixture(scope="module")
def drawn() -> str:
    figure, grid = subplots(1, 2)
    axes = grid.ravel()
    assert isinstance(figure, BookFigure)
    t = torch.linspace(0, 7, 400)
    axes[0].plot(t, t.sin(), marker="o")
    axes[0].fill_between(t, t.cos() - 1, t.cos())
    axes[1].contour(t[:, None].sin() * t.cos())
    axes[1].set_title(r"a title with $\alpha^2$")
    return figure._saved("svg").decode()


def drawn_by(path: str) -> list[tuple[str, Any]]:
    """The strokes of a path, as another library reads them: names and absolute points, without
    lines back to the start before the end: it adds one where sums are off by their last bit."""
    pen, kept = RecordingPen(), list[tuple[str, Any]]()
    start: Any = None
    parse_path(path, pen)
    for name, points in pen.value:
        start = points[0] if name == "moveTo" else start
        while name == "closePath" and kept[-1][0] == "lineTo" and np.allclose(kept[-1][1], start):
            kept.pop()
        kept.append((name, points))
    return kept


def test_a_light_figure_is_the_same_drawing(drawn: str) -> None:
    one, other = (ElementTree.fromstring(svg) for svg in (drawn, light(drawn)))
    for before, after in zip_longest(one.iter(), other.iter()):
        assert before.tag == after.tag
        assert (before.text or "").strip() == (after.text or "").strip()
        assert before.attrib.keys() == after.attrib.keys()
        for name, value in before.attrib.items():
            if name == "d":
                assert_same_strokes(value, after.attrib[name])
            elif name in ("x", "y"):
                assert abs(float(value) - float(after.attrib[name])) <= 0.005001
            else:
                assert after.attrib[name] == value


def assert_same_strokes(path: str, other: str) -> None:
    strokes, again = drawn_by(path), drawn_by(other)
    assert [name for name, _ in strokes] == [name for name, _ in again]
    for (_, points), (_, moved) in zip(strokes, again, strict=True):
        assert np.allclose(points, moved, rtol=0, atol=0.005001)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("M 1 2 L 3.004 4 L 3 -4.5 z M 9 9 L 0.25 0.125", "m1 2 2 2 0-8.5 z m8 7-8.75-8.88"),
        ("M 0 0 Q 1 1 2 0 C 3 1 4 1 5 0", "m0 0 q1 1 2 0 c1 1 2 1 3 0"),
        ("m 1 1 l 2 2 z", None),
        ("M 0 0 A 1 1 0 0 0 2 2", None),
        ("", ""),
    ],
)
def test_paths_are_told_step_by_step(path: str, told: str | None) -> None:
    (made,) = re.findall('d="(.*)"', light(f'<path d="{path}"/>'))
    assert made == (path if told is None else told)


def test_rounding_does_not_add_up() -> None:
    points = np.cumsum(np.full((5_000, 2), 0.0049), axis=0)
    path = "M " + " L ".join(f"{x:.6f} {y:.6f}" for x, y in points)
    (made,) = re.findall('d="(.*)"', light(f'<path d="{path}"/>'))
    assert_same_strokes(path, made)


def test_a_light_figure_has_fewer_bytes(drawn: str) -> None:
    assert len(light(drawn)) < 0.8 * len(drawn)
    assert light(light(drawn)) == light(drawn)
