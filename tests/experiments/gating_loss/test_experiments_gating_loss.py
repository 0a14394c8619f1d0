"""The gates' loss: rates, what they depend on, curvature, and the response to wrong regressors."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations

import pytest
import torch
from helpers import assert_shows, normal, samples

from moe.experiments.gated_networks.twins import two_experts
from moe.experiments.gating_loss import convergence as gating_loss
from moe.experiments.gating_loss import dimension as gating_dimension
from moe.experiments.gating_loss import figures as pictures
from moe.experiments.gating_loss import information as gating_information
from moe.experiments.gating_loss import interactive
from moe.experiments.gating_loss import rates as gating_rates
from moe.experiments.gating_loss import transfer as gating_transfer
from moe.experiments.gating_loss.landscape import convexity as gating_convexity
from moe.experiments.gating_loss.landscape import figures_minima as landscape_pictures
from moe.experiments.gating_loss.landscape import minima as gating_landscape
from moe.experiments.gating_loss.landscape import population as gating_population
from moe.experiments.shown.interactive.marks import LEVELS
from moe.likelihood.information import information
from moe.losses import log_loss
from moe.model.mixture import MoE, full_gating, log_gate, random_moe
from moe.randomness import stream


@pytest.fixture(scope="module")
def convergence() -> gating_loss.ConvergenceRecord:
    return gating_loss.run_convergence(gating_loss.ConvergenceSpec(d=6, n=2_000, trials=2))


@pytest.fixture(scope="module")
def dimension() -> gating_dimension.DimensionRecord:
    spec = gating_dimension.DimensionSpec(dimensions=(6, 20), n=8_000, population=50_000, trials=2)
    return gating_dimension.run_dimension(spec)


@pytest.fixture(scope="module")
def separation() -> gating_rates.SeparationRecord:
    spec = gating_rates.SeparationSpec(noises=(0.1, 0.5), overlaps=(-0.5, 0.9), n=10_000, trials=1)
    return gating_rates.run_separation(spec)


@pytest.fixture(scope="module")
def convexity() -> gating_convexity.ConvexityRecord:
    spec = gating_convexity.ConvexitySpec(norms=(0.5, 16.0), n=1_000, points=4, trials=2)
    return gating_convexity.run_convexity(spec)


@pytest.fixture(scope="module")
def transfer() -> gating_transfer.TransferRecord:
    spec = gating_transfer.TransferSpec(
        sigmas=(0.1, 0.3), shifts=(1e-3, 1e-2, 3.0), d=6, n=3_000, trials=2
    )
    return gating_transfer.run(spec)


def test_best_gates_have_zero_gradient_and_positive_curvature() -> None:
    truth, x, y = samples(3, 5, 2_000, sigma=0.2, nonlinearity="tanh")
    best = gating_information.best_gates(truth, x, y)
    assert information(best, x, y)[1][15:25].abs().max() < 1e-9 * len(y)
    assert torch.linalg.eigvalsh(gating_information.gate_information(best, x, y).observed)[0] > 0


def test_both_methods_converge_geometrically_at_the_predicted_rates(
    convergence: gating_loss.ConvergenceRecord,
) -> None:
    for errors, predicted, measured in (
        (convergence.em, convergence.em_predicted, convergence.em_measured),
        (convergence.descent, convergence.descent_predicted, convergence.descent_measured),
    ):
        assert bool((errors[-1] < 1e-8).all())
        assert bool((measured / predicted < 1.02).all())
        assert bool((measured / predicted > 0.85).all())
    assert bool((convergence.to_truth[-1] > 1e-3).all())
    ratio = convergence.to_truth[-1] / convergence.floor  # of a chi variable to its size
    assert bool((ratio > 0.4).all()) and bool((ratio < 2).all())


@pytest.mark.parametrize("gate_norm", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("noise", [0.1, 0.7])
def test_two_expert_information_agrees_with_samples_and_sees_the_ratio_alone(
    gate_norm: float, noise: float
) -> None:
    apart, z = gating_rates.compare_pairs(gate_norm, noise)
    assert apart < 1e-9
    assert z < 5


def test_rate_for_two_experts_does_not_see_scale(separation: gating_rates.SeparationRecord) -> None:
    expected = torch.tensor(
        [gating_rates.two_expert_information(1.0, noise).em_rate for noise in (0.1, 0.5)]
    )
    ratio = separation.measured[..., 0] / expected
    assert bool(((ratio - 1).abs() < 0.15).all())
    assert bool((separation.predicted.diff() > 0).all())
    assert bool((separation.predicted < 1).all())


def test_rates_do_not_depend_on_the_dimension(dimension: gating_dimension.DimensionRecord) -> None:
    """Fresh data from below, the sample's own information from above."""
    assert bool(((dimension.fresh / dimension.em_limit - 1).abs() < 0.06).all())
    assert bool(((dimension.descent_fresh / dimension.descent_limit - 1).abs() < 0.06).all())
    assert bool((dimension.em_predicted > 0.99 * dimension.fresh).all())
    assert bool(((dimension.descent / dimension.descent_limit - 1).abs() < 0.15).all())
    with pytest.raises(ValueError, match="dimensions"):
        gating_dimension.run_dimension(gating_dimension.DimensionSpec(dimensions=(5, 10)))


