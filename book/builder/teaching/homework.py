"""Homework: a chapter's exercises as a notebook to hand out, and its twin with the solutions.

Cells carry nbgrader's metadata and its marks (### BEGIN SOLUTION, ### BEGIN HIDDEN TESTS), so that
the twin is an assignment's source for nbgrader; without nbgrader `marking` grades a notebook
that came back.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from builder import BuildError
from builder.contents import Chapter
from builder.pages.portable import Places
from builder.teaching import comparing, forms
from builder.teaching.exercises import (
    IMPORTS,
    NOWHERE,
    Exercise,
    free,
    needed,
    reads,
    split,
    writes,
)
from builder.teaching.running import execute

Forms = Mapping[str, Mapping[str, str]]
"""Label of an exercise -> name -> form."""
NOTHING: Forms = MappingProxyType({})
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"
ANSWER = "YOUR ANSWER HERE"
_MACROS = r"$\newcommand{\E}[1]{\mathbb{E}\left[#1\right]}\newcommand{\R}{\mathbb{R}}$"
_SOLUTION = "### BEGIN SOLUTION\n{}\n### END SOLUTION"
_HIDDEN = "### BEGIN HIDDEN TESTS\n{}\n### END HIDDEN TESTS"


def twin(chapter: Chapter, told: Forms = NOTHING, known: Places = NOWHERE) -> NotebookNode:
    """The teacher's notebook: set-up, and for each exercise its task, solution and checks.

    The set-up is what of the chapter the solutions need, no more. told: for each exercise the
    forms of what its checks read, which its task tells and a cell above its checks compares.
    known: what the texts refer to.
    """
    before, exercises = split(chapter, known)
    cells = [new_markdown_cell(_head(chapter), id="head", metadata=_locked("head"))]
    for number, source in enumerate(_setup(before, exercises)):
        name = f"setup-{number}"
        cells.append(new_code_cell(source, id=name, metadata=_locked(name)))
    if any(exercise.asked for exercise in exercises):
        source = f"{forms.SOURCE}\n\n\n{comparing.SOURCE}"
        cells.append(new_code_cell(source, id="form", metadata=_locked("form")))
    given = {name for cell in cells if cell.cell_type == "code" for name in _made(cell.source)}
    for exercise in exercises:
        cells += _cells(exercise, told.get(exercise.label, {}), given)
    notebook: NotebookNode = new_notebook(cells=cells, metadata={"kernelspec": _KERNEL})
    return notebook


_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def hand_out(teacher: NotebookNode) -> NotebookNode:
    """The students' notebook: the same cells without solutions and hidden checks."""
    student = copy.deepcopy(teacher)
    for cell in student.cells:
        cell.source = _cut(_cut(cell.source, _SOLUTION, STUB), _HIDDEN, "").rstrip()
        if cell.cell_type == "markdown" and cell.metadata.nbgrader["solution"]:
            cell.source = ANSWER
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return student


def _cut(source: str, marks: str, instead: str) -> str:
    begin, end = marks.split("{}")
    while begin in source:
        first, last = source.index(begin), source.index(end) + len(end)
        rest = source[last:] if instead else source[last:].removeprefix("\n")
        source = source[:first] + instead + rest
    return source


def _head(chapter: Chapter) -> str:
    return (
        f"# Exercises: {chapter.title}\n\n{_MACROS}\n\n"
        f"Answers in words go where it says *{ANSWER}*, code where it says `# YOUR CODE HERE`. Run "
        "the cells from the top; a cell of checks that runs without an error is passed. What the "
        "cells at the top define may be used, not changed in place; its names stand again before "
        "each check. The notebook needs the package `moe` of this book."
    )


def _setup(before: list[NotebookNode], exercises: list[Exercise]) -> list[str]:
    """The parameters, the imports, and the statements on which the exercises depend."""
    code = "\n".join("\n".join((*e.code, *e.checks)) for e in exercises)
    parameters = [c.source for c in before if "parameters" in c.metadata.get("tags", [])]
    rest = [c.source for c in before if "parameters" not in c.metadata.get("tags", [])]
    statements = [s for source in rest for s in ast.parse(source).body]
    wanted = free(ast.parse(code).body)
    kept = needed(statements, wanted)
    wanted = wanted.union(*map(reads, kept))
    parts: tuple[list[str], list[str]] = ([], [])
    for one in kept:
        if isinstance(one, IMPORTS):
            one.names = [a for a in one.names if (a.asname or a.name).split(".")[0] in wanted]
        parts[not isinstance(one, IMPORTS)].append(ast.unparse(one))
    return [*parameters, *("\n".join(part) for part in parts if part)]


def _made(source: str) -> set[str]:
    return {name for statement in ast.parse(source).body for name in writes(statement)}


