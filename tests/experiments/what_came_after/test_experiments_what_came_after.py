"""Chapter 13's experiments: formulas against independent routes, small runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import assert_shows, normal
from scipy.integrate import quad
from scipy.special import expit, softmax
from scipy.stats import norm

from moe.experiments.what_came_after import (
    figures,
    interactive,
    mirror,
    random_starts,
    routed,
    tables,
)
from moe.experiments.what_came_after.likelihood import Form, derivatives, log_density, maximise
from moe.experiments.what_came_after.too_many import contact, least_squares, rates, rows, students
from moe.experiments.what_came_after.too_many.least_squares import SIGMOID, SOFTMAX
from moe.landscape import population_tensor
from moe.model.mixture import MoE
from moe.model.nonlinearity import as_nonlinearity
from moe.randomness import stream

FORMS = [Form(3, 2), Form(3, 2, True, True), Form(2, 3, False, True), Form(2, 1, True)]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_derivatives_are_those_of_automatic_differentiation(form: Form) -> None:
    rows_, gating = normal(form.experts, form.width, seed=1), normal(form.experts, form.d + 1)
    sigmas = (normal(form.experts, seed=2) / 3).exp()
    theta = form.pack(rows_, gating - gating[-1], sigmas)
    x, y = normal(60, form.d, seed=3), normal(60, seed=4)

    def mean(point: torch.Tensor) -> torch.Tensor:
        return log_density(form, point, x, y).mean()

    value, gradient, hessian = derivatives(form, theta, x, y)
    assert abs(value - float(mean(theta))) < 1e-13
    assert torch.allclose(gradient, torch.autograd.functional.jacobian(mean, theta), atol=1e-12)
    assert torch.allclose(hessian, torch.autograd.functional.hessian(mean, theta), atol=1e-12)


def test_the_density_without_offsets_is_that_of_the_model() -> None:
    gating = torch.cat([normal(1, 2), torch.zeros(1, 2).double()])
    model = MoE(normal(2, 2, seed=1), gating, 0.7)
    x, y = normal(20, 2, seed=2), normal(20, seed=3)
    form = Form(2, 2)
    theta = form.pack(
        model.regressors, torch.nn.functional.pad(gating, (0, 1)), torch.tensor([0.7, 0.7]).double()
    )
    apart = model.log_density(x, y) - log_density(form, theta, x, y)
    assert torch.allclose(apart, torch.tensor(-0.5 * math.log(2 * math.pi)).double())


def test_the_maximum_is_stationary_and_not_below_the_truth() -> None:
    spec = rates.Spec(rates.SPLIT, 400)
    x, y = rates.sample(spec, 0, 400, stream("data", 0))
    form, begin = spec.form(3), rates.starts(spec, 0)
    end = maximise(form, begin, x, y)
    known = rates.exact(spec, *rates.truth(spec, 0))
    assert end.gradient_norm < 1e-6
    assert end.value > derivatives(spec.form(2), known, x, y)[0]


@pytest.mark.parametrize("kind", [rates.SPLIT, rates.FREE])
def test_halves_at_the_truth_are_the_truth(kind: str) -> None:
    spec = rates.Spec(kind, 100)
    rows_, gating = rates.truth(spec, 0)
    form = spec.form(3)
    still = torch.zeros(form.width).double(), torch.zeros(3).double()
    x, y = rates.sample(spec, 0, 100, stream("data", 0))
    for which in (0, 1):
        both = (
            log_density(form, rates.halved(spec, rows_, gating, which, *still), x, y),
            log_density(spec.form(2), rates.exact(spec, rows_, gating), x, y),
        )
        assert torch.allclose(*both)


def test_without_offsets_only_multiples_hold_the_truth() -> None:
    assert rates.nested_gap((2, 1), False) > 1e-3
    assert rates.nested_gap((2, 2), False) < 1e-7
    assert rates.nested_gap((2, 1), True) < 1e-7


@pytest.mark.parametrize("kind", rates.KINDS)
def test_orders_of_contact(kind: str) -> None:
    far, near = (contact.contact(kind, step) for step in (0.06, 0.03))
    assert abs(math.log2(far / near) - rates.ORDERS[kind]) < 0.15


@pytest.mark.parametrize("kind", rates.KINDS)
def test_the_distance_to_a_neighbour_is_that_of_samples(kind: str) -> None:
    """H^2 = 1 - E[(f_near / f)^(1/2)] over samples of f."""
    spec, step = rates.Spec(kind, 0), 0.4
    x, y = rates.sample(spec, 3, 40_000, stream("data", 3))
    form, theta = contact.neighbour(kind, step, 3)
    base = rates.exact(spec, *rates.truth(spec, 3))
    ratio = log_density(form, theta, x, y) - log_density(spec.form(2), base, x, y)
    lost = 1 - (ratio / 2).exp()
    error = float(lost.std()) / len(y) ** 0.5
    assert abs(float(lost.mean()) - contact.contact(kind, step, 3) ** 2) < 4 * error


def test_neighbours_are_densities_and_made_up_variances_keep_two_moments() -> None:
    record = contact.run(1, (0.1, 0.4))
    width = record.y[1] - record.y[0]
    for kind in rates.KINDS:
        assert np.allclose(record.near[kind].sum(1) * width, 1, atol=1e-6)
    for power in (1, 2, 3, 4):
        moments = [width * (f @ record.y**power) for f in (record.truth, *record.near[rates.FREE])]
        assert np.allclose(moments, moments[0], atol=1e-6) == (power < 4)


@pytest.mark.parametrize("shift", [0.02, 0.3, 1.0])
def test_two_normal_laws_are_not_told_apart_before_that_many_samples(shift: float) -> None:
    """Total variation of n samples of N(0, 1) and N(shift, 1) is erf(n^(1/2) shift / 8^(1/2))."""
    n = contact.blind_until(math.sqrt(1 - math.exp(-(shift**2) / 8)))
    assert 0.3 < math.erf(math.sqrt(n / 8) * shift) <= 0.5


def test_the_figure_to_move_shows_and_says_what_was_computed() -> None:
    record = contact.run(0, (0.05, 0.1, 0.2, 0.3))
    data = interactive.neighbours(record).data
    shown = [mark for panel in data["panels"] for mark in panel["marks"]]
    near = next(mark for mark in shown if mark.get("label") == "its neighbour")
    assert np.allclose(near["y"][2][1], record.near[rates.FREE][1], atol=1e-4)
    said = data["say"]["words"][1][3][0]
    assert said.startswith("Its halves moved apart by 0.3: Hellinger distance ")
    assert f"{record.distances[rates.SPLIT][3]:.2g}" in said
    steps = zip(data["say"]["words"], (record.distances[kind] for kind in rates.KINDS), strict=True)
    for words, distances in steps:
        for (saying,), distance in zip(words, distances, strict=True):
            samples = float(saying.split("Up to ")[1].split()[0].replace(",", ""))
            assert 0.9 * contact.blind_until(distance) - 1 < samples
            assert samples <= contact.blind_until(distance)
    assert_shows(figures.contact_figure(record), "the truth", *contact.MOVES.values())


@pytest.mark.parametrize(("k", "g"), [(2, "linear"), (3, "tanh")])
def test_em_is_projected_mirror_descent_with_unit_step(k: int, g: str) -> None:
    found = mirror.identity(mirror.Spec(k=k, nonlinearity=g, n=300, seed=1), draws=5)
    assert max(found.spread, found.bregman) < 1e-13
    assert g != "linear" or found.steps < 1e-6


def test_the_divergence_is_that_of_sampled_complete_outputs() -> None:
    truth, x, _ = mirror.problem(mirror.Spec(n=1, d=4, seed=2))
    new = mirror.moved(truth, stream("points", 2))
    many = x.expand(100_000, -1)
    y, expert = truth.draw(many, stream("data", 9))
    logs = [m.log_joint(many, y).gather(1, expert[:, None])[:, 0] for m in (truth, new)]
    gap = logs[0] - logs[1]
    error = float(gap.std()) / len(gap) ** 0.5
    assert abs(float(gap.mean() - mirror.divergence(new, truth, x))) < 4.5 * error


def test_ems_factor_is_the_largest_share_of_missing_information() -> None:
    found = mirror.rates(mirror.Spec(k=2, n=1_000, d=4, seed=3))
    assert abs(found.measured / found.predicted - 1) < 0.03


@pytest.mark.parametrize("gate", [SOFTMAX, SIGMOID])
def test_least_squares_ends_where_the_gradient_vanishes(gate: str) -> None:
    g = as_nonlinearity("tanh")
    A, W, x = normal(2, 3, seed=1), normal(2, 3, seed=2), normal(300, 2, seed=3)
    W = W - W[-1] if gate == SOFTMAX else W
    y = least_squares.mean(A, W, x, g, gate) + 0.1 * normal(300, seed=4)
    end = least_squares.fit_mean(A, W, x, y, g, gate)
    rows_, gating = end.rows.requires_grad_(), end.gating.requires_grad_()
    loss = (least_squares.mean(rows_, gating, x, g, gate) - y).square().mean()
    slopes = torch.autograd.grad(loss, [rows_, gating])
    assert slopes[0].norm() < 1e-6
    assert (slopes[1][:-1] if gate == SOFTMAX else slopes[1]).norm() < 1e-6
    assert abs(loss.item() - end.loss) < 1e-12


def test_halves_of_linear_experts_part_unseen() -> None:
    assert least_squares.along_halves("linear") < 1e-12
    assert least_squares.along_halves("tanh") > 1e-3


def test_pruning_takes_away_what_was_put_there_twice() -> None:
    spec, g = students.Spec(), as_nonlinearity("tanh")
    A, W = students.teacher(spec, 0)
    x = normal(500, spec.d)
    y = least_squares.mean(A, W, x, g)
    twice, gates = torch.cat([A, A]), torch.cat([W, W])
    kept, gating = students.pruned(twice, gates, x, y, g, 3)
    assert torch.allclose(least_squares.mean(kept, gating, x, g), y, atol=1e-10)


def test_the_best_line_is_the_best_of_all_lines() -> None:
    spec = routed.Spec(1, 60)
    A, W = routed.truth(spec, 1)
    x = normal(60, 2)
    y = torch.where(x @ W[0] > 0, x @ A[0], x @ A[1]) + 0.5 * normal(60, seed=1)
    place = torch.atan2(x[:, 1], x[:, 0])
    order = place.argsort()
    gain = (y[:, None] - x @ A.T).square()
    gain = gain[:, 0] - gain[:, 1]
    angle = routed._least_half(place[order], torch.cumsum(gain[order], 0))

    def inside(a: float) -> float:
        return float(gain[torch.cos(place - a) > 0].sum())

    assert inside(angle) <= min(inside(a) for a in np.linspace(-np.pi, np.pi, 4_001)) + 1e-12


def test_shares_of_the_two_best_are_their_softmax() -> None:
    scores = torch.tensor([[1.0, 0.0, -3.0]]).double()
    found = routed.shares(torch.eye(3).double(), scores, 2)
    assert torch.allclose(found[0, :2], torch.softmax(scores[0, :2], 0))
    assert found[0, 2] == 0


def test_more_rows_than_experts_show_every_expert_once() -> None:
    p = torch.tensor([0.25, 0.35, 0.4], dtype=torch.float64)
    tensor = population_tensor(p)
    strip = (0.5 / 0.25 * 1.5 / 0.4) ** 0.5
    counts = [
        rows.count_rows(tensor, 0.5, lam, 6, stream("starts", 0), every)
        for lam, every in ((8.0, False), (strip, True))
    ]
    assert counts == [3, 3]
    assert rows.different(torch.tensor([[1.0, 0.0], [-2.0, 0.1], [0.0, 1.0]]).double()) == 2


def test_five_experts_without_offsets_come_as_near_to_two_as_one_likes_and_three_do_not() -> None:
    """Copies with gates w +- t and a fifth with its gate at zero: the divergence is about c / t."""

    def divergence(t: float) -> float:
        def at(x: float) -> float:
            scores = np.array([1.5 * x + t * x, 1.5 * x - t * x, 0.0, t * x, -t * x])
            q = softmax(scores)
            share, first = expit(1.5 * x), q[:3].sum()
            told = share * np.log(share / first) + (1 - share) * np.log((1 - share) / (1 - first))
            return float(norm.pdf(x) * told)

        return float(quad(at, -8, 8, limit=500, points=[-1 / t, 0.0, 1 / t])[0])

    gaps = [divergence(t) * t for t in (30.0, 100.0, 300.0)]
    assert max(gaps) / min(gaps) < 1.02 and 0.01 < gaps[0] < 0.02
    assert rates.nested_gap((2, 1), False) > 0.04


def test_small_runs_are_drawn_and_tabled() -> None:
    record = rates.run(rates.KINDS, (60, 120), 1)
    assert_shows(figures.rates_figure(record), *rates.NAMES.values())
    assert len(tables.slopes(record, dict.fromkeys(rates.KINDS, 1.0)).values) == 3
    cases = (("tanh", SOFTMAX, 2), ("linear", SOFTMAX, 3), ("tanh", SIGMOID, 3))
    squared = least_squares.run(cases, (60, 120), 1)
    assert_shows(figures.squares_figure(squared), *(least_squares.NAMES[c] for c in cases))
    assert len(tables.squares(squared).values) == 3
    taught = students.run((students.Spec(teachers=1, steps=20, factor=2),))
    assert len(tables.students(taught).values) == 1
    assert len(tables.routes(routed.run((100, 200), 1)).values) == 2
    assert len(tables.starts(random_starts.run((2,), (0.1,), 2)).values) == 1
    assert len(tables.counted(rows.run((400,), 1)).values) == 1
