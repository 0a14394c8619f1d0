"""Tables of critical points, as Markdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from moe.experiments.landscape.lists import Case, Group, Record

_HEAD = """| points | what they are | kind | value | index | lowest curvature |
|---|---|---|---|---|---|"""

T = TypeVar("T", int, float)


def groups(case: Case) -> str:
    """A row a pattern and kind: count, words, and the ranges over the pattern."""
    return "\n".join([_HEAD, *map(_row, case.groups)])


def _row(group: Group) -> str:
    value = _range(group.values, "{:.3f}".format)
    index = _range(group.index, "{:d}".format)
    curvature = _range(group.curvature, "{:.2f}".format)
    return f"| {group.count} | {group.words} | {group.kind} | {value} | {index} | {curvature} |"


def _range(ends: tuple[T, T], show: Callable[[T], str]) -> str:
    low, high = map(show, ends)
    text = low if low == high else f"{low} to {high}"
    return text.replace("-", "−")


def searches(record: Record) -> str:
    """A row for each k: what is listed, what the search found, what the theorem predicts."""
    lines = [
        "| $k$ | $\\lambda$ | listed | found by search | unlisted | patterns met | truths "
        "| spurious minima | predicted |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for k, case in record.cases.items():
        listed = "–" if case.listed is None else f"{len(case.listed):,}"
        points = case.found.points if case.listed is None else case.listed
        patterns = "–" if case.listed is None else "{} of {}".format(*case.patterns_met)
        strangers = "–" if case.listed is None else str(int((case.matches < 0).sum()))
        expected = "no minima" if case.expected is None else "{:,} and {:,}".format(*case.expected)
        lines.append(
            f"| {k} | {case.lam:.2f} | {listed} | {len(case.found.points):,} | {strangers} "
            f"| {patterns} | {points.count('truth'):,} | {points.count('spurious minimum'):,} "
            f"| {expected} |"
        )
    return "\n".join(lines)