def test_the_gates_block_is_that_of_the_whole_information() -> None:
    model, x, y = samples(3, 4, 300, sigma=0.3, nonlinearity="tanh")
    own = gating_information.gate_information(model, x, y)
    for kind, block in (("complete", own.complete), ("missing", own.missing)):
        whole = information(model, x, y, kind)[2]  # type: ignore[arg-type]
        torch.testing.assert_close(block, whole[12:20, 12:20] / 300, rtol=1e-10, atol=1e-12)


def test_the_slowest_direction_has_the_rate_and_is_slowest() -> None:
    model, x, y = samples(3, 4, 500, sigma=0.3)
    own = gating_information.gate_information(model, x, y)

    def rate(v: torch.Tensor) -> float:
        return float(v @ own.missing @ v / (v @ own.complete @ v))

    assert rate(own.slowest) == pytest.approx(own.em_rate)
    assert max(rate(v) for v in normal(200, 8, purpose="ways")) < own.em_rate
    axes = torch.linalg.eigh(own.observed).eigenvectors
    ways = torch.stack([own.slowest, axes[:, 0], axes[:, -1]]).view(3, 2, 4)
    padded = full_gating(ways)
    missing, complete = gating_dimension.in_directions(padded, model, x, y)
    flat, steep = (complete - missing)[1:].tolist()
    assert float(missing[0] / complete[0]) == pytest.approx(own.em_rate)
    assert (steep - flat) / (steep + flat) == pytest.approx(own.gradient_rate)


def test_fresh_rates_of_coordinates_in_the_span_are_those_of_whole_inputs() -> None:
    wide = gating_dimension._embed(random_moe(3, 5, sigma=0.3, generator=stream("truth", 1)), 30)
    fitted = gating_information.gate_information(wide, *wide.sample(2_000, stream("data", 1)))
    em, _ = gating_dimension.fresh_rates(fitted, wide, 200_000, stream("fresh", 1))
    way = full_gating(fitted.slowest.view(1, 2, 30))
    missing, complete = gating_dimension.in_directions(
        way, wide, *wide.sample(100_000, stream("fresh", 2))
    )
    assert em == pytest.approx(float(missing / complete), abs=0.01)


@pytest.mark.parametrize("g", ["linear", "relu"])
def test_em_comes_closer_to_the_true_gate_in_divergence_for_two_experts(g: str) -> None:
    truth = random_moe(
        2,
        3,
        sigma=0.4,
        gate_norm=3.0,
        nonlinearity=g,
        gates_in_span=True,
        generator=stream("truth", 5),
    )
    divergence = gating_landscape.em_divergence(truth, 128, 30, steps=5)
    assert bool((divergence.diff(dim=1) < 0).all())
    assert bool((divergence[:, -1] < 0.2 * divergence[:, 0]).all())


def test_a_complete_em_step_has_the_rate_of_the_matrices() -> None:
    model = random_moe(3, 4, sigma=0.4, generator=stream("truth", 2))
    slope, rate = gating_rates.em_slope(model, 256, 6)
    assert slope == pytest.approx(rate, abs=1e-5)


