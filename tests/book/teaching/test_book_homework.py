"""Homework made of a chapter: what students get, what the twin holds, and how it is marked."""

import ast
import builtins
from pathlib import Path

import nbformat
import pytest
from builder import BuildError
from builder.contents import Chapter, read_contents
from builder.teaching import exercises, homework

ROOT = Path(__file__).parents[3]
CHAPTERS = [c for c in read_contents(ROOT) if c.is_notebook]

HEADER = "---\nkernelspec:\n  display_name: Python 3\n  name: python3\n---\n"
SMALL = (
    HEADER
    + """
# Sums

```{code-cell} ipython3
:tags: [parameters]

profile = "quick"
```

```{code-cell} ipython3
import math
import os

numbers = [1, 2]
numbers.append(3)
unused = 1 / 0 if False else os.getcwd()
print("never seen", unused)
```

## Exercises

:::{exercise} The sum
:label: ex-sum

Add `numbers`. See {prf:ref}`thm-sum`.
:::

:::{solution} ex-sum
:class: dropdown

It is $6$.
:::

```{code-cell} ipython3
total = sum(numbers)
assert total == 6
assert all(total > number for number in numbers)
```

:::{exercise}
:label: ex-words

Why?
:::

:::{solution} ex-words
:class: dropdown

Because.
:::

:::{exercise}
:label: ex-single

The largest?
:::

```{code-cell} ipython3
largest = max(numbers)
assert largest == 3
```

:::{exercise}
:label: ex-demo

How many?
:::

```{code-cell} ipython3
assert len(numbers) == 3
```

:::{exercise}
:label: ex-unchecked

Sort them.
:::

```{code-cell} ipython3
print(sorted(numbers))
```
"""
)


@pytest.fixture
def chapter(tmp_path: Path) -> Chapter:
    (tmp_path / "small.md").write_text(SMALL, encoding="utf-8")
    return Chapter(tmp_path, "small")


def test_the_set_up_is_what_the_solutions_need_and_no_more(chapter: Chapter) -> None:
    cells = {cell.id: cell.source for cell in homework.twin(chapter).cells}
    assert cells["setup-0"] == 'profile = "quick"'
    assert cells["setup-1"] == "numbers = [1, 2]\nnumbers.append(3)"
    assert "setup-2" not in cells


def test_students_get_no_solution_and_no_hidden_check(chapter: Chapter, tmp_path: Path) -> None:
    student, teacher = homework.write(chapter, tmp_path / "out")
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
    assert "*thm-sum*" in given["ex-sum-task"]
    assert "`total`" in given["ex-sum-task"]
    assert given["ex-words-answer"] == homework.ANSWER
    nbformat.validate(nbformat.read(student, as_version=4))


@pytest.mark.parametrize(
    ("work", "passed"),
    [("total = 6", True), ("total = 7", False), (homework.STUB, False)],
)
def test_what_came_back_is_marked_by_the_teachers_checks(
    work: str, passed: bool, chapter: Chapter, tmp_path: Path
) -> None:
    """Also the hidden ones, and whatever became of the checks on the way."""
    returned = homework.hand_out(homework.twin(chapter))
    returned.nbformat_minor = 4
    for cell in returned.cells:
        if cell.id == "ex-sum-code":
            cell.source = work
        if cell.id == "ex-sum-check":
            cell.source = "pass"
        if cell.id == "ex-unchecked-code":
            cell.source = "print(numbers)"
    for cell in returned.cells:
        del cell["id"]  # as notebooks had none until format 4.5
    place = tmp_path / "returned.ipynb"
    nbformat.write(returned, place)
    marks = {mark.name: mark for mark in homework.mark(chapter, place)}
    assert marks["ex-sum-check"].passed is passed
    assert ("ex-sum-code" in marks) == (work == homework.STUB)


def test_what_nobody_worked_on_gets_no_point(chapter: Chapter, tmp_path: Path) -> None:
    teacher = homework.twin(chapter)
    place = tmp_path / "returned.ipynb"
    nbformat.write(homework.hand_out(teacher), place)
    points = {c.id: c.metadata["nbgrader"].get("points") for c in teacher.cells}
    marks = homework.mark(chapter, place)
    assert sum(points[m.name] or 0 for m in marks if m.passed) == 0


def test_a_solution_that_fails_is_not_handed_out(chapter: Chapter, tmp_path: Path) -> None:
    text = chapter.source.read_text(encoding="utf-8")
    chapter.source.write_text(text.replace("total == 6", "total == 5"), encoding="utf-8")
    with pytest.raises(BuildError, match="ex-sum-check: AssertionError"):
        homework.write(Chapter(tmp_path, "small"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_notebook_is_named(chapter: Chapter, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"small\.md: expected a notebook"):
        homework.mark(chapter, tmp_path / "small.md")


@pytest.mark.parametrize("real", CHAPTERS, ids=lambda chapter: str(chapter.name))
def test_every_chapter_makes_a_homework(real: Chapter) -> None:
    """Without running it: all code is Python, every name that is read comes from somewhere, and
    nothing of a solution is left in what students get."""
    teacher = homework.twin(real)
    student = homework.hand_out(teacher)
    nbformat.validate(student)
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
