"""Success against work: the best of many short random starts, and ``recover``, on the same data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from moe.experiments.baselines.contest import Trust, tally
from moe.experiments.baselines.contestants import full, joint, measured, oracle
from moe.experiments.common.problems import SUCCESS, Problem, Setting, draw, errors
from moe.experiments.common.shares import Share
from moe.experiments.engine.sweep import by_spec, sweep
from moe.metrics import regressor_error_of
from moe.randomness import child_seed
from moe.recovery.recombination import anneal

SHORT_RUN = 60
_BATCH = 25
_SAYS = ("converged", "ahead")


@dataclass(frozen=True)
class Spec:
    """best: how many random starts the best is taken of; restarts: how many ``recover`` may use."""

    setting: Setting
    best: tuple[int, ...] = (1, 10, 30, 100, 300)
    restarts: tuple[int, ...] = (100, 300)


def trial(spec: Spec, seed: int) -> dict[str, float]:
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


def _best(spec: Spec, problem: Problem) -> dict[str, float]:
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
        for part in starts.split(_BATCH)
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
class Record:
    """points; hits: the share of random starts that arrive, by data set; trust: what ``recover``
    says of its answers with the most starts."""

    spec: Spec
    points: tuple[Point, ...]
    hits: tuple[float, ...]
    trust: Trust

    def point(self, searcher: str, starts: int) -> Point:
        return next(p for p in self.points if (p.searcher, p.starts) == (searcher, starts))


def run(specs: Sequence[Spec], runs: int, seed: int = 0) -> list[Record]:
    """Every spec on ``runs`` data sets, those of all tables."""
    cells = by_spec(sweep(trial, specs, [child_seed(seed, run) for run in range(runs)]), runs)
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
        records.append(Record(spec, points, hits, trust))
    return records
