"""The build of the book: what is executed when, what stops it, what stays when it stops."""

from __future__ import annotations

import re
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import papermill
import pytest
from bs4 import BeautifulSoup
from builder import BuildError
from builder.contents import find_chapter, read_contents
from builder.execution.execute import Failure, Job, run
from builder.pipeline import Book, build, build_chapter, execute_again

ROOT = Path(__file__).resolve().parents[2]


def edit(root: Path, name: str, old: str, new: str) -> None:
    text = (root / name).read_text(encoding="utf-8")
    assert old in text
    (root / name).write_text(text.replace(old, new), encoding="utf-8")


def page(root: Path, name: str, kind: str = "quick") -> str:
    html = (root / "_build" / kind / "html" / "book" / f"{name}.html").read_text(encoding="utf-8")
    return " ".join(BeautifulSoup(html, "html.parser").get_text().split())


def test_an_unchanged_book_executes_nothing(tiny: Path) -> None:
    told: list[str] = []
    before = page(tiny, "one")
    assert build(tiny, "quick", report=told.append).executed == ()
    assert told == ["unchanged: one, two"]
    assert page(tiny, "one") == before


def test_an_edit_of_a_module_executes_the_chapters_that_import_it(tiny: Path) -> None:
    edit(tiny, "moe/numbers_a.py", "= ONE", "= 10 * ONE")
    edit(tiny, "moe/unused.py", "3", "4")
    told: list[str] = []
    assert build(tiny, "quick", report=told.append).executed == ("one",)
    assert "one: changed moe/numbers_a.py" in told
    assert re.fullmatch(r"\[1/1\] one  \d+\.\d s", told[-2])
    assert "one quick 0 10.0" in page(tiny, "one")


def test_an_edit_of_a_chapter_executes_that_chapter(tiny: Path) -> None:
    edit(tiny, "book/two.md", '"two"', '"deux"')
    assert build(tiny, "quick").executed == ("two",)
    assert "deux 2" in page(tiny, "two")


def test_an_edit_of_prose_executes_nothing_and_is_shown_beside_the_outputs(tiny: Path) -> None:
    """In a chapter, and in a page without cells."""
    edit(tiny, "book/one.md", "# One", "# The first\n\nNew words.")
    edit(tiny, "book/index.md", "Nothing", "Truly nothing")
    assert build(tiny, "quick").executed == ()
    shown = page(tiny, "one")
    assert "New words." in shown
    assert "one quick 0 1.0" in shown
    assert "How this page was made" in shown
    assert "Claim. One is" in shown
    assert "Truly nothing" in page(tiny, "index")


def test_a_docstring_or_comment_executes_nothing_a_changed_constant_all_that_import_it(
    tiny: Path,
) -> None:
    """Through other modules too."""
    edit(tiny, "moe/shared.py", "ONE = 1", '"""Numbers."""\n\nONE = 1  # the first')
    assert build(tiny, "quick").executed == ()
    edit(tiny, "moe/shared.py", "ONE = 1", "ONE = 5")
    assert sorted(build(tiny, "quick").executed) == ["one", "two"]
    assert "two 10" in page(tiny, "two")


def test_a_failing_cell_is_located_and_the_last_good_book_stays(tiny: Path) -> None:
    edit(tiny, "book/one.md", "assert alpha", "value = [1, 2]\nassert value == [2, 1], 'the order'")
    edit(tiny, "book/two.md", '"two"', '"deux"')
    last_good = page(tiny, "one")
    with pytest.raises(BuildError) as caught:
        build(tiny, "quick")
    lines = (tiny / "book" / "one.md").read_text(encoding="utf-8").splitlines()
    line = lines.index("assert value == [2, 1], 'the order'") + 1
    head, code, error = str(caught.value).splitlines()[:3]
    assert head == f"one failed in cell 2: book/one.md:{line}"
    assert code.strip() == "assert value == [2, 1], 'the order'"
    assert error == "AssertionError: the order"
    assert page(tiny, "one") == last_good
    assert "two 2" in page(tiny, "two")

    edit(tiny, "book/one.md", "[2, 1], 'the order'", "[1, 2]")
    assert build(tiny, "quick").executed == ("one",)
    assert "deux 2" in page(tiny, "two")


def test_a_kernel_that_dies_fails_its_chapter(tiny: Path) -> None:
    edit(tiny, "book/two.md", "from moe", "import os\nos._exit(3)\nfrom moe")
    with pytest.raises(BuildError, match=r"two failed: book/two\.md\nDeadKernelError"):
        build(tiny, "quick")
    assert "two 2" in page(tiny, "two")


@pytest.mark.parametrize(("deaths", "starts"), [(0, 1), (1, 2), (2, 2)])
def test_a_kernel_that_dies_before_the_first_cell_is_started_once_more(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, deaths: int, starts: int
) -> None:
    asked = []

    def dies(*given: Any, **options: Any) -> Any:
        asked.append(options["kernel_name"])
        if len(asked) <= deaths:
            raise RuntimeError("Kernel died before replying to kernel_info")
        return execute(*given, **options)

    execute = papermill.execute_notebook
    monkeypatch.setattr(papermill, "execute_notebook", dies)
    job = Job(find_chapter(read_contents(tiny), "two"), tiny / "two.ipynb", {}, {})
    outcome = run(job, 1)
    assert asked == ["python3"] * starts
    assert isinstance(outcome, Failure) == (deaths == 2)


