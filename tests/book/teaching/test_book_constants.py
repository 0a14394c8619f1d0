"""No exercise of the book is passed by answers of the right form that hold nothing: zeros, ones,
halves, numbers that rise or fall."""

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builder.contents import Chapter, read_contents
from builder.teaching import homework
from builder.teaching.exercises import split
from builder.teaching.running import execute
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).parents[3]
CHAPTERS = [c for c in read_contents(ROOT) if c.is_notebook]
NUMBERS = {
    "zeros": "lambda: 0.0",
    "ones": "lambda: 1.0",
    "halves": "lambda: 0.5",
    "rising": "iter(range(1, 10**9)).__next__",
    "falling": "iter(range(0, -(10**9), -1)).__next__",
}


def _constant(value: Any, number: Any) -> Any:
    """As the value, with other numbers in it; a function of them, and nothing for other objects."""
    if hasattr(value, "shape"):
        flat = [number() for _ in value.reshape(-1)]
        made: Any = value.new_tensor(flat) if hasattr(value, "new_tensor") else np.array(flat)
        made = made.reshape(value.shape)
        return made != 0 if "bool" in str(value.dtype) else made
    if isinstance(value, dict):
        return {key: _constant(one, number) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_constant(one, number) for one in value])
    if isinstance(value, (bool, int, float, str)):
        return type(value)(number())
    if inspect.isfunction(value):
        made = lambda *_, **__: number()  # noqa: E731
        made.__signature__ = inspect.signature(value)
        return made
    return None


def _passed(check: str, right: dict[str, Any], names: Any, number: Any) -> bool:
    """True where the check passes with such answers."""
    try:
        exec(check, {**right, **{name: _constant(right[name], number) for name in names}})
    except Exception:
        return False
    return True


def _said(cell: NotebookNode) -> dict[str, bool]:
    """What a cell has printed last."""
    printed = [o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout"]
    found: dict[str, bool] = json.loads("".join(printed).splitlines()[-1])
    return found


ATTACK = """import inspect
import json

import numpy as np


{}


{}


_made, _solve = {{}}, _solved


def _solved(code, given):
    if code not in _made:
        _made[code] = _solve(code, given)
    return _made[code]"""


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: str(chapter.name))
def test_constants_pass_no_exercise(chapter: Chapter) -> None:
    notebook = homework.twin(chapter)
    asked = {f"{one.label}-check": one.asked for one in split(chapter)[1] if one.asked}
    attack = ATTACK.format(*(inspect.getsource(one) for one in (_constant, _passed)))
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.id == "form":
            cells.append(new_code_cell(attack, id="attack"))
        if cell.id in asked:
            given = f"{cell.source!r}, globals(), {asked[cell.id]!r}"
            tries = (f"{name!r}: _passed({given}, {made})" for name, made in NUMBERS.items())
            source_of_tries = f"print(json.dumps({{{', '.join(tries)}}}))"
            cells.append(new_code_cell(source_of_tries, id=f"{cell.id}-tried"))
    notebook.cells = cells
    errors = {name: error for name, error in execute(notebook, chapter).items() if error}
    assert not errors, "the teacher's own solutions pass"
    tried = {c.id: _said(c) for c in notebook.cells if c.id.endswith("-tried")}
    assert len(tried) == len(asked)
    assert not {name: found for name, found in tried.items() if any(found.values())}
