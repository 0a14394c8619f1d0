"""Nobody is told the truth: no start that a contestant draws is nearer to it than chance allows."""

import sys
import warnings
from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import beta, binomtest
from torch import Tensor

import moe
from moe.exceptions import DoubtfulFitWarning
from moe.experiments.baselines import contest, searches, stuck
from moe.experiments.baselines import gradient as gradient_baselines
from moe.experiments.baselines import spectral as em_and_spectral
from moe.experiments.baselines.contest import Contest, trial
from moe.experiments.baselines.contestants import METHODS
from moe.experiments.common.problems import Problem, Setting, draw
from moe.experiments.recovery import headline, headline_stream, how_many, stages
from moe.experiments.regressor_loss import fresh_samples as l4_stream
from moe.experiments.sample_complexity import efficiency, onset
from moe.experiments.sample_complexity import errors as sample_complexity
from moe.metrics import regressor_error_of
from moe.model.mixture import random_rows
from moe.randomness import child_seed, stream
from moe.recovery import recombination, restarts
from moe.recovery.coordinates import coordinates_of

SETTINGS = [
    Setting(4, 4, 64),
    Setting(8, 8, 512),
    Setting(12, 12, 600),
    Setting(6, 12, 300, 0.05, 1.0),
]


def chance(rows: Tensor, truth: Tensor) -> float:
    """How likely random directions (m, d) come as near to one of the experts (k, d) as the nearest
    of these: Bonferroni's bound over all pairs, cos^2 being Beta(1/2, (d - 1)/2)."""
    unit = torch.nn.functional.normalize(rows.reshape(-1, truth.shape[1]), dim=1)
    nearest = (unit @ torch.nn.functional.normalize(truth, dim=1).T).square()
    tail = beta.sf(min(1.0, float(nearest.max())), 0.5, (truth.shape[1] - 1) / 2)
    return min(1.0, float(tail) * nearest.numel())


