"""The claims of chapter 12 notice when they are just false."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from moe.experiments.assumptions import claims as judge
from moe.experiments.assumptions import interactive, scores, sweeps
from moe.experiments.assumptions.inputs import Moment
from moe.experiments.assumptions.limits import Agreement
from moe.experiments.assumptions.outputs import Reweighted, Tails, ToldSigma
from moe.experiments.assumptions.sweeps import EM, FAR, L4, ORACLE, RECOVER, REPAIRED, Record, Spec
from moe.experiments.assumptions.worlds.contestants import CHECKS
from moe.experiments.assumptions.worlds.violations import VIOLATIONS
from moe.experiments.engine.sweep import Trial

NAMES = tuple(VIOLATIONS)
SCATTER = torch.tensor([0.9, 1.0, 1.1], dtype=torch.float64)
GOOD = {L4: 2e-2, FAR: 2e-3, RECOVER: 2e-4, EM: 2e-4, ORACLE: 2e-4, REPAIRED: 2e-4}
BAD = {L4: 0.3, FAR: 0.1, RECOVER: 0.05, EM: 0.05, ORACLE: 0.05, REPAIRED: 3e-4}


def record(**changed: dict[str, float]) -> Record:
    """All as in GOOD at degree 0 and where the likelihood is right, as in BAD where it is wrong,
    doubted there; ``changed``: by violation (blanks as underscores) at its degree 1."""
    values: dict[tuple[str, float], dict[str, Tensor]] = {}
    for name in NAMES:
        wrong = name in judge.SEES_WRONG
        for degree in (0.0, 1.0):
            heights = dict(BAD if wrong and degree else GOOD)
            spoke = dict.fromkeys(CHECKS, 0.0) | {"calibrated": float(wrong and degree > 0)}
            heights |= spoke
            if degree:
                heights |= changed.get(name.replace(" ", "_"), {})
            values[name, degree] = {
                key: height * (1.0 if key in CHECKS else SCATTER) * torch.ones(3).double()
                for key, height in heights.items()
            }
    return Record(Spec(NAMES, 3), values)


def test_formulas_that_miss_are_noticed() -> None:
    good = [Agreement("a", 2, 3.0, 9, 0.0), Agreement("b", 4, 5.0, 81, 0.7)]
    assert judge.formulas_hold(good).holds
    assert not judge.formulas_hold([*good, Agreement("c", 2, 6.1, 9, 0.1)]).holds
    assert not judge.formulas_hold(good[:1]).holds, "nothing was changed"


def test_minima_that_turn_are_noticed() -> None:
    good, bad = [Reweighted(1e-9, 1e-8, 1e-12)], [Reweighted(0.2, 1.0, 0.0)]
    assert judge.directions_stay(good, bad).holds
    assert not judge.directions_stay(good, good).holds
    assert not judge.directions_stay([replace(good[0], proportions=1e-3)], bad).holds
    assert not judge.directions_stay([replace(good[0], error=1e-3)], bad).holds


def test_moments_of_inputs() -> None:
    one = Moment("uniform", 0.4, 0.4, 0.01, (0.4, 0.04), (2.0, 2.5))
    two = replace(one, law="all binary", least_squares=math.nan, errors=(2.0, math.nan))
    assert judge.averages_follow([one, two]).holds
    assert not judge.averages_follow([replace(one, errors=(6.5, 1.0))]).holds
    assert not judge.averages_follow([replace(one, formula=0.1)]).holds
    assert judge.least_squares_is_exact([one, two]).holds
    assert not judge.least_squares_is_exact([replace(one, errors=(1.0, 6.5))]).holds
    assert not judge.least_squares_is_exact([two]).holds
    assert judge.binary_is_refused([one, two]).holds
    assert not judge.binary_is_refused([one, replace(two, least_squares=0.1)]).holds


def test_ways_with_scores() -> None:
    def done(factor: float) -> list[Trial]:
        spec = scores.Spec("law", "linear", 1.5)
        return [
            Trial(spec, seed, {scores.AVERAGE: 0.1 * scale, scores.TRUE: factor * 0.1}, 0.0)
            for seed, scale in enumerate((0.9, 1.0, 1.1))
        ]

    assert judge.better_way(done(0.5), "law", scores.AVERAGE, scores.TRUE).holds
    assert not judge.better_way(done(1.0), "law", scores.AVERAGE, scores.TRUE).holds


def test_a_lie_that_does_not_help_is_noticed() -> None:
    def told(at_four: float) -> ToldSigma:
        errors = torch.tensor([[0.1], [at_four]]).double() * SCATTER
        return ToldSigma("tanh", 0.1, (1.0, 4.0), errors)

    assert judge.told_more_is_better(told(0.02), 4.0).holds
    assert not judge.told_more_is_better(told(0.1), 4.0).holds
    assert not judge.told_more_is_better(told(math.nan), 4.0).holds


def test_tails_that_settle_are_noticed() -> None:
    def tails(plain: float, clipped: float) -> Tails:
        n = torch.tensor([1.0, 16.0]).double()[:, None]
        return Tails(2.5, (1_000, 16_000), n**plain * SCATTER, n**clipped * SCATTER)

    assert judge.tails_grow(tails(0.5, -0.5)).holds
    assert not judge.tails_grow(tails(-0.4, -0.5)).holds
    assert not judge.tails_grow(tails(0.5, -0.1)).holds


def test_a_likelihood_that_leaves_the_oracle_is_noticed() -> None:
    assert judge.stays_with_the_likelihood(record()).holds
    assert not judge.stays_with_the_likelihood(record(unequal_norms={RECOVER: 6e-4})).holds


def test_a_silent_error_is_noticed() -> None:
    assert judge.wrong_is_noticed(record()).holds
    assert judge.wrong_is_noticed(record(outliers={"calibrated": 0.0})).holds is False


def test_oracles_repairs_and_limits() -> None:
    assert judge.oracle_is_lost(record()).holds
    assert not judge.oracle_is_lost(record(outliers={ORACLE: 5e-4})).holds
    assert judge.repairs_work(record()).holds
    assert not judge.repairs_work(record(outliers={REPAIRED: 0.02})).holds
    assert judge.lost_in_population(record(), ["outliers"]).holds
    assert not judge.lost_in_population(record(), ["outliers", "unequal norms"]).holds
    assert judge.lost_in_population(record(outliers={FAR: math.nan}), ["outliers"]).holds
    assert judge.kept_in_population(record(), ["unequal norms"]).holds
    assert not judge.kept_in_population(record(), ["outliers"]).holds
    assert judge.random_is_fair(record(), NAMES).holds
    assert not judge.random_is_fair(record(outliers={EM: 0.2}), ["outliers"]).holds
    assert judge.l4_needs_more(record()).holds


def test_a_fit_that_passes_unseen_is_counted() -> None:
    def judged(errors: list[float], doubted: list[float]) -> sweeps.Judged:
        return sweeps.Judged(
            sweeps.Trial("none", 0.0),
            torch.tensor(errors, dtype=torch.float64),
            torch.tensor(doubted, dtype=torch.float64),
        )

    one, none = judged([0.2, 0.3, 0.001], [0.0, 1.0, 0.0]), judged([0.2, 0.001], [1.0, 0.0])
    assert judge.passes_unseen([one, none]).value == "1 of 5 fits, errors up to 0.2"
    assert judge.passes_unseen([one]).holds
    assert not judge.passes_unseen([none]).holds


def test_runs_of_one_mixture_are_one_cluster() -> None:
    above = torch.tensor([[8.0, 8.0], [0.5, 0.5]], dtype=torch.float64)
    found = judge.geometric(above, torch.ones_like(above))
    assert not found.holds
    assert found.interval is not None and found.interval[0] < 1 < found.interval[1]
    assert judge.geometric(above[:1], above[:1]).holds is None


def test_the_assumption_that_a_reader_breaks_has_the_errors_of_its_mixtures() -> None:
    found = record(unequal_norms={L4: math.nan})
    figure = interactive.broken_assumption(found).data
    names = figure["controls"][0]["values"]
    at = names.index("outliers")
    marks = figure["panels"][0]["marks"]
    recovered = next(i for i, mark in enumerate(marks) if mark.get("label") == "recover")
    assert marks[recovered]["y"][at] == [pytest.approx(2e-4), pytest.approx(0.05)]
    assert marks[recovered + 2]["y"][at][1] == [pytest.approx(0.05)]
    said = figure["say"]["words"][at]
    assert "all holds" in said[0][0] and "share: 1." in said[1][0]
    assert "recover doubts 0 of 3" in said[0][0] and "recover doubts 3 of 3" in said[1][0]
    norms = names.index("unequal norms")
    assert marks[0]["y"][norms][1] is None and "no answer" in figure["say"]["words"][norms][1][0]
