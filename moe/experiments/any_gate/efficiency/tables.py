"""Tables of the steps from L_4 to a fitted gate."""

from __future__ import annotations

import math
from collections.abc import Sequence

from moe.experiments.any_gate.efficiency.agreement import Trial
from moe.experiments.any_gate.efficiency.classified import Row
from moe.experiments.any_gate.efficiency.variances import Variances
from moe.experiments.shown.tables import Table, table


def classified(rows: Sequence[Row]) -> Table:
    """E_reg of every estimator, one line a mixture."""
    head = ["gate", "$L_4$ of averages", "$L_4$", "orders 1 to 4", "orders 1 to 6", "one step"]
    head += ["constant", "classified"]
    head += ["softmax competes", "told the gate", "softmax, from the truth", "chosen"]
    values = [
        [
            *(r.kind, r.average, r.l4, r.four_orders, r.six_orders, r.one_step),
            *(r.constant, r.classified, r.competing, r.told, r.softmax, r.winner),
        ]
        for r in rows
    ]
    return table(head, values, [None, *[".1e"] * 10, None])


def orders(found: Sequence[Variances]) -> Table:
    """Asymptotic variances by orders, and the likelihood's; a column for each sigma, geometric
    means over mixtures."""
    sigmas = sorted({each.sigma for each in found})
    rows = []
    for name in found[0].of:
        mine = [[each.of[name] for each in found if each.sigma == sigma] for sigma in sigmas]
        rows.append([name, *(math.exp(sum(map(math.log, each)) / len(each)) for each in mine)])
    head = ["orders", *(rf"$\sigma = {sigma}$" for sigma in sigmas)]
    return table(head, rows, [None, *[".3g"] * len(sigmas)])


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
