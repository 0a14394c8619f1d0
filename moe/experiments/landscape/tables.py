"""Tables of critical points, of samples and of the waits on a path."""

from __future__ import annotations

from collections.abc import Callable

from moe.experiments.landscape import escape, samples
from moe.experiments.landscape.lists import Case, Record
from moe.experiments.shown.tables import Table, table


def groups(case: Case) -> Table:
    """A row a pattern and kind: count, words, and the ranges over the pattern."""
    return table(
        ["points", "what they are", "kind", "value", "index", "lowest curvature"],
        [(g.count, g.words, g.kind, g.values, g.index, g.curvature) for g in case.groups],
        ["d", "", "", _range(".3f"), _range("d"), _range(".2f")],
    )


def _range(form: str) -> Callable[[tuple[float, float]], str]:
    def shown(ends: tuple[float, float]) -> str:
        low, high = (format(end, form) for end in ends)
        return (low if low == high else f"{low} to {high}").replace("-", "−")

    return shown


def searches(record: Record) -> Table:
    """A row for each k: what is listed, what the search found, what the theorem predicts."""
    head = [r"$k$", r"$\lambda$", "listed", "found by search", "unlisted", "patterns met", "truths"]
    rows = [[k, *_searched(case)] for k, case in record.cases.items()]
    return table([*head, "spurious minima", "predicted"], rows, ["d", ".2f"])


def _searched(case: Case) -> list[object]:
    points = case.found.points if case.listed is None else case.listed
    return [
        case.lam,
        None if case.listed is None else len(case.listed),
        len(case.found.points),
        None if case.listed is None else int((case.matches < 0).sum()),
        None if case.listed is None else "{} of {}".format(*case.patterns_met),
        points.count("truth"),
        points.count("spurious minimum"),
        "no minima" if case.expected is None else "{:,} and {:,}".format(*case.expected),
    ]


def samples_table(record: samples.Record) -> Table:
    """For each n: errors, medians over data sets, and where starts end."""
    heads = ["$n$", r"median error of $\hat T$", "median shift of the minimum"]
    columns = (
        record.spec.sizes,
        record.error.median(1).values,
        record.moved.median(1).values,
        record.truth.mean(1),
        record.other.mean(1),
    )
    return table(
        [*heads, "starts that end at the truth's minimum", "at another"],
        list(zip(*columns, strict=True)),
        [",d", ".2f", ".2f", ".0%", ".0%"],
    )


def waits(film: escape.Record) -> Table:
    """The saddles that a path waits at: loss there and on the path, curvature, distance, error."""
    rows = [
        (
            i,
            wait.name,
            wait.saddle_value,
            film.values[wait.step],
            -abs(wait.escape),
            wait.distance,
            film.errors[wait.step],
        )
        for i, wait in enumerate(film.waits, 1)
    ]
    return table(
        [
            "wait",
            "saddle",
            "its $L_4$",
            "the path's $L_4$",
            "steepest way down",
            "distance in $u$",
            r"$E_{\rm reg}$",
        ],
        rows,
        ["d", "", ".3f", ".3f", ".1f", ".2f", ".2f"],
    )