def test_what_a_digit_costs_for_two_experts() -> None:
    """Observed experts, no gate: H = I / 4 is known, so descent and the step 4 arrive at once; and
    EM's cost is its iterations times 1 + (d + 1) / 4."""
    em, counted, best, known = gating_rates.iterations_per_digit(1.0, 0.5, 7)
    point = gating_rates.two_expert_information(1.0, 0.5)
    assert point.em_rate**em == pytest.approx(0.1)
    assert counted == pytest.approx(3 * em)
    assert point.gradient_rate**best == pytest.approx(0.1)
    assert best < known


def test_information_splits_off_the_directions_outside_the_span() -> None:
    model = random_moe(2, 3, sigma=0.3, generator=stream("truth", 0))
    wide = MoE(
        torch.nn.functional.pad(model.regressors, (0, 2)),
        torch.nn.functional.pad(model.gating, (0, 2)),
        0.3,
    )
    values = torch.stack(
        [
            gating_information.gate_information(
                wide, *wide.sample(5_000, stream("data", seed))
            ).missing
            for seed in range(20)
        ]
    )
    mean, error = values.mean(0), values.std(0) / 20**0.5
    assert (mean[3:, :3] / error[3:, :3]).abs().max() < 5
    assert abs(float(mean[3, 4] / error[3, 4])) < 5
    assert abs(float((values[:, 3, 3] - values[:, 4, 4]).mean())) < 5 * float(2 * error[3, 3])


def test_l_log_is_bounded_in_the_gates() -> None:
    truth, x, y = samples(3, 5, 500, sigma=0.3)
    bumps = truth.log_joint(x, y) - truth.gate(x).log()
    for size in (1.0, 100.0, 1e4):
        gating = size * normal(50, 3, 5, purpose="gates")
        loss = log_loss(gating, truth.regressors, 0.3, x, y, truth.nonlinearity)
        assert bool((loss <= -bumps.amin(1).mean()).all())
        assert bool((loss >= -bumps.amax(1).mean()).all())


def test_l_log_is_not_convex_and_em_finds_one_minimum(
    convexity: gating_convexity.ConvexityRecord,
) -> None:
    assert bool((convexity.lowest[0, 0] > 0).all())
    assert bool((convexity.lowest[:, 1] < 0).double().mean((1, 2)).min() > 0.8)
    assert bool((convexity.at_minimum > 0).all())
    assert convexity.apart.max() < 0.01


@pytest.mark.parametrize("g", ["linear", "relu", "tanh"])
@pytest.mark.parametrize("sigma", [0.1, 0.5])
@pytest.mark.parametrize("gate_norm", [0.5, 3.0])
def test_for_two_experts_l_log_falls_along_the_segment_to_the_true_gates(
    g: str, sigma: float, gate_norm: float
) -> None:
    """<grad L, w - w*> >= 4 |grad L|^2 > 0: W* is the only critical point, gates in the span or
    not; and descent with any step below 8 comes closer to W* with every step."""
    truth = random_moe(
        2,
        4,
        sigma=sigma,
        gate_norm=gate_norm,
        nonlinearity=g,
        gates_in_span=True,
        generator=stream("truth", 3),
    )
    exact = gating_population.population(truth, 128, 40)
    assert exact.gradient(truth.gating).abs().max() < 1e-5  # the quadrature's error
    spread = float(torch.linalg.eigvalsh(exact.x.T * exact.weight.sum(0) @ exact.x)[-1])  # nearly 1
    sizes = 10 ** torch.linspace(-1, 1.5, 40).double()
    directions = torch.nn.functional.normalize(normal(40, 4, purpose="gates"), dim=1)
    for w in sizes[:, None] * directions:
        gradient = exact.gradient(torch.stack([w, torch.zeros_like(w)]))[0]
        inner = float(gradient @ (w - truth.gating[0]))
        assert inner > 3.9 / spread * float(gradient @ gradient)
        assert inner > 0
    gating = torch.stack([5 * directions[0], torch.zeros(4).double()])
    away = [float((gating - truth.gating).norm())]
    for _ in range(50):
        move = 7.9 / spread * exact.gradient(gating)
        gating = gating - full_gating(move)
        away.append(float((gating - truth.gating).norm()))
    assert bool((torch.tensor(away).diff() < 1e-5).all())
    assert away[-1] < 0.9 * away[0]


