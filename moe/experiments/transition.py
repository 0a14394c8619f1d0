"""The smallest number of samples at which a contestant recovers, searched upwards."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from moe.experiments.baselines import Contest, trial
from moe.experiments.problems import SUCCESS, Setting
from moe.experiments.random_starts import Share
from moe.experiments.sweep import by_spec, sweep
from moe.randomness import child_seed

_ROUNDS = (2, 4, 8, 14)


@dataclass(frozen=True)
class Panel:
    """Settings of one kind, one for each k, and who runs on them.

    methods: (name, the k it runs at). n doubles from k d (k the setting's, its n ignored) up to
    ``cap``. A size counts as recovered when at most ``allowed`` of ``runs`` fail.
    """

    title: str
    settings: tuple[Setting, ...]
    methods: tuple[tuple[str, tuple[int, ...]], ...]
    cap: int
    runs: int = 20
    allowed: int = 1


@dataclass(frozen=True)
class Search:
    """One contestant on one kind of problem, n running over ``sizes`` upwards."""

    method: str
    setting: Setting
    sizes: tuple[int, ...]
    runs: int
    allowed: int


@dataclass(frozen=True)
class Threshold:
    """tried: (n, successes and runs) upwards; a size is left as soon as too many runs have failed.
    smallest: the first n that recovers, infinite where none of the sizes does."""

    search: Search
    tried: tuple[tuple[int, Share], ...]
    smallest: float


def thresholds(panels: Sequence[Panel], seed: int = 0) -> dict[str, list[Threshold]]:
    """By title, the oracle's first. The others start at the oracle's smallest n: below it the
    likelihood's own maximum near the truth is not good enough, and there is nothing to find."""
    floors = _by_title(panels, [_floor(panel) for panel in panels], seed)
    rest = [_rest(panel, floors[panel.title]) for panel in panels]
    others = _by_title(panels, rest, seed)
    return {title: floors[title] + others[title] for title in floors}


def _by_title(
    panels: Sequence[Panel], searches: Sequence[list[Search]], seed: int
) -> dict[str, list[Threshold]]:
    ends = iter(search([one for several in searches for one in several], seed))
    return {
        panel.title: [next(ends) for _ in several]
        for panel, several in zip(panels, searches, strict=True)
    }


def _floor(panel: Panel) -> list[Search]:
    return [
        Search("oracle", setting, _sizes(setting, panel.cap), panel.runs, panel.allowed)
        for setting in panel.settings
    ]


def _rest(panel: Panel, floors: Sequence[Threshold]) -> list[Search]:
    return [
        replace(
            floor.search,
            method=method,
            sizes=tuple(n for n in floor.search.sizes if n >= floor.smallest),
        )
        for method, crowds in panel.methods
        for floor in floors
        if floor.search.setting.k in crowds and math.isfinite(floor.smallest)
    ]


def _sizes(setting: Setting, cap: int) -> tuple[int, ...]:
    least = setting.k * setting.d
    return tuple(least * 2**i for i in range(1 + int(math.log2(max(1, cap / least)))))


def search(searches: Sequence[Search], seed: int = 0) -> list[Threshold]:
    """All searches side by side, so that every sweep has work for all cores. In their order."""
    climbs = [_climb(one) for one in searches]
    asked = {i: next(climb) for i, climb in enumerate(climbs)}
    ends: dict[int, Threshold] = {}
    while asked:
        answers = dict(_answers(asked, seed))
        asked = {}
        for i, successes in answers.items():
            try:
                asked[i] = climbs[i].send(successes)
            except StopIteration as stop:
                ends[i] = stop.value
    return [ends[i] for i in range(len(searches))]


def _climb(one: Search) -> Generator[tuple[Contest, range], int, Threshold]:
    """Asks for a contest on a range of seeds, is told the number of successes."""
    tried = []
    for n in one.sizes:
        runs = successes = 0
        for stop in [*(end for end in _ROUNDS if end < one.runs), one.runs]:
            contest = Contest(one.method, replace(one.setting, n=n))
            successes += yield contest, range(runs, stop)
            runs = stop
            if runs - successes > one.allowed:
                break
        tried.append((n, Share(successes, runs)))
        if runs - successes <= one.allowed:
            return Threshold(one, tuple(tried), n)
    return Threshold(one, tuple(tried), math.inf)


def _answers(asked: dict[int, tuple[Contest, range]], seed: int) -> Iterator[tuple[int, int]]:
    """One sweep for each range of seeds that is asked for."""
    for seeds in sorted({seeds for _, seeds in asked.values()}, key=lambda seeds: seeds.start):
        turn = [(i, contest) for i, (contest, mine) in asked.items() if mine == seeds]
        numbers = [child_seed(seed, run) for run in seeds]
        trials = sweep(trial, [contest for _, contest in turn], numbers)
        for (i, _), mine in zip(turn, by_spec(trials, len(numbers)), strict=True):
            yield i, sum(one.result["error"] < SUCCESS for one in mine)


def panels(large: bool) -> list[Panel]:
    """The chapter's: no gates with k = d, random unit or orthonormal experts; gates of norm 1.

    What is slow, or is hopeless early, runs at fewer k.
    """
    alike: Any = {"cap": 20_000} if large else {"cap": 150, "runs": 3, "allowed": 0}
    crowds = (2, 3, 4, 6, 8, 12, 16, 24, 32) if large else (2, 4)
    plain = Panel(
        "no gates, random experts",
        tuple(Setting(k, k, 0) for k in crowds),
        (
            ("EM, sigma held", crowds[:6]),
            ("EM, sigma held, best of 20", crowds[:3]),
            ("EM, sigma lowered by hand", crowds[:4]),
            ("EM, sigma learned", crowds[:6]),
            ("EM, sigma learned, 20 raced", crowds[:5]),
            ("EM, a sigma each", crowds),
            ("L_4, plain moments, then EM", crowds[:4]),
            ("L_4, then EM", crowds[:5]),
            ("T_3, then EM", crowds),
            ("recover", crowds[:7]),
        ),
        **alike,
    )
    orthonormal = Panel(
        "no gates, orthonormal experts",
        tuple(Setting(k, k, 0, orthonormal=True) for k in crowds[:6]),
        tuple(
            (name, crowds[:5]) for name in ("EM, sigma held", "EM, sigma learned", "L_4, then EM")
        )
        + tuple((name, crowds[:6]) for name in ("EM, a sigma each", "T_3, then EM", "recover")),
        **alike,
    )
    few = (2, 3, 4, 6, 8) if large else (2,)
    gated = Panel(
        "gates of norm 1, $d = 12$",
        tuple(Setting(k, 12, 0, gate_norm=1.0) for k in few),
        (
            ("squared loss, Adam", (3,) if large else ()),
            ("likelihood, Adam", (2, 3) if large else ()),
            ("EM, sigma held", few[:4]),
            *(
                (name, few)
                for name in (
                    "EM, sigma learned",
                    "EM, a sigma each",
                    "L_4, then EM",
                    "T_3, then EM",
                    "recover",
                )
            ),
        ),
        **alike,
    )
    return [plain, orthonormal, gated]
