"""Vector figures in fewer bytes: the same drawing, to a hundredth of a point."""

from __future__ import annotations

import re
from itertools import zip_longest
from xml.etree import ElementTree

import pytest
import torch
from builder.vectors import light

from moe.experiments.common.style import BookFigure, subplots

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
PLACED = {"d", "x", "y"}


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


def test_a_light_figure_is_the_same_drawing(drawn: str) -> None:
    one, other = (ElementTree.fromstring(svg) for svg in (drawn, light(drawn)))
    for before, after in zip_longest(one.iter(), other.iter()):
        assert before.tag == after.tag
        assert (before.text or "").strip() == (after.text or "").strip()
        assert before.attrib.keys() == after.attrib.keys()
        for name, value in before.attrib.items():
            if name not in PLACED:
                assert after.attrib[name] == value
                continue
            assert NUMBER.sub("", value).split() == NUMBER.sub("", after.attrib[name]).split()
            pairs = zip(NUMBER.findall(value), NUMBER.findall(after.attrib[name]), strict=True)
            assert all(abs(float(a) - float(b)) <= 0.005001 for a, b in pairs)


def test_a_light_figure_has_fewer_bytes(drawn: str) -> None:
    assert len(light(drawn)) < 0.8 * len(drawn)
    assert light(light(drawn)) == light(drawn)
