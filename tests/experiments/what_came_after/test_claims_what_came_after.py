"""The claims of chapter 13 notice when they are just false."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from moe.experiments.common.shares import Share
from moe.experiments.what_came_after import claims as judge
from moe.experiments.what_came_after.mirror import Identity, Rates
from moe.experiments.what_came_after.too_many import rates, rows
from moe.experiments.what_came_after.too_many.students import Row as Student
from moe.experiments.what_came_after.too_many.students import Spec as StudentSpec

SIZES = (300, 1_500, 7_500)


def errors(power: float, height: float = 1.0) -> Tensor:
    """Errors height n^power with a scatter of a twentieth over data sets, (sizes, 8)."""
    n = torch.tensor(SIZES, dtype=torch.float64)[:, None]
    scatter = 1 + 0.05 * torch.cos(torch.arange(24, dtype=torch.float64)).view(3, 8)
    return height * n**power * scatter


def test_an_identity_that_holds_nearly_is_noticed() -> None:
    good = Identity(1e-15, 1e-15, 1e-9)
    assert judge.mirror_holds([good, replace(good, steps=float("nan"))]).holds
    assert not judge.mirror_holds([good, replace(good, spread=1e-10)]).holds
    assert not judge.mirror_holds([good, replace(good, bregman=1e-10)]).holds
    assert not judge.mirror_holds([good, replace(good, steps=1e-5)]).holds


def test_a_rate_that_is_off_or_that_says_nothing_is_noticed() -> None:
    assert judge.rates_agree([Rates(0.75, 0.76, 0.76)]).holds
    assert not judge.rates_agree([Rates(0.75, 0.76, 0.76), Rates(0.7, 0.76, 0.76)]).holds
    assert not judge.rates_agree([Rates(0.05, 0.05, 0.05)]).holds


def test_an_order_of_contact_that_is_off_is_noticed() -> None:
    good = {rates.KNOWN: 1.0, rates.SPLIT: 1.95, rates.FREE: 4.05}
    assert judge.orders_agree(good).holds
    assert not judge.orders_agree(good | {rates.FREE: 3.0}).holds


def test_powers_are_those_of_the_errors_and_their_differences_are_noticed() -> None:
    assert judge.falls_like(SIZES, errors(-0.5), -0.5).holds
    assert not judge.falls_like(SIZES, errors(-0.3), -0.5).holds
    assert judge.slower(SIZES, errors(-0.25), errors(-0.5)).holds
    assert not judge.slower(SIZES, errors(-0.5), errors(-0.5)).holds
    assert not judge.slower(SIZES, errors(-0.6), errors(-0.5)).holds
    exact = torch.tensor(SIZES, dtype=torch.float64)[:, None] ** -0.25
    assert torch.allclose(judge.powers(SIZES, exact), torch.tensor([-0.25]).double())


def test_errors_that_fall_too_fast_or_are_no_larger_are_noticed() -> None:
    assert judge.slower_than(SIZES, errors(-0.3)).holds
    assert not judge.slower_than(SIZES, errors(-0.55)).holds
    assert judge.larger(errors(-0.5, 2.0), errors(-0.5)).holds
    assert not judge.larger(errors(-0.5, 1.4), errors(-0.5)).holds
    base = errors(-0.5)
    assert judge.costs_more(errors(-0.5, 8.0), base, errors(-0.5, 2.0), base).holds
    assert not judge.costs_more(errors(-0.5, 8.0), base, errors(-0.5, 7.0), base).holds


def test_a_fit_that_has_not_ended_is_noticed() -> None:
    assert judge.converged({"a": torch.full((2, 3), 1e-7)}).holds
    assert not judge.converged({"a": torch.full((2, 3), 1e-7), "b": torch.ones(1)}).holds


def test_students_that_are_not_rescued_are_noticed() -> None:
    spec = StudentSpec()
    few, many = (Student(spec, Share(n, 12), Share(n, 12), Share(n, 12), 0.1) for n in (5, 12))
    assert judge.rescued(few, many).holds
    assert not judge.rescued(replace(few, found=Share(10, 12)), many).holds
    assert not judge.rescued(few, replace(many, found=Share(9, 12))).holds
    assert judge.as_good(many, many).holds
    assert not judge.as_good(few, many).holds


def test_a_start_near_the_truth_that_fails_is_noticed() -> None:
    assert judge.found_always([Share(10, 10), Share(9, 10)], 0.9).holds
    assert not judge.found_always([Share(10, 10), Share(7, 10)], 0.9).holds


def test_rows_that_tell_k_in_any_dimension_would_be_noticed() -> None:
    def row(told: int, fewer: int, more: int) -> rows.Row:
        counts = {rows.TOLD: told, rows.FEWER: fewer, rows.MORE: more}
        return rows.Row(rows.Spec(30_000), {n: Share(c, 10) for n, c in counts.items()}, {})

    assert judge.rows_follow_dimension([row(10, 0, 1)], 30_000).holds
    assert not judge.rows_follow_dimension([row(6, 0, 1)], 30_000).holds
    assert not judge.rows_follow_dimension([row(10, 5, 1)], 30_000).holds
    assert not judge.rows_follow_dimension([row(10, 0, 5)], 30_000).holds
