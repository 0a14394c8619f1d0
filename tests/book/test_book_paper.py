"""The whole book as one PDF: pages joined without a clash, printed by Chromium with an outline."""

from __future__ import annotations

import re
from pathlib import Path

import build
import pytest
from browsing import CHROMIUM
from bs4 import BeautifulSoup
from builder import BuildError, paper
from builder.contents import read_contents
from builder.pipeline import html_folder

GLYPHS = (
    '<svg class="glyphs"><defs><path id="MJX-{0}" d="M{0}"/><path id="MJX-x" d="M"/></defs></svg>'
)
PAGE = """<html><head><link href="../_static/a.css?v=1" rel="stylesheet"/></head><body>{glyphs}
<div class="bd-header-announcement"><div class="bd-header-announcement__content">Quick</div></div>
<article class="bd-article"><section id="{own}">
<h1>Head <span class="math"><svg><use href="#MJX-x"/></svg><span class="mathml"><math><mi>σ</mi>
</math></span></span><a class="headerlink" href="#{own}">#</a></h1>
<details class="solution"><summary>S</summary><p id="shared">yes</p></details>
<details class="hide"><summary>code</summary><pre>1 &lt; 2</pre></details>
<div class="cell"><figure><img src="../_static/figures/p.svg" loading="lazy"></figure></div>
<p class="made-by"><a href="../_static/figures/p.svg" download>SVG</a></p>
<p><a href="#shared">here</a> <a href="{other}.html#shared">there</a> <a href="{other}.html">all</a>
<a href="../_static/source/x.html">source</a> <a href="https://example.org">out</a></p>
</section></article></body></html>"""


@pytest.fixture
def html(tmp_path: Path) -> Path:
    (tmp_path / "book").mkdir()
    for own, other in (("one", "two"), ("two", "one")):
        text = PAGE.format(glyphs=GLYPHS.format(own), own=own, other=other)
        (tmp_path / "book" / f"{own}.html").write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def joined(html: Path) -> BeautifulSoup:
    return BeautifulSoup(paper.joined(html, ["book/one", "book/two"]), "html.parser")


def test_every_id_is_there_once_and_every_link_leads_to_one(joined: BeautifulSoup) -> None:
    ids = [str(tag["id"]) for tag in joined.select("[id]")]
    assert len(ids) == len(set(ids))
    links = [str(link["href"]) for link in joined.select("a")]
    assert links[:4] == ["#one--shared", "#two--shared", "#two", "https://example.org"]
    assert {link[1:] for link in links if link[0] == "#"} <= set(ids)
    assert {path["id"] for path in joined.select("svg.glyphs path")} == {
        *("MJX-one", "MJX-two", "MJX-x")
    }


def test_solutions_are_open_and_code_and_controls_are_left_out(joined: BeautifulSoup) -> None:
    assert all(fold.has_attr("open") for fold in joined.select("details"))
    assert len(joined.select("details.solution")) == 2
    assert joined.select("details.hide, .headerlink, .made-by, script") == []


def test_files_are_named_in_full_and_loaded_at_once(html: Path, joined: BeautifulSoup) -> None:
    for picture in joined.select("img"):
        assert picture["src"] == (html / "_static/figures/p.svg").as_uri()
        assert not picture.has_attr("loading")
    assert [sheet["href"] for sheet in joined.select("link")] == [(html / "_static/a.css").as_uri()]


def test_headings_hold_formulas_as_text_and_the_first_page_its_edition(
    joined: BeautifulSoup,
) -> None:
    assert [" ".join(h.get_text().split()) for h in joined.select("h1")] == ["Head σ"] * 2
    assert [str(banner) for banner in joined.select("h1 + p")] == ["<p>Quick</p>"]
    assert joined.select("[class*=announcement]") == [], "no bar without words"


def test_without_chromium_one_sentence_says_what_to_do(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tiny))
    assert build.main(["--root", str(tiny), "pdf"]) == 1
    assert "prints with Chromium, and there is none here" in capsys.readouterr().err


def test_what_was_not_built_is_not_printed(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--root", str(tiny), "pdf", "students"]) == 1
    if CHROMIUM is not None:
        assert "was not built" in capsys.readouterr().err
    with pytest.raises(BuildError, match="was not built"):
        paper.joined(html_folder(tiny, "students"), ["book/index"])


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_book_is_printed_with_an_outline_entry_for_each_page(tiny: Path) -> None:
    assert build.main(["--root", str(tiny), "pdf"]) == 0
    printed = (tiny / "_build" / "book.pdf").read_bytes()
    assert printed.startswith(b"%PDF-")
    titles = {title.decode() for title in re.findall(rb"/Title \(([^)]*)\)", printed)}
    for chapter in read_contents(tiny):
        assert any(title.endswith(chapter.title) for title in titles), titles
    assert printed.count(b"/Type /Page\n") >= len(read_contents(tiny))
    assert str(tiny).encode() not in printed