def test_at_equal_regressors_exchanged_gates_are_a_second_strict_minimum_of_equal_loss() -> None:
    truth = gating_population.near_twins(0.0, 2.0, 0.3)
    exact = gating_population.population(truth, 256, 12)
    other = gating_population.exchanged(truth)
    assert exact.loss(other) == pytest.approx(exact.loss(truth.gating), abs=1e-12)
    for gating in (truth.gating, other):
        assert exact.gradient(gating).abs().max() < 1e-3
        assert float(torch.linalg.eigvalsh(exact.hessian(gating))[0]) > 1e-3


def test_three_experts_can_have_a_spurious_minimum_with_the_true_regressors() -> None:
    """Distinct, independent unit regressors, orthogonal gates: none at sigma 0.1, one at 0.3."""
    spec = gating_landscape.PhaseSpec(angles=(5.0,), sigmas=(0.1, 0.3))
    record = gating_landscape.run_phase(spec)
    assert math.isnan(record.excess[0, 0])
    assert 0.005 < float(record.excess[0, 1]) < 0.02
    assert float(record.curvature[0, 1]) > 1e-3
    assert float(record.slope[0, 1]) < 1e-7
    assert bool((record.from_zero < 1e-3).all())  # from W = 0 the first one is found
    turned = gating_landscape.run_phase(replace(spec, sigmas=(0.3,), cosine=-0.9))
    assert math.isnan(turned.excess[0, 0])  # it depends on the gates


@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_em_for_two_experts_contracts_from_afar_nearly_as_fast_as_locally(sigma: float) -> None:
    factors = gating_landscape.em_contraction(1.0, sigma, directions=4)
    local = gating_rates.two_expert_information(1.0, sigma / 2**0.5).em_rate
    assert bool((factors < 1).all())
    assert factors.max() < local + 0.15


def test_em_on_a_sample_stays_in_the_spurious_minimum() -> None:
    truth = gating_population.near_twins(5.0, 2.0, 0.3)
    assert torch.linalg.matrix_rank(truth.regressors) == 3
    assert (truth.regressors @ truth.gating.T).abs().max() < 1e-12
    x, y = truth.sample(50_000, stream("data", 0))
    exact = gating_population.population(truth, 512, 8)
    trap = gating_population.descend(exact, gating_population.exchanged(truth))
    best = gating_information.best_gates(truth, x, y)
    start = MoE(truth.regressors, trap, truth.sigma)
    end = gating_information.best_gates(start, x, y)
    assert float((end.gating - best.gating).norm()) > 2.0
    assert float((end.gating - trap).norm()) < 1.0
    assert end.log_density(x, y).mean() < best.log_density(x, y).mean() - 0.003
    assert torch.linalg.eigvalsh(gating_information.gate_information(end, x, y).observed)[0] > 0
    assert information(end, x, y)[1][15:25].abs().max() < 1e-6 * len(y)


def test_population_agrees_with_a_sample_and_its_derivatives_with_autograd() -> None:
    truth = random_moe(3, 4, sigma=0.4, generator=stream("truth", 1))
    exact = gating_population.population(truth, 1_024, 10)
    gating = full_gating(normal(2, 4, purpose="gates"))
    x, y = truth.sample(100_000, stream("data", 1))
    values = -MoE(truth.regressors, gating, 0.4).log_density(x, y)
    error = float(values.std()) / len(y) ** 0.5
    assert exact.loss(gating) == pytest.approx(float(values.mean()), abs=5 * error)

    def loss(free: torch.Tensor) -> torch.Tensor:
        belief = log_gate(full_gating(free), exact.x)
        return -(exact.weight * torch.logsumexp(belief.T + exact.bumps, 1)).sum()

    free = gating[:2].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(free), free)
    torch.testing.assert_close(exact.gradient(gating), gradient, rtol=1e-9, atol=1e-12)
    hessian = torch.autograd.functional.hessian(loss, gating[:2]).reshape(8, 8)
    torch.testing.assert_close(exact.hessian(gating), hessian, rtol=1e-8, atol=1e-12)


