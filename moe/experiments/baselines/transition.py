"""How many samples a contestant needs: its success as a curve, and where that crosses 1/2, 95 %."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from moe.experiments.baselines.climbs import Climb, trial
from moe.experiments.baselines.success_curves import Draws, Posterior
from moe.experiments.common.problems import SUCCESS, Setting
from moe.experiments.common.shares import Share
from moe.experiments.engine.sweep import sweep
from moe.randomness import child_seed


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


def curves(panels: dict[str, list[Climb]], seed: int = 0) -> dict[str, list[Curve]]:
    """By title. All climbs are jobs of one sweep, those that take longest first; a climb that two
    panels name is made once."""
    climbs = [climb for several in panels.values() for climb in several]
    first = sorted(dict.fromkeys(climbs), key=_cost, reverse=True)
    ends = {one.spec: _curve(one.spec, one.result) for one in sweep(trial, first, [seed])}
    return {title: [ends[climb] for climb in several] for title, several in panels.items()}


def _cost(climb: Climb) -> float:
    weights = climb.setting.k * climb.setting.d
    return weights**2 * (20 if climb.method == "recover" else 1)


def _curve(climb: Climb, result: dict[str, float]) -> Curve:
    words = [(name.split(), value) for name, value in result.items()]
    outcomes = [(int(name[0]), int(name[1]), value) for name, value in words if len(name) == 2]
    ahead = [(int(name[1]), value == 1) for name, value in words if len(name) == 3 and value >= 0]
    return Curve(climb, tuple(outcomes), tuple(ahead))


def climb(method: str, setting: Setting, **options: Any) -> Climb:
    """With the smallest size that the method takes, a first one that suits it, and fewer runs where
    they take long."""
    k, d, gated = setting.k, setting.d, setting.gate_norm > 0
    runs = 32 if k > 8 else 40 if k > 6 else 48 if k > 4 else 60
    least, begin = k, min(8.0 * max(1.0, k / 4), 16.0)
    if method == "recover":
        runs = 20 if k > 8 else 24
        least, begin = ((2 * k - 1) * d if gated else k * d) + 2, 4.0
    elif method == "oracle":  # with fewer it cannot leave the truth, and succeeds again
        least, begin = (k * d + 1) // 2, 2.0
    elif method == HELD and k > 8:
        runs, begin = 16, 64.0
    return Climb(method, setting, begin, least, **{"runs": runs, **options})


EACH, HELD, ONE = "EM, a sigma each", "EM, sigma held", "EM, sigma learned"
L4, T3 = "L_4, then EM", "T_3, then EM"


def panels(large: bool) -> dict[str, list[Climb]]:
    """The chapter's: no gates with k = d, random unit or orthonormal experts; gates of norm 1 in
    twelve dimensions; three experts with gates in several. What is slow runs at fewer k."""
    options: dict[str, Any] = {} if large else {"cap": 300, "runs": 12}

    def several(most: dict[str, int], *settings: Setting) -> list[Climb]:
        return [
            climb(method, setting, **options)
            for method, crowd in most.items()
            for setting in settings
            if setting.k <= crowd
        ]

    plain = {"oracle": 12, HELD: 12, "EM, sigma lowered by hand": 4, ONE: 12, EACH: 12, L4: 6}
    plain |= {T3: 12, "recover": 12}
    square = {name: 6 for name in plain if "by hand" not in name}
    gated = square if large else dict.fromkeys(("oracle", HELD, EACH), 6)
    grown = {"oracle": 3, HELD: 3, ONE: 3, EACH: 3, "recover": 3}
    return {
        "no gates, random experts": several(
            plain, *(Setting(k, k, 0) for k in ((2, 3, 4, 6, 8, 12) if large else (2, 4)))
        ),
        "no gates, orthonormal experts": several(
            gated, *(Setting(k, k, 0, orthonormal=True) for k in ((3, 6) if large else (3,)))
        ),
        "gates of norm 1, $d = 12$": several(
            gated, *(Setting(k, 12, 0, gate_norm=1.0) for k in ((2, 3, 4, 6) if large else (2,)))
        ),
        "three experts, gates of norm 1": several(
            grown, *(Setting(3, d, 0, gate_norm=1.0) for d in ((6, 12, 24) if large else (4, 6)))
        ),
    }
