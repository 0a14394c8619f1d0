"""Below a figure or table: links to the function that made it and to its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from builder.contents import Chapter
from builder.pages.reading import ICON
from builder.record.sources import insert_links, line_of, source_page
from builder.stage import ELSEWHERE, elsewhere

from moe.experiments.shown.tables import MIME

MODULE = """# words

@drawing
def curve(record):
    return "<b>"
"""
TOLD = {"file": "moe/figures.py", "line": 1, "function": "curve", "csv": "x\n1\n", "note": ""}


@pytest.fixture
def chapter(tmp_path: Path) -> Chapter:
    (tmp_path / "moe").mkdir()
    (tmp_path / "moe" / "figures.py").write_text(MODULE)
    return Chapter(tmp_path, "book/07_x")


def notebook(*told: dict[str, Any], name: str = "") -> nbformat.NotebookNode:
    data = [{"text/plain": "shown", MIME: entry} for entry in told]
    cell = nbformat.v4.new_code_cell(
        "f()",
        outputs=[nbformat.v4.new_output("display_data", data=entry) for entry in data],
        metadata={"mystnb": {"figure": {"name": name}}} if name else {},
    )
    return nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_markdown_cell("after")])


def test_a_figure_is_followed_by_links_to_its_function_and_its_data(chapter: Chapter) -> None:
    book = notebook(TOLD, name="fig-07-curve")
    files = insert_links(book, chapter)
    code, links, after = book.cells
    assert code.outputs[0].data == {"text/plain": "shown"}
    assert after.source == "after"
    assert links.source == (
        '<p class="made-by">source: <a href="../_static/source/moe.figures.html#L-4">'
        "<code>moe/figures.py</code>, line 4 (function <code>curve</code>)</a> · "
        'data: <a href="../_static/data/07_x-fig-07-curve.csv" download>CSV</a></p>'
    )
    assert files.keys() == {
        *("source/moe.figures.html", "source/source.css", "data/07_x-fig-07-curve.csv")
    }
    assert files["data/07_x-fig-07-curve.csv"] == TOLD["csv"]


def test_tables_of_one_cell_have_a_file_each_and_notes_are_shown(chapter: Chapter) -> None:
    book = notebook(TOLD, TOLD | {"csv": "y\n2\n", "note": "1 in 2 points"})
    files = insert_links(book, chapter)
    assert files["data/07_x-curve.csv"] == "x\n1\n"
    assert files["data/07_x-curve-2.csv"] == "y\n2\n"
    assert book.cells[1].source.count("<p ") == 2
    assert book.cells[1].source.endswith("CSV</a> (1 in 2 points)</p>")


def test_a_table_made_in_a_cell_has_data_alone_and_other_cells_nothing(chapter: Chapter) -> None:
    nowhere = {"file": None, "line": None, "function": None, "csv": "x\n1\n"}
    book = notebook(nowhere)
    assert insert_links(book, chapter) == {"data/07_x-table.csv": "x\n1\n"}
    assert "source" not in book.cells[1].source
    plain = notebook()
    assert insert_links(plain, chapter) == {}
    assert len(plain.cells) == 2


def test_a_figure_can_be_taken_away_as_svg_pdf_and_png(chapter: Chapter) -> None:
    book = notebook(TOLD | {"svg": "<svg/>", "pdf": "JVBERg=="}, name="fig-07-curve")
    book.cells[0].outputs[0].data["image/png"] = "iVBORw0KGgo="
    files = insert_links(book, chapter)
    assert files["figures/07_x-fig-07-curve.svg"] == "<svg/>"
    assert files["figures/07_x-fig-07-curve.pdf"] == b"%PDF"
    assert files["figures/07_x-fig-07-curve.png"] == b"\x89PNG\r\n\x1a\n"
    assert 'figure: <a href="../_static/figures/07_x-fig-07-curve.svg" download>SVG</a>, <a' in (
        book.cells[1].source
    )
    assert "image/png" in book.cells[0].outputs[0].data


def test_a_source_page_has_a_place_for_each_line_and_shows_code_as_it_is() -> None:
    page = source_page("moe/figures.py", MODULE)
    for line in range(1, 6):
        assert f'id="L-{line}"' in page
    assert "&lt;b&gt;" in page
    assert "http" not in page.replace(ICON, ""), "whose drawing names its language so"
    assert line_of("curve", MODULE) == 4
    assert line_of("nobody", MODULE) is None


@pytest.mark.parametrize(("name", "drawn"), ELSEWHERE.items())
def test_what_another_page_shows_is_the_figure_of_the_full_book(name: str, drawn: str) -> None:
    """And else a picture that is kept beside the pages."""
    root = Path(__file__).parents[3]
    assert (root / "book" / "_static" / name).is_file()
    stem, _, label = Path(drawn).stem.partition("-")
    assert f"name: {label}\n" in (root / "book" / f"{stem}.md").read_text(encoding="utf-8")
    files = {drawn: b"new", "figures/other.png": b"other"}
    assert elsewhere(files, {"profile": "full"}) == {name: b"new"}
    assert elsewhere(files, {"profile": "quick"}) == elsewhere({}, {"profile": "full"}) == {}
