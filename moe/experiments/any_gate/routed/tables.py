"""The contest on routed layers as a table."""

from __future__ import annotations

from moe.experiments.any_gate.routed.contest import METHODS, Record
from moe.experiments.shown.tables import Table, table


def contest(record: Record) -> Table:
    """Medians over layers, with their range: E_reg, and the squared
    distance to E[y|x] at new inputs over that one's variance."""
    rows = []
    for (chosen, g), errors in record.errors.items():
        for method in [m for m in METHODS if m in errors]:
            parts = [errors[method], record.excess[chosen, g][method]]
            spans = [(float(p.quantile(0.5)), float(p.min()), float(p.max())) for p in parts]
            rows.append([f"top-{chosen}", g, method, *spans])
    head = [
        "routing",
        "$g$",
        "trained by",
        r"$E_{\mathrm{reg}}$",
        "excess squared loss at new inputs",
    ]
    return table(head, rows, [None, None, None, ".1e", ".1e"])
