"""How many samples a contestant needs: runs at the sizes where its success turns, the curve through
them, and where that crosses 1/2 and 95 %."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from moe.experiments.baselines.contest import Contest, Trust
from moe.experiments.baselines.contest import trial as one_run
from moe.experiments.baselines.thresholds.success_curves import Draws, Posterior
from moe.experiments.common.problems import SUCCESS, Setting
from moe.experiments.common.shares import Share
from moe.experiments.engine.sweep import sweep
from moe.randomness import child_seed

VISIT, POOL = 4, 40
_TARGETS = (0.5, 0.9)
_NARROW = {0.5: 1.5, 0.95: 2.25}


@dataclass(frozen=True)
class Climb:
    """One contestant on one kind of problem (the setting's n is ignored).

    Sizes are k d 2^(j/2), j an integer, from ``least`` to ``cap``. A visit to a size is VISIT runs
    on the next of ``pool`` data sets, in turn; the first is to ``begin`` samples a weight, the
    others go to where success is about 1/2 and 0.9, in turn, as the runs so far have it, and never
    more than a factor of two beyond what they have seen. A climb ends after ``runs`` runs, or when
    the 95 % intervals of n50 and n95 span no more than factors of 1.5 and 1.5^2; one that lies
    beyond ``least`` or ``cap`` is known well enough. before: runs that have been made, (n, data
    set, E_reg); compare: failed runs with the oracle.
    """

    method: str
    setting: Setting
    begin: float = 8.0
    least: int = 2
    cap: int = 20_000
    runs: int = 40
    pool: int = POOL
    before: tuple[tuple[int, int, float], ...] = ()
    compare: bool = False

    def known(self, posterior: Posterior) -> bool:
        """Whether both sizes are known well enough, or to lie out of range."""
        ends = {level: posterior.quantiles(level, (0.025, 0.975)) for level in _NARROW}
        first, last = self.size(self.least), self.size(self.cap)
        return all(
            high < _NARROW[level] * low or high < first or low > last
            for level, (low, high) in ends.items()
        )

    def size(self, n: float) -> int:
        """The size of the grid nearest to n, within its ends."""
        unit = self.setting.k * self.setting.d
        low = math.ceil(2 * math.log2(self.least / unit) - 1e-9)
        high = math.floor(2 * math.log2(self.cap / unit) + 1e-9)
        j = min(max(round(2 * math.log2(n / unit)), low), high)
        return round(unit * 2 ** (j / 2))


def trial(climb: Climb, seed: int) -> dict[str, float]:
    """{"n run": E_reg} for every run, and, to compare, {"ahead n run": 1 or 0} for every failed one
    that found a start: whether it ended at a higher likelihood than EM from the truth on the same
    samples, each at its own sigma, which both learn."""
    found = {f"{n} {run}": error for n, run, error in climb.before}
    outcomes = [(n, run, error < SUCCESS) for n, run, error in climb.before]
    n = climb.size(climb.begin * climb.setting.k * climb.setting.d)
    for first in range(0, climb.runs, VISIT):
        if outcomes:
            posterior = Posterior(*zip(*outcomes, strict=True))
            if climb.known(posterior):
                break
            (aim,) = posterior.quantiles(_TARGETS[(first // VISIT - 1) % 2], (0.5,))
            visited = [size for size, *_ in outcomes]
            n = climb.size(min(max(aim, min(visited) / 2), 2 * max(visited)))
        setting = replace(climb.setting, n=n)
        for run in (number % climb.pool for number in range(first, first + VISIT)):
            number = child_seed(seed, run)
            end = one_run(Contest(climb.method, setting), number)
            found[f"{n} {run}"] = end["error"]
            outcomes.append((n, run, end["error"] < SUCCESS))
            if climb.compare and end["error"] >= SUCCESS and not end["no_start"]:
                best = one_run(Contest("oracle", setting), number)["log_likelihood"]
                found[f"ahead {n} {run}"] = float(end["log_likelihood"] > best)
    return found


@dataclass(frozen=True, eq=False)
class Curve:
    """What a climb found. outcomes: (n, data set, E_reg), in order; ahead: (n, whether), of failed
    runs; passes are not kept."""

    climb: Climb
    outcomes: tuple[tuple[int, int, float], ...]
    ahead: tuple[tuple[int, bool], ...] = ()

    @property
    def method(self) -> str:
        return self.climb.method

    @property
    def setting(self) -> Setting:
        return self.climb.setting

    @property
    def unit(self) -> int:
        """The number of weights, k d."""
        return self.setting.k * self.setting.d

    @cached_property
    def shares(self) -> dict[int, Share]:
        """Success by size."""
        by_size: dict[int, list[bool]] = {}
        for n, _, error in sorted(self.outcomes):
            by_size.setdefault(n, []).append(error < SUCCESS)
        return {n: Share(sum(won), len(won)) for n, won in by_size.items()}

    @cached_property
    def posterior(self) -> Posterior:
        sizes, runs, found = zip(*self.outcomes, strict=True)
        return Posterior(sizes, runs, [error < SUCCESS for error in found])

    @cached_property
    def n50(self) -> Draws:
        """The size at which half of all data sets are recovered."""
        return self._draws(0.5)

    @cached_property
    def n95(self) -> Draws:
        return self._draws(0.95)

    def _draws(self, level: float) -> Draws:
        name = f"{self.setting}"
        return self.posterior.draws(level, self.climb.pool, child_seed(0, self.method, name))

    def reached(self, level: float) -> bool:
        """Whether the size for that level lies within the range searched."""
        return not self.below(level) and self._size(level) <= self.climb.cap

    def below(self, level: float) -> bool:
        """Whether it lies below the smallest size that the method takes, where there is no curve to
        be seen."""
        return self._size(level) < self.climb.size(self.climb.least)

    def _size(self, level: float) -> float:
        return (self.n50 if level == 0.5 else self.n95).value

    @property
    def at_cap(self) -> tuple[int, Share]:
        """The largest size visited, and the share of success there."""
        largest = max(self.shares)
        return largest, self.shares[largest]


def curves(
    panels: dict[str, list[Climb]], seed: int = 0, workers: int | None = None
) -> dict[str, list[Curve]]:
    """By title. All climbs are jobs of one sweep, those that take longest first; a climb that two
    panels name is made once."""
    climbs = [climb for several in panels.values() for climb in several]
    first = sorted(dict.fromkeys(climbs), key=_cost, reverse=True)
    trials = sweep(trial, first, [seed], workers=workers)
    ends = {one.spec: _curve(one.spec, one.result) for one in trials}
    return {title: [ends[climb] for climb in several] for title, several in panels.items()}


def _cost(climb: Climb) -> float:
    weights = climb.setting.k * climb.setting.d
    return weights**2 * (20 if climb.method == "recover" else 1)


def _curve(climb: Climb, result: dict[str, float]) -> Curve:
    words = [(name.split(), value) for name, value in result.items()]
    outcomes = [(int(name[0]), int(name[1]), value) for name, value in words if len(name) == 2]
    ahead = [(int(name[1]), value == 1) for name, value in words if len(name) == 3]
    return Curve(climb, tuple(outcomes), tuple(ahead))


EACH, HELD, ONE = "EM, a sigma each", "EM, sigma held", "EM, sigma learned"
L4, T3 = "L_4, then EM", "T_3, then EM"


def climb(method: str, setting: Setting, **options: Any) -> Climb:
    """With the smallest size that the method takes, a first one that suits it, and fewer runs where
    they take long or where few tell that the method fails."""
    k, d, gated = setting.k, setting.d, setting.gate_norm > 0
    runs = 32 if k > 8 else 40 if k > 6 else 48 if k > 4 else 60
    least, begin = k, min(8.0 * max(1.0, k / 4), 16.0)
    if method == "recover":
        runs = 20 if k > 8 else 12 if d > 12 else 24
        least, begin = ((2 * k - 1) * d if gated else k * d) + 2, 4.0
    elif method == "oracle":  # with fewer it cannot leave the truth, and succeeds again
        least, begin = (k * d + 1) // 2, 2.0
    elif method == HELD and k > 8:
        runs, begin = 16, 64.0
    elif method == L4 and k > 4 and not setting.orthonormal:
        runs = 12
    compare = method == EACH and d == k
    return Climb(method, setting, begin, least, **{"runs": runs, "compare": compare, **options})


def panels(large: bool, answers: Sequence[Trust] = ()) -> dict[str, list[Climb]]:
    """The chapter's: no gates with k = d, random unit or orthonormal experts; gates of norm 1 in
    twelve dimensions; three experts with gates in several. What is slow runs at fewer k. answers:
    of ``recover``, as ``contest.trust`` has them, whose runs need not be made again."""
    options: dict[str, Any] = {} if large else {"cap": 150, "runs": 8}
    made: dict[Setting, list[tuple[int, int, float]]] = {}
    for answer in answers:
        runs = [(answer.setting.n, run, error) for run, error in enumerate(answer.errors[:POOL])]
        made.setdefault(replace(answer.setting, n=0), []).extend(runs)

    def several(most: dict[str, int], *settings: Setting) -> list[Climb]:
        wanted = [(name, one) for name, crowd in most.items() for one in settings if one.k <= crowd]
        climbs = [climb(name, one, **options) for name, one in wanted]
        return [
            replace(c, before=tuple(made.get(c.setting, ()))) if c.method == "recover" else c
            for c in climbs
        ]

    plain = {"oracle": 12, HELD: 12, "EM, sigma lowered by hand": 4, ONE: 12, EACH: 12, L4: 6}
    plain |= {T3: 8, "recover": 12}
    if not large:
        few = {"oracle": 3, HELD: 3, ONE: 3, EACH: 3}
        return {
            "no gates, random experts": several(few | {T3: 3, "recover": 3}, Setting(3, 3, 0)),
            "three experts, gates of norm 1": several(few, Setting(3, 4, 0, gate_norm=1.0)),
        }
    square = {name: 6 for name in plain if "by hand" not in name}
    grown = {"oracle": 3, HELD: 3, ONE: 3, EACH: 3}
    gated = [Setting(k, 12, 0, gate_norm=1.0) for k in (2, 3, 6)]
    thick = [Setting(3, d, 0, gate_norm=1.0) for d in (6, 12, 24)]
    searched = {"recover": square.pop("recover")}  # with less it succeeds wherever it can be called
    return {
        "no gates, random experts": several(
            plain, *(Setting(k, k, 0) for k in (2, 3, 4, 6, 8, 12))
        ),
        "no gates, orthonormal experts": several(
            square | searched, *(Setting(k, k, 0, orthonormal=True) for k in (3, 6))
        ),
        "gates of norm 1, $d = 12$": several(square, *gated) + several(searched, *gated[1:]),
        "three experts, gates of norm 1": several(grown, *thick) + several(searched, *thick[1:]),
    }
