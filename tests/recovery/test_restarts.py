"""moe.recovery.restarts: random starts annealed expert by expert."""

from typing import Any

import pytest
import torch
from helpers import samples

from moe.metrics import regressor_error_of
from moe.model.mixture import random_rows
from moe.model.nonlinearity import as_nonlinearity
from moe.randomness import stream
from moe.recovery import restarts, starts
from moe.recovery.recombination import agree, recombine
from moe.recovery.restarts import arrived, race, race_jointly
from moe.solvers.em import EMResult, expectation_maximisation


@pytest.mark.parametrize("name", ["linear", "sigmoid", "relu", "tanh"])
def test_a_race_finds_the_experts(name: str) -> None:
    truth, x, y = samples(3, 8, 4000, 6, sigma=0.05, nonlinearity=name)
    raced = race(x, y, 3, truth.nonlinearity, stream("starts", 0))
    assert raced.regressors.shape[1:] == (3, 8) and raced.sigma.shape[1:] == (3,)
    best, second, *_ = raced.regressors
    assert agree(best, second) or not arrived(raced.sigma[0], y)
    assert not raced.gating.any() and bool(raced.converged.all())
    assert bool((raced.log_likelihood.diff() <= 0).all()), "best first"
    assert regressor_error_of(raced.regressors[0], truth.regressors) < 0.01
    assert arrived(raced.sigma[0], y) == (name != "sigmoid"), "0.05 is small beside y"


@pytest.mark.parametrize("gate_norm", [0.0, 4.0])
def test_strong_gates_do_not_mislead_equal_weights(gate_norm: float) -> None:
    truth, x, y = samples(4, 10, 4000, 2, sigma=0.05, gate_norm=gate_norm)
    raced = race(x, y, 4, truth.nonlinearity, stream("starts", 0))
    assert regressor_error_of(raced.regressors[0], truth.regressors) < 0.01


def test_one_sigma_for_each_expert_succeeds_where_one_for_all_fails() -> None:
    """The same starts on the same data; k = d = 12, no gates."""
    truth, x, y = samples(12, 12, 5000, 3, sigma=0.05, gate_norm=0.0)
    starts = torch.randn(6, 12, 12, generator=stream("starts", 0), dtype=torch.float64) / 12**0.5
    arrived = {}
    for noise in ("sigma", "sigmas"):
        fit = expectation_maximisation(
            x, y, starts, torch.zeros_like(starts), y.std(), truth.nonlinearity,
            learn=("regressors", noise), iterations=200, tolerance=1.0,
        )  # fmt: skip
        arrived[noise] = sum(
            regressor_error_of(rows, truth.regressors) < 0.05 for rows in fit.regressors
        )
    assert arrived["sigmas"] >= 5 and arrived["sigma"] <= 3


def test_random_starts_are_recombined_only_if_mending_does_not_settle_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truth, x, y = samples(3, 6, 1000, 0, sigma=0.1)
    budgets: list[int] = []

    def bred(*arguments: Any, starts: int, **options: Any) -> EMResult:
        budgets.append(starts)
        return recombine(*arguments, starts=starts, **options)

    monkeypatch.setattr(restarts, "recombine", bred)
    pair = race(x, y, 3, truth.nonlinearity, stream("starts", 0))
    assert not budgets and len(pair.regressors) == 2 and agree(*pair.regressors)
    monkeypatch.setattr(restarts, "agree", lambda one, other: False)
    alone = race(x, y, 3, truth.nonlinearity, stream("starts", 0), starts=5)
    assert not budgets and len(alone.regressors) >= 2, "one more start could not be paired"
    race(x, y, 3, truth.nonlinearity, stream("starts", 0), starts=30)
    monkeypatch.undo()
    monkeypatch.setattr(restarts, "recombine", bred)
    monkeypatch.setattr(restarts, "arrived", lambda sigmas, y: False)
    race(x, y, 3, truth.nonlinearity, stream("starts", 0), starts=40)
    assert budgets == [26, 36], "three experts are not mended"
    budgets.pop()
    monkeypatch.setattr(restarts, "_MANY", 3)
    pair = race(x, y, 3, truth.nonlinearity, stream("starts", 0), starts=40)
    assert budgets == [26] and len(pair.regressors) == 2 and agree(*pair.regressors)
    monkeypatch.setattr(restarts, "ample", lambda k: 56.0)  # there are 55.6
    race(x, y, 3, truth.nonlinearity, stream("starts", 0), starts=40)
    assert budgets == [26, 28], "a third of them may go into mending: one litter for each of two"
    monkeypatch.setattr(restarts, "agree", lambda one, other: False)
    race(x, y, 3, truth.nonlinearity, stream("starts", 0), starts=120)
    assert budgets == [26, 28, 92], "three times at most"


