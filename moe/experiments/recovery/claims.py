"""What decides the claims of the recovery chapter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from moe.experiments.common.claims import Finding, all_of, geometric_mean, over_clusters, share
from moe.experiments.engine.sweep import Trial
from moe.experiments.recovery.em_starts import Record as Starts
from moe.experiments.recovery.headline import GATES, Record
from moe.experiments.recovery.stages import Record as Stages

STUCK = 0.1
FACTOR = 1.5
NEARLY_ZERO = 0.05
_HELD, _LEARNED, _TRUE = GATES


def mostly(hits: Sequence[Tensor]) -> Finding:
    """Whether more than half of the runs hit: the lower end of a 95 % interval is above one half.
    hits: one (seeds,) bool a setting; runs of one seed, which share draws, count as a cluster."""
    words = " and ".join(f"{int(h.sum())} of {len(h)}" for h in hits)
    shares = torch.stack([h.double() for h in hits]).mean(0).tolist()
    low = over_clusters(shares)[1][0] if min(shares) < 1 else share(len(shares), len(shares))[1][0]
    return Finding(low > 0.5, words)


def stuck(record: Record, loss: str = "squared loss") -> Tensor:
    """Runs (seeds,) that end far from the truth while the same descent from the truth stays near:
    E_reg above 0.1, and above ten times that of the run from the truth."""
    end, oracle = record.regressor[loss][-1], record.oracle[loss]
    return (end > STUCK) & (end > 10 * oracle)


def at_its_floor(record: Record) -> Tensor:
    """Runs (seeds,) of L_4 that end within a factor 1.5 of where the run from the truth ends."""
    return record.regressor["L_4"][-1] < FACTOR * record.oracle["L_4"]


def em_arrives(record: Record) -> Tensor:
    """Runs (seeds,) of EM that end within a factor 1.5 of EM from the truth at the largest size."""
    return record.em[-1] < FACTOR * record.em_oracle[-1]


def seldom(hits: Sequence[Tensor]) -> Finding:
    """Whether fewer than half of the runs hit, as `mostly` counts."""
    opposite = mostly([~h for h in hits])
    return Finding(opposite.holds, " and ".join(f"{int(h.sum())} of {len(h)}" for h in hits))


def falls_to_zero(orthonormal: Record, unit: Record, small_batches: float) -> Finding:
    """L_4's median error is nearly zero for both kinds of experts, and it is the batch's size that
    it depends on: for unit ones it is larger by half at least with ``small_batches``."""
    first, second = (float(r.regressor["L_4"][-1].quantile(0.5)) for r in (orthonormal, unit))
    near = first < NEARLY_ZERO and second < NEARLY_ZERO
    return Finding(near and small_batches > FACTOR * second, f"median {first:.3f} and {second:.3f}")


def plateaus(errors: Tensor, part: float = 0.1, width: float = 1.25, above: float = 3.0) -> Tensor:
    """Whether a run rests on its way: over a tenth of it E_reg stays within a quarter, at more than
    three times where it ends. errors (T, seeds) at equal distances -> (seeds,)."""
    window = errors.unfold(0, max(2, math.ceil(part * len(errors))), 1)
    flat = window.amax(-1) <= width * window.amin(-1)
    return (flat & (window.amin(-1) > above * errors[-1])).any(0)


def gates_reproduce(record: Record) -> Finding:
    """sigma learned: the gates' median error is below the held one's by a factor 1.5, and below a
    fifth of where it began; over the last quarter it falls by more than a tenth, the held one by
    less."""
    held, learned = (record.gate[name].quantile(0.5, dim=1) for name in (_HELD, _LEARNED))
    late = 3 * len(held) // 4
    good = (
        learned[-1] < held[-1] / FACTOR
        and learned[-1] < learned[0] / 5
        and learned[-1] < 0.9 * learned[late]
        and held[-1] > 0.9 * held[late]
    )
    words = f"{float(learned[-1]):.3f} with sigma learned, {float(held[-1]):.3f} with sigma held"
    return Finding(bool(good), words)


def learning_helps(record: Record) -> Tensor:
    """Mixtures (seeds,) whose gates are closer by a factor 1.5 if sigma is learned."""
    return record.gate[_LEARNED][-1] < record.gate[_HELD][-1] / FACTOR


def ends_at_the_oracle(record: Stages, least: float = 0.75) -> Finding:
    """In which share of data sets recover's errors lie within 5 % of those of EM from the truth:
    the lower end of its interval is above ``least``. Data sets of one mixture are a cluster."""
    gaps = [
        (ours - best).abs() / best
        for ours, best in (
            (record.final, record.oracle),
            (record.gate_final, record.gate_oracle),
        )
    ]
    there = ((gaps[0] < 0.05) & (gaps[1] < 0.05)).double().mean(0).tolist()
    value, interval = over_clusters(there) if min(there) < 1 else share(len(there), len(there))
    return Finding(interval[0] > least, value, interval)


def _fold(ratios: Tensor) -> tuple[float, tuple[float, float]]:
    """The geometric mean of ratios (seeds,), 95 % interval over data sets; without NaNs."""
    logs = [float(v) for v in ratios.log() if math.isfinite(v)]
    if not logs:
        return math.nan, (math.nan, math.nan)
    return geometric_mean(logs)


def experts_gain(record: Stages) -> Finding:
    """By what factor the likelihood step lowers E_reg from L_4's, at the largest n: over 20."""
    value, interval = _fold(record.l4[-1] / record.final[-1])
    return Finding(interval[0] > 20, value, interval)


