"""The real book under the quick profile: every chapter executes, every page works in a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from builder.contents import Chapter, read_contents
from builder.parameters import defaults
from builder.pipeline import Book, notebook_file
from playwright.sync_api import Browser, Page, Route, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
CHAPTERS = read_contents(ROOT)
EXECUTED = [chapter for chapter in CHAPTERS if chapter.is_notebook]
PAGES = [*(chapter.document for chapter in CHAPTERS), "search", "genindex"]
TELEPHONE, DESK = 390, 1280
MATH_ERRORS = """() => [...document.querySelectorAll("[data-mjx-error]")]
    .map(element => element.dataset.mjxError)"""


@pytest.mark.parametrize("chapter", EXECUTED, ids=lambda chapter: chapter.name)
def test_every_chapter_executes_under_the_quick_profile(quick_book: Book, chapter: Chapter) -> None:
    assert notebook_file(ROOT, "quick", chapter).is_file()
    html = (quick_book.index.parent / f"{chapter.document}.html").read_text(encoding="utf-8")
    assert "How this page was made" in html


@pytest.mark.parametrize("chapter", EXECUTED, ids=lambda chapter: chapter.name)
def test_every_numbered_chapter_has_a_profile_and_a_seed(chapter: Chapter) -> None:
    if chapter.name[0].isdigit():
        assert {"profile", "seed"} <= defaults(chapter.notebook()).keys()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    with browser.new_context(offline=True) as context:
        yield context.new_page()


def open_page(tab: Page, path: Path, width: int) -> list[str]:
    """Load a file, wait for its mathematics, and tell what went wrong; only files may be loaded."""
    problems: list[str] = []

    def refuse_the_network(route: Route) -> None:
        if route.request.url.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            problems.append(f"asked the network for {route.request.url}")
            route.abort()

    tab.unroute_all()
    tab.route("**/*", refuse_the_network)
    listeners = {
        "console": lambda m: problems.append(m.text) if m.type == "error" else None,
        "pageerror": lambda error: problems.append(f"script error: {error}"),
        "requestfailed": lambda request: problems.append(f"failed: {request.url}"),
    }
    for event, listener in listeners.items():
        tab.on(event, listener)  # type: ignore[call-overload]
    tab.set_viewport_size({"width": width, "height": 900})
    tab.goto(path.as_uri(), wait_until="networkidle" if width == DESK else "load")
    tab.evaluate("() => window.MathJax?.startup?.promise.then(() => null)")
    for event, listener in listeners.items():
        tab.remove_listener(event, listener)
    return problems


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_without_network_and_all_its_mathematics_is_typeset(
    quick_book: Book, tab: Page, name: str
) -> None:
    assert open_page(tab, quick_book.index.parent / f"{name}.html", DESK) == []
    assert tab.evaluate("document.title")
    unset = "e => e.filter(x => !x.querySelector('mjx-container svg')).map(x => x.textContent)"
    assert tab.eval_on_selector_all(".math", unset) == []
    assert tab.evaluate(MATH_ERRORS) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_telephone(quick_book: Book, tab: Page, name: str) -> None:
    open_page(tab, quick_book.index.parent / f"{name}.html", TELEPHONE)
    assert tab.evaluate("document.documentElement.scrollWidth") <= TELEPHONE
    stretched = """images => images.filter(i => i.naturalWidth && i.clientWidth && Math.abs(
        i.clientWidth / i.clientHeight / (i.naturalWidth / i.naturalHeight) - 1) > 0.1
    ).map(i => i.alt)"""
    assert tab.eval_on_selector_all("img", stretched) == []


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


def test_mathematics_that_mathjax_cannot_read_is_noticed(quick_book: Book, tab: Page) -> None:
    html = quick_book.index.parent
    pages = [html / f"{name}.html" for name in PAGES]
    with_math = [path for path in pages if 'class="math' in path.read_text(encoding="utf-8")]
    if not with_math:
        pytest.skip("no page with mathematics yet")
    open_page(tab, with_math[0], DESK)
    tab.evaluate(r"""() => {
        const wrong = document.createElement("span");
        wrong.className = "math";
        wrong.textContent = "\\(\\nosuchmacro{x}\\)";
        document.body.append(wrong);
        return MathJax.typesetPromise([wrong]);
    }""")
    assert r"Undefined control sequence \nosuchmacro" in tab.evaluate(MATH_ERRORS)