def test_one_chapter_with_other_parameters_leaves_the_book_as_it_is(tiny: Path) -> None:
    last_good = page(tiny, "one")
    book = build_chapter(tiny, "one", {"seed": 3, "scale": 2})
    assert book == Book(tiny / "_build" / "chapter" / "html" / "index.html", ("one",))
    shown = page(tiny, "one", "chapter")
    assert "one full 3 2" in shown
    assert "one was executed anew with seed = 3, scale = 2." in shown
    assert "profile = 'full'" in shown
    assert "seed = 3" in shown
    assert "two 2" in page(tiny, "two", "chapter")
    assert page(tiny, "one") == last_good
    assert build(tiny, "quick").executed == ()


def test_a_chapter_is_shown_beside_others_that_were_never_executed(tiny: Path) -> None:
    shutil.rmtree(tiny / "_build")
    build_chapter(tiny, "one", {"profile": "quick"})
    assert "one quick 0 1.0" in page(tiny, "one", "chapter")
    assert "Not executed yet" in page(tiny, "two", "chapter")


def test_an_unknown_parameter_is_refused_with_the_known_ones(tiny: Path) -> None:
    with pytest.raises(BuildError, match="unknown parameter sed; known: profile, seed, scale"):
        build_chapter(tiny, "one", {"sed": 3})
    assert not (tiny / "_build" / "chapter").exists()


def test_an_unknown_chapter_is_refused_with_the_known_ones(tiny: Path) -> None:
    with pytest.raises(
        BuildError,
        match=r"'three': no such chapter with code; by name or number there are: one, two",
    ):
        build_chapter(tiny, "three", {})


def test_a_chapter_may_be_named_by_its_file(tiny: Path) -> None:
    assert find_chapter(read_contents(tiny), "book/one.md").name == "one"
    assert [find_chapter(read_contents(tiny), name).name for name in ("2", "02")] == ["two"] * 2
    for none in ("0", "3"):
        with pytest.raises(BuildError, match="by name or number there are"):
            find_chapter(read_contents(tiny), none)


def test_contents_that_name_a_missing_file_are_refused(tiny: Path) -> None:
    edit(tiny, "_toc.yml", "book/two", "book/deux")
    with pytest.raises(BuildError, match=r"_toc\.yml names book/deux\.md: no such file"):
        build(tiny, "quick")


@pytest.mark.parametrize("contents", ["chapters: [", "format: jb-book\nchapters: []\n"])
def test_contents_that_cannot_be_read_are_refused(contents: str, tmp_path: Path) -> None:
    (tmp_path / "_toc.yml").write_text(contents)
    with pytest.raises(BuildError, match=r"_toc\.yml: "):
        read_contents(tmp_path)


def test_a_warning_of_sphinx_fails_the_build_and_tells_the_place(tiny: Path) -> None:
    edit(tiny, "book/two.md", "# Two", "# Two\n\nSee {numref}`fig-nowhere`.")
    with pytest.raises(BuildError, match=r"book/two\.md \(line 4 of cell 1.*fig-nowhere"):
        build(tiny, "quick")
    assert "See" not in page(tiny, "two")


def test_a_page_that_the_gate_refuses_does_not_replace_the_last_good_book(tiny: Path) -> None:
    edit(tiny, "book/index.md", "Nothing", '<img src="https://example.org/x.png">\n\nNothing')
    with pytest.raises(BuildError, match=r"book/index\.html: <img> loads https") as caught:
        build(tiny, "quick")
    assert "has no alt text" in str(caught.value)
    assert "example.org" not in (tiny / "_build/quick/html/book/index.html").read_text("utf-8")
    assert list((tiny / "_build").glob("scratch-*")) == []


def test_the_command_line_reports_and_returns_non_zero(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["build.py", "--root", str(tiny), *arguments])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(ROOT / "book" / "build.py"), run_name="__main__")
        return int(stopped.value.code or 0)

    assert run("quick") == 0
    assert "0 executed, " in (out := capsys.readouterr().out)
    assert str(tiny / "_build/quick/html/index.html") in out
    assert run("chapter", "one", "sede=3") == 1
    assert "unknown parameter sede" in capsys.readouterr().err


def test_a_chapter_that_shows_something_else_the_second_time_is_told(tiny: Path) -> None:
    """And where nothing differs nothing is told."""
    assert execute_again(tiny, "quick") == []
    edit(tiny, "book/two.md", 'print("two", beta)', "import time\n\nprint(time.time())")
    with pytest.raises(BuildError, match="two was not executed as it is now: make quick"):
        execute_again(tiny, "quick", "two")
    build(tiny, "quick")
    assert execute_again(tiny, "quick", "two") == ["two: cell 1: text differs"]
    assert list((tiny / "_build").glob("scratch-*")) == []
