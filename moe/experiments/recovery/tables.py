"""Tables of the recovery chapter."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from moe.experiments.common.shares import Share
from moe.experiments.engine.sweep import Trial
from moe.experiments.recovery import claims, em_starts, stages
from moe.experiments.recovery.headline import GATES, Record
from moe.experiments.recovery.headline_steps import Tuning
from moe.experiments.regressor_loss.fresh_samples import WAYS
from moe.experiments.regressor_loss.fresh_samples import Record as Stream
from moe.experiments.shown.tables import Table, table
from moe.metrics import gating_error_of, match, regressor_error_of
from moe.model.mixture import MoE
from moe.recovery.results import Recovery

LABELS = {
    "squared loss": "squared loss",
    "L_4": "$L_4$",
    GATES[0]: r"$L_{\log}$, experts from $L_4$, $\sigma$ held",
    GATES[1]: r"$L_{\log}$, experts from $L_4$, $\sigma$ learned",
    GATES[2]: r"$L_{\log}$, true experts, $\sigma$ held",
}
_KNOWS = {
    "moments": "the experts' span",
    "L4": "experts",
    "L_log": "gates",
    "likelihood": "all, and σ",
    "gates": "all, from random starts",
    "search": "experts, from random starts",
}
_OPTIMISERS = {"sgd": "SGD", "adam": "Adam"}
_RIVALS = {
    r"EM, one random start, $\sigma$ learned": "learned",
    r"EM, one random start, $\sigma$ held": "held",
    r"EM from the true experts, $\sigma$ learned": "oracle_learned",
    r"EM from the true experts, $\sigma$ held": "oracle_held",
    "$L_4$ of the samples has a minimum": "l4_has",
    "one start of $L_4$ reaches the lowest minimum": "l4_lowest",
    r"that minimum has $E_{\rm reg} < 0.05$": "l4",
    "EM from that minimum": "l4_then_em",
}


def first_steps(tunings: dict[str, Tuning]) -> Table:
    """Mean E_reg over the grid of first steps, from random starts and from the truth, and which is
    used."""
    rows = []
    for loss, optimiser, step in next(iter(tunings.values())).errors:
        cells: list[object] = []
        for tuning in tunings.values():
            own, key = tuning.errors, (loss, optimiser, step)
            kept = float(tuning.kept[key].mean()) if key in tuning.kept else None
            used = "yes" if tuning.best(loss) == (optimiser, step) else None
            cells += [float(own[key].mean()), kept, used]
        rows.append([LABELS[loss], _OPTIMISERS[optimiser], step, *cells])
    head = ["loss", "optimiser", "first step"]
    for name in tunings:
        head += [f"{name}: random start", "from the truth", "used"]
    return table(head, rows, ["", "", "g", *[".2f", ".2f", None] * len(tunings)])


def ends(records: dict[str, Record]) -> Table:
    """Where every method ends, and where it ends from the truth."""
    rows = []
    for setting, record in records.items():
        last = f"EM, {max(record.spec.em_sizes):,} samples"
        experts = {name: (v[-1], record.oracle[name]) for name, v in record.regressor.items()}
        for name, (own, best) in (experts | {last: (record.em[-1], record.em_oracle[-1])}).items():
            row = [setting, LABELS.get(name, name), r"$E_{\rm reg}$", *_spread(own)]
            rows.append([*row, float(best.quantile(0.5))])
        for name, values in {**record.gate, last: record.em_gate}.items():
            row = [setting, LABELS.get(name, name), r"$E_{\rm gate}$", *_spread(values[-1])]
            rows.append([*row, None])
    head = ["setting", "method", "error", "median", "10 to 90 %", "from the truth, median"]
    return table(head, rows, ["", "", "", ".2g", ".2g", ".1g"])


def _spread(values: Tensor) -> tuple[float, tuple[float, float]]:
    low, middle, high = (float(values.quantile(q)) for q in (0.1, 0.5, 0.9))
    return middle, (low, high)


def batches(record: Stream) -> Table:
    """Median and largest E_reg of L_4 on a stream by batch size and way."""
    rows = [
        [size, *(float(end) for row in errors for end in (row.median(), row.max()))]
        for size, errors in zip(record.spec.batches, record.errors, strict=True)
    ]
    head = ["samples in a step", *(part for way in WAYS for part in (f"{way}: median", "worst"))]
    return table(head, rows, [",d", *[".3f", ".2f"] * len(WAYS)])


def fitted(fit: Recovery, truth: MoE) -> Table:
    """What each stage of a fit knows, and its errors."""
    rows = []
    for stage in fit.stages:
        experts = gates = None
        if stage.regressors is not None:
            experts = regressor_error_of(stage.regressors, truth.regressors)
            if stage.gating is not None:
                order = match(stage.regressors, truth.regressors)
                gates = gating_error_of(stage.gating[order], truth.gating)
        rows.append([f"`{stage.name}`", _KNOWS[stage.name], experts, gates, stage.iterations])
    head = ["stage", "knows", r"$E_{\rm reg}$", r"$E_{\rm gate}$", "iterations"]
    return table(head, rows, ["", "", ".2e", ".3f", "d"])


def coverage(record: stages.Record) -> Table:
    """How often 95 % intervals hold the truth, and the mean square of the standardised errors."""
    rows = []
    for name in ("regressors", "gates"):
        covered = claims.covers(record, name)
        square = getattr(record, f"spread_{name}").nanmean()
        rows.append([name, (covered.value, *(covered.interval or ())), square])
    head = ["entries", "inside their 95 % interval", "mean square"]
    return table(head, rows, ["", ".1%", ".2f"])


def found(trials: Sequence[Trial]) -> Table:
    """For each true k and number of samples an expert: eigenvalues above the noise, and in how many
    data sets k was found."""
    sizes = sorted({t.spec.samples_per_expert for t in trials})
    head, rows = ["true $k$"], []
    for n in sizes:
        head += [f"{n} samples an expert: eigenvalues", "$k$ found"]
    for k in sorted({t.spec.k for t in trials}):
        cells: list[object] = []
        for n in sizes:
            own = [t for t in trials if t.spec.k == k and t.spec.samples_per_expert == n]
            above = [int(t.result["distinct"]) for t in own]
            low, high = min(above), max(above)
            cells.append(f"{low}" if low == high else f"{low} to {high}")
            cells.append(Share(sum(t.result["chosen"] == k for t in own), len(own)))
        rows.append([k, *cells])
    return table(head, rows, ["d"])


def rivals(records: Sequence[em_starts.Record]) -> Table:
    """Shares of data sets in which EM and L_4 succeed, a column a record."""
    cases = [f"$k = {r.spec.k}$, $n$ = {r.spec.n:,}" for r in records]
    rows = [[w, *(claims.rate(getattr(r, name)) for r in records)] for w, name in _RIVALS.items()]
    forms = [None, *[".0%"] * len(cases)]
    return table(["share of data sets", *cases], rows, forms)
