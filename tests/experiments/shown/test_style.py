"""Figures: the book's style and no other, no registry, where they were drawn, and their data."""

import ast
import base64
import csv
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from moe.experiments.shown.figures_data import HEAD, LIMIT, data_of
from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import _MARGIN, _PIXELS, _RULES, COLOURS, drawing, subplots
from moe.experiments.shown.tables import MIME

ROOT = Path(__file__).parents[3]
FIGURES = sorted((ROOT / "moe" / "experiments").rglob("figures*.py"))


@drawing
def picture(points: int = 3) -> Figure:
    """Two panels."""
    drawn, ((left, right),) = subplots(1, 2)
    x = np.arange(points, dtype=float)
    left.plot(x, x**2, color=COLOURS["blue"], label="$x^2$")
    left.axhline(0.5, color=COLOURS["grey"], label=hidden("half"))
    left.set(title="powers", xlabel="x", ylabel="square")
    right.errorbar([1.0, 2.0], [3.0, 4.0], yerr=0.5, capsize=2, fmt="o", label="measured")
    right.bar([0.0, 2.0], [5.0, 6.0], label="counts")
    right.pcolormesh([0, 1, 2], [0, 1], [[7.0, 8.0]])
    return drawn


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def shown(figure: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return figure._repr_mimebundle_()


def test_a_figure_tells_who_drew_it_where_and_what() -> None:
    bundle, metadata = shown(picture())
    told = bundle[MIME]
    lines = Path(__file__).read_text().splitlines()
    assert told["function"] == "picture"
    assert told["file"].endswith("tests/experiments/shown/test_style.py")
    assert lines[told["line"] - 1 : told["line"] + 1] == [
        "@drawing",
        "def picture(points: int = 3) -> Figure:",
    ]
    assert told["csv"].startswith(",".join(HEAD))
    assert told["note"] == ""
    assert bundle["image/png"].startswith("iVBORw0KGgo")
    assert 600 < metadata["image/png"]["width"] < 900
    assert told["svg"].count("<image ") == 1, "the map alone is pixels"
    assert "<dc:date>" not in told["svg"]
    assert base64.b64decode(told["pdf"]).startswith(b"%PDF")
    again = shown(picture())[0]
    assert told == again[MIME], "the same bytes each time"


def test_the_data_are_those_drawn() -> None:
    found = rows(data_of(picture())[0])
    line = [row for row in found if row["label"] == "$x^2$"]
    assert [(row["panel"], row["kind"], row["x"], row["y"]) for row in line] == [
        ("1 powers: square against x", "line", "0", "0"),
        ("1 powers: square against x", "line", "1", "1"),
        ("1 powers: square against x", "line", "2", "4"),
    ]
    assert {row["colour"] for row in line} == {COLOURS["blue"].lower()}
    across = [row for row in found if row["kind"] == "line" and row["x"] == ""]
    assert [(row["label"], row["y"]) for row in across] == [("half", "0.5")]
    measured = [(r["kind"], r["x"], r["y"]) for r in found if r["label"] == "measured"]
    assert ("points", "2", "4") in measured
    assert ("segments", "1", "2.5") in measured
    assert ("segments", "1", "3.5") in measured
    assert len(measured) == 6, "caps are no data"
    bars = [(row["x"], row["y"]) for row in found if row["kind"] == "bar"]
    assert bars == [("0", "5"), ("2", "6")]
    cells = [(row["x"], row["y"], row["value"]) for row in found if row["kind"] == "cells"]
    assert cells == [("0.5", "0.5", "7"), ("1.5", "0.5", "8")]


@drawing
def map_and_words() -> Figure:
    """Two rows, of which the first alone bears a title."""
    drawn, ((top,), (below,)) = subplots(2, 1, sharex=True)
    image = top.imshow([[1.0, 2.0], [3.0, 4.0]])
    top.set_title("both")
    top.set_xticks([0, 1], ["first", "$L_2$"])
    top.set_yticks([0, 1], ["10", "20"])
    drawn.colorbar(image, ax=top, label="share\nof all")
    below.plot([0.1, 0.5], [1.0, 2.0])
    below.set_ylabel("height")
    below.contour([0, 1], [0, 1], [[0.0, 1.0], [2.0, 3.0]], [1.5])
    drawn.supxlabel("method")
    return drawn


def test_panels_series_and_places_have_names() -> None:
    figure = map_and_words()
    figure.canvas.draw()
    found = rows(data_of(figure)[0])
    assert {row["panel"] for row in found} == {"1 both: method", "2 both: height against method"}
    cells = [row for row in found if row["kind"] == "cells"]
    assert {row["label"] for row in cells} == {"share of all"}
    assert [(row["x"], row["y"], row["value"]) for row in cells] == [
        ("first", "10", "1"),
        ("$L_2$", "10", "2"),
        ("first", "20", "3"),
        ("$L_2$", "20", "4"),
    ]
    line = [row for row in found if row["kind"] == "line"]
    assert [row["x"] for row in line] == ["first", "between first and $L_2$"]
    assert line[0]["label"].isdigit(), "what nothing names is numbered"
    assert {row["value"] for row in found if row["kind"] == "outline"} == {"1.5"}


def test_long_series_are_thinned_and_say_so() -> None:
    text, note = data_of(picture(10 * LIMIT))
    assert len(rows(text)) <= LIMIT + 20
    assert note == "1 in 11 points of long series"
    assert len([row for row in rows(text) if row["label"] == "measured"]) == 6


def test_the_style_of_a_figure_is_the_books_and_stays_in_it() -> None:
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"axes.spines.top": True, "axes.grid": False}):
        axes = picture().axes[0]
        assert not axes.spines["top"].get_visible()
        assert axes.get_xgridlines()[0].get_visible()
    assert dict(matplotlib.rcParams) == before