def test_l_log_need_not_be_convex_at_the_origin() -> None:
    """For two experts it is (r_1 r_2 <= 1/4); for three there are problems where it is not."""
    exact = gating_population.population(gating_population.hollow(), 2_048, 12)
    zero = torch.zeros(3, 5, dtype=torch.float64)
    assert float(torch.linalg.eigvalsh(exact.hessian(zero))[0]) < -0.01
    pair = gating_population.population(two_experts(0.9, 4.0, 0.3), 256, 12)
    assert float(torch.linalg.eigvalsh(pair.hessian(zero[:2, :4]))[0]) > 0


def test_l_log_is_not_constant_far_out() -> None:
    """The mean of its limits over all relabellings of far gates is above its value at W = 0."""
    truth, x, y = samples(3, 5, 500, sigma=0.3)
    far = 1e6 * full_gating(normal(2, 5, purpose="gates"))
    losses = [
        log_loss(far[list(order)], truth.regressors, 0.3, x, y, truth.nonlinearity)
        for order in permutations(range(3))
    ]
    at_zero = log_loss(0 * far, truth.regressors, 0.3, x, y, truth.nonlinearity)
    assert float(torch.stack(losses).mean()) > float(at_zero) + 0.1


def test_em_and_descent_reach_the_true_gates_in_the_plane() -> None:
    spec = gating_landscape.PlaneSpec(grid=5, points=64, drawn=500, iterations=300)
    record = gating_landscape.run_plane(spec)
    for path in (*record.em, *record.descent):
        assert float((path[-1] - record.truth).norm()) < 0.02
    assert bool((record.away.diff(dim=1) < 1e-3).all())
    near = record.place[:, 0].abs() < 0.2
    assert record.undecided[near].mean() > 3 * record.undecided[~near].mean()
    assert_shows(landscape_pictures.plane(record), "EM", "gradient descent, step 4")
    phase = gating_landscape.run_phase(
        gating_landscape.PhaseSpec(angles=(2.0, 20.0), sigmas=(0.3, 0.7), points=256)
    )
    assert_shows(landscape_pictures.phase(phase))


def test_the_paths_that_a_reader_steps_through_are_em_and_descent() -> None:
    """Against another quadrature of the same population, run on its own."""
    spec = gating_landscape.PlaneSpec(grid=9, drawn=50, iterations=60)
    figure = interactive.valley(gating_landscape.run_plane(spec)).data
    exact = gating_population.population(two_experts(0.0, 2.0, 0.3, d=3), 512, 10)
    plane, clock = (panel["marks"] for panel in figure["panels"])
    times = [int(t) for t in figure["controls"][0]["values"]]
    assert times[-1] == 50 and times[4] == 4
    begun = torch.tensor([[0.0, *spec.starts[1]], [0.0] * 3], dtype=torch.float64)
    for mark, distance, step in (
        (plane[2], clock[1], exact.em_step),
        (plane[4], clock[3], lambda w: full_gating(w[:1] - 4.0 * exact.gradient(w))),
    ):
        gating = begun
        for _ in range(4):
            gating = step(gating)
        assert [mark["x"][4][1], mark["y"][4][1]] == pytest.approx(gating[0, 1:].tolist(), abs=5e-3)
        away = math.hypot(float(gating[0, 1]), float(gating[0, 2]) - 2.0)
        assert distance["y"][4][1] == pytest.approx(away, abs=5e-3)
    ends = [LEVELS.index(letter) for letter in plane[0]["cells"][0]]  # row by row from below
    assert ends.index(0) == 6 * 9 + 4  # w* = (0, 2): the darkest cell
    losses = [
        exact.loss(torch.tensor([[0.0, u, v], [0.0] * 3]).double()) for u, v in ((0, 2), (4, 4))
    ]
    assert losses[0] < losses[1] and ends[6 * 9 + 4] < ends[8 * 9 + 8]


