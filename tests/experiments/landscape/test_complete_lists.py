"""Chapter 5: complete lists of data sets, their claims, and the bootstrap beside them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers import assert_shows

from moe.experiments.landscape import samples
from moe.experiments.landscape.empirical import bootstrap, figures, lists, tables
from moe.experiments.landscape.empirical import claims as check
from moe.experiments.landscape.lists import skewed_proportions
from moe.landscape import critical_points_of, population_tensor

PROBLEM = samples.Spec(k=2, d=4, mu=0.5, lam=3.5)


@pytest.fixture(scope="module")
def record() -> lists.Record:
    return lists.run(lists.Spec(PROBLEM, sizes=(200, 2_000), trials=3, starts=60))


def test_lists_are_complete_and_nothing_is_missed(record: lists.Record) -> None:
    assert check.complete([record]).holds
    assert check.nothing_missed([record]).holds
    assert record.all[0].found > 5
    assert all(len(cases) == 3 for cases in record.cases.values())
    case = record.cases[200][0]
    short = replace(case.listed, found=80)
    wrong = replace(record, cases={200: [replace(case, listed=short)]})
    assert not check.complete([wrong]).holds
    assert not check.nothing_missed([wrong]).holds, "an incomplete list decides nothing"
    assert not check.nothing_missed([replace(record, cases={200: [replace(case, met=1)]})]).holds


def test_other_minima_that_do_not_fade_are_noticed(record: lists.Record) -> None:
    case = replace(record.all[0], truth=0)
    other = replace(case, truth=-1)  # its minimum is then another
    falling = replace(record, cases={200: [other, case], 2_000: [case, case]})
    assert check.fades([falling]).holds
    assert check.fades([falling]).value == (
        "2 experts: last met at n = 200, in 1 of 2; at 2,000 0 of 2 (to 0.66)"
    )
    assert not check.fades([replace(record, cases={200: [case], 2_000: [other]})]).holds
    assert not check.fades([replace(record, cases={200: [case], 2_000: [case]})]).holds
    high = replace(case, truth=1)
    assert not check.fades([replace(record, cases={200: [other, high], 2_000: [case]})]).holds


def test_the_truth_is_the_minimum_with_a_row_near_each_expert() -> None:
    p = skewed_proportions(2, 1.5)
    listed = critical_points_of(population_tensor(p), 0.5, 3.5)
    axes = torch.eye(2, dtype=torch.float64)
    assert lists.truth_of(listed, axes) == 0
    turned = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64) / 2**0.5
    assert lists.truth_of(listed, turned) == -1


def test_the_bootstrap_has_the_size_of_the_error_and_claims_notice() -> None:
    rows = bootstrap.run(bootstrap.Spec(PROBLEM, sizes=(500, 4_000), trials=2, draws=12))
    for row in rows:
        assert bool((row.bound > 0.2 * row.error).all())
        assert bool((row.bound < 20 * row.error).all())
    assert float(rows[1].bound.median()) < float(rows[0].bound.median())
    assert check.silent(rows).holds
    assert not check.silent([replace(rows[0], tolerance=2 * rows[0].bound)]).holds
    assert len(tables.proofs(rows).values) == 2


def test_figures_and_tables(record: lists.Record) -> None:
    case = record.all[0]
    other = replace(record, cases={200: [replace(case, truth=-1)], 2_000: [case]})
    names = ("saddles and the maximum", "the truth's minimum", "other minima")
    assert_shows(figures.lists_figure(other), *names)
    assert_shows(figures.shares_figure([record, other]), *(label for label, _ in figures.SHARES))
    assert len(tables.lists([record]).values) == 2
