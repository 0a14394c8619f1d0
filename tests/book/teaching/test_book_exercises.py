"""The exercises of the chapters: grades, hints, solutions; and the edition without solutions."""

from __future__ import annotations

from pathlib import Path

import pytest
from builder import BuildError
from builder.contents import Chapter, read_contents
from builder.pipeline import build
from builder.teaching.exercises import Exercise, grade, split, without_solutions

ROOT = Path(__file__).parents[3]
CHAPTERS = [c for c in read_contents(ROOT) if c.is_notebook]
GRADES = {"Check yourself", "Derive", "Small project"}


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: str(chapter.name))
def test_every_chapter_has_four_to_six_exercises_of_three_grades_and_one_to_break_it(
    chapter: Chapter,
) -> None:
    exercises = split(chapter)[1]
    assert 4 <= len(exercises) <= 6
    graded = [grade(exercise) for exercise in exercises]
    assert {name for name, _ in graded} == GRADES
    assert any(breaks for _, breaks in graded)
    for exercise in exercises:
        assert "<summary>Hint</summary>" in exercise.task, f"{exercise.label} has no hint"
        assert exercise.answer, f"{exercise.label} has no solution"
        assert exercise.checks or "$" in exercise.answer, f"{exercise.label}: nothing is shown"


def test_a_title_without_a_grade_is_refused() -> None:
    with pytest.raises(BuildError, match="ex-x: expected a title like"):
        grade(Exercise("ex-x", "Stretching", "", "", (), (), ()))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: str(chapter.name))
def test_without_solutions_the_exercises_stay_and_nothing_of_the_answers(chapter: Chapter) -> None:
    whole = chapter.notebook()
    students = without_solutions(whole)
    left = "\n".join(cell.source for cell in students.cells)
    assert "{solution}" in "\n".join(cell.source for cell in whole.cells), "the source is as it was"
    assert "{solution}" not in left
    for exercise in split(chapter)[1]:
        assert f":label: {exercise.label}\n" in left
        assert not any(code in left for code in exercise.checks)


SECRETS = ("walrus", "marmalad", "quinc")
"""Of the tiny book's solution, in its prose, code and output; stems, as the search index has."""


def test_the_students_edition_holds_no_solution_anywhere(tiny: Path) -> None:
    """Neither in pages nor in the search index, downloads, slides, figures' data or claims."""
    whole = files(tiny / "_build" / "quick" / "html")
    assert all(any(secret in text for text in whole.values()) for secret in SECRETS)
    book = build(tiny, "quick", students=True)
    assert book.executed == ()
    assert book.index == tiny / "_build" / "students" / "html" / "index.html"
    students = files(book.index.parent)
    found = [(name, s) for name, text in students.items() for s in SECRETS if s in text.lower()]
    assert found == []
    assert any("Count the ones" in text for text in students.values()), "the exercise is there"
    assert any("One at a time" in text for text in students.values()), "and its hint"
    assert files(tiny / "_build" / "quick" / "html") == whole, "the book itself stays"


def files(folder: Path) -> dict[str, str]:
    """Every file of a folder as text, whatever it is, but the pictures."""
    return {
        str(path.relative_to(folder)): path.read_bytes().decode("utf-8", "replace")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
