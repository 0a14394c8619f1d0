"""Tables of chapter 10."""

from __future__ import annotations

import math
from collections.abc import Sequence

from moe.experiments.any_gate.agreement import Trial
from moe.experiments.any_gate.classified import Row
from moe.experiments.any_gate.coverage import Covered
from moe.experiments.any_gate.curves import CONSTANT, L4, SOFTMAX, Record
from moe.experiments.any_gate.moments import Agreement
from moe.experiments.any_gate.scores import Score
from moe.experiments.common.tables import Table, table


def moments(found: Sequence[Agreement]) -> Table:
    """For every gate the largest difference from the theorem, by degree."""
    kinds = list(dict.fromkeys(each.gate for each in found))
    rows = []
    for kind in kinds:
        mine = {each.degree: each for each in found if each.gate == kind}
        fitted = [mine[m].transformed for m in (2, 3, 4)]
        rows.append([kind, *fitted, mine[4].plain, mine[4].size])
    head = [
        "gate",
        *(f"$Q_{m}$" for m in (2, 3, 4)),
        "$y^4$ instead",
        r"$\lvert$right side$\rvert$",
    ]
    return table(head, rows, [None, ".0e", ".0e", ".0e", ".2f", ".2f"])


def scores(found: dict[str, Sequence[Score]]) -> Table:
    """The expected score at the truth by g and fitted gate: its range over the true gates."""
    rows = []
    for name, every in found.items():
        for fitted in dict.fromkeys(each.fitted for each in every):
            mine = [each for each in every if each.fitted == fitted]
            parts = [[each.inside for each in mine], [each.outside for each in mine]]
            rows.append([name, fitted, *((min(part), max(part)) for part in parts)])
    head = ["$g$", "fitted gate", "in the span", "outside"]
    return table(head, rows, [None, None, ".0e", ".0e"])


def against_softmax(record: Record, n: int) -> Table:
    """Median over mixtures of softmax's error over that of L_4, and of constant proportions."""
    others = (L4, CONSTANT)
    rows = []
    for kind in record.spec.kinds:
        values = [
            (record.at(kind, s, SOFTMAX, n) / record.at(kind, s, other, n)).nanmedian()
            for other in others
            for s in record.spec.sigmas
        ]
        rows.append([kind, *values])
    names = {L4: "to $L_4$", CONSTANT: "to constant"}
    head = [rf"{names[other]}, $\sigma = {s:g}$" for other in others for s in record.spec.sigmas]
    return table(["gate", *head], rows, [None, *[".2g"] * len(head)])


def classified(rows: Sequence[Row]) -> Table:
    """E_reg of every estimator, one line a mixture."""
    head = ["gate", "$L_4$ of averages", "$L_4$", "one step", "constant", "classified"]
    head += ["softmax competes", "told the gate", "softmax, from the truth", "chosen"]
    values = [
        [
            *(r.kind, r.average, r.l4, r.one_step, r.constant, r.classified),
            *(r.competing, r.told, r.softmax, r.winner),
        ]
        for r in rows
    ]
    return table(head, values, [None, *[".1e"] * 8, None])


def coverage(found: Sequence[Covered]) -> Table:
    """Coverage of 95 % intervals."""
    names = ("observed", "sandwich", "truth", "any_gate")
    rows = [[each.kind, *(float(getattr(each, name).mean()) for name in names)] for each in found]
    head = [
        "gate",
        "softmax, $H^{-1}$, its limit",
        "softmax, sandwich, its limit",
        "softmax, sandwich, the truth",
        'gate="any", the truth',
    ]
    return table(head, rows, [None, *[".0%"] * 4])


def agreement(found: Sequence[Trial]) -> Table:
    """For every gate, geometric means over mixtures of ratios of E_reg, the worst, and how often
    softmax was taken."""
    rows = []
    for kind in dict.fromkeys(each.kind for each in found):
        mine = [each for each in found if each.kind == kind]
        ratios = [
            [trial.cells / trial.softmax for trial in mine],
            [trial.competing / trial.softmax for trial in mine],
            [trial.competing / trial.cells for trial in mine],
        ]
        means = [math.exp(sum(map(math.log, each)) / len(each)) for each in ratios]
        taken = f"{sum(trial.taken for trial in mine)} of {len(mine)}"
        rows.append([kind, taken, *means, max(ratios[2])])
    head = ["gate", "softmax taken", "cells to softmax", "competing to softmax"]
    head += ["competing to cells", "at worst"]
    return table(head, rows, [None, None, *[".2f"] * 4])
