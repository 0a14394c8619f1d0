"""Tables of complete lists and of what samples prove."""

from __future__ import annotations

from collections.abc import Sequence

from moe.experiments.landscape.empirical.bootstrap import Row
from moe.experiments.landscape.empirical.lists import Record
from moe.experiments.shown.tables import Table, table


def lists(records: Sequence[Record]) -> Table:
    """A row for each number of experts and size: data sets, complete ones, paths, and what the
    lists hold."""
    head = ["experts", "$n$", "data sets", "lists complete", "paths", "lost", "critical points"]
    rows = []
    for record in records:
        for n, cases in record.cases.items():
            if not cases:
                continue
            real = [len(case.listed) for case in cases]
            rows.append(
                [
                    record.spec.problem.k,
                    n,
                    len(cases),
                    sum(case.listed.complete for case in cases),
                    sum(case.listed.paths for case in cases),
                    sum(case.listed.lost for case in cases),
                    f"{min(real)} to {max(real)}",
                    sum(case.others > 0 for case in cases),
                    sum(case.truth < 0 for case in cases),
                    sum(case.truth > 0 for case in cases),
                    sum(case.margin > 0 for case in cases),
                ]
            )
    more = ["with another minimum", "without the truth's", "truth's not lowest", "proved bounded"]
    return table([*head, *more], rows, ["d", ",d", "d", "d", ",d", ",d", None, *["d"] * 4])


def proofs(rows: Sequence[Row]) -> Table:
    """A row for each size: medians over data sets of bound, true error and tolerance."""
    head = ["$n$", "data sets", "bound of the error", "true error", "bound holds", "tolerance"]
    values = [
        [
            row.n,
            len(row.bound),
            row.bound.quantile(0.5),
            row.error.quantile(0.5),
            row.covered,
            row.tolerance.quantile(0.5),
            row.proved,
            row.needed,
        ]
        for row in rows
    ]
    form = [",d", "d", ".3f", ".3f", "d", ".4f", "d", ".0e"]
    return table([*head, "minima proved", "$n$ it would take"], values, form)
