"""Nobody is told the truth: no start that a contestant draws is nearer to it than chance allows."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import beta, binomtest
from torch import Tensor

import moe
from moe.coordinates import coordinates_of
from moe.experiments import gradient_baselines, headline
from moe.experiments.baselines import METHODS
from moe.experiments.problems import Problem, Setting, draw
from moe.metrics import regressor_error_of
from moe.randomness import child_seed, stream
from moe.solvers import recombination, restarts

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
        monkeypatch.setattr(module, "random_rows", watched(recombination.random_rows))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="recover: converged is False")
        METHODS["recover"](problem)
    monkeypatch.undo()
    coordinates = coordinates_of(problem.x, problem.y, problem.nonlinearity, problem.sigma)
    inside = torch.linalg.solve(coordinates.basis, problem.truth.regressors.T).T
    return torch.cat([rows.flatten(0, -2) for rows in seen]), inside


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
    spec = headline.Spec(k=3, d=6, seeds=12, batch=20, steps=2, gate_steps=2, points=1)
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
                warnings.filterwarnings("ignore", message="recover: converged is False")
                fit = moe.recover(problem.x, problem.y, 4, seed=seed, gated=False, restarts=1)
            error = regressor_error_of(fit.model.regressors, problem.truth.regressors)
            won[run, which] = error < 0.05
    same, other = won.T
    only_same, only_other = int((same & ~other).sum()), int((other & ~same).sum())
    assert 4 <= int(other.sum()) <= 36, "neither hopeless nor sure: a leak would show"
    assert binomtest(only_same, only_same + only_other).pvalue > 0.01