def test_gate_response_is_the_derivative_of_the_minimiser() -> None:
    truth, x, y = samples(3, 4, 1_000, sigma=0.3, nonlinearity="tanh")
    derivative, refitted = gating_transfer.compare_derivative(truth, x, y)
    torch.testing.assert_close(derivative, refitted, rtol=1e-5, atol=1e-7)


def test_gates_move_less_than_epsilon_and_linearly_at_first(
    transfer: gating_transfer.TransferRecord,
) -> None:
    shifts = torch.tensor(transfer.spec.shifts).double()[:, None]
    sigmas = torch.tensor(transfer.spec.sigmas).double()[:, None, None]
    ratio = transfer.moved / (shifts * sigmas * transfer.slope[:, None])
    assert (ratio[:, :2] - 1).abs().max() < 0.05
    assert bool((transfer.moved < shifts / sigmas).all())
    assert bool((transfer.moved[:, 1] < transfer.statistical / 10).all())


def test_the_worst_direction_moves_the_gates_further_than_a_random_one_and_as_predicted(
    transfer: gating_transfer.TransferRecord,
) -> None:
    assert bool((transfer.worst > 1.2 * transfer.slope).all())
    assert bool((transfer.worst_large > transfer.large).all())
    sigmas = torch.tensor(transfer.spec.sigmas).double()[:, None]
    ratio = transfer.moved_worst / (0.1 * sigmas * transfer.worst)
    assert (ratio - 1).abs().max() < 0.3


def test_learning_sigma_softens_the_harm_of_wrong_regressors(
    transfer: gating_transfer.TransferRecord,
) -> None:
    assert float(transfer.learned.mean()) < 0.9 * float(transfer.held.mean())


def test_learning_sigma_can_also_do_harm() -> None:
    spec = gating_transfer.TransferSpec(
        sigmas=(0.4,), shifts=(0.01,), n=3_000, trials=3, large=1_000, large_trials=1, seed=1
    )
    record = gating_transfer.run(spec)
    assert float(record.learned[0, 2]) > 1.5 * float(record.held[0, 2])


def test_worst_direction_lies_between_random_ones_and_the_singular_bound() -> None:
    response = normal(8, 12, purpose="response")
    worst = gating_transfer.worst_direction(response, 3, stream("starts", 0))
    torch.testing.assert_close(worst.norm(dim=1), torch.ones(3).double())
    size = float((response @ worst.flatten()).norm())
    others = torch.nn.functional.normalize(normal(5_000, 3, 4, purpose="ways"), dim=-1)
    assert size > float((others.flatten(1) @ response.T).norm(dim=1).max())
    assert size <= 3**0.5 * float(torch.linalg.svdvals(response)[0])


def test_measured_rate_of_a_geometric_sequence() -> None:
    errors = 3 * 0.4 ** torch.arange(60, dtype=torch.float64)
    assert gating_loss.measured_rate(errors) == pytest.approx(0.4)
    assert math.isfinite(gating_loss.measured_rate(errors + 1e-14))


def test_figures_draw(
    convergence: gating_loss.ConvergenceRecord,
    separation: gating_rates.SeparationRecord,
    dimension: gating_dimension.DimensionRecord,
    convexity: gating_convexity.ConvexityRecord,
    transfer: gating_transfer.TransferRecord,
) -> None:
    assert_shows(
        pictures.convergence(convergence),
        "to the minimiser",
        "to the true gates",
        "predicted slope",
    )
    measured = [
        f"EM measured, $|a_1 - a_2| = {gap:.2f}$" for gap in separation.separations.tolist()
    ]
    quadrature = [f"{name}, by quadrature" for name in ("EM", "gradient descent")]
    assert_shows(pictures.separation(separation), *measured, *quadrature)
    names = ("measured", "information of the sample", "fresh data", "Hessian of the sample")
    assert_shows(pictures.dimension(dimension), *names, "population")
    for figure, sigmas in (
        (pictures.curvature(convexity), convexity.spec.sigmas),
        (pictures.transfer(transfer), transfer.spec.sigmas),
    ):
        assert_shows(figure, *(rf"$\sigma = {sigma:g}$" for sigma in sigmas))
