"""What chapter 10 claims of the steps from L_4 to a fitted gate, decided from their records."""

from __future__ import annotations

import math
from collections.abc import Sequence

from moe.experiments.any_gate.efficiency.agreement import Trial
from moe.experiments.any_gate.efficiency.classified import Row
from moe.experiments.any_gate.efficiency.orders import EIGHT, FOUR
from moe.experiments.any_gate.efficiency.steps import Steps
from moe.experiments.any_gate.efficiency.variances import LIKELIHOOD, Variances
from moe.experiments.common.claims import Finding, geometric_mean


def classifier_gains(rows: Sequence[Row]) -> Finding:
    """Constant over classified E_reg where the gate is not softmax: geometric mean over mixtures;
    holds for an interval above one."""
    logs = [[math.log(r.constant / r.classified)] for r in rows if r.kind != "softmax"]
    value, ends = geometric_mean(logs)
    return Finding(ends[0] > 1, value, ends)


def steps_gain(rows: Sequence[Row]) -> Finding:
    """L_4's E_reg over that of one step of scoring from there, and that over the maximum's, in the
    mixtures that have all: geometric means over mixtures; holds where both intervals lie above
    one. The value is the first."""
    seen = [r for r in rows if math.isfinite(r.l4) and math.isfinite(r.one_step)]
    if len(seen) < 2:
        return Finding(None)
    value, ends = geometric_mean([[math.log(r.l4 / r.one_step)] for r in seen])
    _, (low, _) = geometric_mean([[math.log(r.one_step / r.constant)] for r in seen])
    return Finding(ends[0] > 1 and low > 1, value, ends)


def lower_orders_gain(found: Sequence[Steps]) -> Finding:
    """L_4's E_reg over that of weighted moments of orders 1 to 4, geometric mean over the mixtures
    where L_4 has an answer; holds for an interval above one, not for one below."""
    seen = [each for each in found if math.isfinite(each.l4) and math.isfinite(each.four_orders)]
    if len(seen) < 2:
        return Finding(None)
    value, (low, high) = geometric_mean([[math.log(s.l4 / s.four_orders)] for s in seen])
    return Finding(None if low <= 1 <= high else low > 1, value, (low, high))


def orders_saturate(found: Sequence[Variances]) -> Finding:
    """In every mixture orders 1 to 8 have more than three quarters of the variance of orders 1 to
    4, and the likelihood less than half of theirs. The value is the range of the second ratio."""
    gained = [each.of[FOUR] / each.of[EIGHT] for each in found]
    left = [each.of[EIGHT] / each.of[LIKELIHOOD] for each in found]
    return Finding(max(gained) < 4 / 3 and min(left) > 2, f"{min(left):.3g} to {max(left):.3g}")


def never_far_above(rows: Sequence[Row]) -> Finding:
    """E_reg of what ``recover`` chooses is nowhere above twice that of L_4."""
    worst = max((row.competing / row.l4 for row in rows if math.isfinite(row.l4)), default=0.0)
    return Finding(worst < 2, worst)


def rejected(found: Sequence[Trial], level: float) -> str:
    """In how many mixtures with a softmax gate the test rejects it, in words."""
    p_values = [trial.p_value for trial in found if trial.kind == "softmax"]
    return f"{sum(p < level for p in p_values)} of {len(p_values)} softmax gates"


def efficient(found: Sequence[Trial]) -> Finding:
    """E_reg over that of softmax ``recover`` where the gate is softmax: geometric mean over
    mixtures; holds for an interval below 1.1, and not for one above it."""
    softmax = [trial for trial in found if trial.kind == "softmax"]
    return _below([trial.competing / trial.softmax for trial in softmax], 1.1)


def hardly_fooled(found: Sequence[Trial]) -> Finding:
    """E_reg over that of cells alone where the gate is nearly softmax: geometric mean over
    mixtures, and the worst; holds for an interval of the mean below 4/3, not for one above it."""
    ratios = [trial.competing / trial.cells for trial in found if trial.kind != "softmax"]
    mean = _below(ratios, 4 / 3)
    return Finding(mean.holds, f"{mean.value:.2f}, at worst {max(ratios):.2f}", mean.interval)


def _below(ratios: Sequence[float], bound: float) -> Finding:
    value, (low, high) = geometric_mean([[math.log(ratio)] for ratio in ratios])
    return Finding(None if low < bound <= high else high < bound, value, (low, high))
