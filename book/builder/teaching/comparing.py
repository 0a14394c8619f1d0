"""What a check compares beside a solution's own assertions: what a student has computed, name by
name, with what the solution makes of the same set-up.

The form of every name; and its numbers, where the task tells all that they hang on.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable
from typing import Any

from builder.teaching.exercises import IMPORTS, Exercise, changes, needed, reads, writes
from builder.teaching.forms import form

_RANDOM = re.compile(r"\b(seed|seeds|trials)\b")
_CODE = re.compile(r"`([^`\n]+)`")
_OWN = re.compile(r"`(\w+)`, your\b")


def _parts(value: Any, wanted: Any) -> list[tuple[Any, Any]]:
    """The parts of both, side by side."""
    value, wanted = (one.tolist() if hasattr(one, "tolist") else one for one in (value, wanted))
    if isinstance(wanted, dict):
        return [pair for key in wanted for pair in _parts(value[key], wanted[key])]
    if isinstance(wanted, (list, tuple)):
        return [pair for two in zip(value, wanted, strict=True) for pair in _parts(*two)]
    return [(value, wanted)]


def _compare(name: str, value: Any, wanted: Any, near: bool, form: Any = form) -> None:
    """An error unless both have one form and, if near, numbers that differ by at most a thousandth
    of the largest."""
    assert form(value) == form(wanted), f"{name} is {form(value)}, not {form(wanted)}"
    parts = _parts(value, wanted) if near else []
    plain = [(one, other) for one, other in parts if isinstance(other, (int, float, str))]
    sizes = [abs(other) for _, other in plain if not isinstance(other, str)]
    most = 1e-3 * max((size for size in sizes if size < float("inf")), default=0)
    for one, other in plain:
        same = one == other or (one != one and other != other)
        numbers = not isinstance(one, str) and not isinstance(other, str)
        assert same or (numbers and abs(one - other) <= most), f"{name} is not what it should be"


def _solved(code: str, given: dict[str, Any]) -> dict[str, Any]:
    """What the names are after the code, which begins with those that are given."""
    names = dict(given)
    exec(code, names)
    return names


def _restore(names: dict[str, Any], given: dict[str, Any], *made: str) -> None:
    """What was given stands again, but for the names that an answer has to make."""
    kept = (name for name in given if name not in made and not name.startswith("_"))
    names.update({name: given[name] for name in kept})


SOURCE = "\n\n\n".join(
    [
        "from typing import Any",
        *(inspect.getsource(one).rstrip() for one in (_parts, _compare, _solved, _restore)),
        "_given = dict(globals())",
    ]
)
"""What `lines` call, for the last cell of a notebook's set-up: how things stand then is kept."""


def restored(exercise: Exercise) -> str:
    """A statement for the cell above the checks: an answer may have used the set-up's names."""
    return f"_restore(globals(), _given, {', '.join(map(repr, exercise.asked))})"


def lines(exercise: Exercise) -> list[str]:
    """Statements that compare each name the exercise asks for with its solution's."""
    statements = [ast.parse(text).body[0] for text in exercise.code]
    kept = needed(statements, set(exercise.asked))
    code = "\n".join(t for t, one in zip(exercise.code, statements, strict=True) if one in kept)
    near = settled(exercise)
    return [
        f"_own = _solved({_quoted(code)}, _given)",
        *(f"_compare({n!r}, {n}, _own[{n!r}], near={n in near})" for n in exercise.asked),
    ]


def _quoted(code: str) -> str:
    """As it is, where Python reads it so."""
    plain = "'''" not in code and not code.endswith(("'", "\\"))
    return f"r'''\n{code}'''" if plain else repr(code)


def settled(exercise: Exercise) -> set[str]:
    """The names that can have one value only: neither draws of which the task does not tell the
    seed nor "`name`, your ...", nor what hangs on such."""
    told = [_tidy(code) for code in _CODE.findall(exercise.task)]
    loose = set(_OWN.findall(exercise.task))
    for text in exercise.code:
        statement = ast.parse(text).body[0]
        if isinstance(statement, IMPORTS):
            continue
        if reads(statement) & loose or _draws(statement, told):
            loose |= writes(statement) | changes(statement)
    return set(exercise.asked) - loose


def _draws(statement: ast.stmt, told: Iterable[str]) -> bool:
    """True where it reads a seed in a call that is not told."""
    text = ast.unparse(statement)
    calls = [ast.unparse(node) for node in ast.walk(statement) if isinstance(node, ast.Call)]
    for call in calls:
        if any(call in one for one in told):
            text = text.replace(call, "")
    return bool(_RANDOM.search(text))


def _tidy(code: str) -> str:
    """As Python would write it."""
    try:
        return ast.unparse(ast.parse(code))
    except SyntaxError:
        return code
