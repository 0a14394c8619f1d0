"""Slides made of a chapter's page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from builder import BuildError
from builder.contents import Chapter, read_contents
from builder.pages import decks
from builder.pages.reading import ICON
from builder.pipeline import Book
from builder.teaching.slides import WEIGHT, Slide, deck, pick, slides_of, spoken

ROOT = Path(__file__).parents[3]
EXECUTED = [chapter for chapter in read_contents(ROOT) if chapter.is_notebook]

PAGE = r"""<html><body><article class="bd-article"><section>
<h1>5. Loss<a class="headerlink">#</a></h1>
<p>Why?</p><p>So.</p><p>More.</p>
<section id="a"><h2>5.1. Below \(\mu\)</h2><p>Before.</p>
<div class="cell"><details class="hide">x = 1</details><div class="cell_output"><figure id="f">
<img src="../_images/a.webp" alt="A b c" loading="lazy">
<figcaption><span class="caption-number">Fig. 1 </span><span class="caption-text">
<strong>It falls.</strong> With \(n\).</span></figcaption></figure>
</div></div><p>After, by <a href="01.html#x">chapter 1</a>.</p>
<div class="proof theorem" id="thm-05-all"><p class="admonition-title">Theorem 5.1 (All)</p>
<section id="proof-content"><p>For <span class="math">\(x\)</span>, see <a href="#f">above</a>.</p>
</section></div><div class="proof"><p>Proof. By hand.</p></div>
<div class="claims"><p id="claim-05-all"><strong>Claim.</strong> Twice said.</p>
<p id="claim-05-some"><strong>Claim.</strong> Some fall.</p></div></section>
<section id="e"><h2>5.2. Exercises</h2><div class="exercise">
<p class="admonition-title">Exercise 5.1 (Derive: it)</p><section><p>Do it.</p></section></div>
<details class="solution">Forty-two.</details></section></section></article></body></html>"""


@pytest.fixture
def page() -> BeautifulSoup:
    return BeautifulSoup(PAGE, "html.parser")


def test_a_page_gives_its_question_figures_statements_findings_and_exercises(
    page: BeautifulSoup,
) -> None:
    made = slides_of(page.article) if page.article else []
    assert [s.kind for s in made] == ["question", "figure", "theorem", "found", "exercises"]
    question, figure, theorem, found, exercises = made
    assert [p.get_text() for p in question.body] == ["Why?", "So."]
    assert figure.title is not None and figure.title.get_text() == "It falls."
    assert [n.get_text().strip()[:6] for n in figure.notes] == ["Before", "It fal", "After,"]
    assert theorem.title is not None and theorem.title.get_text() == "Theorem 5.1 (All)"
    assert found.body[0].get_text().strip() == "Some fall.", (
        "the theorem's own claim is not repeated"
    )
    assert "Derive: it" in exercises.body[0].get_text()


def test_a_deck_shows_no_code_proof_or_solution_and_leads_to_the_page(page: BeautifulSoup) -> None:
    text = deck(page, "05_loss.html", "Quick.")
    shown = BeautifulSoup(text, "html.parser")
    assert not re.search(r"x = 1|By hand|Forty-two|loading=|Do it", text)
    assert [s["class"] for s in shown.select(".slides > section")][:2] == [["title"], ["question"]]
    assert shown.select(".slides > section section") == [], "that would be a slide below a slide"
    links = {str(link["href"]) for link in shown.select("a")}
    assert links == {"../book/05_loss.html", "../book/05_loss.html#f", "../book/01.html#x"}
    assert "Quick." in text


def test_of_a_tall_picture_the_lower_part_stands_beside_the_upper(page: BeautifulSoup) -> None:
    for picture in page.select("img"):
        picture.attrs |= {"width": "100", "height": "150", "data-cut": "90"}
    shown = BeautifulSoup(deck(page, "05_loss.html", ""), "html.parser")
    upper, lower = shown.select(".figure .parts > div")
    assert (upper["style"], lower["style"]) == ("aspect-ratio: 100 / 90", "aspect-ratio: 100 / 60")
    assert [str(p["style"]) for p in shown.select(".parts img")] == [
        "margin-top: 0.000%",
        "margin-top: -90.000%",
    ]
    assert [p["alt"] for p in shown.select(".parts img")] == [
        "A b c",
        "The lower rows of the same figure.",
    ]


def test_notes_are_spoken_from_mathml_alone() -> None:
    formula = '<span class="math"><svg><use/></svg><span class="mathml"><math></math></span></span>'
    text = spoken(f'{formula}<aside class="notes">{formula}</aside>')
    assert text.count("<svg") == 1
    assert text.endswith("<span><span><math></math></span></span></aside>")


def test_of_too_many_slides_the_first_of_each_section_stay() -> None:
    tables = [Slide("table", section) for section in "aabb"]
    slides = [Slide("question", ""), *tables, Slide("figure", "b"), Slide("exercises", "")]
    assert pick(slides, 5) == [slides[i] for i in (0, 1, 3, 5, 6)]
    assert pick(slides) == slides
    assert min(WEIGHT, key=lambda kind: WEIGHT[kind]) == "question"


def test_a_deck_is_carried_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "_images").mkdir()
    (tmp_path / "_images" / "a.webp").write_bytes(b"picture")
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "slides.css").write_text("p { color: red }")
    decks.add_reveal(tmp_path)
    text = (
        '<link rel="stylesheet" href="../_static/slides.css"><img alt="A" src="../_images/a.webp">'
        '<a href="../book/x.html#y">there</a><script src="../_static/reveal/notes.js"></script>'
    )
    decks.write(tmp_path, "x", text)
    (made,) = decks.carry(tmp_path, tmp_path / "out", "x")
    carried = made.read_text("utf-8")
    assert "../" not in carried.split("<script>")[0]
    assert "<style>p { color: red }</style>" in carried
    assert "data:image/webp;base64,cGljdHVyZQ==" in carried
    assert carried.count("</script") == 1, "of those in strings none ends the script"
    with pytest.raises(BuildError, match="no slides of y"):
        decks.carry(tmp_path, tmp_path / "out", "y")


@pytest.mark.parametrize("chapter", EXECUTED, ids=lambda chapter: str(chapter.name))
def test_every_chapter_has_fifteen_to_twenty_five_slides(
    quick_book: Book, chapter: Chapter
) -> None:
    """With figures of the site, and nothing of a solution."""
    folder = quick_book.index.parent
    text = (folder / "slides" / f"{chapter.name}.html").read_text("utf-8")
    count = len(re.findall(r'^<section class="', text, re.MULTILINE))
    assert 15 <= count <= 25
    assert "Solution" not in text
    assert "data:image" not in text.replace(ICON, "")
    assert f"../slides/{chapter.name}.html" in (folder / "book" / "instructors.html").read_text()
    assert f'href="../slides/{chapter.name}.html"' in (
        folder / f"{chapter.document}.html"
    ).read_text("utf-8")
