"""The claims of chapter 11 notice when they are just false; its experiments at small size."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers import assert_shows

from moe.experiments.nonlinear import (
    centred,
    figures,
    interactive,
    least,
    noise,
    recovery,
    starts,
    tables,
)
from moe.experiments.nonlinear import claims as judge
from moe.experiments.nonlinear.own import OWN, Told, named, told
from moe.experiments.nonlinear.robust import leftover
from moe.moments.bounded import bounded_transform
from moe.moments.centring import Costs

GOOD, BAD = Costs(2.0, 1.0, 1.5), Costs(2.0, 1.7, 1.5)


def cell(name: str, **errors: list[list[float]]) -> recovery.Cell:
    sizes = tuple(10 ** (3 + i) for i in range(len(errors["bounded"])))
    spec = recovery.Spec(name, sizes=sizes, recovered=(1_000,))
    values = {method: torch.tensor(v).double() for method, v in errors.items()}
    return recovery.Cell(spec, values, torch.ones(1, 3))


def test_constants_that_do_not_help_are_noticed() -> None:
    assert judge.never_worse({"a": GOOD, "b": BAD}).holds
    assert not judge.never_worse({"a": replace(GOOD, centred=2.1)}).holds
    assert judge.centred_wins({"a": GOOD, "b": BAD}, {"a"}).holds
    assert not judge.centred_wins({"a": GOOD, "b": BAD}, {"a", "b"}).holds


def test_moments_that_err_more_than_predicted_are_noticed() -> None:
    scatter = torch.linspace(0.7, 1.3, 50).double()
    errors = torch.stack([2.0 * scatter, scatter, 1.5 * scatter])
    good = centred.Cell(centred.Spec("tanh"), errors, GOOD)
    assert judge.as_predicted([good]).holds
    assert not judge.as_predicted([replace(good, errors=1.2 * errors)]).holds
    assert judge.gains([good]).holds
    assert not judge.gains([replace(good, errors=errors[[0, 2, 1]])]).holds


def test_bumps_that_miss_the_least_error_are_noticed() -> None:
    good = least.Bound("gelu", 0.1, 300.0, 10.001, 10.0, 160.01, 160.0)
    assert judge.bounded_is_least([good]).holds
    assert not judge.bounded_is_least([replace(good, bounded=10.1)]).holds
    assert not judge.bounded_is_least([replace(good, bounded=9.9)]).holds
    assert not judge.bounded_is_least([replace(good, every=159.0)]).holds
    assert judge.relieved([good], 15.0).holds
    assert not judge.relieved([good], 17.0).holds
    assert not judge.relieved([good, replace(good, least=161.0)], 15.0).holds
    assert judge.many_times([good], ["gelu"], 20.0).holds
    assert not judge.many_times([good], ["gelu"], 31.0).holds
    assert judge.conditions_price(good, 29.0).holds
    assert not judge.conditions_price(good, 31.0).holds
    assert not judge.conditions_price(replace(good, polynomial=330.0), 29.0).holds
    assert len(tables.bounds([good]).values) == 1


def test_experts_no_nearer_or_off_the_law_are_noticed() -> None:
    worse, better = [[0.4, 0.5, 0.6]], [[0.04, 0.05, 0.06]]
    good = cell("gelu", centred=worse, least_squares=worse, bounded=better, recover=better)
    assert judge.nearer([good], 1_000, "polynomial", "bounded").holds
    assert not judge.nearer([good], 1_000, "bounded", "polynomial").holds
    assert judge.law_met([good], 1_000, [100.0], 3.0).holds
    assert not judge.law_met([good], 1_000, [16.0], 3.0).holds
    assert not judge.law_met([good], 1_000, [160.0], 3.0).holds
    assert judge.recovered([good], 1_000, 0.07).holds
    assert not judge.recovered([good], 1_000, 0.055).holds


def test_starts_that_lead_no_further_are_noticed() -> None:
    near, far = [0.001] * 6, [0.5] * 6
    good = starts.Cell(starts.Spec("relu"), torch.tensor([far, near, near]).double())
    assert judge.reached_more([good]).holds
    same = starts.Cell(starts.Spec("relu"), torch.tensor([near, near, near]).double())
    assert not judge.reached_more([same]).holds
    assert tables.followed([good]).values[0][1:4] == (0, 6, 6)


def test_noise_that_costs_little_is_noticed() -> None:
    curve = noise.Curve("sigmoid", (0.1, 0.5), (3e3, 2e6), (1e3, 1e6), (10.0, 1e3))
    assert judge.far_apart(curve, 0.5, 100.0).holds
    assert not judge.far_apart(curve, 0.1, 101.0).holds
    assert len(tables.noise([curve]).values) == 2
    assert_shows(
        figures.noise_figure([curve]),
        "$L_4$, polynomials",
        "$L_4$, bounded transforms",
        "Cramér–Rao bound",
    )


def test_what_is_told_of_each_nonlinearity_of_ones_own() -> None:
    rows = [told(name, 0.1, 2, 3) for name in OWN]
    assert judge.told_so(rows).holds
    silent = [replace(row, signs_lost=False) for row in rows]
    assert not judge.told_so(silent).holds
    assert not judge.told_so([*rows, Told("cosine", 0.1, 10.0, True, "")]).holds
    assert "no output transform" in rows[-1].refused
    assert len(tables.told(rows).values) == 4


@pytest.mark.parametrize("sigma", [0.1, 0.5])
@pytest.mark.parametrize("name", ["linear", "relu", "tanh", "lopsided bump"])
def test_theorem_the_best_transform(name: str, sigma: float) -> None:
    """Bumps against densities on a grid, where the formula for all conditions inverts 4 x 4 numbers
    and in the span 2 x 2; and the conditions by another quadrature."""
    costs = []
    for in_span in (False, True):
        fitted = bounded_transform(named(name), sigma, 4, 2, in_span=in_span)
        least_of_all = least.least_cost(name, sigma, 4, 2, in_span=in_span)
        assert 1 - 1e-4 < fitted.cost / least_of_all < 1.001
        costs.append(fitted.cost)
    assert costs[1] <= costs[0] * (1 + 1e-9)
    assert leftover(name, sigma, "bounded", "Gaussian", dim=2) < 1e-5


def test_a_small_run_of_everything() -> None:
    spec = recovery.Spec("tanh", k=2, d=3, sizes=(1_000, 3_000), recovered=(1_000,), starts=4)
    [found] = recovery.run([spec], [0, 1], workers=1)
    assert found.errors["bounded"].shape == (2, 2)
    assert float(found.at("recover", 1_000).max()) < 0.01
    assert recovery.limit(spec, "bounded") <= recovery.limit(spec, "polynomial")
    names = [style[3] for style in figures.STYLES.values()]
    assert_shows(figures.errors_figure([found]), *names)
    assert len(tables.samples([found]).values) == 1
    small = [centred.Spec("tanh", k=2, n=500)]
    assert centred.run(small, [0, 1], workers=1)[0].errors.shape == (3, 2)
    [ends] = starts.run([starts.Spec("tanh", n=800, k=2, d=3)], [0], workers=1)
    assert bool(ends.reached("truth").all())


def test_the_errors_that_a_reader_buys_are_those_of_the_law() -> None:
    asked = recovery.Spec("tanh", 0.1, 2, 4)
    found = noise.curve(asked, (0.1, 0.5))
    figure = interactive.error_by_noise([found]).data
    marks, n = figure["panels"][0]["marks"], interactive.SIZES.index(10_000)
    for row, way in ((0, "polynomial"), (2, "bounded"), (4, "recover")):
        law = recovery.limit(replace(asked, sigma=0.1), way) / 10_000
        assert marks[row]["y"][0][n][0] == pytest.approx(law, rel=1e-3)
    many = [0.1 * samples / 1_000 for samples in found.polynomial]
    assert marks[0]["y"][0][0] == [None if e > 1 else pytest.approx(e, rel=1e-3) for e in many]
    assert figure["say"]["words"][0][n][0].startswith("tanh experts, 10,000 samples, σ = 0.5")
