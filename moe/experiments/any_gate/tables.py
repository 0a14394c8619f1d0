"""Tables of chapter 10."""

from __future__ import annotations

from collections.abc import Sequence

from moe.experiments.any_gate.likelihood.coverage import Covered
from moe.experiments.any_gate.likelihood.curves import CONSTANT, L4, SOFTMAX, Record
from moe.experiments.any_gate.moments import Agreement
from moe.experiments.any_gate.scores import Score
from moe.experiments.shown.tables import Table, table


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
    names = {L4: "softmax to $L_4$", CONSTANT: "softmax to constant"}
    head = [rf"{names[other]}, $\sigma = {s:g}$" for other in others for s in record.spec.sigmas]
    return table(["gate", *head], rows, [None, *[".2g"] * len(head)])


def coverage(found: Sequence[Covered]) -> Table:
    """Coverage of 95 % intervals."""
    names = ("observed", "sandwich", "truth", "any_gate")
    rows = [[each.kind, *(float(getattr(each, name).mean()) for name in names)] for each in found]
    head = [
        "gate",
        "softmax, $H^{-1}$, its limit",
        "softmax, sandwich, its limit",
        "softmax, sandwich, the truth",
        '`gate="any"`, the truth',
    ]
    return table(head, rows, [None, *[".0%"] * 4])
