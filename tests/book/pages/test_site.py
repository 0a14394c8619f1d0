"""The real book under the quick profile: every chapter executes, every page works in a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

import pytest
from barriers import CONTRAST, EVERY_RULE, THIN, barriers
from browsing import DESK, TELEPHONE, open_page
from builder.contents import Chapter, read_contents
from builder.pages.decks import carry
from builder.parameters import defaults
from builder.pipeline import Book, execute_again, notebook_file
from focus import stops
from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[3]
CHAPTERS = read_contents(ROOT)
EXECUTED = [chapter for chapter in CHAPTERS if chapter.is_notebook]
PAGES = [*(chapter.document for chapter in CHAPTERS), "search"]
AGAIN = "13_what_came_after"
UNFOLD = "document.querySelectorAll('details').forEach(fold => fold.open = true)"
CUT = """() => {
    const scrolls = e => ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
    const reached = e => e.tabIndex === 0 || e.querySelector("a[href], button, input, summary");
    const cut = element => {
        for (let at = element; !at.matches(".bd-article"); at = at.parentElement)
            if (scrolls(at) && reached(at) || at.matches(".mathml, svg.glyphs")) return false;
        return element.getBoundingClientRect().right > innerWidth + 1;
    };
    return [...document.querySelectorAll(".bd-article *:not(.math svg *):not(.mathml *)")]
        .filter(cut).map(e => e.outerHTML.slice(0, 200));
}"""


SAME = """(all => all.filter((id, place) => all.indexOf(id) !== place))(
    [...document.querySelectorAll("[id]")].map(element => element.id))"""
SHOWN = """[...Reveal.getCurrentSlide().querySelectorAll("img")].every(
    picture => picture.complete && picture.naturalWidth && picture.clientHeight > 200)"""
OVER = """(slide => slide.scrollHeight > slide.clientHeight + 1 ||
    slide.scrollWidth > slide.clientWidth + 1)(Reveal.getCurrentSlide())"""


@pytest.mark.parametrize("chapter", EXECUTED, ids=lambda chapter: chapter.name)
def test_every_chapter_executes_under_the_quick_profile(quick_book: Book, chapter: Chapter) -> None:
    assert notebook_file(ROOT, "quick", chapter).is_file()
    html = (quick_book.index.parent / f"{chapter.document}.html").read_text(encoding="utf-8")
    assert "How this page was made" in html


def test_every_claim_of_the_ledger_leads_to_its_cell(quick_book: Book) -> None:
    """That the places exist the gate has seen."""
    claims = json.loads((quick_book.index.parent / "claims.json").read_text("utf-8"))["claims"]
    page = (quick_book.index.parent / "book" / "claims.html").read_text("utf-8")
    links = re.findall(r'href="(\w+)\.html#claim-([\w-]+)"', page)
    assert links == [(c["chapter"].rpartition("/")[2], c["identity"]) for c in claims]


def test_a_chapter_shows_the_same_when_it_is_executed_once_more(quick_book: Book) -> None:
    """Figures, tables, numbers and claims, byte for byte; `make again` does it for all chapters."""
    assert execute_again(ROOT, "quick", AGAIN) == []


@pytest.mark.parametrize("chapter", EXECUTED, ids=lambda chapter: chapter.name)
def test_every_numbered_chapter_has_a_profile_and_a_seed(chapter: Chapter) -> None:
    if chapter.name[0].isdigit():
        assert {"profile", "seed"} <= defaults(chapter.notebook()).keys()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_without_network_and_has_no_barriers(
    quick_book: Book, tab: Page, name: str
) -> None:
    """No violation of any rule of axe-core: WCAG 2.1 A and AA, and best practice, folds open."""
    tab.emulate_media(color_scheme="light")
    assert open_page(tab, quick_book.index.parent / f"{name}.html", DESK) == []
    assert tab.evaluate("document.title")
    assert tab.evaluate(SAME) == [], "one name for several places"
    tab.evaluate(UNFOLD)
    tab.evaluate(THIN)
    assert barriers(tab, EVERY_RULE) == []
    tab.emulate_media(color_scheme="dark")
    tab.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert barriers(tab, CONTRAST) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_telephone(quick_book: Book, tab: Page, name: str) -> None:
    open_page(tab, quick_book.index.parent / f"{name}.html", TELEPHONE)
    assert tab.evaluate("document.documentElement.scrollWidth") <= TELEPHONE
    stretched = """images => images.filter(i => i.naturalWidth && i.clientWidth && Math.abs(
        i.clientWidth / i.clientHeight / (i.naturalWidth / i.naturalHeight) - 1) > 0.1
    ).map(i => i.alt)"""
    assert tab.eval_on_selector_all("img", stretched) == []
    tab.evaluate(UNFOLD)
    tab.evaluate("reachBoxes()")
    assert tab.evaluate(CUT) == [], "cut at the edge, or in a box that no key reaches"


@pytest.mark.parametrize(("scheme", "width"), [("light", DESK), ("dark", TELEPHONE)])
def test_every_control_that_tab_leads_to_is_in_sight_and_ringed(
    quick_book: Book, tab: Page, scheme: Literal["light", "dark"], width: int
) -> None:
    """WCAG 2.4.7, from the top of a page to its end."""
    tab.emulate_media(color_scheme=scheme)
    open_page(tab, quick_book.index.parent / f"{EXECUTED[4].document}.html", width)
    found = stops(tab)
    assert len(found) > 100
    assert [name for name, seen in found.items() if not seen] == []


def test_what_scrolls_fades_where_more_follows_and_figures_keep_their_labels(
    quick_book: Book, tab: Page
) -> None:
    """At the left end every box fades, at the right end none; figures are 32 rem wide, or whole."""
    open_page(tab, quick_book.index.parent / f"{EXECUTED[0].document}.html", TELEPHONE)
    tab.evaluate("reachBoxes()")
    assert tab.eval_on_selector_all(".scrolls", "all => all.length") > 5
    assert tab.eval_on_selector_all(".scrolls:not(.more)", "all => all.length") == 0
    figures = "images => images.map(i => i.clientWidth / Math.min(512, parseFloat(i.style.width)))"
    assert min(tab.eval_on_selector_all(".cell_output figure > a > img", figures)) > 0.99
    tab.eval_on_selector_all(".more", "all => all.forEach(box => box.scrollLeft = 1e6)")
    tab.wait_for_function("document.querySelectorAll('.more').length === 0")


def test_without_scripts_a_page_is_read_and_a_deck_too(quick_book: Book, browser: Browser) -> None:
    site = quick_book.index.parent
    with browser.new_context(offline=True, java_script_enabled=False) as context:
        tab = context.new_page()
        tab.goto((site / "book" / "05_landscape.html").as_uri())
        header = tab.locator(".bd-header-article").evaluate(
            "e => getComputedStyle(e).backgroundColor"
        )
        assert header == "rgb(255, 255, 255)", "the text below it does not shine through"
        assert not tab.locator(".moe-torus").is_visible()
        assert tab.locator("noscript p", has_text="This surface turns").is_visible()
        tab.goto((site / "slides" / "05_landscape.html").as_uri())
        places = [slide.bounding_box() for slide in tab.locator(".slides > section").all()]
        heights = [place["y"] for place in places if place]
        assert len(heights) == len(places) > 5 and heights == sorted(set(heights))


def test_the_sites_own_address_leads_to_the_first_page(quick_book: Book, tab: Page) -> None:
    text = quick_book.index.read_text(encoding="utf-8")
    assert '<html lang="en">' in text and "<title>Learning in Gated" in text
    tab.goto(quick_book.index.as_uri())
    tab.wait_for_url("**/book/index.html")
    assert tab.locator("link[rel=icon]").count() == 1
    assert not list(quick_book.index.parent.rglob("*webpack-macros*"))


def test_the_theme_is_switched_by_keyboard_again_and_again(quick_book: Book, tab: Page) -> None:
    open_page(tab, quick_book.index.parent / f"{EXECUTED[0].document}.html", DESK)
    tab.focus(".theme-switch-button")
    modes = []
    for _ in range(3):
        tab.keyboard.press("Enter")
        modes.append(tab.evaluate("document.documentElement.dataset.mode"))
    assert sorted(modes) == ["auto", "dark", "light"]


def test_a_solution_is_unfolded_by_keyboard_and_by_a_link_into_it(
    quick_book: Book, tab: Page
) -> None:
    page = quick_book.index.parent / f"{EXECUTED[0].document}.html"
    open_page(tab, page, DESK)
    tab.focus("details.solution > summary")
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.querySelector('details.solution').open")
    tab.keyboard.press("Space")
    assert not tab.evaluate("document.querySelector('details.solution').open")
    tab.evaluate("location.hash = document.querySelector('details.solution .folded [id]').id")
    tab.wait_for_function("document.querySelector('details.solution').open")


@pytest.mark.parametrize("carried", [False, True], ids=["of the site", "in one file"])
def test_slides_are_turned_by_keyboard_without_network_and_fit(
    quick_book: Book, tab: Page, tmp_path: Path, carried: bool
) -> None:
    """One deck from its first slide to its last: nothing is cut, and each figure is there."""
    site, name = quick_book.index.parent, "05_landscape"
    file = carry(site, tmp_path, name)[0] if carried else site / "slides" / f"{name}.html"
    assert open_page(tab, file, DESK) == []
    tab.wait_for_function("Reveal.isReady()")
    count = tab.evaluate("Reveal.getTotalSlides()")
    for place in range(count):
        assert tab.evaluate("Reveal.getIndices().h") == place
        tab.wait_for_function(SHOWN)
        assert tab.evaluate(OVER) is False, tab.evaluate("Reveal.getCurrentSlide().innerText")
        tab.keyboard.press("ArrowRight")
    assert tab.evaluate("Reveal.getIndices().h") == count - 1


MOVING = [chapter for chapter in EXECUTED if "interactive." in "".join(chapter.code_cells())]
DRAWN = """() => [...document.querySelectorAll(".moe-interactive :is(.panels svg, .say)")]
    .map(shown => shown.innerHTML).join()"""


@pytest.mark.parametrize("chapter", MOVING, ids=lambda chapter: chapter.name)
def test_a_figure_is_moved_by_keys_and_is_light(
    quick_book: Book, tab: Page, chapter: Chapter
) -> None:
    assert open_page(tab, quick_book.index.parent / f"{chapter.document}.html", DESK) == []
    controls = tab.locator(".moe-interactive :is(input, select)").all()
    for control in controls:
        seen = set()
        for key in ("Home", "End"):
            control.press(key)
            seen.add(tab.evaluate(DRAWN))
        assert len(seen) == 2 or control.evaluate("c => (c.options ?? [0, 0]).length") == 1
    weights = tab.eval_on_selector_all(
        "figure script[type='application/json']", "all => all.map(s => s.textContent.length)"
    )
    assert controls and weights and max(weights) < 100_000


BAD_PAGES = {
    "asked the network": '<img src="https://example.org/x.png">',
    "Failed to load resource": '<script src="gone.js"></script>',
    "script error": "<script>throw new Error('no')</script>",
    "said": "<script>console.error('said')</script>",
}


@pytest.mark.parametrize("problem", BAD_PAGES)
def test_a_bad_page_is_noticed(tab: Page, tmp_path: Path, problem: str) -> None:
    (tmp_path / "bad.html").write_text(f"<!DOCTYPE html><title>x</title>{BAD_PAGES[problem]}")
    assert any(problem in told for told in open_page(tab, tmp_path / "bad.html", DESK))


CUTTING = '<div style="width:300px;overflow:{}"{}><b style="display:block;width:2000px">x</b></div>'


@pytest.mark.parametrize(
    ("overflow", "attributes", "cut"),
    [("hidden", "", 1), ("auto", "", 1), ("auto", ' tabindex="0"', 0)],
)
def test_what_is_cut_or_scrolls_for_the_mouse_alone_is_noticed(
    tab: Page, tmp_path: Path, overflow: str, attributes: str, cut: int
) -> None:
    html = f'<title>x</title><div class="bd-article">{CUTTING.format(overflow, attributes)}</div>'
    (tmp_path / "cut.html").write_text(html)
    open_page(tab, tmp_path / "cut.html", TELEPHONE)
    assert len(tab.evaluate(CUT)) == cut


def test_a_control_without_a_ring_is_noticed(tab: Page, tmp_path: Path) -> None:
    bare = '<a href="#a">a</a><a href="#b" style="outline: none">b</a><button>c</button>'
    (tmp_path / "bad.html").write_text(f"<title>x</title><main>{bare}</main>")
    open_page(tab, tmp_path / "bad.html", DESK)
    assert list(stops(tab).values()) == [True, False, True]


def test_a_barrier_is_noticed(tab: Page, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text('<title>x</title><main><img src="data:,"><p>x</p></main>')
    open_page(tab, tmp_path / "bad.html", DESK)
    assert any(told.startswith("image-alt") for told in barriers(tab, EVERY_RULE))


PALE = [
    '<p style="color: #bbb">words</p>',
    '<div style="background: #444"><p>words</p></div>',
    '<div style="opacity: 0.3"><p>words</p></div>',
    '<div style="background: #444"><p style="font-size: 3rem">words</p></div>',
]


@pytest.mark.parametrize("pale", PALE)
def test_a_pale_text_among_others_is_noticed(tab: Page, tmp_path: Path, pale: str) -> None:
    """Once for all that look like it."""
    page = f"<title>x</title><main><p>words</p><p>words</p>{pale}{pale}</main>"
    (tmp_path / "bad.html").write_text(page)
    open_page(tab, tmp_path / "bad.html", DESK)
    assert len(barriers(tab, CONTRAST)) == 1
