"""How to search: what wrong ends of EM share, and success against work, of the best of many short
random starts and of ``recover``, on the same data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from moe.experiments.baselines.contest import Trust, measured, tally
from moe.experiments.baselines.contestants import em, full, joint, oracle
from moe.experiments.common.problems import SUCCESS, Problem, Setting, draw, errors
from moe.experiments.common.shares import Share
from moe.experiments.engine.sweep import by_spec, sweep
from moe.metrics import regressor_error_of
from moe.randomness import child_seed
from moe.recovery.recombination import anneal, shared

SHORT_RUN = 60
_RIGHT = 0.98
_ENTRIES = 40_000
_SAYS = ("converged", "ahead")


@dataclass(frozen=True)
class EndsSpec:
    """Random starts of EM with a sigma each on one kind of problem, and where to stop them."""

    setting: Setting
    starts: int = 16
    iterations: int = SHORT_RUN


@dataclass(frozen=True)
class Ends:
    """Counts by data set, over its wrong ends: experts, right ones; over all ordered pairs of such
    ends: experts of the first that the second has too, right ones of those."""

    spec: EndsSpec
    experts: tuple[float, ...]
    rights: tuple[float, ...]
    shared: tuple[float, ...]
    rights_of_shared: tuple[float, ...]

    @property
    def right(self) -> float:
        """The share of right experts in wrong ends."""
        return sum(self.rights) / max(1.0, sum(self.experts))

    @property
    def right_of_shared(self) -> float:
        """The share of right ones among the experts that two wrong ends share."""
        return sum(self.rights_of_shared) / max(1.0, sum(self.shared))


def ends_trial(spec: EndsSpec, seed: int) -> dict[str, float]:
    """Counts over the ends with E_reg >= 0.05: experts, right ones (|cos| > 0.98 to a true one);
    over all ordered pairs of such ends: experts of the first that the second has too, right ones
    of those."""
    problem = draw(spec.setting, seed)
    rows = problem.starts(spec.starts)
    ends = em(problem, rows, problem.y.std(), "each", iterations=spec.iterations).regressors
    truth = problem.truth.regressors
    wrong = ends[[regressor_error_of(rows, truth) >= SUCCESS for rows in ends]]
    cosine = (torch.nn.functional.normalize(wrong, dim=2) @ truth.T).abs()
    right = cosine.amax(2) > _RIGHT
    first, second = (~torch.eye(len(wrong), dtype=torch.bool)).nonzero().T
    common = shared(wrong[first], wrong[second])
    return {
        "experts": float(right.numel()),
        "right": float(right.sum()),
        "shared": float(common.sum()),
        "right_of_shared": float((common & right[first]).sum()),
    }


def wrong_ends(
    specs: Sequence[EndsSpec], runs: int, seed: int = 0, workers: int | None = None
) -> list[Ends]:
    """Every spec on ``runs`` data sets."""
    numbers = [child_seed(seed, run) for run in range(runs)]
    trials = sweep(ends_trial, specs, numbers, workers=workers)
    names = ("experts", "right", "shared", "right_of_shared")
    return [
        Ends(spec, *(tuple(one.result[name] for one in mine) for name in names))
        for spec, mine in zip(specs, by_spec(trials, runs), strict=True)
    ]


@dataclass(frozen=True)
class EffortSpec:
    """best: how many random starts the best is taken of; restarts: how many ``recover`` may use."""

    setting: Setting
    best: tuple[int, ...] = (1, 10, 30, 100, 300)
    restarts: tuple[int, ...] = (30, 300)


def effort_trial(spec: EffortSpec, seed: int) -> dict[str, float]:
    """{"best m": E_reg, "best m passes"} of the highest likelihood among the first m random starts,
    EM with a sigma each, each stopped like those of ``recover``, the best of them then run to its
    end; the same of ``recover``, "recover m", and whether it calls that converged, and is ahead of
    the oracle's likelihood. "hits": starts among all that end within 0.05. No gates."""
    problem = draw(spec.setting, seed)
    found = _best(spec, problem)
    highest = measured(oracle(problem), problem)["log_likelihood"]
    for restarts in spec.restarts:
        name, end = f"recover {restarts}", measured(full(problem, restarts=restarts), problem)
        found[name] = end["error"]
        found[f"{name} passes"] = end["passes"]
        found[f"{name} converged"] = end["converged"]
        found[f"{name} ahead"] = float(end["log_likelihood"] > highest)
    return found


def _best(spec: EffortSpec, problem: Problem) -> dict[str, float]:
    starts = problem.starts(max(spec.best))
    ends = [
        anneal(
            problem.x,
            problem.y,
            part,
            problem.y.std().expand(part.shape[:2]),
            problem.nonlinearity,
            SHORT_RUN,
            1.0,
        )
        for part in starts.split(max(1, _ENTRIES // (spec.setting.n * spec.setting.k)))
    ]
    value = torch.cat([end.log_likelihood for end in ends])
    rows, sigma = (torch.cat([getattr(e, n) for e in ends]) for n in ("regressors", "sigma"))
    passes = torch.cat([end.iterations for end in ends]).cumsum(0)
    hits = [regressor_error_of(one, problem.truth.regressors) < SUCCESS for one in rows]
    found = {"hits": float(sum(hits))}
    for m in spec.best:
        first = int(value[:m].argmax())
        level = sigma[first].square().mean().sqrt()
        fit = joint(problem, rows[first : first + 1], level, "each")
        found[f"best {m}"] = errors(fit, problem.truth)[0]
        found[f"best {m} passes"] = float(passes[m - 1] + fit.passes)
    return found


@dataclass(frozen=True)
class Point:
    """A searcher ("best" or "recover") with ``starts`` starts: success by data set, mean passes."""

    searcher: str
    starts: int
    won: tuple[bool, ...]
    passes: float

    @property
    def share(self) -> Share:
        return Share(sum(self.won), len(self.won))


@dataclass(frozen=True)
class Effort:
    """points; hits: the share of random starts that arrive, by data set; trust: what ``recover``
    says of its answers with the most starts."""

    spec: EffortSpec
    points: tuple[Point, ...]
    hits: tuple[float, ...]
    trust: Trust

    def point(self, searcher: str, starts: int) -> Point:
        return next(p for p in self.points if (p.searcher, p.starts) == (searcher, starts))


def effort(
    specs: Sequence[EffortSpec], runs: int, seed: int = 0, workers: int | None = None
) -> list[Effort]:
    """Every spec on ``runs`` data sets, those of all tables."""
    cells = by_spec(
        sweep(effort_trial, specs, [child_seed(seed, run) for run in range(runs)]), runs
    )
    records = []
    for spec, mine in zip(specs, cells, strict=True):
        results = [one.result for one in mine]
        kinds = [("best", m) for m in spec.best] + [("recover", m) for m in spec.restarts]
        points = tuple(
            Point(
                name,
                m,
                tuple(one[f"{name} {m}"] < SUCCESS for one in results),
                sum(one[f"{name} {m} passes"] for one in results) / runs,
            )
            for name, m in kinds
        )
        hits = tuple(one["hits"] / max(spec.best) for one in results)
        name = f"recover {max(spec.restarts)}"
        right = [one[name] < SUCCESS for one in results]
        called, ahead = ([one[f"{name} {w}"] == 1 for one in results] for w in _SAYS)
        trust = tally(spec.setting, right, called, ahead)
        records.append(Effort(spec, points, hits, trust))
    return records