def gates_gain(record: Stages, most: float = 1.5) -> Finding:
    """By what factor E_gate of L_log, L_4's experts held and sigma learned, lies above that of
    recover, at the largest n: below ``most``."""
    value, interval = _fold(record.gate_log[-1] / record.gate_final[-1])
    return Finding(interval[1] < most, value, interval)


def covers(record: Stages, name: str, tolerance: float = 0.03) -> Finding:
    """The share of "regressors" or "gates" inside their 95 % interval, mixtures with all their
    sizes drawn anew: within ``tolerance`` of 0.95. None where its own interval is wider than three
    of them."""
    columns = getattr(record, f"covered_{name}").unbind(1)
    seen = [column[~column.isnan()].tolist() for column in columns]
    value, interval = over_clusters([values for values in seen if values])
    if interval[1] - interval[0] > 3 * tolerance:
        return Finding(None, value, interval)
    return Finding(abs(value - 0.95) <= tolerance, value, interval)


def calibrated(record: Stages) -> Finding:
    """Regressors and gates' contrasts are covered, and no fit lacks standard errors."""
    missing = bool(record.covered_regressors.isnan().any())
    return all_of(covers(record, "regressors"), covers(record, "gates"), not missing)


def _difference(
    ours: Sequence[float], theirs: Sequence[float]
) -> tuple[float, tuple[float, float]]:
    return over_clusters([a - b for a, b in zip(ours, theirs, strict=True)])


def no_better_starts(records: Sequence[Starts], margin: float = 0.05) -> Finding:
    """EM from L_4's minimum succeeds more often than from one random start, sigma learned, by no
    more than ``margin``: the upper end of the difference's interval, paired by data set, at every
    size. The value is that of the first record."""
    found = [_difference(r.l4_then_em, r.learned) for r in records]
    return Finding(all(interval[1] < margin for _, interval in found), *found[0])


def held_gets_stuck(record: Starts) -> Finding:
    """sigma learned succeeds more often than held, which its oracle does not explain: the lower end
    of the difference is above zero, EM with sigma held finds the experts from the truth, and with
    sigma learned nearly always from a random start."""
    value, interval = _difference(record.learned, record.held)
    oracle = sum(record.oracle_held) / len(record.oracle_held)
    learned = sum(record.learned) / len(record.learned)
    return Finding(interval[0] > 0 and oracle > 0.9 and learned > 0.9, value, interval)


def rate(shares: Sequence[float]) -> tuple[float, float, float]:
    """A mean over data sets with its interval, for a table; all or none by Wilson's."""
    value, (low, high) = over_clusters(list(shares))
    if low == high:
        low, high = share(round(value * len(shares)), len(shares))[1]
    return value, low, high


def found_k(trials: Sequence[Trial], samples_per_expert: int, least: float = 0.65) -> Finding:
    """In which share of data sets of this size choose_k finds k; holds where the lower end of
    Wilson's interval is above ``least``; None with fewer than 20 data sets."""
    right = [
        t.result["chosen"] == t.spec.k
        for t in trials
        if t.spec.samples_per_expert == samples_per_expert
    ]
    value, interval = share(sum(right), len(right))
    return Finding(interval[0] > least if len(right) >= 20 else None, value, interval)
