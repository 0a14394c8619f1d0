"""What a value looks like, in words that a student reads before computing one."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping

from nbformat import NotebookNode


def form(value: object) -> str:
    """The kind of a value with its shape, keys or arguments; what it holds is not told.

    Its source goes into notebooks: it needs nothing but Python.
    """

    def key_of(key: object) -> tuple[bool, object, str]:
        """Numbers in their order, then the others; 2 and 2.0 are one."""
        if isinstance(key, tuple):
            parts = [key_of(part) for part in key]
            return True, parts, f"({', '.join(part[2] for part in parts)})"
        if isinstance(key, (int, float)):
            return False, key, f"{key:.12g}"
        return True, [], repr(key)

    kind, shape = type(value).__name__, getattr(value, "shape", "")
    if value is None or kind in ("bool", "bool_", "str"):
        return {"NoneType": "`None`", "str": "a string"}.get(kind, "`True` or `False`")
    if isinstance(value, (int, float)) or shape == ():
        return "a number"
    if kind in ("Tensor", "ndarray"):
        what = "a tensor" if kind == "Tensor" else "an array"
        truths = " of truth values" if str(getattr(value, "dtype", "")).endswith("bool") else ""
        return f"{what}{truths} of shape `{(*shape,)}`"
    if isinstance(value, (dict, list, tuple)) and not value:
        return f"an empty {kind}"
    if isinstance(value, dict):
        forms = sorted({form(one) for one in value.values()})
        known = [key_of(key) for key in value if isinstance(key, (str, int, float, tuple))]
        shown = ", ".join(f"`{key[2]}`" for key in sorted(known))
        keys = shown if len(known) == len(value) <= 20 else f"{len(value)} keys"
        return f"a dict with {keys}; its values: {' or '.join(forms[:3])}"
    if isinstance(value, (list, tuple)):
        forms = [form(one) for one in value]
        if len(set(forms)) == 1:
            return f"a {kind} of {len(forms)}, each {forms[0]}"
        forms = [f"({one})" if ":" in one or ";" in one else one for one in forms]
        return f"a {kind} of {len(forms)}" + (f": {'; '.join(forms)}" if len(forms) <= 6 else "")
    if kind == "function" and callable(value):
        return f"a function of `{', '.join(inspect.signature(value).parameters)}`"
    return f"an object of class `{kind}`"


SOURCE = f"""import inspect


{inspect.getsource(form).rstrip()}"""
"""`form` as a cell of a notebook."""


def told(names: Iterable[str], forms: Mapping[str, str]) -> str:
    """A list in Markdown: each name that is asked for, and its form."""
    return "\n".join(f"- `{n}`: {forms[n]}" if n in forms else f"- `{n}`" for n in names)


def checks(forms: Mapping[str, str]) -> str:
    """Statements that compare each name's form."""
    line = 'assert form({0}) == {1!r}, "{0} is " + form({0})'
    return "\n".join(line.format(name, wanted) for name, wanted in forms.items())


def question(names: Iterable[str]) -> str:
    """A statement that prints the forms of the names, for `answer`."""
    pairs = ", ".join(f"{name!r}: form({name})" for name in names)
    return f"import json\nprint(json.dumps({{{pairs}}}))"


def answer(cell: NotebookNode) -> dict[str, str]:
    """The forms that an executed `question` printed."""
    printed = "".join(out.text for out in cell.outputs if out.output_type == "stream")
    found: dict[str, str] = json.loads(printed)
    return found
