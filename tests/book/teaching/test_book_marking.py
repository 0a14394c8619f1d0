"""What came back is marked: answers, missing and new cells, and files that are no homework."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from build import main
from builder import BuildError
from builder.contents import Chapter
from builder.teaching import homework
from builder.teaching.marking import Marks, mark
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

Change = Callable[[NotebookNode], None]


def _marked(chapter: Chapter, folder: Path, *changes: Change) -> Marks:
    """A hand-out in which a student changed something."""
    returned = homework.hand_out(homework.twin(chapter))
    for change in changes:
        change(returned)
    place = folder / "returned.ipynb"
    nbformat.write(returned, place)
    return mark(chapter, place)


def _answered(name: str, source: str) -> Change:
    def change(notebook: NotebookNode) -> None:
        next(cell for cell in notebook.cells if cell.id == name).source = source

    return change


def _without(name: str) -> Change:
    def change(notebook: NotebookNode) -> None:
        notebook.cells = [cell for cell in notebook.cells if cell.id != name]

    return change


def _below(name: str, new: NotebookNode) -> Change:
    def change(notebook: NotebookNode) -> None:
        place = [cell.id for cell in notebook.cells].index(name)
        notebook.cells.insert(place + 1, new)

    return change


def _no_ids(notebook: NotebookNode) -> None:
    notebook.nbformat_minor = 4  # as notebooks had none until format 4.5
    for cell in notebook.cells:
        del cell["id"]


def _no_metadata(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        cell.metadata = {}


def _points(marks: Marks) -> dict[str, int]:
    return {one.name: one.points * one.passed for one in marks.checks if one.points}


RIGHT = (
    _answered("ex-sum-code", "total = 6"),
    _answered("ex-single-code", "largest = 3"),
    _answered("ex-unchecked-code", "print(numbers)"),
)


def test_a_right_student_passes_and_the_points_are_summed(chapter: Chapter, tmp_path: Path) -> None:
    marks = _marked(chapter, tmp_path, *RIGHT, _answered("ex-words-answer", "Since."))
    assert marks.passed
    assert _points(marks) == {"ex-sum-check": 2, "ex-single-check": 1}
    assert list(marks.lines()) == [
        "passed  ex-sum-check     2 of 2",
        "passed  ex-single-check  1 of 1",
        "points by the checks: 3 of 3",
        "Answers in words, to be read by hand: 4 points for 2; empty: ex-sum-answer.",
    ]


@pytest.mark.parametrize(
    ("work", "passed"), [("total = 6", True), ("total = 7", False), (homework.STUB, False)]
)
@pytest.mark.parametrize("lost", [_no_ids, _no_metadata])
def test_what_came_back_is_marked_by_the_teachers_checks(
    lost: Change, work: str, passed: bool, chapter: Chapter, tmp_path: Path
) -> None:
    """Also the hidden ones, and whatever became of the checks on the way."""
    changes = (*RIGHT, _answered("ex-sum-code", work), _answered("ex-sum-check", "pass"), lost)
    marks = _marked(chapter, tmp_path, *changes)
    assert marks.passed is passed
    assert _points(marks)["ex-sum-check"] == 2 * passed


def test_an_untouched_hand_out_passes_nothing(chapter: Chapter, tmp_path: Path) -> None:
    """Not even what holds without work: a check of what the chapter gives is not listed."""
    marks = _marked(chapter, tmp_path)
    assert not any(one.passed for one in marks.checks)
    assert "ex-demo-check" not in {one.name for one in marks.checks}
    assert "points by the checks: 0 of 3" in marks.lines()
    assert marks.told[-1].endswith("empty: ex-sum-answer, ex-words-answer.")


@pytest.mark.parametrize(
    ("work", "error"),
    [
        ("total = 6.0001", ""),
        ("total = 7", "AssertionError: total is not what it should be"),
        ("total = True", "AssertionError: total is `True` or `False`, not a number"),
        ("form = largest = _own = 0\ntotal = 6", ""),
        ("total = 6\n1 / 0", ""),
    ],
)
def test_an_answer_is_compared_with_the_solutions_in_form_and_number(
    work: str, error: str, chapter: Chapter, tmp_path: Path
) -> None:
    """Also where a student has used the names of what was given; in a cell that gives points."""
    text = chapter.text.replace("assert total == 6\n", "assert total > 5\n")
    chapter.source.write_text(text, encoding="utf-8")
    marks = _marked(Chapter(tmp_path, "small"), tmp_path, *RIGHT, _answered("ex-sum-code", work))
    (sum_of,) = [one for one in marks.checks if one.name == "ex-sum-check"]
    assert (sum_of.passed, sum_of.error) == (not error, error)


@pytest.mark.parametrize("name", ["numbers", "form"])
def test_an_answer_may_use_the_names_of_what_was_given(
    name: str, chapter: Chapter, tmp_path: Path
) -> None:
    """The checks read these, and so do the exercises below."""
    work = f"total = sum(numbers)\n{name} = [99]"
    changes = _answered("ex-sum-code", work), _answered("ex-single-code", "largest = numbers[-1]")
    assert _points(_marked(chapter, tmp_path, *RIGHT, *changes)) == {
        "ex-sum-check": 2,
        "ex-single-check": 1,
    }


def test_a_name_that_another_exercise_has_made_is_no_answer(
    chapter: Chapter, tmp_path: Path
) -> None:
    made_before = _answered("ex-sum-code", "total, largest = 6, 3")
    assert _points(_marked(chapter, tmp_path, made_before))["ex-single-check"] == 0


def test_answers_that_did_not_come_back_are_empty_and_named(
    chapter: Chapter, tmp_path: Path
) -> None:
    lost = _without("ex-sum-code"), _without("ex-words-answer")
    marks = _marked(chapter, tmp_path, *RIGHT, *lost)
    assert _points(marks) == {"ex-sum-check": 0, "ex-single-check": 1}
    told = "Missing in what came back, and counted as empty: ex-sum-code, ex-words-answer."
    assert marks.told[0] == told


@pytest.mark.parametrize("kind", ["empty", "chapter", "other", "stripped"])
def test_a_notebook_of_something_else_is_refused(
    kind: str, chapter: Chapter, tmp_path: Path
) -> None:
    stripped = homework.hand_out(homework.twin(chapter))
    _no_metadata(stripped)
    _no_ids(stripped)
    (tmp_path / "other.md").write_text(chapter.text.replace("ex-", "ex-of-another-"), "utf-8")
    notebooks = {
        "empty": new_notebook(),
        "chapter": chapter.notebook(),
        "other": homework.hand_out(homework.twin(Chapter(tmp_path, "other"))),
        "stripped": stripped,
    }
    place = tmp_path / "returned.ipynb"
    nbformat.write(notebooks[kind], place)
    with pytest.raises(BuildError, match="expected the homework of small, found none of it"):
        mark(chapter, place)


@pytest.mark.parametrize("text", ["# Sums", "{}", "[1]", '{"cells": 3, "nbformat": 4}', "\x00"])
def test_a_file_that_is_no_notebook_is_named(text: str, chapter: Chapter, tmp_path: Path) -> None:
    place = tmp_path / "returned.ipynb"
    place.write_text(text, encoding="utf-8")
    with pytest.raises(BuildError, match=r"returned\.ipynb: expected a notebook, got [^\n]+$"):
        mark(chapter, place)


def test_of_the_last_good_book_only_a_build_speaks(
    chapter: Chapter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toc = "format: jb-book\nroot: small\n"
    (tmp_path / "_toc.yml").write_text(toc, encoding="utf-8")
    assert main(["--root", str(tmp_path), "mark", "small", str(chapter.source)]) == 1
    assert "untouched" not in capsys.readouterr().err
    assert main(["--root", str(tmp_path), "chapter", "none"]) == 1
    assert "untouched" in capsys.readouterr().err


@pytest.mark.parametrize("work", ["import os\nos._exit(0)", "exit()", "import sys\nsys.exit()"])
def test_a_cell_that_ends_the_program_costs_its_own_points_only(
    work: str, chapter: Chapter, tmp_path: Path
) -> None:
    marks = _marked(chapter, tmp_path, *RIGHT, _answered("ex-sum-code", work))
    assert _points(marks) == {"ex-sum-check": 0, "ex-single-check": 1}
    assert "ex-sum-code" in {one.name for one in marks.checks if one.error}


def test_new_cells_run_where_they_stand_and_are_named(chapter: Chapter, tmp_path: Path) -> None:
    """An answer beside the place for it counts."""
    marks = _marked(
        chapter,
        tmp_path,
        _below("ex-sum-task", new_markdown_cell("My answer.")),
        _below("ex-sum-code", new_code_cell("total = 6")),
        _below("setup-0", new_code_cell("1 / 0")),
    )
    assert _points(marks)["ex-sum-check"] == 2
    errors = {one.name: one.error for one in marks.checks if one.error}
    assert errors["new-1-below-setup-0"].startswith("ZeroDivisionError")
    assert "New cells of code, run where they stand: 1 below setup-0, 1 below ex-sum-code." in (
        marks.told
    )
    assert "New cells of words, to be read by hand: 1 below ex-sum-task." in marks.told


def test_an_answer_in_a_cell_that_was_split_is_whole(chapter: Chapter, tmp_path: Path) -> None:
    twin = homework.twin(chapter)
    first = next(cell for cell in twin.cells if cell.id == "ex-sum-code")
    second = new_code_cell("total = 3 + part", metadata=first.metadata)
    changes = _answered("ex-sum-code", "part = 3"), _below("ex-sum-code", second)
    assert _points(_marked(chapter, tmp_path, *changes))["ex-sum-check"] == 2
