"""Figures to move: what the page is given, and that a slider moves the drawing, by key and hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from moe.experiments.shown.interactive.figure import Control, Interactive, Panel, moving
from moe.experiments.shown.interactive.figures_still import still
from moe.experiments.shown.interactive.marks import (
    LEVELS,
    band,
    heat,
    line,
    points,
    segments,
    words,
)
from moe.experiments.shown.style import COLOURS
from moe.experiments.shown.tables import MIME

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
X = np.linspace(1, 2, 5)
SIZES = (1.0, 10.0, 100.0)
KINDS = ("sum", "product")


def small(**axes: Any) -> Interactive:
    """y = x + size or x size; a dot at (1.5, size) that can be dragged; a map of three cells."""
    curves = np.array([[X + size, X * size] for size in SIZES])
    dots = np.array(SIZES)[:, None]
    panel = Panel(
        alt="Curves over x",
        marks=[
            heat([[[0, 0.5, np.nan]]], (1, 2, 1, 200)),
            band(X, 0 * X + 1, curves[:, 0], by=("size",), colour="grey"),
            line(X, curves, by=("size", "kind"), label="curve <&"),
            points(np.full_like(dots, 1.5), dots, by=("size",), colour="green", drag="size"),
            words([1.5], [20], ["here"]),
        ],
        x="x",
        y="y",
        log="y",
        **axes,
    )
    controls = [
        Control("size", "size", [f"{s:g}" for s in SIZES], 1),
        Control("kind", "kind", KINDS, menu=True),
    ]
    return Interactive(controls, [panel], lambda size, kind: f"{KINDS[kind]} {SIZES[size]:g}")


def told(html: str) -> dict[str, Any]:
    start, end = '<script type="application/json">', "</script>"
    data: dict[str, Any] = json.loads(html.split(start)[1].split(end)[0])
    return data


def test_the_page_is_given_what_was_computed() -> None:
    data = told(small().html)
    assert data == small().data
    assert [c["name"] for c in data["controls"]] == ["size", "kind"]
    curve = next(m for m in data["panels"][0]["marks"] if m["kind"] == "line")
    assert (curve["by"], curve["follows"]) == (["size", "kind"], ["y"])
    assert curve["y"][2][1] == [100, 125, 150, 175, 200] and curve["label"] == "curve <&"
    assert data["say"]["words"][2][1] == ["product 100"]
    (cells,) = data["panels"][0]["marks"][0]["cells"]
    assert cells == LEVELS[0] + LEVELS[32] + " "  # 63 / 2 is rounded to even


def test_powers_in_the_words_are_written_as_people_do() -> None:
    panel = Panel("", [line(X, X)], "x", "y")
    figure = Interactive([Control("size", "size", ["1"])], [panel], lambda size: "4.5e-07, 1e+00")
    assert figure.data["say"]["words"] == [["4.5\u202f·\u202f10⁻⁷, 1"]]


def test_numbers_have_four_digits_and_gaps_are_null() -> None:
    mark = line([1, 2, 3], [1 / 3, np.nan, 12345.6])
    assert mark.json()["y"] == [0.3333, None, 12350]


def test_axes_contain_the_data() -> None:
    axes = small().data["panels"][0]
    for name, low, high in (("x", 1, 2), ("y", 1, 200)):
        assert axes[name]["range"][0] <= low < high <= axes[name]["range"][1]
    with pytest.raises(ValueError, match="y: expected a range that holds 1 to 200"):
        _ = small(y_range=(1, 100)).data
    with pytest.raises(ValueError, match="positive"):
        _ = Panel("", [line(X, X - 1)], "x", "y", log="y").axis("y")


def test_a_mark_of_another_shape_than_its_controls_is_refused() -> None:
    controls = [Control("size", "size", ["1", "2", "3"])]
    for mark, said in (
        (line(X, np.ones((2, 5)), by=("size",)), r"expected rows, or \(3,\)"),
        (line(X, np.ones((3, 5)), by=("angle",)), "expected one of size, got 'angle'"),
        (line(X, np.ones((3, 5))), "expected rows"),
    ):
        with pytest.raises(ValueError, match=said):
            Interactive(controls, [Panel("", [mark], "x", "y")], lambda size: "")
    with pytest.raises(ValueError, match="colour"):
        line(X, X, colour="red")
    with pytest.raises(ValueError, match="start"):
        Control("size", "size", ["1"], 1)


def test_tex_is_refused_where_nothing_would_set_it() -> None:
    panel = Panel("", [line(X, X)], "x", "y")
    with pytest.raises(ValueError, match="not TeX"):
        _ = Interactive([Control("size", "size", ["1"])], [panel], lambda size: r"$\mu$").data


def test_an_output_tells_which_function_made_it() -> None:
    shown = moving(small)()._repr_mimebundle_()
    assert shown[MIME]["function"] == "small" and "https://" not in shown["text/html"]
    assert "</script" not in json.dumps(small().data)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Page:
    return browser.new_context(offline=True, has_touch=True).new_page()


@pytest.fixture(scope="module")
def without_scripts(browser: Browser) -> Page:
    return browser.new_context(offline=True, java_script_enabled=False).new_page()


_TWO_FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def shown(tab: Page, width: int = 390) -> list[str]:
    """What goes wrong on a page with the figure, which is drawn once more when it has its width."""
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on(
        "request", lambda asked: problems.append(asked.url) if "data:" not in asked.url else None
    )
    tab.set_viewport_size({"width": width, "height": 800})
    tab.set_content(f"<!DOCTYPE html><html lang='en'><title>x</title><main>{small().html}</main>")
    tab.evaluate(_TWO_FRAMES)
    return problems


def drawn(tab: Page) -> tuple[str, str]:
    curve = tab.locator(".panels path[stroke='var(--blue)']").first.get_attribute("d")
    return str(curve), str(tab.locator("[aria-live]").text_content())


def test_keys_move_the_drawing_and_the_words_and_nothing_is_loaded(tab: Page) -> None:
    problems = shown(tab)
    tab.get_by_role("slider", name="size").focus()
    first = drawn(tab)
    tab.keyboard.press("ArrowRight")
    second = drawn(tab)
    tab.get_by_role("combobox", name="kind").select_option("product")
    third = drawn(tab)
    assert [said for _, said in (first, second, third)] == ["sum 10", "sum 100", "product 100"]
    assert len({curve for curve, _ in (first, second, third)}) == 3
    assert tab.get_by_role("slider").get_attribute("aria-valuetext") == "100"
    assert tab.locator(".panels [role=img]").get_attribute("aria-label") == "Curves over x"
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert problems == []


def test_a_point_is_dragged(tab: Page) -> None:
    assert shown(tab, 800) == []
    box = tab.locator(".handle").bounding_box()
    assert box is not None
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(box["x"], box["y"] - 200)
    tab.mouse.up()
    assert drawn(tab)[1] == "sum 100"


STILL = "This figure moves where scripts run. Here it stands still, at size: 10; kind: sum. sum 10"


def test_where_scripts_run_the_still_figure_is_on_paper_alone(tab: Page) -> None:
    shown(tab)
    still, moving = tab.locator(".moe-still"), tab.locator(".moe-interactive")
    assert moving.is_visible() and not still.is_visible()
    tab.emulate_media(media="print")
    assert still.is_visible() and not moving.is_visible()
    assert str(still.text_content()).strip() == STILL
    tab.emulate_media(media="screen")


def test_without_scripts_the_figure_stands_still(without_scripts: Page) -> None:
    without_scripts.set_content(f"<!DOCTYPE html><main>{small().html}</main>")
    assert not without_scripts.locator(".moe-interactive").is_visible()
    picture = without_scripts.get_by_role("img", name="Curves over x")
    box = picture.bounding_box()
    assert box is not None and box["width"] > 300 and box["height"] > 200
    assert without_scripts.get_by_text(STILL).is_visible()


def test_the_still_figure_holds_what_is_drawn_where_the_controls_begin() -> None:
    """Another start is another drawing, and the same start the same bytes."""
    panels = small().data["panels"]
    first, second = (still(panels, {"size": size, "kind": 0}) for size in (1, 2))
    assert first == still(panels, {"size": 1, "kind": 0}) != second
    assert "<image" in first and "pixelated" not in first
    for kind in ("band", "line", "points", "text"):
        fewer = [{**panels[0], "marks": [m for m in panels[0]["marks"] if m["kind"] != kind]}]
        assert len(still(fewer, {"size": 1, "kind": 0})) < len(first), kind
    crisp = heat([[[0, 0.5]]], (1, 2, 1, 200), crisp=True)
    assert "pixelated" in still([Panel("", [crisp], "x", "y").json()], {})


def test_arrows_bars_and_markers_stand_still_too() -> None:
    marks = [
        segments([0], [0], [1], [1], head=True, label="arrow"),
        segments([0, 1], [0, 0], [0, 1], [1, np.nan], label="bars"),
        points([0, 1], [1, 0], shade=[0, 1], other="orange", marker="^"),
        points([0.5], [0.5], marker="x"),
    ]
    panel = Panel("", marks, "x", "y", x_ticks=[(0, "none"), (1, "all")])
    drawn = still([panel.json(), panel.json(), panel.json()], {})
    assert all(colour in drawn.lower() for colour in (COLOURS["blue"].lower(), "#e69f00"))
    for said in ("arrow", "bars", "none", "all"):
        assert f"<!-- {said} -->" in drawn
