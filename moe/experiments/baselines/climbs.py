"""Runs of one contestant at the sizes where its success turns: one job of a sweep."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from moe.experiments.baselines.contestants import Contest
from moe.experiments.baselines.contestants import trial as one_run
from moe.experiments.baselines.success_curves import Posterior
from moe.experiments.common.problems import SUCCESS, Setting
from moe.randomness import child_seed

VISIT = 4
_HELD = ("EM, sigma held", "EM, sigma lowered by hand")
_TARGETS = (0.5, 0.9)
_NARROW = {0.5: 1.5, 0.95: 2.25}


@dataclass(frozen=True)
class Climb:
    """One contestant on one kind of problem (the setting's n is ignored).

    Sizes are k d 2^(j/2), j an integer, from ``least`` to ``cap``. A visit to a size is VISIT runs
    on the next of ``pool`` data sets, in turn; the first is to ``begin`` samples a weight, the
    others go to where success is about 1/2 and 0.9, in turn, as the runs so far have it, and never
    more than a factor of two beyond what they have seen. A climb ends when the 95 % intervals span
    no more than factors of 1.5 (n50) and 1.5^2 (n95), or after ``runs`` runs.
    """

    method: str
    setting: Setting
    begin: float = 8.0
    least: int = 2
    cap: int = 20_000
    runs: int = 40
    pool: int = 40

    def size(self, n: float) -> int:
        """The size of the grid nearest to n, within its ends."""
        unit = self.setting.k * self.setting.d
        low = math.ceil(2 * math.log2(self.least / unit) - 1e-9)
        high = math.floor(2 * math.log2(self.cap / unit) + 1e-9)
        j = min(max(round(2 * math.log2(n / unit)), low), high)
        return round(unit * 2 ** (j / 2))


def trial(climb: Climb, seed: int) -> dict[str, float]:
    """{"n run": E_reg} for every run, and {"ahead n run": 1 or 0} for every failed one that found a
    start: whether it ended at a higher likelihood than EM from the truth on the same samples, each
    at its own sigma. Both learn it, except where it is held: there NaN."""
    found: dict[str, float] = {}
    outcomes: list[tuple[int, int, bool]] = []
    unit = climb.setting.k * climb.setting.d
    n = climb.size(climb.begin * unit)
    for first in range(0, climb.runs, VISIT):
        setting = replace(climb.setting, n=n)
        for run in (number % climb.pool for number in range(first, first + VISIT)):
            number = child_seed(seed, run)
            end = one_run(Contest(climb.method, setting), number)
            found[f"{n} {run}"] = end["error"]
            outcomes.append((n, run, end["error"] < SUCCESS))
            if end["error"] >= SUCCESS and not end["no_start"]:
                best = one_run(Contest("oracle", setting), number)["log_likelihood"]
                held = climb.method in _HELD
                ahead = math.nan if held else end["log_likelihood"] > best
                found[f"ahead {n} {run}"] = float(ahead)
        posterior = Posterior(*zip(*outcomes, strict=True))
        ends = {level: posterior.quantiles(level, (0.025, 0.975)) for level in _NARROW}
        if all(ends[level][1] < factor * ends[level][0] for level, factor in _NARROW.items()):
            break
        (aim,) = posterior.quantiles(_TARGETS[first // VISIT % 2], (0.5,))
        visited = [size for size, *_ in outcomes]
        n = climb.size(min(max(aim, min(visited) / 2), 2 * max(visited)))
    return found
