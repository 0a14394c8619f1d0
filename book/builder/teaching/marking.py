"""Marks of a homework that came back: its answers among the teacher's cells, executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from builder import BuildError
from builder.contents import Chapter
from builder.teaching.exercises import IMPORTS
from builder.teaching.homework import ANSWER, STUB, twin
from builder.teaching.running import execute

_LOOSE = {"nbgrader": {"locked": True, "grade": False, "solution": False}}
Cells = dict[str, list[NotebookNode]]
"""Name of a homework's cell -> cells."""


@dataclass(frozen=True)
class Mark:
    """One check, or another cell of code that failed; points: what the check gives if passed."""

    name: str
    passed: bool
    error: str = ""
    points: int = 0


@dataclass(frozen=True)
class Marks:
    """checks: every check that gives points, and what failed beside them; told: sentences for the
    teacher."""

    checks: tuple[Mark, ...]
    told: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return all(one.passed for one in self.checks)

    def lines(self) -> Iterator[str]:
        """As a table with the sum below it, then what else is to be known."""
        width = max((len(one.name) for one in self.checks), default=0)
        for one in self.checks:
            points = f"{one.points * one.passed} of {one.points}" if one.points else ""
            verdict = "passed" if one.passed else "FAILED"
            yield f"{verdict}  {one.name:{width}}  {points:6}  {one.error}".rstrip()
        reached = sum(one.points for one in self.checks if one.passed)
        yield f"points by the checks: {reached} of {sum(one.points for one in self.checks)}"
        yield from self.told


def mark(chapter: Chapter, returned: Path) -> Marks:
    """Every check that gives points, executed on a notebook that came back, and what fails beside.

    It runs whatever code is in the notebook. As with nbgrader, cells that were locked are the
    teacher's, whatever came back, and cells that a student added run where they stand. An answer
    that did not come back counts as empty. Raises BuildError where the file is no notebook, or
    holds no exercise of this homework.
    """
    teacher = twin(chapter)
    own, new = _sorted(_read(returned), teacher)
    if not any(name.endswith(("-task", "-answer", "-code", "-check")) for name in own):
        raise BuildError(f"{returned}: expected the homework of {chapter.name}, found none of it")
    unanswered = _fill(teacher, own)
    nothing = _without_work(teacher, unanswered, new)
    teacher.cells = [one for cell in teacher.cells for one in (cell, *_added(cell.id, new))]
    teacher.cells[:0] = _added("", new)
    errors, marks = execute(teacher, chapter), []
    for cell in teacher.cells:
        meta = cell.metadata.nbgrader
        if cell.cell_type != "code" or (meta.grade and not meta.points):
            continue
        points = meta.points if meta.grade else 0
        error = "nothing was answered" if cell.id in nothing else errors[cell.id]
        if points or error:
            marks.append(Mark(cell.id, not error, error, points))
    return Marks(tuple(marks), tuple(_told(teacher, own, new, unanswered)))


def _read(file: Path) -> NotebookNode:
    try:
        notebook = nbformat.read(file, as_version=4)
        held = [set(cell) >= {"cell_type", "source", "metadata"} for cell in notebook.cells]
        if not all(held):
            raise ValueError("cells without a source")
    except Exception as error:  # anything may be in a file, and nbformat raises what it meets
        told = " ".join(str(error).split())[:120] or type(error).__name__
        raise BuildError(f"{file}: expected a notebook, got {told}") from error
    return notebook


def _sorted(notebook: NotebookNode, teacher: NotebookNode) -> tuple[Cells, Cells]:
    """The cells that came back by their names in the homework; and the others that hold something,
    by the name of the last one above them."""
    names = {cell.id for cell in teacher.cells}
    own, new, last = Cells(), Cells(), ""
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id") or cell.get("id")
        if name in names:
            last = name
            own.setdefault(name, []).append(cell)
        elif cell.source.strip():
            new.setdefault(last, []).append(cell)
    return own, new


def _fill(teacher: NotebookNode, own: Cells) -> list[str]:
    """Put the answers in place of the solutions; the names of the cells that hold none."""
    unanswered = []
    for cell in teacher.cells:
        if cell.metadata.nbgrader.locked:
            continue
        given = [one.source for one in own.get(cell.id, []) if not _empty(one.source)]
        unanswered += [] if given else [cell.id]
        nothing = STUB if cell.cell_type == "code" else ANSWER
        cell.source = "\n".join(given) or nothing  # a cell that was split has one name twice
    return unanswered


def _empty(source: str) -> bool:
    """True of a cell that was never worked on, or that holds imports and comments only."""
    if source.strip() in ("", ANSWER):
        return True
    try:
        work = [one for one in ast.parse(source).body if not isinstance(one, IMPORTS)]
    except SyntaxError:  # of Python; and answers in words are no Python
        return False
    return {ast.unparse(one) for one in work} <= {ast.unparse(ast.parse(STUB))}


def _without_work(teacher: NotebookNode, unanswered: list[str], new: Cells) -> set[str]:
    """The checks of exercises in which no code came back: neither in its cell nor in a new one."""
    found, worked = set(), False
    for cell in teacher.cells:
        if cell.id.endswith("-task"):
            worked = False
        if cell.id.endswith("-check") and not worked:
            found.add(cell.id)
        answered = cell.id.endswith("-code") and cell.id not in unanswered
        worked = worked or answered or bool(_added(cell.id, new))
    return found


def _added(name: str, new: Cells) -> list[NotebookNode]:
    """The new cells of code below the one called `name`."""
    code = [cell for cell in new.get(name, []) if cell.cell_type == "code"]
    return [
        new_code_cell(cell.source, id=f"new-{count}-below-{name or 'none'}", metadata=_LOOSE)
        for count, cell in enumerate(code, 1)
    ]


def _told(teacher: NotebookNode, own: Cells, new: Cells, unanswered: list[str]) -> Iterator[str]:
    """Sentences: what is missing, what is new, and what a teacher has to read."""
    answers = [cell for cell in teacher.cells if not cell.metadata.nbgrader.locked]
    missing = [cell.id for cell in answers if cell.id not in own]
    if missing:
        yield f"Missing in what came back, and counted as empty: {', '.join(missing)}."
    for kind, what in (
        ("code", "code, run where they stand"),
        ("markdown", "words, to be read by hand"),
    ):
        count = {n: sum(c.cell_type == kind for c in cells) for n, cells in new.items()}
        places = [f"{number} below {name or 'nothing'}" for name, number in count.items() if number]
        if places:
            yield f"New cells of {what}: {', '.join(places)}."
    words = [cell for cell in answers if cell.cell_type == "markdown"]
    if words:
        points = sum(cell.metadata.nbgrader.points for cell in words)
        left = [cell.id for cell in words if cell.id in unanswered]
        told = f"; empty: {', '.join(left)}" if left else ""
        yield f"Answers in words, to be read by hand: {points} points for {len(words)}{told}."
