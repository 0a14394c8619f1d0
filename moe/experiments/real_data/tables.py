"""Tables of chapter 14."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moe.estimator.regressor import MoERegressor
from moe.experiments.real_data.contest import DENSITY, ERROR, SECONDS, Record
from moe.experiments.real_data.contestants import SOFTMAX
from moe.experiments.real_data.correlated import Slopes
from moe.experiments.real_data.data import SOURCES, Array, load
from moe.experiments.real_data.intervals import Resampled
from moe.experiments.real_data.ladder import ERROR as DIRECTIONS
from moe.experiments.real_data.ladder import RUNGS, STARTED, Assumptions
from moe.experiments.real_data.ladder import Record as Ladder
from moe.experiments.shown.tables import Table, table


def sources() -> Table:
    """The tables: rows, columns, output, experts."""
    rows = []
    for name, source in SOURCES.items():
        data = load(name)
        output = f"{data.output} ({source.unit})" if source.unit else data.output
        rows.append([source.title, len(data.y), ", ".join(data.columns), output, source.experts])
    return table(["table", "rows", "inputs", "output", "$k$"], rows)


def contest(record: Record, measure: str = DENSITY) -> Table:
    """Means over splits with corrected 95 % intervals: the first row the softmax mixture's own, the
    others less that of the softmax mixture, split by split."""
    names = record.tables
    methods = list(dict.fromkeys(m for name in names for m in record.methods(name)))
    rows: list[list[Any]] = [
        [SOFTMAX, *(_cell(record.mean(name, SOFTMAX, measure)) for name in names)]
    ]
    for method in methods:
        if method != SOFTMAX:
            cells = [
                _cell(record.gain(name, method, SOFTMAX, measure))
                if method in record.methods(name)
                else None
                for name in names
            ]
            rows.append([f"{method}, less that", *cells])
    form = ".2f" if measure == DENSITY else ".3g"
    head = ["nats a sample" if measure == DENSITY else "root mean square error"]
    head += [SOURCES[name].title for name in names]
    return table(head, rows, [None, *[form] * len(names)])


def bent(gates: Mapping[str, tuple[MoERegressor, Array]]) -> Table:
    """Log-likelihood and number of parameters under each gate."""
    rows = [
        (f"`{name}`" if "=" in name else name, m.log_likelihood_, m.results_.df_model)
        for name, (m, _) in gates.items()
    ]
    return table(["gate", "log-likelihood", "parameters"], rows, [None, ".1f", "d"])


def slopes(found: Sequence[Slopes]) -> Table:
    """The slopes of the two lines of US inflation, their difference, and the gate's, by the lag up
    to which quarters count as correlated: 95 % intervals."""
    rows = [[each.lag, each.early, each.later, each.difference, each.gate] for each in found]
    head = ["correlated up to (quarters)", "slope, earlier expert", "slope, later expert",
            "difference", "gate's slope (log odds a year)"]  # fmt: skip
    return table(head, rows, ["d", *[".2f"] * 4])


def seconds(record: Record) -> Table:
    """Mean CPU seconds of a fit."""
    names = record.tables
    methods = list(dict.fromkeys(m for name in names for m in record.methods(name)))
    rows = [
        [
            method,
            *(
                float(record.values[name, method, SECONDS].mean())
                if method in record.methods(name)
                else None
                for name in names
            ),
        ]
        for method in methods
    ]
    head = ["CPU seconds a fit", *(SOURCES[name].title for name in names)]
    return table(head, rows, [None, *[".2f"] * len(names)])


def errors(record: Record) -> Table:
    """``contest`` for root mean square errors, in the outputs' units."""
    return contest(record, ERROR)


def profile(name: str, model: MoERegressor) -> Table:
    """Column by column: its mean over the samples of each expert (weighted by the gate), and what
    one unit more of it adds to that expert's answer, with a robust 95 % interval."""
    data = load(name)
    gate = model.predict_gate(data.x)
    means = gate.T @ data.x / gate.sum(0)[:, None]
    k, d = model.experts_.shape
    try:
        interval = model.results_.conf_int(robust=True)[: k * (d + 1)].reshape(k, d + 1, 2)
    except ValueError:
        interval = np.full((k, d + 1, 2), np.nan)
    rows = []
    for j, column in enumerate(data.columns):
        slopes = [(model.experts_[i, j], *interval[i, j]) for i in range(k)]
        rows.append([column, *means[:, j], *slopes])
    head = [
        "column",
        *(f"mean, expert {i}" for i in range(k)),
        *(f"slope, expert {i}" for i in range(k)),
    ]
    shares: Array = gate.mean(0)
    rows.insert(0, ["share of the samples", *shares, *[None] * k])
    return table(head, rows)


def assumptions(found: Sequence[Assumptions]) -> Table:
    """What the theory assumes, and what the tables have."""
    rows: list[list[Any]] = [
        ["kurtosis of a column", "3", *(each.kurtosis for each in found)],
        ["gates' square in the experts' span", "0", *(each.inside for each in found)],
        ["the same for random gates", "", *(each.by_chance for each in found)],
        ["longest expert over shortest", "1", *(each.norms for each in found)],
        ["offsets over lengths", "0", *(each.offsets for each in found)],
        ["least over largest singular value", "above 0", *(each.apart for each in found)],
    ]
    head = ["quantity", "assumed", *(SOURCES[each.name].title for each in found)]
    return table(head, rows, [None, None, *[".2g"] * len(found)])


def starts(found: Mapping[tuple[str, int], int], splits: int) -> Table:
    """In how many of the splits L_4 gives a start, by k."""
    names = list(dict.fromkeys(name for name, _ in found))
    ks = sorted({k for _, k in found})
    rows = [[SOURCES[name].title, *(f"{found[name, k]} of {splits}" for k in ks)] for name in names]
    return table(["table", *(f"$k = {k}$" for k in ks)], rows)


def ladder(record: Ladder) -> Table:
    """Rung by rung: in how many trials L_4 gave a start, and the median error of its experts."""
    rows: list[list[Any]] = []
    for rung in RUNGS:
        row: list[Any] = [rung]
        for cells in record.values.values():
            started, error = cells[rung, STARTED], cells[rung, DIRECTIONS]
            row.append(f"{int(started.sum())} of {len(started)}")
            row.append(float(np.median(error[np.isfinite(error)])) if started.any() else None)
        rows.append(row)
    head = ["made true, one after the other"]
    for name, n in record.values:
        title = SOURCES[name].title
        head += [
            f"{title}, $n = {n:,}$: starts" if n else f"{title}: starts",
            r"$E_{\mathrm{reg}}$",
        ]
    return table(head, rows, [None, *[None, ".2g"] * len(record.values)])


def _cell(found: Resampled) -> tuple[float, float, float]:
    return (found.mean, *found.interval)
