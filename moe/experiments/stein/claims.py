"""Whether chapter 3's claims hold, given its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from moe.experiments.common.claims import Finding
from moe.experiments.common.ledger import number
from moe.experiments.stein import estimators as stein
from moe.experiments.stein import moment_error
from moe.randomness import stream


def parts_add_up(records: Sequence[stein.Record]) -> Finding:
    """The parts of the product rule are the moment, and j = 0 is no part of it."""
    worst = max(float(record.direct.max()) for record in records)
    silent = max(float(record.terms[:, 0].max()) for record in records)
    return Finding(worst < 1e-10 and silent < 1e-12, f"relative difference {number(worst)} at most")


def gates_drop_out(records: Sequence[stein.Record]) -> Finding:
    """Gates leak into the moments of y^m, not into that of Q_m, which is the sum wanted."""
    leaks = [float(record.terms[1, 1:-1].max() / record.terms[1, -1]) for record in records]
    left = max(float(record.terms[2, :-1].max()) for record in records)
    error = max(record.recovered for record in records)
    holds = min(leaks) > 0.1 and left < 1e-12 and error < 1e-10
    return Finding(holds, f"relative difference {number(error)} at most")


def constants_agree(checks: Sequence[moment_error.Checked]) -> Finding:
    """Quadrature and samples agree within four standard errors, each of them below 5 %."""
    errors = [abs(check.sampled - check.exact) / check.error for check in checks]
    coarse = max(check.error / check.exact for check in checks)
    return Finding(
        max(errors) < 4 and coarse < 0.05, f"{max(errors):.1f} standard errors apart at most"
    )


def too_low(table: Tensor, bounded: Sequence[bool]) -> Finding:
    """The rule of thumb is below the exact error everywhere, and closer for bounded outputs.

    table (G, D): exact error over the rule's for G nonlinearities in growing dimension.
    """
    tame = torch.tensor(bounded)
    holds = bool((table > 1).all()) and float(table[tame].max()) < float(table[~tame, 0].min())
    ends = (float(part.max()) for part in (table[tame], table[~tame]))
    return Finding(
        holds,
        "up to {:.1f} times too low for bounded outputs, {:.0f} times for others".format(*ends),
    )


def prediction_met(record: moment_error.Record, names: Sequence[str]) -> Finding:
    """At every n the mean square over data sets is within four standard errors of the prediction,
    and a standard error is below 10 % of it."""
    rows = [record.spec.nonlinearities.index(name) for name in names]
    ratio = record.errors[:, rows] / record.predicted[:, rows, :, None].square()
    error = ratio.std(-1) / ratio.shape[-1] ** 0.5
    off = (ratio.mean(-1) - 1).abs()
    worst = float((ratio.mean(-1).sqrt() - 1).abs().max())
    holds = bool(((off < 4 * error) & (error < 0.1)).all())
    return Finding(holds, f"{100 * worst:.1f} % off at most")


def typical_is_better(record: moment_error.Record, names: Sequence[str]) -> Finding:
    """At the smallest n the median error over data sets is below 0.9 of the root mean square."""
    rows = [record.spec.nonlinearities.index(name) for name in names]
    ratio = (record.typical / record.predicted)[0, rows, 0]
    return Finding(bool((ratio < 0.9).all()), " and ".join(f"{r:.2f}" for r in ratio.tolist()))


def best_for_second(table: Mapping[str, tuple[float, float]]) -> Finding:
    """table[g] = errors of the centred average and of least squares over the plain average's."""
    holds = all(fit < min(1.0, centred) for centred, fit in table.values())
    fits = [fit for _, fit in table.values()]
    return Finding(holds, f"{min(fits):.2f} to {max(fits):.2f} of the plain average's error")


def best_for_fourth(table: Mapping[str, tuple[float, float]], centred_wins: set[str]) -> Finding:
    """Centring is the best of the three for `centred_wins`, least squares for the others."""
    seen = {name for name, (centred, fit) in table.items() if centred < min(1.0, fit)}
    others = {name for name, (centred, fit) in table.items() if fit < min(1.0, centred)}
    best, worst = min(fit for _, fit in table.values()), max(fit for _, fit in table.values())
    holds = seen == centred_wins and seen | others == set(table)
    return Finding(holds, f"least squares {best:.2f} to {worst:.2f} of the plain average's error")


def gain_as_predicted(record: moment_error.Record) -> Finding:
    """At the largest n: error of the average over that of least squares, by drawing data sets anew
    within four standard deviations of the prediction (each below 15 %), and above one."""
    average, fit = record.errors[:, :, -1].double()
    trials = average.shape[1]
    draws = torch.randint(trials, (1_000, trials), generator=stream("resampling"))
    gain = (average.mean(1) / fit.mean(1)).sqrt()
    spread = (average[:, draws].mean(-1) / fit[:, draws].mean(-1)).log().std(1) / 2
    predicted = record.predicted[0, :, -1] / record.predicted[1, :, -1]
    off = (gain / predicted).log().abs()
    holds = bool(((off < 4 * spread) & (spread < 0.15) & (gain > 1)).all())
    pairs = zip(gain.tolist(), predicted.tolist(), strict=True)
    return Finding(holds, ", ".join(f"{got:.2f} for {wanted:.2f}" for got, wanted in pairs))
