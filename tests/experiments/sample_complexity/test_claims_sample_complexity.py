"""The claims of chapter 9 notice when they are just false."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from helpers import normal
from torch import Tensor

from moe.experiments.sample_complexity import claims as judge
from moe.experiments.sample_complexity import claims_efficiency as judge_bound
from moe.experiments.sample_complexity import claims_onset as judge_onset
from moe.experiments.sample_complexity import efficiency
from moe.experiments.sample_complexity.errors import Cell, Spec, limit_laws, predicted
from moe.experiments.sample_complexity.onset import Onset, Try
from moe.experiments.sample_complexity.onset import Spec as OnsetSpec

SIZES = (1_000, 10_000, 100_000)
SPEC = Spec(k=2, d=60, sizes=SIZES, methods=("average",))


def cell(d: int = 60, factor: float = 1.0, sets: int = 12, power: float = -1.0) -> Cell:
    """Errors drawn from the law, times a factor, falling like n^power up to the largest n."""
    spec = replace(SPEC, d=d)
    law = limit_laws(spec.k, spec.sigma, spec.gate_norm, spec.nonlinearity)["average"]
    draws = factor * law.in_dimension(d).worst(sets, seed=d) / SIZES[-1]
    n = torch.tensor(SIZES, dtype=torch.float64)
    return Cell(spec, {"average": (n / SIZES[-1])[:, None] ** power * draws})


def test_heights_notice_a_third_too_much_where_the_law_is_sharp() -> None:
    assert judge.heights([cell(), cell(d=30)]).holds
    assert not judge.heights([cell(), cell(factor=1.35)]).holds
    low, high = judge.range_of_medians(cell(), "average", tail=0.05)
    assert 0.8 < low < 1 < high < 1.25


def test_slopes_of_another_power_are_noticed() -> None:
    right, wrong = judge.last_slopes([cell()]), judge.last_slopes([cell(power=-0.8)])
    assert right.holds and right.value == pytest.approx(-1)
    assert wrong.holds is False and wrong.value == pytest.approx(-0.8)


def test_an_interval_so_wide_that_it_contains_minus_one_says_nothing() -> None:
    loose = cell(sets=4)
    scatter = torch.tensor([[1, 1, 1, 1], [0.3, 0.6, 3, 6], [0.05, 0.6, 3, 9]], dtype=torch.float64)
    wide = replace(loose, errors={"average": loose.errors["average"] * scatter})
    assert judge.last_slopes([wide]).holds is None


def test_a_law_that_is_a_tenth_off_or_does_not_grow_as_simulated_is_noticed() -> None:
    laws = [limit_laws(2, 0.1, 1.0, "linear")["average"].in_dimension(d) for d in (10, 40)]
    noise = 0.2 * normal(400, 2, purpose="errors")
    noise = noise - noise.mean()
    exact = [law.squared_angles * (1 + noise) for law in laws]
    assert judge.as_simulated(exact, laws).holds
    assert not judge.as_simulated([exact[0], 1.1 * exact[1]], laws).holds
    assert not judge.as_simulated([1.1 * exact[0], exact[1]], laws).holds
    loose = [law.squared_angles * (1 + 5 * noise[:8]) for law in laws]
    assert judge.as_simulated(loose, laws).holds is None  # too few to tell


def grown(medians: list[float]) -> list[Cell]:
    """Medians of n E_reg in 50, 100, 200 dimensions, falling like 1/n."""
    n = torch.tensor(SIZES, dtype=torch.float64)[:, None]
    scatter = (0.1 * normal(12, purpose="errors")).exp()
    return [
        Cell(replace(SPEC, d=d), {"average": m * scatter / n})
        for d, m in zip((50, 100, 200), medians, strict=True)
    ]


def test_growth_like_another_power_of_the_dimension_is_noticed() -> None:
    right = judge.grows_like_d(grown([500.0, 1_000.0, 2_000.0]), "average")
    assert right.holds and right.value == pytest.approx(1)
    wrong = judge.grows_like_d(grown([500.0, 1_250.0, 3_125.0]), "average")
    assert wrong.holds is False and wrong.value == pytest.approx(math.log2(2.5))


def test_the_law_and_a_power_of_the_dimension_are_told_apart_where_they_differ() -> None:
    law = [predicted(replace(SPEC, d=d))["average"] for d in (50, 100, 200)]
    assert judge.affine_over_power(grown([0.7 * v for v in law]), "average").high < 0
    bent = grown([law[0], 0.6 * law[1], law[2]])
    assert judge.affine_over_power(bent, "average").value < 0


def test_an_edge_half_again_as_far_is_not_at_the_law() -> None:
    assert judge.edge_at_law([cell()], ["average"]).holds
    assert judge.edge_at_law([cell(factor=1.5)], ["average"]).holds is False
    assert judge.edge_at_law([cell(factor=1.5, sets=4)], ["average"]).holds is None
    assert judge.edge_before_law([cell(factor=0.5)], ["average"]).holds
    assert not judge.edge_before_law([cell()], ["average"]).holds
    assert not judge.edge_before_law([cell(factor=0.1)], ["average"]).holds


def onset(first: list[int], failing: float = 0.4, ahead: float = 20.0, **options: int) -> Onset:
    """Each data set fails at the size before its first sufficient one."""
    spec = replace(OnsetSpec(), **options)  # type: ignore[arg-type]
    tries = []
    for place in first:
        fail = Try(spec.sizes[place - 1], failing, 0.01, ahead)
        tries.append((fail, Try(spec.sizes[place], 0.01, 0.01, 0.0)))
    return Onset(spec, tuple(tries))


def test_a_slide_is_no_jump_and_data_sets_that_differ_by_more_than_two_are_noticed() -> None:
    assert judge_onset.jump([onset([1] * 9)]).holds
    assert judge_onset.jump([onset([1] * 9, failing=0.09)]).holds is False
    assert judge_onset.jump([onset([1] * 3)]).holds is None
    assert judge_onset.spread([onset([1, 2, 2, 1])]).holds
    assert judge_onset.spread([onset([1, 2, 2, 4])]).holds is False


def test_failures_of_the_likelihood_are_not_failures_of_the_search() -> None:
    right = judge_onset.search_fails([onset([1] * 9), onset([2] * 9)])
    assert right.holds and right.value == 1.0
    assert judge_onset.search_fails([onset([1] * 9), onset([2] * 9, ahead=0.5)]).holds is False
    assert judge_onset.search_fails([onset([1] * 2)]).holds is None


def test_more_starts_must_help_more_often_than_they_harm() -> None:
    few = onset([2] * 9)
    assert judge_onset.more_starts_need_less(few, onset([1] * 4 + [2] * 5)).holds
    assert judge_onset.more_starts_need_less(few, onset([1] * 4 + [3] * 2 + [2] * 3)).holds is False
    assert judge_onset.more_starts_need_less(few, onset([2] * 9)).holds is False
    assert judge_onset.more_starts_need_less(few, onset([1] * 5 + [2] * 4)).holds is False


def test_a_constant_multiple_does_not_grow() -> None:
    assert judge_onset.multiple_grows([onset([1] * 9, d=10), onset([2] * 9, d=20)]).holds
    mostly = onset([1] * 4 + [2] * 5, d=20)  # the median is a step higher, the data sets are not
    mixed = onset([1] * 5 + [2] * 4, d=10)
    assert judge_onset.multiple_grows([mixed, mostly]).holds is False
    less, more = onset([1] * 3 + [2] * 3, d=10), onset([1] * 2 + [2] * 4, d=20)
    assert judge_onset.multiple_grows([less, more]).holds is None
    assert not judge_onset.multiple_grows([onset([2] * 9, d=10), onset([2] * 9, d=20)]).holds
    assert not judge_onset.multiple_grows([onset([1] * 9), onset([3] * 9), onset([2] * 9)]).holds


def record(name: str, middle: float, width: float, sets: int = 120) -> efficiency.Record:
    values = middle + width * normal(sets, purpose="errors")
    values = values - values.mean() + middle
    return efficiency.Record(efficiency.Spec(), {name: values})


def test_a_first_order_twin_takes_its_scatter_away_and_no_error() -> None:
    scatter = 0.3 * normal(9, purpose="errors")
    values = {"gating": 1.13 + scatter, "first_order_gating": 1 + scatter}
    beside = efficiency.Record(efficiency.Spec(), values)
    assert beside.mean("gating").value == pytest.approx(1.13)
    assert beside.mean("gating").high - beside.mean("gating").low < 1e-9
    assert judge_bound.at_the_bound([beside], "gating").holds is False


def test_an_error_an_eighth_above_the_bound_is_noticed() -> None:
    assert judge_bound.at_the_bound([record("gating", 1.03, 0.3)], "gating").holds
    assert judge_bound.at_the_bound([record("gating", 1.13, 0.3)], "gating").holds is False
    assert judge_bound.at_the_bound([record("gating", 1.1, 0.3, sets=6)], "gating").holds is None


def test_coverage_of_nine_in_ten_is_noticed() -> None:
    name = "covered_gating"
    assert judge_bound.covers([record(name, 0.95, 0.05)], "gating").holds
    assert judge_bound.covers([record(name, 0.91, 0.05)], "gating").holds is False
    assert (
        judge_bound.covers([record(name, 0.925, 0.1)], "gating").holds is False
    )  # within its interval
    assert judge_bound.covers([record(name, 0.925, 0.1, sets=8)], "gating").holds is None
    holes = record(name, 0.95, 0.05)
    holes.values[name][3] = math.nan
    found = judge_bound.covers([holes], "gating")
    assert found.holds and isinstance(found.value, float) and math.isfinite(found.value)


def test_an_error_at_the_bound_at_one_level_is_not_above_it() -> None:
    name = "regressors"
    assert judge_bound.above_the_bound(
        [record(name, 1.05, 0.3), record(name, 1.1, 0.3)], name
    ).holds
    assert not judge_bound.above_the_bound(
        [record(name, 0.99, 0.3), record(name, 1.2, 0.3)], name
    ).holds
    assert not judge_bound.above_the_bound([record(name, 1.02, 0.3, sets=40)], name).holds


def test_powers_of_k_are_taken_over_the_cells_whose_law_is_known() -> None:
    def exact(k: int) -> Cell:
        spec = replace(SPEC, k=k, d=20)
        median = predicted(spec).get("average", 1e9)
        errors: Tensor = torch.full((3, 5), median, dtype=torch.float64)
        return Cell(spec, {"average": errors})

    cells = [exact(k) for k in (2, 3, 4, 6)]
    law, measured = judge.powers(cells, "average")
    assert measured is not None and measured.value == pytest.approx(law) and 1.8 < law < 3
    assert judge.powers(cells, "recover")[1] is None
    assert judge.powers_agree(cells, ["average"]).holds
    steep = [Cell(c.spec, {"average": c.errors["average"] * c.spec.k**0.4}) for c in cells]
    assert judge.powers_agree(steep, ["average"]).holds is False


def test_the_bootstrap_of_medians_covers_nearly_what_it_says() -> None:
    assert 0.88 < judge.coverage_of_medians(9, cases=600) < 0.98
    assert 0.9 < judge.coverage_of_medians(41, cases=300) < 0.99
