"""Tables of chapter 9; estimates stand in the CSV as value, low and high end of the interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Any

import torch

from moe.experiments.common.scaling import Estimate
from moe.experiments.sample_complexity.claims import (
    powers,
    range_of_medians,
    reach,
    relative,
    saving,
    slope_of,
)
from moe.experiments.sample_complexity.efficiency import Record
from moe.experiments.sample_complexity.errors import GOAL, LABELS, Cell, Spec, predicted
from moe.experiments.sample_complexity.onset import Onset
from moe.experiments.shown.tables import NONE, Table, show, table


class _AtMost(tuple[float, float, float]):
    """An estimate that lies at the smallest size tried: no more than that is known."""


def _shown(digits: int) -> Callable[[Any], str]:
    def form(value: Any) -> str:
        text = Estimate(*value).show(digits)
        return f"at most {text}" if isinstance(value, _AtMost) else text

    return form


def _counted(value: Any) -> str:
    if value is None:
        return "not run"
    middle, low, high = (show(float(part), ",.0f") for part in value)
    return f"{'at most ' * isinstance(value, _AtMost)}{middle} ({low} to {high})"


def slopes(cells: Sequence[Cell]) -> Table:
    """Of log median error on log n, and the last error beside the law, by cell and method."""
    rows: list[tuple[Any, ...]] = []
    for cell in cells:
        limits = predicted(cell.spec)
        for method in cell.spec.methods:
            last = float(relative(cell, method)[-1])
            around = range_of_medians(cell, method, tail=0.05)
            price = limits[method] / limits["recover"]
            fitted = astuple(slope_of(cell, method))
            rows.append(
                (cell.spec.nonlinearity, LABELS[method], fitted, last, around, price),
            )
    head = (
        "$g$",
        "method",
        "slope (95 %)",
        "error / law at the largest $n$",
        "where the law puts 95 % of such medians",
        "law / bound",
    )
    return table(head, rows, (None, None, _shown(3), ".2f", ".2f", ",.0f"))


def least_squares_savings(cells: Sequence[Cell]) -> Table:
    """Samples to E_reg = 0.05 with plain and with least-squares moments, one row a nonlinearity."""
    head = ("$g$", "plain", "least squares", "saving, measured (95 %)", "saving, law")
    rows = [
        (
            cell.spec.nonlinearity,
            _reach(cell, "average"),
            _reach(cell, "least_squares"),
            astuple(saving(cell, "least_squares")),
            _saved(cell.spec),
        )
        for cell in cells
    ]
    return table(head, rows, (None, *[_shown(2)] * 3, ".2f"))


def laws(specs: Sequence[Spec]) -> Table:
    """n E_reg in the typical data set by the limit laws, one row a nonlinearity."""
    rows: list[tuple[Any, ...]] = []
    for spec in specs:
        limits = predicted(spec)
        values = [limits[name] for name in ("average", "least_squares", "recover")]
        price = limits["least_squares"] / limits["recover"]
        rows.append((spec.nonlinearity, *values, _saved(spec), price))
    names = ("plain", "least squares", "Cramér–Rao")
    head = ("$g$", *names, "plain / least squares", "least squares / bound")

    def form(value: float) -> str:
        return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"

    return table(head, rows, (None, *[form] * 3, ".2f", ",.0f"))


def reaching(cells: Sequence[Cell], onsets: Sequence[Onset], name: str) -> Table:
    """Samples to E_reg = 0.05 by method, one row a value of ``name``, "d" or "k"."""
    found = {getattr(one.spec, name): _half(one) for one in onsets}
    methods = cells[0].spec.methods
    rows: list[tuple[Any, ...]] = []
    for cell in cells:
        value = getattr(cell.spec, name)
        rows.append((value, *[_reach(cell, method) for method in methods], found.get(value)))
    head = (f"${name}$", *[LABELS[method] for method in (*methods, "recover")])
    return table(head, rows, (None, *[_shown(2)] * len(methods), _counted))


def savings(cells: Sequence[Cell], name: str) -> Table:
    """How many times fewer samples than with plain moments, one row a value of ``name``."""
    methods = cells[0].spec.methods[1:]
    rows = [
        (
            getattr(cell.spec, name),
            *[astuple(saving(cell, method)) for method in methods],
            _saved(cell.spec),
        )
        for cell in cells
    ]
    head = (f"${name}$", *[LABELS[method] for method in methods], "law")
    return table(head, rows, (None, *[_shown(2)] * len(methods), ".2f"))


def onsets(found: Sequence[Onset]) -> Table:
    """Where `recover` begins: one row a mixture and number of starts."""
    rows: list[tuple[Any, ...]] = []
    for one in found:
        spec, fails = one.spec, one.failures
        errors = [
            torch.tensor([t.error for t in tries], dtype=torch.float64)
            for tries in (fails, one.successes)
        ]
        lost, wins = (float(part.median()) if len(part) else None for part in errors)
        ahead = sum(t.oracle < GOAL and t.ahead > 1 for t in fails)
        per = one.half()[0] / spec.parameters
        counts = (spec.k, spec.d, spec.restarts, spec.parameters)
        rows.append((*counts, _half(one), per, lost, wins, f"{ahead} of {len(fails)}"))
    head = (
        *("$k$", "$d$", "starts", "parameters", "$n$ enough for half", "per parameter"),
        r"$E_{\mathrm{reg}}$, largest failing $n$",
        r"$E_{\mathrm{reg}}$, smallest sufficient $n$",
        "failures with the oracle right and ahead",
    )
    return table(head, rows, (None, None, ",", None, _counted, ".2g", ".2g", ".2g"))


def powers_of_k(cells: Sequence[Cell]) -> Table:
    """The power of k in n E_reg by the laws, and as measured at the largest n."""
    known = [cell for cell in cells if "average" in predicted(cell.spec)]
    rows: list[tuple[Any, ...]] = []
    for method in (*known[0].spec.methods, "recover"):
        law, measured = powers(known, method)
        label = "Cramér–Rao" if method == "recover" else LABELS[method]
        rows.append((label, law, astuple(measured) if measured else NONE))
    head = (
        f"$k$ = {', '.join(str(cell.spec.k) for cell in known)}",
        "power of $k$, law",
        "power of $k$, measured at the largest $n$ (95 %)",
    )
    return table(head, rows, (None, ".2f", lambda v: v if v == NONE else _shown(3)(v)))


def efficiency(records: Sequence[Record]) -> Table:
    """Squared errors over their bounds, coverage, and the gates' length, one row a record."""
    names = ("regressors", "gating", "covered_regressors", "covered_gating", "gate_length")
    rows = [
        (record.spec.sigma, record.spec.n, *[astuple(record.mean(name)) for name in names])
        for record in records
    ]
    head = (
        *(r"$\sigma$", "$n$", "regressors, error / bound", "gates, error / bound"),
        *("coverage, regressors", "coverage, gates", "gates too long by"),
    )

    def alone(value: Any) -> str:
        return f"{value[0]:.1%}"

    return table(head, rows, ("g", ",", _shown(3), _shown(3), alone, alone, "+.1%"))


def _saved(spec: Spec) -> float | None:
    law = predicted(spec)
    return law["average"] / law["least_squares"] if "average" in law else None


def _reach(cell: Cell, method: str) -> tuple[float, float, float]:
    found = reach(cell, method)
    least = found.value == float(cell.sizes(method)[0])
    return _AtMost(astuple(found)) if least else astuple(found)


def _half(one: Onset) -> tuple[float, float, float]:
    value, interval = one.half()
    found = (value, *interval)
    return _AtMost(found) if value == one.spec.sizes[0] else found
