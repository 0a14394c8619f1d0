"""`make lab`: the site's notebooks in a folder of the reader's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import build as program
import nbformat
import pytest
from builder import BuildError
from builder.pages.hosts import FOLDER
from builder.teaching.lab import COPIED, Filled, fill, of_site

ROOT = Path(__file__).parents[3]


def test_notebooks_come_from_the_site_and_what_a_reader_changed_stays(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["--root", str(tiny), "lab"]) == 0
    place = tiny / "lab" / "one.ipynb"
    assert "lab: 2 new notebooks, 0 renewed\n" in capsys.readouterr().out
    notebook = nbformat.read(place, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert ":::" not in text and "{eq}" not in text, "plain Markdown"
    place.write_text("mine")
    assert program.main(["--root", str(tiny), "lab"]) == 0
    assert "0 new notebooks, 0 renewed\n" in capsys.readouterr().out, "the book has no newer one"
    assert place.read_text() == "mine"
    left = [path.name for path in (tiny / "lab").glob(".*")]
    assert left == [COPIED], "nothing half done is left"


def site(root: Path, **notebooks: str) -> Path:
    folder = root / "html" / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in notebooks.items():
        (folder / f"{name}.ipynb").write_text(text)
    return root / "html"


def test_after_a_newer_build_what_nobody_touched_is_renewed(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    first = fill(of_site(site(tmp_path, same="0", touched="0", left="0")), lab)
    assert first == Filled(new=["left.ipynb", "same.ipynb", "touched.ipynb"])
    (lab / "touched.ipynb").write_text("mine")
    (lab / "own.ipynb").write_text("own")
    second = fill(of_site(site(tmp_path, touched="1", left="1", later="1")), lab)
    assert second == Filled(["later.ipynb"], ["left.ipynb"], ["touched.ipynb"])
    texts = {path.stem: path.read_text() for path in lab.glob("*.ipynb")}
    assert texts == {"same": "0", "touched": "mine", "left": "1", "later": "1", "own": "own"}
    assert "kept, though the book has newer ones: touched.ipynb." in "\n".join(second.lines())
    assert fill(of_site(site(tmp_path)), lab).kept == ["touched.ipynb"], (
        "it is told until it is settled"
    )
    (lab / "touched.ipynb").unlink()
    assert fill(of_site(site(tmp_path)), lab) == Filled(new=["touched.ipynb"])


@pytest.mark.parametrize("known", [None, "", "[]"])
def test_of_a_folder_that_nobody_kept_account_of_all_is_kept(
    known: str | None, tmp_path: Path
) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "old.ipynb").write_text("0")
    if known is not None:
        (lab / COPIED).write_text(known)
    assert fill(of_site(site(tmp_path, old="1")), lab) == Filled(kept=["old.ipynb"])
    assert (lab / "old.ipynb").read_text() == "0"


def test_before_anything_is_built_the_chapters_come_as_they_are_written(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(tiny / "_build")
    assert program.main(["--root", str(tiny), "lab"]) == 0
    assert "without outputs.\n" in (told := capsys.readouterr().out) and "2 new" in told
    notebook = nbformat.read(tiny / "lab" / "one.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert any("marmalade" in cell.source for cell in notebook.cells)
    assert not any(cell.get("outputs") for cell in notebook.cells)


def test_where_there_is_nothing_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="no notebooks: make quick, or make book"):
        fill(of_site(tmp_path), tmp_path / "lab")
