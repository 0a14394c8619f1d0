"""Tables of chapter 12."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from moe.experiments.assumptions.inputs import Moment
from moe.experiments.assumptions.limits import Agreement
from moe.experiments.assumptions.outputs import Tails, ToldSigma
from moe.experiments.assumptions.scores import AVERAGE, ESTIMATED, FITTED, TRUE
from moe.experiments.assumptions.sweeps import Judged, Record
from moe.experiments.assumptions.worlds.contestants import CHECKS
from moe.experiments.assumptions.worlds.violations import VIOLATIONS
from moe.experiments.engine.sweep import Trial
from moe.experiments.shown.tables import Table, table

WAYS = (AVERAGE, FITTED, TRUE, ESTIMATED)
_ERROR = r"$E_{\mathrm{reg}}$ of $L_4$"


def lengths(told: Sequence[tuple[float, float]]) -> Table:
    """What `norms_from_lengths` found in each mixture; a dash where L_4 has no minimum."""
    head = ["mixture", _ERROR, "largest error of a norm"]
    return table(head, [(i, *each) for i, each in enumerate(told, 1)], ["d", ".2g", ".0%"])


def summary(record: Record) -> Table:
    """A row a violation, at its largest degree: what the moments become, and who notices."""
    head = ["violation", "degree", "plain averages converge to", "noticed by", "repair"]
    rows = []
    for name in record.spec.violations:
        each = VIOLATIONS[name]
        degree = f"{each.knob}: {record.degrees(name)[-1]:g}"
        rows.append([name, degree, each.limit, noticed(record, name), each.repaired_by])
    return table(head, rows)


def noticed(record: Record, name: str) -> str:
    """The checks of ``recover`` that spoke, and on how many mixtures."""
    found = record.notices(name)
    if not found:
        return "nothing"
    count = record.spec.mixtures
    return "; ".join(f"{CHECKS[c]} {round(s * count)}/{count}" for c, s in found.items())


def judged(found: Sequence[Judged]) -> Table:
    """How often ``recover`` doubts its fits; of those with an error beyond 0.01, how many pass."""
    rows = []
    for each in found:
        spec, unseen = each.spec, each.unseen()
        world = f"{spec.violation}: {spec.degree:g}" if spec.degree else "all holds"
        count = len(each.errors)
        far = int((each.errors > 0.01).sum())
        largest = float(unseen.max()) if len(unseen) else None
        doubted = f"{int(each.doubted.sum())} of {count}"
        rows.append([world, spec.n, doubted, far, len(unseen), largest])
    head = [
        "world",
        "$n$",
        "doubted",
        "error beyond 0.01",
        "of these unseen",
        "largest unseen error",
    ]
    return table(head, rows, [None, ",d", None, "d", "d", ".2g"])


def limits(found: Sequence[Agreement]) -> Table:
    """By case and degree: size of the change, and how well the formula meets a large sample."""
    rows = []
    for name in dict.fromkeys(each.name for each in found):
        mine = {each.degree: each for each in found if each.name == name}
        rows.append(
            [name, *(part for m in (2, 4) for part in (mine[m].size, mine[m].standard_errors))]
        )
    head = [
        "what is broken",
        "$M$: changes by (relative)",
        "formula off by (s.e.)",
        "$T$: changes by (relative)",
        "formula off by (s.e.)",
    ]
    return table(head, rows, [None, ".2f", ".1f", ".2f", ".1f"])


def inputs(found: Sequence[Moment]) -> Table:
    """The bias of M by law of inputs, relative."""
    rows = [
        [each.law, each.formula, each.average, each.least_squares, *each.with_gates]
        for each in found
    ]
    head = [
        "inputs",
        "bias of $M$, average, by formula",
        "average, measured",
        "least squares",
        "average, softmax gate",
        "least squares, softmax gate",
    ]
    return table(head, rows, [None, *[".1%"] * 5])


def told_sigma(found: Sequence[ToldSigma]) -> Table:
    """Median E_reg of L_4 by what it is told; a dash where most mixtures give no minimum."""
    rows = []
    for each in found:
        errors = each.errors.nan_to_num(nan=float("inf")).median(1).values
        shown = [None if value == float("inf") else float(value) for value in errors]
        rows.append([each.nonlinearity, each.sigma, *shown])
    factors = [rf"{_ERROR}, told ${factor:g}\,\sigma$" for factor in found[0].factors]
    return table(["$g$", r"$\sigma$", *factors], rows, [None, None, *[".1g"] * len(factors)])


def tails(found: Tails) -> Table:
    """Median error of T in the span over data sets, at every size."""
    rows = [
        [n, float(plain.median()), float(clipped.median())]
        for n, plain, clipped in zip(found.sizes, found.plain, found.clipped, strict=True)
    ]
    size = r"$\lVert \hat T - T \rVert$ in the span"
    head = ["$n$", f"{size}, $Q_4(y)$", f"{size}, $Q_4$ of clipped $y$"]
    return table(head, rows, [",d", ".2g", ".2g"])


def scores(groups: Sequence[Sequence[Trial]]) -> Table:
    """Median E_reg of L_4 by inputs, nonlinearity and way to estimate moments."""
    rows = []
    for group in groups:
        spec = group[0].spec
        medians = [_median([t.result[way] for t in group]) for way in WAYS]
        rows.append([spec.law, spec.nonlinearity, *medians])
    head = ["inputs", "$g$", *(f"{_ERROR}, {way}" for way in WAYS)]
    return table(head, rows, [None, None, *[".1g"] * len(WAYS)])


def _median(values: Sequence[float]) -> float | None:
    """None where most are NaN."""
    found = sorted(math.inf if math.isnan(value) else value for value in values)
    middle = found[len(found) // 2]
    return None if math.isinf(middle) else middle


def whitening(found: dict[str, dict[str, Tensor]]) -> Table:
    """Median E_reg of L_4 by gate and by how the inputs were whitened; a dash: mostly no answer."""
    ways = list(next(iter(found.values())))
    rows = [[gate, *(_median(each[way].tolist()) for way in ways)] for gate, each in found.items()]
    head = ["gate", *(f"{_ERROR}, {way}" for way in ways)]
    return table(head, rows, [None, *[".1g"] * len(ways)])
