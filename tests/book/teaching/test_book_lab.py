"""`make lab`: the site's notebooks in a folder of the reader's own."""

from __future__ import annotations

from pathlib import Path

import build as program
import nbformat
import pytest
from builder import BuildError
from builder.teaching.lab import fill

ROOT = Path(__file__).parents[3]


def test_notebooks_come_from_the_site_and_what_a_reader_changed_stays(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["--root", str(tiny), "lab"]) == 0
    place = tiny / "lab" / "one.ipynb"
    assert "new notebooks" in capsys.readouterr().out
    notebook = nbformat.read(place, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert ":::" not in text and "{eq}" not in text, "plain Markdown"
    place.write_text("mine")
    (tiny / "lab" / "two.ipynb").unlink(missing_ok=True)
    assert program.main(["--root", str(tiny), "lab"]) == 0
    assert place.read_text() == "mine"
    assert not list((tiny / "lab").glob(".*")), "nothing half done is left"


def test_without_a_book_it_says_what_to_run_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["--root", str(tmp_path), "lab"]) == 1
    assert "make quick" in capsys.readouterr().err
    with pytest.raises(BuildError, match="has no notebooks: make quick, or make book"):
        fill(tmp_path, tmp_path / "lab")
