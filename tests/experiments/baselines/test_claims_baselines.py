"""The claims of chapter 8: a record in which one is just false is noticed."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from moe.experiments.baselines import claims as decide
from moe.experiments.baselines.contest import Row, Trust
from moe.experiments.baselines.searches import Effort, EffortSpec, Ends, EndsSpec, Point
from moe.experiments.baselines.thresholds.climbs import Climb, Curve
from moe.experiments.baselines.thresholds.success_curves import DRAWS, Draws
from moe.experiments.baselines.tuning import Outcome
from moe.experiments.common.problems import Setting
from moe.experiments.common.shares import Share

TRUST = Trust(Setting(4, 4, 48), right=90, right_doubted=0, wrong_doubted=5, wrong=10, ahead=3)


def size(value: float, spread: float) -> Draws:
    noise = spread * torch.linspace(-2, 2, DRAWS, dtype=torch.float64)
    return Draws(math.log(value), math.log(value) + noise, math.log(value) + noise)


def ratio(value: float, spread: float, k: int = 3) -> decide.Ratio:
    return decide.Ratio("", k, k, size(value, spread))


def test_a_method_is_dearer_only_if_the_whole_interval_is() -> None:
    assert decide.between([ratio(2, 0.1), ratio(3, 0.1)], 1.5).holds
    assert not decide.between([ratio(2, 0.3), ratio(2, 0.3)], 1.5).holds
    assert not decide.between([ratio(2, 0.1)], 1, 2.1).holds
    assert decide.between([ratio(2, 0.1), ratio(8, 0.1)], 1).value == pytest.approx(4)
    assert decide.between([], 1).holds is None


def test_growth_is_the_slope_of_the_logarithms() -> None:
    found = [ratio(k**1.5, 0.0, k) for k in (2, 4, 8)]
    assert decide.growth(found).log == pytest.approx(1.5)
    assert decide.growth([ratio(3, 0.1, k) for k in (2, 4, 8)]).log == pytest.approx(0)
    assert math.isnan(decide.growth([ratio(3, 0.1)]).interval()[0])


def test_the_tuned_choice_loses_where_another_wins_on_six_more_of_the_same_data_sets() -> None:
    chosen = Outcome((0.9,) * 6 + (0.0,) * 14)
    assert not decide.no_better(chosen, [Outcome((0.0,) * 20)]).holds
    assert decide.no_better(chosen, [Outcome((0.9,) * 2 + (0.0,) * 18)]).holds
    both = [Outcome((0.0,) * 20)] * 5
    assert decide.no_better(chosen, both).holds, "among five choices one may be ahead by chance"


def test_recombination_must_win_clearly_and_cost_less() -> None:
    best = Point("best", 300, (False,) * 18 + (True,) * 2, 900.0)
    ours = Point("recover", 300, (True,) * 10 + (False,) * 8 + (True,) * 2, 800.0)
    record = Effort(EffortSpec(Setting(8, 8, 256)), (best, ours), (0.0,) * 20, TRUST)
    assert decide.searches_better(record).holds
    dear = replace(record, points=(best, replace(ours, passes=901.0)))
    assert not decide.searches_better(dear).holds
    few = replace(ours, won=(True,) * 6 + (False,) * 12 + (True,) * 2)
    assert not decide.searches_better(replace(record, points=(best, few))).holds


def test_what_two_ends_share_must_be_right_more_often_in_most_data_sets() -> None:
    spec = EndsSpec(Setting(6, 6, 144))
    many = Ends(spec, (100.0,) * 20, (40.0,) * 20, (50.0,) * 20, (45.0,) * 20)
    assert decide.more_often_right([many], 0.3).holds
    assert not decide.more_often_right([many], 0.5).holds
    lucky = replace(many, shared=(50.0,) * 20, rights_of_shared=(50.0,) * 14 + (20.0,) * 6)
    assert not decide.more_often_right([lucky], 0.4).holds, "few data sets carry the lead"


def test_failed_runs_are_counted_by_samples_per_weight() -> None:
    outcomes = ((8, 0, 0.5), (8, 1, 0.5), (32, 0, 0.5))
    curve = Curve(Climb("m", Setting(2, 2, 0)), outcomes, ((8, True), (8, False), (32, False)))
    assert decide.below_oracle([curve], 4) == (1, 1)
    assert decide.below_oracle([curve], 0, 4) == (1, 2)
    assert decide.below_oracle([curve], 0, crowd=3) == (0, 0)


def test_a_share_of_misplaced_trust_must_lie_within_its_bounds() -> None:
    assert decide.misplaced([TRUST], 0.02, 0.25).holds
    assert decide.misplaced([TRUST], 0.0, 0.25).value == 0.1
    assert not decide.misplaced([replace(TRUST, wrong=0)], 0.0, 0.25).holds
    assert not decide.misplaced([TRUST], 0.02, 0.15).holds


def test_one_success_in_five_is_not_yet_failure_in_four_of_five() -> None:
    def row(method: str, won: int, error: float) -> Row:
        return Row(method, Setting(3, 10, 2000), Share(won, 20), error, 0.2, 60.0)

    assert decide.all_fail([row("a", 3, 0.5), row("b", 5, 0.5)], "ab").holds
    assert not decide.all_fail([row("a", 3, 0.5), row("b", 8, 0.5)], "ab").holds
    rows = [row("oracle", 20, 1e-4), row("a", 20, 1.04e-4), row("b", 20, 1.06e-4)]
    assert decide.at_the_oracles(rows, "a").holds and not decide.at_the_oracles(rows, "ab").holds
    assert not decide.at_the_oracles([rows[0], row("a", 19, 1e-4)], "a").holds


def test_heat_frees_stuck_runs_only_if_both_intervals_say_so() -> None:
    assert decide.mostly(Share(16, 19), Share(2, 19)).holds
    assert not decide.mostly(Share(13, 19), Share(2, 19)).holds
    assert not decide.mostly(Share(16, 19), Share(6, 19)).holds


def test_nearly_all_must_arrive_on_more_fresh_samples_and_fewer_than_half_on_as_many() -> None:
    assert decide.on_fresh(Share(6, 19), Share(18, 19)).holds
    assert not decide.on_fresh(Share(10, 19), Share(19, 19)).holds
    assert not decide.on_fresh(Share(6, 19), Share(17, 19)).holds
    assert not decide.on_fresh(Share(2, 19), Share(18, 19)).holds, "that would be significant"


def test_the_slides_order_without_the_slides_gap() -> None:
    slides = {"EM": {3: 1.0, 4: 1.5}, "spectral + EM": {3: 0.2, 4: 0.375}}
    assert decide.as_on_slides({3: (1.0, 0.3), 4: (2.0, 1.2)}, slides).holds
    assert not decide.as_on_slides({3: (1.0, 0.8), 4: (2.0, 1.2)}, slides).holds
    assert not decide.as_on_slides({3: (1.0, 0.3), 4: (2.0, 0.9)}, slides).holds, "as wide a gap"
    assert decide.as_on_slides({}, slides).holds is None