def drawn_by_recover(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, Tensor]:
    """Every random row of ``recover``'s search, and the true experts, both in its coordinates."""
    seen: list[Tensor] = []

    def watched(draws: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def rows(*arguments: Any) -> Tensor:
            seen.append(draws(*arguments))
            return seen[-1]

        return rows

    for module in (restarts, recombination):
        monkeypatch.setattr(module, "random_rows", watched(random_rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtfulFitWarning)
        METHODS["recover"](problem)
    monkeypatch.undo()
    coordinates = coordinates_of(problem.x, problem.y, problem.nonlinearity, problem.sigma)
    inside = torch.linalg.solve(coordinates.basis, problem.truth.regressors.T).T
    return torch.cat([rows.flatten(0, -2) for rows in seen]), inside


class Ledger:
    """Every number that torch draws while an experiment runs, by the purpose of its stream."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.drawn: dict[str, set[float]] = {}
        self._purpose: dict[int, tuple[torch.Generator, str]] = {}
        for name, module in list(sys.modules.items()):
            if name.startswith("moe.") and getattr(module, "stream", None) is stream:
                monkeypatch.setattr(module, "stream", self._stream)
        for name in ("randn", "rand"):
            monkeypatch.setattr(torch, name, self._recorded(getattr(torch, name)))

    def _stream(self, purpose: str, *key: Any) -> torch.Generator:
        generator = stream(purpose, *key)
        self._purpose[id(generator)] = generator, purpose  # kept, so that ids stay its own
        return generator

    def _recorded(self, draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def drawing(*shape: Any, generator: torch.Generator, **options: Any) -> Tensor:
            numbers = draw(*shape, generator=generator, **options)
            _, purpose = self._purpose[id(generator)]
            self.drawn.setdefault(purpose, set()).update(numbers.flatten()[:4_000].tolist())
            return numbers

        return drawing


EASY = Setting(3, 4, 90)
EXPERIMENTS: dict[str, Callable[[], object]] = {
    **{name: partial(trial, Contest(name, EASY), 3) for name in METHODS if "loss" not in name},
    "effort": partial(
        searches.effort_trial, searches.EffortSpec(EASY, best=(1, 8), restarts=(8,)), 3
    ),
    "together": partial(contest.together, contest.Together("likelihood, SGD", EASY, 2), 3),
    "gridlock": partial(stuck.trial, stuck.Spec(Setting(4, 4, 60), (0.05,)), 0),
    "slides": partial(em_and_spectral.trial, em_and_spectral.Spec(EASY, "one"), 3),
    "annealing": partial(stuck.watch, EASY, 2, 5),
    "wrong ends": partial(searches.ends_trial, searches.EndsSpec(EASY, starts=4), 3),
    "headline": partial(
        headline.run,
        headline_stream.Spec(k=2, d=4, seeds=2, batch=20, steps=3, gate_steps=3, points=1),
    ),
    "stages": partial(stages.trial, stages.Spec(k=2, d=4), 2_000, 1),
    "how many": partial(how_many.trial, how_many.Spec(k=2, d=3, samples_per_expert=150), 1),
    "efficiency": partial(efficiency.trial, efficiency.Spec(k=2, d=4, n=500, bound_samples=500), 1),
    "sample complexity": partial(
        sample_complexity.trial,
        sample_complexity.Spec(k=2, d=6, nonlinearity="tanh", sizes=(500,)),
        1,
    ),
    "onset": partial(onset.trial, onset.Spec(k=2, d=4), 1),
    "stream": partial(l4_stream.run, l4_stream.Spec(steps=3, seeds=2)),
}


FIXED_TRUTH = {"sample complexity", "onset"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_no_number_of_an_experiment_is_drawn_for_two_purposes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth, data, starts and solver: what one of them draws, none of the others does."""
    ledger = Ledger(monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtfulFitWarning)
        EXPERIMENTS[name]()
    assert len(ledger.drawn) >= 2, ledger.drawn.keys()
    assert "truth" in ledger.drawn or name in FIXED_TRUTH
    for one, other in combinations(ledger.drawn, 2):
        assert not ledger.drawn[one] & ledger.drawn[other], (one, other)


def test_chance_sees_a_single_row_of_the_truth_among_many() -> None:
    truth = draw(SETTINGS[1], 0).truth.regressors
    rows = torch.randn(3000, 8, generator=stream("rows"), dtype=torch.float64)
    assert chance(rows, truth) > 0.01
    rows[1234] = 0.37 * truth[5]
    assert chance(rows, truth) < 1e-9


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_no_start_of_a_contestant_is_near_the_truth(setting: Setting) -> None:
    for seed in (0, child_seed(0, 1), child_seed(3, "tuning", 2)):
        problem = draw(setting, seed)
        assert chance(problem.starts(304), problem.truth.regressors) > 1e-3
        solver = torch.randn(304, setting.d, generator=problem.generator(), dtype=torch.float64)
        assert chance(solver, problem.truth.regressors) > 1e-3


@pytest.mark.parametrize("setting", SETTINGS[:2], ids=str)
def test_no_row_that_recover_draws_is_near_the_truth(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (0, 1):
        rows, truth = drawn_by_recover(draw(setting, seed), monkeypatch)
        assert len(rows) >= 4 * setting.k and chance(rows, truth) > 1e-3


def test_gradient_descent_starts_where_the_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, seen = draw(SETTINGS[0], 0), []

    def end(loss: Any, start: list[Tensor], **options: Any) -> Any:
        seen.append(start[0])
        raise StopIteration

    monkeypatch.setattr(gradient_baselines, "gradient_descent", end)
    with pytest.raises(StopIteration):
        gradient_baselines.descend(problem, loss="squared", optimiser="sgd")
    assert torch.equal(seen[0], problem.starts(1))


def test_the_headlines_methods_start_as_far_away_as_random_rows_are() -> None:
    """E_reg of the starts beside that of rows from a stream that nobody else uses."""
    spec = headline_stream.Spec(k=3, d=6, seeds=12, batch=20, steps=2, gate_steps=2, points=1)
    start = headline.run(spec).regressor["squared loss"][0]
    truth = torch.randn(500, 3, 6, generator=stream("anything"), dtype=torch.float64)
    other = torch.randn(500, 3, 6, generator=stream("else"), dtype=torch.float64)
    usual = [regressor_error_of(a, b) for a, b in zip(other, truth, strict=True)]
    assert float(start.min()) > np.quantile(usual, 0.002)


def test_success_does_not_depend_on_whether_solver_and_data_share_a_seed() -> None:
    """One annealed start, k = d = 4, four samples a weight, forty data sets. When the streams
    coincided that start was the truth itself and never failed."""
    won = torch.zeros(40, 2, dtype=torch.bool)
    for run in range(40):
        problem = draw(Setting(4, 4, 64), run)
        for which, seed in enumerate((run, child_seed(run, "another"))):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DoubtfulFitWarning)
                fit = moe.recover(problem.x, problem.y, 4, seed=seed, gated=False, restarts=1)
            error = regressor_error_of(fit.model.regressors, problem.truth.regressors)
            won[run, which] = error < 0.05
    same, other = won.T
    only_same, only_other = int((same & ~other).sum()), int((other & ~same).sum())
    assert 4 <= int(other.sum()) <= 36, "neither hopeless nor sure: a leak would show"
    assert binomtest(only_same, only_same + only_other).pvalue > 0.01