def test_scarce_samples_are_not_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine samples a weight: a sharp expert may be wrong."""
    truth, x, y = samples(3, 6, 162, 0, sigma=0.1)
    monkeypatch.setattr(restarts, "_MANY", 3)
    monkeypatch.setattr(restarts, "repaired", lambda *arguments, **options: pytest.fail("mended"))
    race(x, y, 3, truth.nonlinearity, stream("starts", 0), starts=30)


def test_more_samples_than_the_search_needs_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """2.5 k^2 d of them, at least 40 k d and 4,000."""
    seen: list[int] = []

    def looked(x: torch.Tensor, *arguments: Any, **options: Any) -> EMResult:
        seen.append(len(x))
        raise LookupError

    monkeypatch.setattr(starts, "race", looked)
    for k, d in ((20, 5), (4, 100), (2, 3)):
        x = torch.zeros(20_000, d, dtype=torch.float64)
        full = starts.Problem(x, x[:, 0], k, as_nonlinearity("linear"), None, False)
        with pytest.raises(LookupError):
            starts.search(full, full.part(), starts.Options(), stream("starts", 0))
    assert seen == [5_000, 16_000, 4_000]


def test_arrived_means_alike_and_small() -> None:
    y = 2.0 * torch.tensor([-1.0, 1.0]) / 2**0.5  # of standard deviation 2
    assert arrived(torch.tensor([0.1, 0.2]), y) and not arrived(torch.tensor([0.1, 0.201]), y)
    assert not arrived(torch.tensor([0.301, 0.301]), y)


def test_a_race_out_of_time_returns_the_best_and_says_it_has_not_converged() -> None:
    _, x, y = samples(3, 6, 1000, 0, sigma=0.1)
    raced = race(x, y, 3, as_nonlinearity("linear"), stream("starts", 0), starts=4, iterations=1,
                 tolerance=1e-9)  # fmt: skip
    assert raced.regressors.shape == (4, 3, 6) and not bool(raced.converged.any())


@pytest.mark.parametrize("seed", range(3))
def test_a_joint_race_loses_nothing_against_running_all_its_starts_to_the_end(seed: int) -> None:
    """Outputs that no mixture describes: the likelihood has many maxima."""
    x = torch.randn(300, 2, generator=stream("inputs", seed), dtype=torch.float64)
    x = torch.cat([x, torch.ones(300, 1, dtype=torch.float64)], 1)
    noise = torch.randn(300, generator=stream("noise", seed), dtype=torch.float64)
    y, g = torch.sin(3 * x[:, 0]) + x[:, 1].abs() + 0.1 * noise, as_nonlinearity("linear")
    ends = race_jointly(x, y, 3, g, stream("starts", 0))
    rows = random_rows(20, 3, 3, stream("starts", 0), x.dtype)
    every = expectation_maximisation(
        x, y, rows, torch.zeros_like(rows), y.std(), g, iterations=300, tolerance=1.0
    )
    best = every.log_likelihood.sort(descending=True).values[:3]
    assert bool((ends.log_likelihood >= best - 1.0).all()), "one tolerance"
    assert float(best[0] - every.log_likelihood.median()) > 2, "else any start would have done"
    assert ends.regressors.shape == ends.gating.shape == (3, 3, 3) and ends.sigma.shape == (3,)
    assert bool((ends.log_likelihood.diff() <= 0).all()) and bool(ends.converged.all())
    assert bool(ends.gating[:, :-1].any()) and not bool(ends.gating[:, -1].any())


def test_a_joint_race_counts_its_starts_and_their_passes() -> None:
    truth, x, y = samples(2, 4, 500, 0, sigma=0.1)
    one = race_jointly(x, y, 2, truth.nonlinearity, stream("starts", 0), starts=1)
    assert len(one.regressors) == 1
    short = race_jointly(x, y, 2, truth.nonlinearity, stream("starts", 0), iterations=1,
                         tolerance=-1.0)  # fmt: skip
    assert short.passes == 20 * 20 + 10 and not bool(short.converged.any())
    full = race_jointly(x, y, 2, truth.nonlinearity, stream("starts", 0))
    assert regressor_error_of(full.regressors[0], truth.regressors) < 0.01
