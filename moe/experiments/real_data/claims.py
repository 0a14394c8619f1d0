"""What chapter 14 claims, decided from its records: of these tables and these splits, no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from moe.estimator.regressor import MoERegressor
from moe.experiments.common.claims import Finding
from moe.experiments.real_data.contest import DENSITY, FITTED, MEDIAN, SECONDS, Record
from moe.experiments.real_data.contestants import RESTARTS, SOFTMAX
from moe.experiments.real_data.correlated import Slopes
from moe.experiments.real_data.fits import Change
from moe.experiments.real_data.intervals import Resampled, resampled
from moe.experiments.real_data.ladder import ERROR, RUNGS, STARTED
from moe.experiments.real_data.ladder import Record as Ladder

_NEAR = 0.05


def two_lines(model: MoERegressor) -> Finding:
    """Tone perception: of the steeper line the intervals hold slope 1 and offset 0, and that of the
    other's slope lies above 0; the value is that slope."""
    slope, offset = model.experts_[:, 0], 1
    steep, flat = int(slope.argmax()), int(slope.argmin())
    low, high = model.results_.conf_int().T
    at = 2 * steep
    partials = low[at] <= 1 <= high[at] and low[at + offset] <= 0 <= high[at + offset]
    interval = float(low[2 * flat]), float(high[2 * flat])
    return Finding(bool(partials and interval[0] > 0), float(slope[flat]), interval)


def same_change(change: Change) -> Finding:
    """The gate turns within the year after the least-squares change point, and the experts answer
    what the means before and after are, to a millionth."""
    year = change.least_squares < change.gate < change.least_squares + 1
    apart = max(abs(a / b - 1) for a, b in zip(change.experts, change.levels, strict=True))
    return Finding(year and apart < 1e-6, f"year {change.gate:.1f}")


def two_regimes(found: Sequence[Slopes]) -> Finding:
    """US inflation, lag by lag: shown is what lies above 0 in the intervals of all lags. The slope
    of the earlier expert is; that of the later one, and their difference, are not; and the gate's
    own slope has 0 in its intervals of all lags. The value lists the widest intervals of the
    first three."""
    early, later, apart = (
        [getattr(each, name) for each in found] for name in ("early", "later", "difference")
    )
    text = ", ".join(
        f"{word}{value:.2f} ({low:.2f} to {high:.2f})"
        for word, every in (("", early), ("then ", later), ("difference ", apart))
        for value, low, high in [max(every, key=lambda one: one[2] - one[1])]
    )
    shown = [all(low > 0 for _, low, _ in every) for every in (early, later, apart)]
    unsure = all(low < 0 < high for _, low, high in (each.gate for each in found))
    return Finding(shown == [True, False, False] and unsure, text)


def turns_at(weights: tuple[float, float, float]) -> Finding:
    """The steep expert's mean weight is above 0.9 before the age, below 0.1 after it, and between
    them at it."""
    young, at, old = weights
    text = f"mean weights {young:.2f}, {at:.2f} and {old:.2f}"
    return Finding(young > 0.9 > at > 0.1 > old, text)


def gains(
    record: Record, tables: Sequence[str], method: str, over: str, measure: str = DENSITY
) -> Finding:
    """The mean gain of a method over another has a corrected interval above zero (for errors and
    seconds: below) on every table; the value lists them."""
    found = _all(record, tables, method, over, measure)
    if found is None:
        return Finding(None)
    more = measure in (DENSITY, MEDIAN)
    good = all(each.above if more else each.below for each in found)
    return Finding(good, _listed(found))


def not_below(record: Record, tables: Sequence[str], method: str, over: str) -> Finding:
    """The corrected interval of no table lies below zero: the splits do not show a loss."""
    found = _all(record, tables, method, over, DENSITY)
    if found is None:
        return Finding(None)
    return Finding(not any(each.below for each in found), _listed(found))


def less_time(record: Record, tables: Sequence[str]) -> tuple[str, Finding]:
    """CPU seconds of the softmax mixture over those of EM with 20 restarts: geometric mean over
    splits, with intervals; and the verdict, "reproduced" where these lie below one on every table.

    The sentence is about these tables: given a table its splits are independent draws, and the
    intervals are Student's, with no correction for what splits share. Times are the machine's: the
    verdict is what was measured, and nothing asserts it."""
    found = []
    for name in tables:
        if (name, SOFTMAX, SECONDS) not in record.values:
            return "not reproduced", Finding(None)
        ratio = record.values[name, SOFTMAX, SECONDS] / record.values[name, RESTARTS, SECONDS]
        logs = np.log(ratio)
        if not np.isfinite(logs).all():
            return "not reproduced", Finding(None)
        found.append(resampled(logs.tolist(), held_out=0.0))
    text = ", ".join(
        "{:.2f} ({:.2f} to {:.2f})".format(*np.exp([e.mean, *e.interval])) for e in found
    )
    verdict = "reproduced" if all(each.below for each in found) else "not reproduced"
    return verdict, Finding(True, text)


def ahead_and_behind(record: Record, tables: Sequence[str], least: float = 1.0) -> str:
    """In how many splits the softmax mixture's fit is by more than ``least`` nats more, and less
    likely than that of EM with 20 restarts."""
    gains = [
        record.values[name, SOFTMAX, FITTED] - record.values[name, RESTARTS, FITTED]
        for name in tables
        if (name, SOFTMAX, FITTED) in record.values
    ]
    if not gains:
        return "not run"
    every = np.concatenate(gains)
    ahead, behind = int((every > least).sum()), int((every < -least).sum())
    return f"ahead in {ahead}, behind in {behind} of {len(every)} splits"


def seldom_starts(found: Mapping[tuple[str, int], int], splits: int) -> Finding:
    """With three experts and more L_4 gives a start in less than a fifth of the splits."""
    counts = [count for (_, k), count in found.items() if k >= 3]
    total = splits * len(counts)
    return Finding(sum(counts) < 0.2 * total, f"{sum(counts)} of {total}")


def needs_all(record: Ladder, table: str, n: int, first: str = "unit experts") -> Finding:
    """On a table's model with n samples L_4 finds experts near the model's (E_reg below 0.05) in at
    most a tenth of the trials before ``first`` is made true, and in most from then on."""
    if (table, n) not in record.values:
        return Finding(None)
    cells, at = record.values[table, n], RUNGS.index(first)
    near = [(cells[rung, STARTED] > 0) & (cells[rung, ERROR] < _NEAR) for rung in RUNGS]
    before, after = np.concatenate(near[:at]), np.concatenate(near[at:])
    holds = before.mean() <= 0.1 and after.mean() > 0.5
    seen = f"{int(before.sum())} of {len(before)} trials before, {int(after.sum())} of {len(after)}"
    return Finding(bool(holds), f"{seen} from there on")


def _all(
    record: Record, tables: Sequence[str], method: str, over: str, measure: str
) -> list[Resampled] | None:
    for name in tables:
        if (name, method, measure) not in record.values:
            return None
    return [record.gain(name, method, over, measure) for name in tables]


def _listed(found: Sequence[Resampled]) -> str:
    return ", ".join(
        f"{each.mean:.2f} ({each.interval[0]:.2f} to {each.interval[1]:.2f})" for each in found
    )