def test_figures_are_drawn_without_pyplot() -> None:
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FIGURES]
    program = f"import sys, {', '.join(modules)}; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: "/".join(path.parts[-2:]))
def test_every_public_figure_is_a_drawing(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        returns_figure = isinstance(node, ast.FunctionDef) and (
            isinstance(node.returns, ast.Name) and node.returns.id == "Figure"
        )
        if isinstance(node, ast.FunctionDef) and returns_figure and not node.name.startswith("_"):
            names = [d.id for d in node.decorator_list if isinstance(d, ast.Name)]
            assert "drawing" in names, f"{node.name}: @drawing is missing, no page would link to it"


def test_axes_are_laid_out_once_for_all_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Figure] = []
    layout = ConstrainedLayoutEngine.execute

    def execute(self: ConstrainedLayoutEngine, fig: Figure) -> Any:
        made.append(fig)
        return layout(self, fig)

    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", execute)
    figure, plain = picture(), picture()
    figure.axes[0].set_ylabel("a label\nof two lines")
    first, again = shown(figure), shown(figure)
    assert len(made) == 1
    assert first == again
    shown(plain)
    assert figure.axes[0].get_position().x0 > plain.axes[0].get_position().x0 + 0.02


def test_what_is_shown_is_what_a_drawn_figure_shows() -> None:
    figure, drawn = picture(), picture()
    figure.axes[0].set(xscale="log", ylabel="a label\nof two lines")
    drawn.axes[0].set(xscale="log", ylabel="a label\nof two lines")
    with matplotlib.rc_context(_RULES):
        drawn.draw_without_rendering()
        box = drawn.get_tightbbox().padded(_MARGIN)
        drawn.set_layout_engine("none")
        file = io.BytesIO()
        drawn.savefig(file, format="png", dpi=_PIXELS * drawn.dpi, bbox_inches=box)
    ours = io.BytesIO(base64.b64decode(shown(figure)[0]["image/png"]))
    assert np.array_equal(
        matplotlib.image.imread(ours), matplotlib.image.imread(io.BytesIO(file.getvalue()))
    )