def _task(exercise: Exercise, told: Mapping[str, str], given: set[str]) -> str:
    """What to do: the text, what the checks read and, of the set-up, what the solution uses."""
    text = f"## {exercise.title or exercise.label}\n\n{exercise.task}"
    if exercise.asked:
        asked = forms.told(exercise.asked, told)
        text += f"\n\nCompute in the cell of code below what the checks read:\n\n{asked}"
    used = sorted(free(ast.parse("\n".join((*exercise.code, *exercise.checks))).body) & given)
    if used and exercise.code:
        text += f"\n\nAt hand from the cells at the top: {', '.join(f'`{n}`' for n in used)}."
    return text


def _cells(exercise: Exercise, told: Mapping[str, str], given: set[str]) -> list[NotebookNode]:
    label, task = exercise.label, _task(exercise, told, given)
    cells = [new_markdown_cell(task, id=f"{label}-task", metadata=_locked(f"{label}-task"))]
    if exercise.answer:
        meta = _graded(f"{label}-answer", "markdown", 2, solution=True)
        cells.append(new_markdown_cell(exercise.answer, id=f"{label}-answer", metadata=meta))
    if exercise.code and (exercise.asked or not exercise.checks):
        imports = [s for s in exercise.code if s.startswith(("import ", "from "))]
        work = [s for s in exercise.code if s not in imports]
        source = "\n".join([*imports, _SOLUTION.format("\n".join(work))])
        meta = _graded(f"{label}-code", "code", None, solution=True)
        cells.append(new_code_cell(source, id=f"{label}-code", metadata=meta))
    if exercise.asked:
        name = f"{label}-form"
        source = f"{comparing.restored(exercise)}\n{forms.checks(told)}".rstrip()
        cells.append(new_code_cell(source, id=name, metadata=_locked(name)))
    if exercise.checks:
        cells.append(_check(exercise))
    return cells


def _check(exercise: Exercise) -> NotebookNode:
    """The checks: the first is shown where there are several, the others are hidden, as is what
    compares with the solution; where students are asked for no code these give no points."""
    shown, hidden = list(exercise.checks[:1]), list(exercise.checks[1:])
    if not hidden or not exercise.asked:
        shown, hidden = [], [*shown, *hidden]
    first = comparing.lines(exercise) if exercise.asked else exercise.code
    made = [
        f"assert {name!r} in globals(), {f'{name} is not defined'!r}" for name in exercise.asked
    ]
    points = len(exercise.checks) if exercise.asked else 0
    regions = (first, hidden) if shown else ([*first, *hidden], [])
    above, below = ([_HIDDEN.format("\n".join(one))] if one else [] for one in regions)
    source = "\n".join([*made, *above, *shown, *below])
    name = f"{exercise.label}-check"
    meta = _graded(name, "code", points, solution=False)
    return new_code_cell(source, id=name, metadata=meta)


def _locked(name: str) -> dict[str, object]:
    return {"nbgrader": _nbgrader(name, locked=True)}


def _graded(name: str, kind: str, points: int | None, *, solution: bool) -> dict[str, object]:
    meta = _nbgrader(name, locked=not solution, solution=solution, cell_type=kind)
    if points is not None:
        meta |= {"grade": True, "points": points}
    return {"nbgrader": meta}


def _nbgrader(name: str, **values: object) -> dict[str, object]:
    """nbgrader's metadata of a cell, third version of its schema."""
    plain = {"grade": False, "locked": False, "solution": False, "task": False}
    return {**plain, "schema_version": 3, "grade_id": name, **values}


def write(chapter: Chapter, folder: Path, known: Places = NOWHERE) -> tuple[Path, Path]:
    """Both notebooks, in nbgrader's places: ``release/NAME/NAME.ipynb`` and ``source/...``.

    The twin is executed first, which also tells the forms of what it asks for: raises BuildError,
    and writes nothing, where a solution of its own fails.
    """
    teacher = twin(chapter, _forms(chapter), known)
    places = []
    for part, notebook in (("release", hand_out(teacher)), ("source", teacher)):
        place = folder / part / chapter.name / f"{chapter.name}.ipynb"
        place.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, place)
        places.append(place)
    return places[0], places[1]


def _forms(chapter: Chapter) -> Forms:
    """For each exercise the form of every name its checks read, as its own solution makes it."""
    asked = {f"{one.label}-form": one for one in split(chapter)[1]}
    teacher = twin(chapter)
    for cell in teacher.cells:
        if cell.id in asked:
            cell.source = forms.question(asked[cell.id].asked)
    errors = execute(teacher, chapter)
    failed = [f"{name}: {error}" for name, error in errors.items() if error]
    if failed:
        told = "\n".join(failed)
        raise BuildError(f"{chapter.name}: its own solutions fail:\n{told}")
    return {asked[c.id].label: forms.answer(c) for c in teacher.cells if c.id in asked}
