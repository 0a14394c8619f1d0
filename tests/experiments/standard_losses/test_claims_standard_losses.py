"""moe.experiments.standard_losses.claims: each finding, just true and just false."""

from dataclasses import replace
from math import log

import torch

from moe.experiments.common.shares import Share
from moe.experiments.standard_losses import claims as verdicts
from moe.experiments.standard_losses.lifted_trap import Lifted
from moe.experiments.standard_losses.population.newton_kantorovich import Enclosure, certify_squared
from moe.experiments.standard_losses.population.population_losses import (
    levenberg_marquardt,
    squared_population,
)
from moe.experiments.standard_losses.random_starts import Cell, Contest, EMShares
from moe.experiments.standard_losses.spurious_minima import oblique_pair, random_start
from moe.experiments.standard_losses.squared_phase import CERTIFIED, FOUND, NONE, Phase, PhaseSpec
from moe.randomness import stream


def contest(successes: int, datasets: int = 12, oracle: float = 0.01) -> Contest:
    errors = torch.full((datasets, 2), 0.5, dtype=torch.float64)
    errors.view(-1)[:successes] = 0.01
    return Contest(errors, torch.full((datasets,), oracle, dtype=torch.float64))


def test_the_squared_loss_fails_only_where_it_could_have_succeeded() -> None:
    assert verdicts.fails(contest(2)).holds is True
    assert verdicts.fails(contest(13)).holds is False  # just more than half
    assert verdicts.fails(contest(6, datasets=6)).holds is False  # half, of too few
    assert verdicts.fails(contest(2, oracle=0.051)).holds is False  # nobody could
    assert verdicts.fails(contest(1, datasets=2)).holds is None
    assert verdicts.fails(contest(3, datasets=2)).holds is False


def test_the_likelihood_succeeds_by_its_interval() -> None:
    assert verdicts.succeeds([contest(24), contest(22)]).holds is True
    assert verdicts.succeeds([contest(24), contest(15)]).holds is False


def test_a_share_of_truths_is_common_by_its_lower_end() -> None:
    assert verdicts.common(Share(8, 10), 0.25).holds is True
    assert verdicts.common(Share(4, 10), 0.25).holds is False
    assert verdicts.common(Share(1, 3), 0.25).holds is None
    assert verdicts.common(Share(0, 8), 0.0).holds is False


def test_certified_asks_for_h_below_one_half() -> None:
    point = Enclosure(torch.zeros(1), 0.01, 1e-6, 4.9e-6, 1e-2, 10.0, 0.1, 1.0)
    assert verdicts.certified(point).holds
    assert not verdicts.certified(replace(point, gradient=5.01e-6)).holds
    assert not verdicts.certified(replace(point, excess=1e-6)).holds


def test_a_ball_beside_a_minimum_and_the_lift_are_checked_on_the_loss() -> None:
    truth = oblique_pair()
    loss = squared_population(truth, 24)
    theta = levenberg_marquardt(loss, random_start(truth, 8, stream("starts", 0)), 100)[0]
    spurious = theta[loss.values(theta) > 1e-3][0]
    point = certify_squared(truth, spurious, ((0.2, 0.15),))
    assert verdicts.encloses(truth, point, 0).holds
    assert not verdicts.encloses(truth, replace(point, excess=point.excess - 1e-9), 0).holds
    assert not verdicts.encloses(truth, replace(point, lipschitz=1e6), 0).holds
    assert verdicts.lifts(truth, point).holds
    assert not verdicts.lifts(truth, replace(point, extra_curvature=-1e-6)).holds


def phase(kinds: list[int], curvature: list[float]) -> Phase:
    spec = PhaseSpec((10, 30, 45, 60, 75, 85, 90), (2.0,))
    row = torch.tensor([curvature], dtype=torch.float64)
    return Phase(spec, torch.tensor([kinds]), row, row, row, row, row)


def test_the_valleys_birth_needs_both_ends_empty_and_a_falling_curvature() -> None:
    kinds = [NONE, *[CERTIFIED] * 4, FOUND, NONE]
    falling = [0.0, 8e-3, 9e-3, 5e-3, 2e-4, 4e-7, 0.0]
    assert verdicts.valley_is_born(phase(kinds, falling), 2.0).holds
    assert not verdicts.valley_is_born(phase([*kinds[:6], FOUND], falling), 2.0).holds
    assert not verdicts.valley_is_born(phase([FOUND, *kinds[1:]], falling), 2.0).holds
    assert not verdicts.valley_is_born(phase([*kinds[:4], FOUND, *kinds[5:]], falling), 2.0).holds
    flat = [*falling[:4], 5e-3, *falling[5:]]
    assert not verdicts.valley_is_born(phase(kinds, flat), 2.0).holds


def test_a_trap_is_a_strict_minimum_with_wrong_experts() -> None:
    trap = Lifted(1000, (0.8, 0.4), (0.03, 0.02), (0.9, 0.9), (0.1, 0.17))
    assert verdicts.trapped(trap).holds
    assert not verdicts.trapped(replace(trap, curvature=(0.03, -1e-6))).holds
    assert not verdicts.trapped(replace(trap, excess=(0.8, 0.049))).holds
    assert not verdicts.trapped(replace(trap, error=(0.9, 0.01))).holds
    assert not verdicts.trapped(replace(trap, excess=(0.4, 0.8))).holds


def shares(held: int, learned: int, oracle: int = 5) -> EMShares:
    counts = (Share(held, 100, 10), Share(learned, 100, 10), Share(oracle, 5))
    return EMShares(Cell(), *counts, torch.zeros(1))


def test_em_is_stuck_by_intervals_over_data_sets() -> None:
    assert verdicts.stuck_when_held({"a": [shares(2, 100)]}).holds is True
    assert verdicts.stuck_when_held({"a": [shares(50, 100)]}).holds is False
    assert verdicts.stuck_when_held({"a": [shares(2, 100, oracle=4)]}).holds is False
    assert verdicts.seldom_stuck_when_learned({"a": [shares(2, 75)]}).holds is True
    assert verdicts.seldom_stuck_when_learned({"a": [shares(2, 100), shares(2, 74)]}).holds is False


def test_annealing_is_soft_first_and_cool_last() -> None:
    path = torch.linspace(1.0, 0.05, 20, dtype=torch.float64)[:, None].repeat(1, 3)
    soft = {
        name: torch.full((20, 3), level)
        for name, level in (("sigma held", 0.1), ("sigma learned", 1.2))
    }
    assert not verdicts.anneals(soft, path, 0.05, log(4)).holds  # soft to the end
    soft["sigma learned"] = torch.linspace(1.2, 0.59, 20)[:, None].repeat(1, 3)
    soft["sigma learned"][1] = 1.2
    assert verdicts.anneals(soft, path, 0.05, log(4)).holds
    assert not verdicts.anneals(soft, path + 0.02, 0.05, log(4)).holds  # never at the truth
    hard = soft | {"sigma learned": torch.full((20, 3), 0.6)}
    assert not verdicts.anneals(hard, path, 0.05, log(4)).holds
    assert not verdicts.anneals(
        soft | {"sigma held": torch.full((20, 3), 0.2)}, path, 0.05, log(4)
    ).holds
