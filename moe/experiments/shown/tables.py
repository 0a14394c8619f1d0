"""Tables: rows of values under heads, shown as Markdown, with their numbers as CSV.

A cell that ends with `table(...)`, or with a function of a chapter's `tables.py`, shows it; the
book puts a line below with the place in the code and the CSV.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isinf, isnan
from numbers import Real
from pathlib import Path
from types import CodeType
from typing import Any

from moe.experiments.common.ledger import number

MIME = "application/vnd.moe.source+json"
"""Beside an output, where it comes from: {"file", "line", "function", "csv"}, each may be None."""

NONE, NEVER = "–", "∞"
_EXPERIMENTS = Path(__file__).resolve().parents[1]
_ROOT = _EXPERIMENTS.parents[1]

Form = str | Callable[[Any], str]


@dataclass(frozen=True)
class Source:
    """The function that made an output: file relative to the project, first line, name."""

    file: str
    line: int
    function: str

    @classmethod
    def of(cls, code: CodeType) -> Source:
        path = Path(code.co_filename).resolve()
        place = path.relative_to(_ROOT).as_posix() if path.is_relative_to(_ROOT) else path.name
        return cls(place, code.co_firstlineno, code.co_name)


@dataclass(frozen=True)
class Table:
    """Heads (Markdown), values and the same values as shown (Markdown), row by row."""

    head: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]
    shown: tuple[tuple[str, ...], ...]
    source: Source | None = None

    @property
    def markdown(self) -> str:
        rows = [self.head, ("---",) * len(self.head), *self.shown]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    @property
    def names(self) -> tuple[str, ...]:
        """The heads of the CSV, no two alike. In the page a head without a group may return, as
        "errors: mean", "worst", "times: mean", "worst"; here it has the group of the last head
        before it, "times: worst". An empty first head, of a column that names its rows, is "row".
        """
        found, group = [], ""
        for head in self.head:
            before, colon, _ = head.rpartition(": ")
            group = before if colon else group
            again = self.head.count(head) > 1 and not colon
            found.append(f"{group}: {head}" if again and group else head)
        return (found[0] or "row", *found[1:]) if found else ()

    @property
    def csv(self) -> str:
        """The heads, then the values: numbers in full, all else as its text; an interval takes two
        columns, a value with its interval three. See ``names`` for the heads."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        columns = [[row[i] for row in self.values] for i in range(len(self.head))]
        wide = [_columns(name, values) for name, values in zip(self.names, columns, strict=True)]
        writer.writerows(chain(*parts) for parts in zip(*wide, strict=True))
        return out.getvalue()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        place = self.source
        where = {
            "file": place and place.file,
            "line": place and place.line,
            "function": place and place.function,
            "csv": self.csv,
        }
        return {"text/markdown": self.markdown, MIME: where}


def table(
    head: Sequence[str], rows: Iterable[Sequence[Any]], form: Sequence[Form | None] = ()
) -> Table:
    """The rows under the heads.

    form: for each column how its values are shown: a format of `format`, or a function of the
    value; None or nothing: three digits for numbers, text as it is. A value None or NaN is shown as
    a dash, an infinite one as ∞. A sequence of two or three numbers is an interval, or a value with
    its interval.

    Raises ValueError where a row has not as many values as there are heads, or form more, and
    where a head is empty, but for the first, or like another of its group (``Table.names``).
    """
    values = tuple(tuple(row) for row in rows)
    for row in values:
        if len(row) != len(head):
            raise ValueError(f"rows: expected {len(head)} values in a row, got {row!r}")
    if len(form) > len(head):
        raise ValueError(f"form: expected at most {len(head)} forms, got {len(form)}")
    forms = [*form, *[None] * (len(head) - len(form))]
    shown = tuple(tuple(show(v, f) for v, f in zip(row, forms, strict=True)) for row in values)
    made = Table(tuple(head), values, shown, caller())
    if not all(made.names) or len(set(made.names)) < len(made.names):
        raise ValueError(f"head: expected names, no two alike, got {made.names!r}")
    return made


def show(value: Any, form: Form | None = None) -> str:
    """One value as `table` shows it."""
    if callable(form):
        return form(value)
    if isinstance(value, str):
        return value
    if value is None:
        return NONE
    if isinstance(value, (tuple, list)):
        ends = [show(part, form) for part in value]
        return (
            f"{ends[0]} to {ends[1]}" if len(ends) == 2 else f"{ends[0]} ({ends[1]} to {ends[2]})"
        )
    if isinstance(value, Real) or hasattr(value, "item"):
        if isnan(value):
            return NONE
        if isinf(value):
            return NEVER if value > 0 else f"−{NEVER}"
        text = format(value, form) if form else number(float(value))
        if not text.startswith("-"):
            return text
        return f"−{text[1:]}" if any(digit in text for digit in "123456789") else text[1:]
    return str(value)


def caller() -> Source | None:
    """The function of this package's experiments that asked for an output; None: a cell did."""
    frame = sys._getframe(1)
    while (
        frame.f_back is not None and Path(frame.f_code.co_filename).parent == Path(__file__).parent
    ):
        frame = frame.f_back
    ours = Path(frame.f_code.co_filename).is_relative_to(_EXPERIMENTS)
    return Source.of(frame.f_code) if ours else None


def _columns(name: str, values: Sequence[Any]) -> list[list[Any]]:
    """Head and values of one column of a table as the columns of its CSV."""
    ends = [f"{name}, low", f"{name}, high"]
    lengths = {len(v) if isinstance(v, (tuple, list)) else 1 for v in values if v is not None}
    if lengths <= {1}:
        return [[name], *([_plain(value)] for value in values)]
    if lengths == {2}:
        return [ends, *([_plain(end) for end in pair or (None, None)] for pair in values)]
    return [[name, *ends], *([_plain(part) for part in _three(value)] for value in values)]


def _three(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (tuple, list)):
        return value, None, None
    return (None, *value) if len(value) == 2 else tuple(value)


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    return "" if value is None else value
