"""Contestants on settings: shares of success, errors, times."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from moe.experiments.baselines import Contest, oracle, trial
from moe.experiments.problems import SUCCESS, Setting, draw
from moe.experiments.random_starts import Share
from moe.experiments.sweep import Trial, by_spec, sweep
from moe.losses import log_loss
from moe.metrics import regressor_error_of
from moe.randomness import child_seed
from moe.recovery import recover


@dataclass(frozen=True)
class Row:
    """share: runs with E_reg < 0.05. Medians over the runs: error (E_reg), gate_error (E_gate; NaN
    without gates), passes over the samples, seconds (drawing the samples included)."""

    method: str
    setting: Setting
    share: Share
    error: float
    gate_error: float
    passes: float
    seconds: float


def board(
    methods: Sequence[str], settings: Sequence[Setting], runs: int, seed: int = 0
) -> list[Row]:
    """Every method on every setting, the same data for all: methods outer, settings inner."""
    contests = [Contest(method, setting) for method in methods for setting in settings]
    seeds = [child_seed(seed, run) for run in range(runs)]
    return [_row(trials) for trials in by_spec(sweep(trial, contests, seeds), runs)]


def below_oracle(method: str, setting: Setting, runs: int, seed: int = 0) -> tuple[int, int]:
    """Failed runs of ``method``, and how many of those end at a lower likelihood than the oracle's
    end on the same data, each at its own sigma."""
    pair = [Contest(method, setting), Contest("oracle", setting)]
    trials = sweep(trial, pair, [child_seed(seed, run) for run in range(runs)])
    mine, oracles = by_spec(trials, runs)
    lost = [
        one.result["log_likelihood"] < best.result["log_likelihood"]
        for one, best in zip(mine, oracles, strict=True)
        if one.result["error"] >= SUCCESS
    ]
    return len(lost), sum(lost)


@dataclass(frozen=True)
class Trust:
    """What ``recover``, not told sigma, says of its answers: ``converged`` or not, by outcome.

    ahead: wrong ones called converged whose likelihood is higher than the oracle's on the same
    samples, each with its own sigma: no test of the fit could tell.
    """

    setting: Setting
    right: int
    right_doubted: int
    wrong_doubted: int
    wrong: int
    ahead: int

    @property
    def misplaced(self) -> Share:
        """Wrong ones among the answers that are called converged."""
        return Share(self.wrong, self.right + self.wrong)


def answer(setting: Setting, seed: int) -> dict[str, float]:
    """E_reg of ``recover``; 1 where it says that it has converged; 1 where its log-likelihood is
    higher than that of EM from the truth."""
    problem = draw(setting, seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="recover: converged is False")
        fit = recover(problem.x, problem.y, problem.k, seed=problem.seed, gated=problem.gated)
    error = regressor_error_of(fit.model.regressors, problem.truth.regressors)
    best, n = oracle(problem), len(problem.y)
    highest = -n * log_loss(
        best.gating, best.regressors, best.sigma, problem.x, problem.y, problem.nonlinearity
    )
    return {
        "error": error,
        "converged": float(fit.converged),
        "ahead": float(fit.log_likelihood > float(highest)),
    }


def trust(settings: Sequence[Setting], runs: int, seed: int = 0) -> list[Trust]:
    """How far ``converged`` can be relied on, at every setting."""
    trials = sweep(answer, settings, [child_seed(seed, run) for run in range(runs)])
    ends = []
    for setting, mine in zip(settings, by_spec(trials, runs), strict=True):
        count = Counter((t.result["error"] < SUCCESS, t.result["converged"] == 1) for t in mine)
        order = ((True, True), (True, False), (False, False), (False, True))
        ahead = [
            t.result["error"] >= SUCCESS and t.result["converged"] * t.result["ahead"] == 1
            for t in mine
        ]
        right, right_doubted, wrong_doubted, wrong = (count[key] for key in order)
        ends.append(Trust(setting, right, right_doubted, wrong_doubted, wrong, sum(ahead)))
    return ends


def _row(trials: Sequence[Trial]) -> Row:
    def median(name: str) -> float:
        values = [one.result[name] for one in trials]
        return float(torch.tensor(values, dtype=torch.float64).nanmedian())

    won = sum(one.result["error"] < SUCCESS for one in trials)
    seconds = torch.tensor([one.seconds for one in trials], dtype=torch.float64)
    return Row(
        trials[0].spec.method,
        trials[0].spec.setting,
        Share(won, len(trials)),
        median("error"),
        median("gate_error"),
        median("iterations"),
        float(seconds.median()),
    )
