"""The exercises of a chapter: what is asked, what is answered, and the code that checks it."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass
from symtable import symtable

from nbformat import NotebookNode

from builder import BuildError
from builder.contents import Chapter
from builder.pages.portable import Places, plain

_DIRECTIVE = re.compile(
    r"(?ms)^(?P<fence>:::+)\{(exercise|solution)\}[ \t]*([^\n]*)\n((?:^:\w+:[^\n]*\n)*)(.*?)"
    r"^(?P=fence)[ \t]*$"
)
NOWHERE = Places()
IMPORTS = (ast.Import, ast.ImportFrom)
_TITLE = re.compile("(Check yourself|Derive|Small project)(, break it)?: (.+)")


@dataclass(frozen=True)
class Exercise:
    """One exercise. code: what solves it, without its checks; checks: statements with an assert;
    asked: the names that the checks read and the code defines."""

    label: str
    title: str
    task: str
    answer: str
    code: tuple[str, ...]
    checks: tuple[str, ...]
    asked: tuple[str, ...]


def split(chapter: Chapter, known: Places = NOWHERE) -> tuple[list[NotebookNode], list[Exercise]]:
    """The code cells above the exercises, and the exercises; known: what their texts refer to.

    Raises BuildError for a chapter without exercises, or a solution that answers none.
    """
    before: list[NotebookNode] = []
    asked: dict[str, tuple[str, str]] = {}
    answers: dict[str, str] = {}
    cells: dict[str, list[str]] = {}
    current = ""
    for cell in chapter.notebook().cells:
        if cell.cell_type == "code":
            cells[current].append(cell.source) if current else before.append(cell)
            continue
        for _, kind, argument, options, text in _DIRECTIVE.findall(cell.source):
            if kind == "exercise":
                current = _label(options, chapter)
                asked[current], cells[current] = (argument.strip(), plain(text, known).strip()), []
            elif argument.strip() not in asked:
                raise BuildError(
                    f"{chapter.name}: a solution of {argument!r}, which is no exercise"
                )
            else:
                answers[argument.strip()] = plain(text, known).strip()
    if not asked:
        raise BuildError(f"{chapter.name}: expected exercises, and there are none")
    return before, [
        _exercise(label, title, task, answers.get(label, ""), cells[label])
        for label, (title, task) in asked.items()
    ]


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """The notebook with the exercises and their hints, without solutions and their code."""
    kept, begun = [], False
    for cell in notebook.cells:
        if cell.cell_type == "code":
            kept += [] if begun else [cell]
            continue
        begun = begun or any(found[1] == "exercise" for found in _DIRECTIVE.findall(cell.source))
        shown = copy.copy(cell)
        shown.source = _DIRECTIVE.sub(lambda m: "" if m[2] == "solution" else m[0], cell.source)
        kept += [shown] if shown.source.strip() else []
    student = copy.copy(notebook)
    student.cells = kept
    return student


def grade(exercise: Exercise) -> tuple[str, bool]:
    """ "Check yourself", "Derive" or "Small project", and whether it tries to break the chapter's
    claim; both are in its title. Raises BuildError for a title without them."""
    found = _TITLE.fullmatch(exercise.title)
    if not found:
        raise BuildError(f"{exercise.label}: expected a title like 'Derive: ...'")
    return found[1], bool(found[2])


def _label(options: str, chapter: Chapter) -> str:
    found = re.search(r":label:\s*(\S+)", options)
    if not found:
        raise BuildError(f"{chapter.name}: an exercise without a label")
    return found[1]


def _exercise(label: str, title: str, task: str, answer: str, cells: list[str]) -> Exercise:
    statements = [
        (one, "\n".join(cell.splitlines()[one.lineno - 1 : one.end_lineno]))
        for cell in cells
        for one in ast.parse(cell).body
    ]
    checks = [s for s in statements if any(isinstance(p, ast.Assert) for p in ast.walk(s[0]))]
    code = [s for s in statements if s not in checks]
    read = free(check for check, _ in checks)
    made = [one for one, _ in code if not isinstance(one, IMPORTS)]
    asked = [name for one in made for name in sorted(writes(one)) if name in read]
    solved, checked = (tuple(text for _, text in part) for part in (code, checks))
    return Exercise(label, title, task, answer, solved, checked, tuple(dict.fromkeys(asked)))


def reads(statement: ast.stmt) -> set[str]:
    """The names of its surroundings that a top-level statement reads."""
    top = symtable(ast.unparse(statement), "statement", "exec")
    found = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    inner = list(top.get_children())
    while inner:
        table = inner.pop()
        inner += table.get_children()
        found |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and s.is_global()}
    return found


def writes(statement: ast.stmt) -> set[str]:
    """The names a top-level statement gives a value."""
    top = symtable(ast.unparse(statement), "statement", "exec")
    return {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}


def changes(statement: ast.stmt) -> set[str]:
    """The names whose value a top-level statement may change in place: it writes a part of theirs,
    or calls a method for its own sake."""
    found = set()
    for part in ast.walk(statement):
        base: ast.AST | None = None
        if isinstance(part, (ast.Subscript, ast.Attribute)) and isinstance(part.ctx, ast.Store):
            base = part.value
        elif isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
            called = part.value.func
            base = called.value if isinstance(called, ast.Attribute) else None
        while isinstance(base, (ast.Subscript, ast.Attribute)):
            base = base.value
        if isinstance(base, ast.Name):
            found.add(base.id)
    return found


def free(statements: Iterable[ast.stmt]) -> set[str]:
    """What the statements read that none of them has given a value before.

    Loops, functions and the like are taken to write their names before they read them.
    """
    found, known = set[str](), set[str]()
    for statement in statements:
        if hasattr(statement, "body"):
            known |= writes(statement)
        found |= reads(statement) - known
        known |= writes(statement)
    return found


def needed(statements: list[ast.stmt], wanted: set[str]) -> list[ast.stmt]:
    """Those of the statements on which the wanted names depend, in order."""
    kept, wanted = [], set(wanted)
    for statement in reversed(statements):
        if (writes(statement) | changes(statement)) & wanted:
            kept.append(statement)
            if isinstance(statement, (ast.Assign, ast.FunctionDef, *IMPORTS)):
                wanted -= writes(statement)
            wanted |= reads(statement)
    return kept[::-1]
