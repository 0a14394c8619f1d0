"""moe.experiments population_losses, spurious_minima, sigma_held, random_starts (chapter 2)."""

import math
from itertools import pairwise

import pytest
import torch
from helpers import assert_shows, normal

from moe.experiments import random_starts, sigma_held, spurious_minima
from moe.experiments.gaussian_integrals import line_rule
from moe.experiments.population_losses import (
    Population,
    certify,
    log_population,
    newton,
    squared_population,
    stack,
    unstack,
)
from moe.losses import log_loss, squared_loss
from moe.model import MoE
from moe.plotting import standard_losses as figures
from moe.randomness import stream
from moe.slices import path_values


def losses() -> dict[str, Population]:
    return {
        "squared": squared_population(spurious_minima.spanned_three(), 6),
        "log": log_population(sigma_held.near_twins(sigma=0.3), 0.2, 40),
    }


def somewhere(loss: Population, seed: int = 0) -> torch.Tensor:
    size = (2 * loss.truth.k - 1) * loss.truth.d
    return 0.7 * normal(size, seed=seed, purpose="parameters")


@pytest.mark.parametrize("name", ["squared", "log"])
def test_derivatives_agree_with_automatic_differentiation(name: str) -> None:
    loss = losses()[name]
    theta = somewhere(loss)

    def scalar(point: torch.Tensor) -> torch.Tensor:
        return loss.values(point[None])[0]

    value, gradient, hessian, _ = loss.derivatives(theta)
    assert value == pytest.approx(float(scalar(theta)), abs=1e-12)
    torch.testing.assert_close(
        gradient, torch.autograd.functional.jacobian(scalar, theta), rtol=0, atol=1e-10
    )
    torch.testing.assert_close(
        hessian, torch.autograd.functional.hessian(scalar, theta), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("name", ["squared", "log"])
def test_population_losses_are_the_expectations_of_the_sample_losses(name: str) -> None:
    if name == "squared":
        loss = squared_population(spurious_minima.spanned_three(), 20)
    else:
        loss = log_population(sigma_held.near_twins(sigma=0.3), 0.4, 100)
    truth, theta = loss.truth, somewhere(loss, 1)
    regressors, gating = unstack(theta, truth)
    batches = []
    for seed in range(40):
        x, y = truth.sample(5_000, stream("data", seed))
        if name == "squared":
            batches.append(squared_loss(regressors, gating, x, truth.mean(x), truth.nonlinearity))
        else:
            batches.append(log_loss(gating, regressors, 0.4, x, y, truth.nonlinearity))
    sample = torch.stack(batches)
    error = float(sample.std()) / len(sample) ** 0.5
    value = float(loss.values(theta[None]))
    assert float(sample.mean()) == pytest.approx(value, abs=4 * error)
    assert error < 0.005 * abs(value)


@pytest.mark.parametrize("name", ["squared", "log"])
def test_an_added_input_adds_the_mean_curvature_as_a_block(name: str) -> None:
    loss = losses()[name]
    truth, theta = loss.truth, somewhere(loss)
    nodes = torch.tensor([-1.0, 1.0], dtype=torch.float64)  # E x = 0, E x^2 = 1: all that matters
    x = torch.cat([loss.x.repeat(2, 1), nodes.repeat_interleave(len(loss.x))[:, None]], 1)
    pad = torch.nn.functional.pad
    wide = MoE(pad(truth.regressors, (0, 1)), pad(truth.gating, (0, 1)), 0.1)
    lifted = Population(wide, x, loss.y.repeat(2), loss.weights.repeat(2) / 2, loss.sigma)
    padded = torch.nn.functional.pad(theta.view(-1, truth.d), (0, 1))
    _, gradient, hessian, _ = lifted.derivatives(padded.flatten())
    _, _, inner, extra = loss.derivatives(theta)
    new = torch.arange(1, padded.numel() + 1) % wide.d == 0
    assert float(gradient[new].abs().max()) < 1e-12
    assert float(hessian[new][:, ~new].abs().max()) < 1e-12
    torch.testing.assert_close(hessian[new][:, new], extra, rtol=0, atol=1e-10)
    torch.testing.assert_close(hessian[~new][:, ~new], inner, rtol=0, atol=1e-10)


def test_the_truth_is_a_strict_minimum_and_not_spurious() -> None:
    truth = spurious_minima.oblique_pair()
    own = certify(stack(truth), squared_population(truth, 16), squared_population(truth, 32))
    assert own.is_strict_minimum
    assert not own.is_spurious


def test_a_saddle_is_not_certified() -> None:
    truth = spurious_minima.oblique_pair()
    loss, fine = squared_population(truth, 16), squared_population(truth, 32)
    pooled = torch.cat([truth.regressors.mean(0).repeat(2), 1e-3 * torch.ones(2)]).double()
    point = certify(newton(loss, pooled), loss, fine)
    assert not point.is_strict_minimum


@pytest.mark.parametrize("seed", range(3))
def test_the_squared_loss_of_a_pair_has_a_certified_spurious_minimum(seed: int) -> None:
    truth = spurious_minima.oblique_pair()
    record = spurious_minima.run(spurious_minima.Spec(truth, 40, seed, fine=(16, 32)))
    (point,) = record.points
    assert point.is_spurious
    assert record.share(0) + record.share(1) == 1
    assert record.errors[0] > 0.3
    gate = unstack(point.theta, truth)[1][:1]
    profile = spurious_minima.gate_profile(truth, torch.cat([gate, truth.gating[:1]]))
    assert profile.tolist() == pytest.approx([point.excess, 0.0], abs=1e-9)
    near = spurious_minima.gate_profile(truth, gate + 0.05 * normal(50, 2))
    assert float(near.min()) > point.excess


def test_orthogonal_gates_leave_a_valley_that_runs_to_infinity() -> None:
    truth = spurious_minima.orthogonal_pair()
    ray = torch.tensor([2.0, 1.0, 0.5, 0.25, 0.125], dtype=torch.float64)
    gates = torch.zeros(5, 3, dtype=torch.float64)
    gates[:, 1] = ray
    values = spurious_minima.gate_profile(truth, gates, 30)
    assert bool((values.diff() < 0).all())
    u, weight = line_rule()
    t = torch.tanh(u)
    floor = 0.5 * float(t.square() @ weight - ((u * t) @ weight) ** 2)
    assert 0.01 < floor < float(values[-1]) < 1.01 * floor


def test_most_truths_with_three_experts_have_spurious_minima() -> None:
    survey = spurious_minima.survey(
        spurious_minima.spanned_three, 10, starts=12, nodes=10, fine=(16, 24)
    )
    assert survey.trapped.trials == 10 and survey.trapped.interval()[0] > 1 / 3
    assert sum(survey.starts) == pytest.approx(1)
    truths = [record.spec.truth.regressors for record in survey.records]
    assert all(not torch.equal(truths[0], other) for other in truths[1:])
    record, number = survey.minima[0]
    point, truth = record.points[number - 1], record.spec.truth
    assert record.errors[number - 1] >= random_starts.SUCCESS
    again = certify(point.theta, squared_population(truth, 24), squared_population(truth, 40))
    assert again.is_spurious
    assert again.curvature == pytest.approx(point.curvature, rel=0.1)
    assert again.excess == pytest.approx(point.excess, rel=0.1)
    steps = normal(50, len(again.theta))
    nearby = again.theta + 1e-3 * steps / steps.norm(dim=1, keepdim=True)
    loss = squared_population(truth, 40)
    assert bool((loss.values(nearby) > loss.values(again.theta[None])).all())


def test_spurious_minima_with_the_gates_orthogonal_to_the_experts() -> None:
    survey = spurious_minima.survey(
        spurious_minima.three_experts, 3, starts=6, nodes=6, fine=(8, 12), iterations=60
    )
    assert survey.trapped.successes >= 1


def test_gate_profile_refuses_three_experts() -> None:
    with pytest.raises(ValueError, match="expected k = 2, got k = 3"):
        spurious_minima.gate_profile(
            spurious_minima.spanned_three(), torch.ones(1, 3, dtype=torch.float64)
        )


def test_the_polar_rule_is_for_the_plane() -> None:
    with pytest.raises(ValueError, match="expected d = 2 for the polar rule, got d = 3"):
        log_population(spurious_minima.spanned_three(), 0.1, 40)


def test_the_tempered_loss_grows_with_sigma_between_hard_and_soft() -> None:
    truth = sigma_held.near_twins(sigma=0.3)
    loss = log_population(truth, 1.0, 40)
    points = torch.stack([somewhere(loss, seed) for seed in range(5)])
    values = [
        sigma_held.tempered(log_population(truth, sigma, 40).values(points), sigma)
        for sigma in (1e-3, 0.05, 0.3, 1.0, 3.0, 300.0)
    ]
    for lower, upper in pairwise(values):
        assert bool((lower <= upper).all())
    regressors, gating = unstack(points, truth)
    squares = (loss.y[:, None] - loss.x @ regressors.mT).square()
    gate = torch.softmax(loss.x @ gating.mT, -1)
    hard, soft = squares.amin(-1) @ loss.weights, (gate * squares).sum(-1) @ loss.weights
    torch.testing.assert_close(values[0], hard, rtol=1e-3, atol=0)
    torch.testing.assert_close(values[-1], soft, rtol=1e-3, atol=0)


@pytest.fixture(scope="module")
def held() -> sigma_held.Record:
    return sigma_held.run(
        sigma_held.Spec(angles=(60, 90), resolution=8, n=500, starts=6, branch=(0.1, 0.3))
    )


def test_near_twins_give_the_population_likelihood_a_spurious_minimum(
    held: sigma_held.Record,
) -> None:
    assert held.stuck.is_spurious
    assert held.branch.shape == (2, 3)
    assert bool((held.branch[:, 1].diff() < 0).all())
    assert held.learned_sigma > held.spec.sigma
    assert math.isnan(held.vanished)


def test_relabelled_truths_have_the_truths_loss() -> None:
    truth = sigma_held.near_twins(sigma=0.3)
    values = log_population(truth, 0.3, 40).values(torch.stack(sigma_held.relabellings(truth)))
    assert len(values) == 6
    assert float(values.max() - values.min()) < 1e-12


def test_wilson_interval_against_its_defining_equation() -> None:
    for successes, trials in ((0, 10), (3, 10), (10, 10), (37, 80)):
        share = random_starts.Share(successes, trials)
        for bound in share.interval():
            if 0 < bound < 1:
                spread = 1.96 * math.sqrt(bound * (1 - bound) / trials)
                assert abs(bound - share.value) == pytest.approx(spread, abs=1e-9)


def test_learning_sigma_frees_em_where_holding_it_does_not() -> None:
    cell = random_starts.Cell(4, 20, 0.05, 1000, datasets=1, starts=4)
    result = random_starts.em_shares(cell)
    assert result.learned.successes == 4 and result.oracle.value == 1
    assert result.held.successes <= 2
    assert float(result.lost.max()) > 1


def test_entropies_start_near_zero_with_sigma_held_and_near_log_k_when_learned() -> None:
    cooling = random_starts.anneal(random_starts.Cell(3, 6, 0.05, 300, datasets=1, starts=3), 10)
    assert cooling.entropy["sigma held"].shape == (11, 3)
    assert float(cooling.entropy["sigma held"][0].max()) < 0.3
    assert float(cooling.entropy["sigma learned"][0].min()) > 0.5 * math.log(3)
    assert bool((cooling.sigma["sigma held"] == 0.05).all())


def test_the_squared_loss_fails_where_the_likelihood_succeeds() -> None:
    outcome = random_starts.compare(random_starts.Cell(n=1000, datasets=1, starts=4), 200)
    shares = [share.value for share, _ in outcome.values()]
    assert tuple(outcome) == random_starts.METHODS
    assert shares[0] <= 0.5 and min(shares[1:]) >= 0.75


def test_no_stuck_run_is_an_error_that_says_so() -> None:
    easy = random_starts.Cell(1, 3, 0.1, 500, datasets=1, starts=2)
    with pytest.raises(ValueError, match="expected one with a stuck run"):
        random_starts.stuck_paths(easy, (0.1,), 1000)


def test_figures_draw(held: sigma_held.Record) -> None:
    axis = torch.linspace(-1, 1, 4, dtype=torch.float64)
    marks = {name: [(0.5, 0.5)] for name in ("truth oblique", "spurious", "truth orthogonal")}
    values = normal(4, 4).square()
    hard = random_starts.Cell(4, 20, 0.05, 1000, datasets=1, starts=2)
    loss = squared_population(spurious_minima.oblique_pair(), 8)
    path = path_values(loss.values, somewhere(loss), somewhere(loss, 1), 5)
    paths = random_starts.stuck_paths(hard, (1.0, 0.05), 2000)
    shares = [random_starts.em_shares(hard)]
    starts = ("spurious minimum", "truth, experts swapped")
    ways = [r"$\sigma$ held", r"$\sigma$ learned"]
    for figure, names in (
        (figures.gate_profiles(axis, values, values, marks), []),
        (figures.squared_paths(path, path), [f"{start} → truth" for start in starts]),
        (figures.held_slices(held), []),
        (figures.held_paths(held), [rf"$\sigma$ held at {s}" for s in (1, 0.3, 0.1, 0.05)]),
        (figures.stuck_paths(paths), [rf"$\sigma$ held at {s}" for s in (1, 0.05)]),
        (figures.em_shares({"a": shares * 2, "b": shares}), ways),
        (figures.annealing(random_starts.anneal(hard, 3)), ways),
    ):
        assert_shows(figure, *names)
