"""Contestants on settings: shares of success, errors, passes; what ``converged`` is worth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from moe.experiments.baselines.contestants import METHODS
from moe.experiments.baselines.gradient import descend, descend_all
from moe.experiments.common.problems import (
    SUCCESS,
    Fit,
    NoStartError,
    Problem,
    Setting,
    draw,
    errors,
)
from moe.experiments.common.shares import Share
from moe.experiments.engine.sweep import by_spec, sweep
from moe.losses import log_loss
from moe.randomness import child_seed


@dataclass(frozen=True)
class Contest:
    """One contestant on one kind of problem: a cell of every table of this chapter."""

    method: str
    setting: Setting


def trial(contest: Contest, seed: int) -> dict[str, float]:
    """See ``measured``; where no start was found error is 1, no_start 1, and the rest NaN or 0."""
    problem = draw(contest.setting, seed)
    try:
        return measured(METHODS[contest.method](problem), problem)
    except NoStartError:
        none = dict.fromkeys(("gate_error", "log_likelihood", "converged"), math.nan)
        return {"error": 1.0, **none, "passes": 0.0, "no_start": 1.0}


def measured(fit: Fit, problem: Problem) -> dict[str, float]:
    """E_reg and E_gate (NaN without gates), passes over the samples, the log-likelihood per sample
    in nats at the fit's own sigma, converged (NaN for methods that do not say)."""
    error, gate_error = errors(fit, problem.truth)
    return {
        "error": error,
        "gate_error": gate_error if problem.gated else math.nan,
        "passes": float(fit.passes),
        "log_likelihood": -float(
            log_loss(
                fit.gating, fit.regressors, fit.sigma, problem.x, problem.y, problem.nonlinearity
            )
        ),
        "converged": math.nan if fit.converged is None else float(fit.converged),
        "no_start": 0.0,
    }


@dataclass(frozen=True)
class Row:
    """share: runs with E_reg < 0.05. Medians over the runs: error (E_reg), gate_error (E_gate; NaN
    without gates), passes over the samples."""

    method: str
    setting: Setting
    share: Share
    error: float
    gate_error: float
    passes: float


@dataclass(frozen=True)
class Together:
    """Gradient descent on ``runs`` data sets side by side."""

    method: str
    setting: Setting
    runs: int


def together(spec: Together, seed: int) -> dict[str, float]:
    """{"name run": value}, names and values those of ``trial`` on that data set."""
    problems = [draw(spec.setting, child_seed(seed, run)) for run in range(spec.runs)]
    method = METHODS[spec.method]
    assert isinstance(method, partial)
    ends = zip(descend_all(problems, **method.keywords), problems, strict=True)
    several = [measured(fit, problem) for fit, problem in ends]
    return {f"{name} {i}": value for i, one in enumerate(several) for name, value in one.items()}


def board(
    methods: Sequence[str],
    settings: Sequence[Setting],
    runs: int,
    seed: int = 0,
    workers: int | None = None,
) -> list[Row]:
    """Every method on every setting, the same data for all: methods outer, settings inner."""
    contests = [Contest(method, setting) for method in methods for setting in settings]
    slow = [Together(c.method, c.setting, runs) for c in contests if _descends(c.method)]
    rest = [c for c in contests if not _descends(c.method)]
    numbers = [child_seed(seed, run) for run in range(runs)]
    found: dict[Contest, list[dict[str, float]]] = {
        c: [one.result for one in mine]
        for c, mine in zip(
            rest, by_spec(sweep(trial, rest, numbers, workers=workers), runs), strict=True
        )
    }
    for one in sweep(together, slow, [seed], workers=workers):
        parts: list[dict[str, float]] = [{} for _ in range(runs)]
        for name, value in one.result.items():
            word, run = name.split()
            parts[int(run)][word] = value
        found[Contest(one.spec.method, one.spec.setting)] = parts
    return [_row(contest, found[contest]) for contest in contests]


def _descends(method: str) -> bool:
    return getattr(METHODS[method], "func", None) is descend


def _row(contest: Contest, results: Sequence[dict[str, float]]) -> Row:
    def median(name: str) -> float:
        values = [one[name] for one in results]
        return float(torch.tensor(values, dtype=torch.float64).nanmedian())

    won = sum(one["error"] < SUCCESS for one in results)
    return Row(
        contest.method,
        contest.setting,
        Share(won, len(results)),
        median("error"),
        median("gate_error"),
        median("passes"),
    )


@dataclass(frozen=True)
class Trust:
    """What ``recover`` says of its answers: ``converged`` or not, by outcome.

    ahead: wrong ones called converged whose likelihood is higher than the oracle's on the same
    samples, each with its own sigma: no test of the fit could tell; errors: E_reg by data set.
    """

    setting: Setting
    right: int
    right_doubted: int
    wrong_doubted: int
    wrong: int
    ahead: int
    errors: tuple[float, ...] = field(default=(), compare=False)

    @property
    def called(self) -> int:
        """Answers that are called converged."""
        return self.right + self.wrong

    @property
    def misplaced(self) -> Share:
        """Wrong ones among those."""
        return Share(self.wrong, self.called)


def trust(
    settings: Sequence[Setting], runs: int, seed: int = 0, workers: int | None = None
) -> list[Trust]:
    """How far ``converged`` can be relied on, at every setting."""
    numbers = [child_seed(seed, run) for run in range(runs)]
    pairs = [Contest(name, setting) for setting in settings for name in ("recover", "oracle")]
    cells = by_spec(sweep(trial, pairs, numbers, workers=workers), runs)
    ends = []
    for setting, mine, best in zip(settings, cells[::2], cells[1::2], strict=True):
        ahead = [
            t.result["log_likelihood"] > o.result["log_likelihood"]
            for t, o in zip(mine, best, strict=True)
        ]
        found = tuple(t.result["error"] for t in mine)
        right = [error < SUCCESS for error in found]
        called = [t.result["converged"] == 1 for t in mine]
        ends.append(replace(tally(setting, right, called, ahead), errors=found))
    return ends


def tally(
    setting: Setting, right: Sequence[bool], called: Sequence[bool], ahead: Sequence[bool]
) -> Trust:
    """Answers by whether they are right, and are called converged; of those that are called so and
    wrong, how many are ahead of the oracle."""
    count = Counter(zip(right, called, strict=True))
    return Trust(
        setting,
        right=count[True, True],
        right_doubted=count[True, False],
        wrong_doubted=count[False, False],
        wrong=count[False, True],
        ahead=sum(a and c and not r for r, c, a in zip(right, called, ahead, strict=True)),
    )
