"""Tables of chapter 13."""

from __future__ import annotations

from collections.abc import Sequence

from moe.experiments.shown.tables import Table, table
from moe.experiments.what_came_after import random_starts, routed
from moe.experiments.what_came_after.claims import power
from moe.experiments.what_came_after.mirror import Rates
from moe.experiments.what_came_after.too_many import least_squares, rates, rows
from moe.experiments.what_came_after.too_many.students import Row as Student


def _power(sizes: Sequence[int], values: object) -> tuple[float, float, float]:
    mean, interval = power(sizes, values)  # type: ignore[arg-type]
    return mean, *interval


def contractions(found: Sequence[Rates]) -> Table:
    """Measured and predicted factors a step, a line a problem."""
    values = [[each.measured, each.predicted, each.other] for each in found]
    head = ["EM, measured", "EM, predicted", "mirror in $(A, W)$, predicted"]
    return table(head, values, [".4f"] * 3)


def slopes(record: rates.Record, orders: dict[str, float]) -> Table:
    """For every fit the order of contact by quadrature, the power of n that it bounds, and the
    powers that were measured, and the median share of the least used expert at the largest n."""
    values = []
    for kind in record.values["distance"]:
        sample = [_power(record.sizes, record.values[n][kind]) for n in ("distance", "hellinger")]
        least = float(record.values["share"][kind][-1].median())
        bound = -1 / (2 * rates.ORDERS[kind])
        values.append([rates.NAMES[kind], orders[kind], bound, *sample, least])
    head = ["fit", "order of contact", "power it bounds", "experts", "density", "least share"]
    return table(head, values, [None, ".2f", ".3f", ".2f", ".2f", ".3f"])


def squares(record: least_squares.Record) -> Table:
    """Powers of n for the worst expert and for the mean, and the median error at the largest n."""
    values = []
    for case in record.values["worst"]:
        sample = [_power(record.sizes, record.values[n][case]) for n in ("worst", "mean")]
        last = float(record.values["worst"][case][-1].median())
        largest = float(record.values["worst"][case][-1].max())
        values.append([least_squares.NAMES[case], *sample, last, largest])
    head = ["fit", "power, worst expert", "power, mean", "median error, last", "largest, last"]
    return table(head, values, [None, ".2f", ".2f", ".2g", ".2g"])


def students(found: Sequence[Student]) -> Table:
    """Shares of teachers."""
    values = [
        [
            row.spec.nonlinearity,
            f"{row.spec.factor}",
            f"{row.spec.restarts}",
            row.loss,
            str(row.covered),
            str(row.found),
            row.found.interval(),
        ]
        for row in found
    ]
    head = [
        "experts",
        "students' over teacher's",
        "restarts",
        "loss before pruning",
        "every expert met",
        "found after pruning and tuning",
        "95 % interval",
    ]
    return table(head, values, [None, None, None, ".1e", None, None, ".2f"])


def routes(record: routed.Record) -> Table:
    """Powers of n for experts and gates."""
    names = {1: "top-1, two experts in the plane", 2: "top-2 of three"}
    values = [
        [names[top], *(_power(record.sizes, record.values[n][top]) for n in ("experts", "gate"))]
        for top in names
    ]
    return table(["gate", "power, experts", "power, gate"], values, [None, ".2f", ".2f"])


def starts(found: Sequence[random_starts.Row]) -> Table:
    """Shares of data sets."""
    values = [[f"{row.k}", row.sigma, str(row.random), str(row.near)] for row in found]
    return table(["$k$", r"$\sigma$", "random start", "near the truth"], values, [None, "g"])


def counted(found: Sequence[rows.Row]) -> Table:
    """Shares of data sets in which each way says k."""
    names = [rows.TOLD, rows.NARROW, rows.FEWER, rows.MORE, rows.EIGENVALUES, rows.HELD_OUT]
    heads = {
        rows.TOLD: "rows, $k$ dimensions",
        rows.NARROW: "the same, zero rows left out",
        rows.FEWER: "rows, $k - 1$ dimensions",
        rows.MORE: "rows, $k + 1$ dimensions",
        rows.EIGENVALUES: "eigenvalues above the noise",
        rows.HELD_OUT: "`choose_k`",
    }
    used = [name for name in names if name in found[0].right]
    values = [[f"{row.spec.n:,}", *(str(row.right[name]) for name in used)] for row in found]
    return table(["$n$", *(heads[name] for name in used)], values)
