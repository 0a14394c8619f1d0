"""Homework made of a chapter: what students get, what the twin holds, and how it is marked."""

import ast
import builtins
import re
from pathlib import Path

import nbformat
import pytest
from builder import BuildError
from builder.contents import Chapter, read_contents
from builder.pages.portable import Places
from builder.teaching import exercises, homework
from builder.teaching.numbers import places
from builder.teaching.running import execute

ROOT = Path(__file__).parents[3]
KNOWN = places(ROOT, read_contents(ROOT))
LABEL = re.compile(r"\b(thm|prop|def|cor|lem|rem|alg|ass|eq|fig|ex|sec)-\d\d-")
CHAPTERS = [c for c in read_contents(ROOT) if c.is_notebook]


def test_the_set_up_is_what_the_solutions_need_and_no_more(chapter: Chapter) -> None:
    cells = {cell.id: cell.source for cell in homework.twin(chapter).cells}
    assert cells["setup-0"] == 'profile = "quick"'
    assert cells["setup-1"] == "numbers = [1, 2]\nnumbers.append(3)"
    assert "setup-2" not in cells


def test_students_get_no_solution_and_no_hidden_check(chapter: Chapter, tmp_path: Path) -> None:
    known = Places({"thm-sum": "Theorem 1.1"})
    student, teacher = homework.write(chapter, tmp_path / "out", known)
    assert student == tmp_path / "out" / "release" / "small" / "small.ipynb"
    given = {c.id: c.source for c in nbformat.read(student, as_version=4).cells}
    whole = {c.id: c.source for c in nbformat.read(teacher, as_version=4).cells}
    assert given["ex-sum-code"] == homework.STUB
    assert "sum(numbers)" in whole["ex-sum-code"]
    named = "assert 'total' in globals(), 'total is not defined'"
    assert given["ex-sum-check"] == f"{named}\nassert total == 6"
    assert "all(" in whole["ex-sum-check"]
    assert given["ex-single-check"] == named.replace("total", "largest")
    assert "max(numbers)" in whole["ex-single-code"]
    assert given["ex-demo-check"] == "" and "len(numbers)" in whole["ex-demo-check"]
    assert given["ex-unchecked-code"] == homework.STUB
    assert "sorted(numbers)" in whole["ex-unchecked-code"]
    assert given["ex-sum-answer"] == homework.ANSWER != whole["ex-sum-answer"]
    assert "See Theorem 1.1." in given["ex-sum-task"]
    assert "<details><summary>Hint</summary>" in given["ex-sum-task"]
    assert "- `total`: a number\n" in given["ex-sum-task"]
    assert given["ex-sum-task"].endswith("At hand from the cells at the top: `numbers`.")
    assert "form(total)" in given["ex-sum-form"]
    assert given["ex-words-answer"] == homework.ANSWER
    nbformat.validate(nbformat.read(student, as_version=4))


def test_a_solution_that_fails_is_not_handed_out(chapter: Chapter, tmp_path: Path) -> None:
    text = chapter.source.read_text(encoding="utf-8")
    chapter.source.write_text(text.replace("total == 6", "total == 5"), encoding="utf-8")
    with pytest.raises(BuildError, match="ex-sum-check: AssertionError"):
        homework.write(Chapter(tmp_path, "small"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("work", "error"),
    [
        ("total = 6", ""),
        ("total = 7", ""),
        ("total = {}", "AssertionError: total is an empty dict"),
        ("", "NameError: name 'total' is not defined"),
    ],
)
def test_a_student_sees_when_an_answer_has_another_form(
    work: str, error: str, chapter: Chapter, tmp_path: Path
) -> None:
    student, _ = homework.write(chapter, tmp_path / "out")
    notebook = nbformat.read(student, as_version=4)
    next(cell for cell in notebook.cells if cell.id == "ex-sum-code").source = work
    assert execute(notebook, chapter)["ex-sum-form"] == error


@pytest.mark.parametrize("real", CHAPTERS, ids=lambda chapter: str(chapter.name))
def test_every_chapter_makes_a_homework(real: Chapter) -> None:
    """Without running it: all code is Python, every name that is read comes from somewhere, and
    nothing of a solution is left in what students get."""
    teacher = homework.twin(real, known=KNOWN)
    student = homework.hand_out(teacher)
    nbformat.validate(student)
    words = "\n".join(cell.source for cell in student.cells if cell.cell_type == "markdown")
    assert not LABEL.search(words), "a reader knows no labels"
    code = [cell.source for cell in teacher.cells if cell.cell_type == "code"]
    statements = [s for source in code for s in ast.parse(source).body]
    unknown = exercises.free(statements) - set(dir(builtins))
    assert unknown <= {"display"}
    left = "\n".join(cell.source for cell in student.cells)
    assert "BEGIN" not in left
    answers = [c.source for c in teacher.cells if c.id.endswith("-answer")]
    assert answers
    assert not any(answer in left for answer in answers)
    given = {
        n
        for c in exercises.split(real)[0]
        for s in ast.parse(c.source).body
        for n in exercises.writes(s)
    }
    for exercise in exercises.split(real)[1]:
        own = ast.parse("\n".join((*exercise.code, *exercise.checks))).body
        assert exercises.free(own) <= given | set(dir(builtins)), (
            exercise.label
        )  # none needs another


@pytest.mark.parametrize("real", CHAPTERS, ids=lambda chapter: str(chapter.name))
def test_every_name_that_is_asked_is_told_in_its_exercise(real: Chapter) -> None:
    for exercise in exercises.split(real)[1]:
        code = " ".join(re.findall(r"`([^`]+)`", exercise.task))
        told = set(re.findall(r"\w+", code))
        assert set(exercise.asked) <= told, exercise.label


@pytest.mark.parametrize("real", CHAPTERS, ids=lambda chapter: str(chapter.name))
def test_every_solution_with_code_asserts_something(real: Chapter) -> None:
    for exercise in exercises.split(real)[1]:
        assert exercise.checks, exercise.label
