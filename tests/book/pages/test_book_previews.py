"""Links that show what they lead to: what is kept for them, and the box in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from browsing import DESK, TELEPHONE, open_page
from bs4 import BeautifulSoup
from builder.contents import Chapter, read_contents
from builder.pages.previews import Place, insert, mark, shown
from builder.pipeline import Book
from playwright.sync_api import Page

ONE = r"""<body><article>
<div class="math" id="equation-eq-one"><span class="eqno">(1.1)<a class="headerlink"
href="#equation-eq-one">#</a></span>\[x\]</div>
<div class="proof theorem admonition" id="thm-one"><p>As <a class="internal" id="id1"
href="two.html#thm-two">there</a>.</p><pre>code</pre></div>
<div class="proof admonition" id="proof">Proof.</div>
<p><a class="reference internal" href="#thm-one">Theorem 1</a>
<a class="reference internal" href="#proof">proof</a>
<a class="reference internal" href="two.html#thm-two">Theorem 2</a>
<a class="reference internal" href="two.html#thm-two">again</a>
<a class="reference internal" href="words.html#term-gate">gate</a>
<a class="reference internal" href="two.html#gone">gone</a></p>
</article></body>"""
TWO = r"""<body><article><div class="proof theorem" id="thm-two"><pre>two</pre>\(y\)</div>
</article></body>"""
WORDS = """<body><article><dl class="simple glossary"><dt id="term-gate">gate<a class="headerlink"
href="#term-gate">#</a></dt><dd><p>Answers with probabilities.</p></dd></dl>
<a class="internal" href="#term-gate">gate</a></article></body>"""
ROOT = Path(__file__).resolve().parents[3]
LIMIT = 3_000_000
OPEN = "#preview:popover-open"


@pytest.fixture(scope="module")
def known() -> dict[Place, str]:
    pages = {"book/one.html": ONE, "book/two.html": TWO, "book/words.html": WORDS}
    parts = [shown(BeautifulSoup(text, "html.parser"), page) for page, text in pages.items()]
    return {place: text for part in parts for place, text in part.items()}


def marked(text: str, page: str, known: dict[Place, str]) -> BeautifulSoup:
    soup = BeautifulSoup(text, "html.parser")
    mark(soup, page, shown(soup, page))
    templates = {place.template: text for place, text in known.items()}
    return BeautifulSoup(insert(str(soup), templates), "html.parser")


def test_equations_statements_and_terms_are_kept_without_ids_and_links(
    known: dict[Place, str],
) -> None:
    assert {place.identity for place in known} == {
        *("equation-eq-one", "thm-one", "thm-two", "term-gate")
    }
    for text in known.values():
        assert "id=" not in text and "<a" not in text
    assert "<pre>code</pre>" in known[Place("book/one.html", "thm-one")]
    assert "Answers" in known[Place("book/words.html", "term-gate")]
    assert "#" not in known[Place("book/one.html", "equation-eq-one")]


def test_a_page_holds_a_copy_of_what_lies_elsewhere_once(known: dict[Place, str]) -> None:
    soup = marked(ONE, "book/one.html", known)
    given = {a.get_text(): a.get("data-preview") for a in soup.select("article > p a")}
    two = "preview-two-thm-two"
    expected = {"Theorem 1": "thm-one", "Theorem 2": two, "again": two}
    expected["gate"] = "preview-words-term-gate"
    assert {text: name for text, name in given.items() if name} == expected
    templates = soup.select("template")
    assert [template["id"] for template in templates] == [two, "preview-words-term-gate"]
    assert "<pre>two</pre>" in str(templates[0])


def test_a_term_is_shown_with_its_meaning_on_its_own_page_too(known: dict[Place, str]) -> None:
    soup = marked(WORDS, "book/words.html", known)
    assert [link["data-preview"] for link in soup.select("a[data-preview]")] == [
        "preview-words-term-gate"
    ]
    assert "Answers" in str(soup.select_one("template"))


@pytest.mark.parametrize("chapter", read_contents(ROOT), ids=lambda chapter: chapter.name)
def test_a_page_of_the_book_stays_light(quick_book: Book, chapter: Chapter) -> None:
    page = quick_book.index.parent / f"{chapter.document}.html"
    assert page.stat().st_size < LIMIT
    text = page.read_text(encoding="utf-8")
    soup = BeautifulSoup(text, "html.parser")
    for link in soup.select("a[data-preview]"):
        assert soup.find(id=str(link["data-preview"])) is not None


PAGE = "book/05_landscape.html"
SAME, AWAY = 'a[data-preview="thm-05-landscape"]', 'a[data-preview^="preview-"]'
INSIDE = """box => { const at = box.getBoundingClientRect();
    return at.left >= 0 && at.top >= 0 && at.right <= innerWidth && at.bottom <= innerHeight; }"""


@pytest.mark.parametrize("width", [DESK, TELEPHONE])
@pytest.mark.parametrize("selector", [SAME, AWAY], ids=["same page", "another page"])
def test_a_link_shows_what_it_leads_to_by_keyboard(
    quick_book: Book, tab: Page, selector: str, width: int
) -> None:
    """Formulas drawn, inside the window, nothing moved; Escape and leaving close it."""
    assert open_page(tab, quick_book.index.parent / PAGE, width) == []
    link = tab.locator(selector).first
    link.scroll_into_view_if_needed()
    where = tab.evaluate("document.documentElement.scrollHeight")
    tab.keyboard.press("Shift")  # the focus that follows is one of the keyboard
    link.focus()
    box = tab.locator(OPEN)
    assert box.evaluate(INSIDE)
    assert link.get_attribute("aria-describedby") == box.get_attribute("id")
    assert box.locator("svg use").first.bounding_box()["width"] > 0  # type: ignore[index]
    assert tab.evaluate("document.documentElement.scrollHeight") == where
    assert box.locator("[id], a").count() == 0
    tab.keyboard.press("Escape")
    assert tab.locator("#preview").count() == 0
    assert link.get_attribute("aria-describedby") is None


def test_the_box_stays_under_the_mouse_and_goes_with_it(quick_book: Book, tab: Page) -> None:
    open_page(tab, quick_book.index.parent / PAGE, DESK)
    link, box = tab.locator(SAME).first, tab.locator(OPEN)
    link.hover()
    box.wait_for()
    box.hover()
    tab.wait_for_timeout(500)
    assert box.count() == 1
    tab.mouse.move(0, 0)
    box.wait_for(state="detached")


def test_a_finger_opens_no_box(quick_book: Book, tab: Page) -> None:
    open_page(tab, quick_book.index.parent / PAGE, TELEPHONE)
    tab.locator(SAME).first.dispatch_event("pointerover", {"pointerType": "touch", "bubbles": True})
    tab.wait_for_timeout(400)
    assert tab.locator("#preview").count() == 0


def test_an_open_box_has_no_barriers_in_the_dark_and_is_not_printed(
    quick_book: Book, tab: Page
) -> None:
    open_page(tab, quick_book.index.parent / PAGE, DESK)
    tab.emulate_media(color_scheme="dark")
    tab.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    for selector in (SAME, AWAY):
        tab.evaluate("link => showPreview(link)", tab.locator(selector).first.element_handle())
        tab.evaluate(AXE_SCRIPT)
        told = tab.evaluate("axe.run('#preview', {resultTypes: ['violations']})")
        assert [rule["id"] for rule in told["violations"]] == []
    tab.emulate_media(media="print")
    assert not tab.locator("#preview").is_visible()
    tab.emulate_media(media="screen", color_scheme="light")
