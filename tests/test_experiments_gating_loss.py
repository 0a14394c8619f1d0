"""The gates' loss: rates, what they depend on, curvature, and the response to wrong regressors."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from helpers import assert_shows, normal, samples

from moe.experiments import gating_loss, gating_rates, gating_transfer
from moe.experiments.twins import two_experts
from moe.likelihood import information
from moe.losses import log_loss
from moe.model import MoE, random_moe
from moe.plotting import gating_loss as pictures
from moe.randomness import stream


@pytest.fixture(scope="module")
def convergence() -> gating_loss.ConvergenceRecord:
    return gating_loss.run_convergence(gating_loss.ConvergenceSpec(d=6, n=2_000, trials=2))


@pytest.fixture(scope="module")
def dimension() -> gating_rates.DimensionRecord:
    spec = gating_rates.DimensionSpec(dimensions=(5, 20), n=8_000, population=50_000, trials=2)
    return gating_rates.run_dimension(spec)


@pytest.fixture(scope="module")
def separation() -> gating_rates.SeparationRecord:
    spec = gating_rates.SeparationSpec(noises=(0.1, 0.5), overlaps=(-0.5, 0.9), n=10_000, trials=1)
    return gating_rates.run_separation(spec)


@pytest.fixture(scope="module")
def convexity() -> gating_loss.ConvexityRecord:
    spec = gating_loss.ConvexitySpec(norms=(0.5, 16.0), n=1_000, points=4, trials=2)
    return gating_loss.run_convexity(spec)


@pytest.fixture(scope="module")
def transfer() -> gating_transfer.TransferRecord:
    spec = gating_transfer.TransferSpec(
        sigmas=(0.1, 0.3), shifts=(1e-3, 1e-2, 3.0), d=6, n=3_000, trials=2
    )
    return gating_transfer.run(spec)


def test_best_gates_have_zero_gradient_and_positive_curvature() -> None:
    truth, x, y = samples(3, 5, 2_000, sigma=0.2, nonlinearity="tanh")
    best = gating_loss.best_gates(truth, x, y)
    assert information(best, x, y)[1][15:25].abs().max() < 1e-9 * len(y)
    assert torch.linalg.eigvalsh(gating_loss.gate_information(best, x, y).observed)[0] > 0


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


@pytest.mark.parametrize("gate_norm", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("noise", [0.1, 0.7])
def test_two_expert_information_agrees_with_samples(gate_norm: float, noise: float) -> None:
    exact = gating_rates.two_expert_information(gate_norm, noise)
    overlap = 0.2
    sigma = noise * (2 - 2 * overlap) ** 0.5
    model = two_experts(overlap, gate_norm, sigma, d=4)
    batches = []
    for seed in range(20):
        sampled = gating_loss.gate_information(model, *model.sample(5_000, stream("data", seed)))
        batches.append(torch.stack([sampled.complete, sampled.missing]))
    values = torch.stack(batches)[..., [2, 1, 3], :][..., [2, 1, 3]]
    error = values.std(0) / len(batches) ** 0.5
    assert ((values.mean(0) - torch.stack([exact.complete, exact.missing])) / error).abs().max() < 5


def test_rate_for_two_experts_does_not_see_scale(separation: gating_rates.SeparationRecord) -> None:
    expected = torch.tensor(
        [gating_rates.two_expert_information(1.0, noise).em_rate for noise in (0.1, 0.5)]
    )
    ratio = separation.measured[..., 0] / expected
    assert bool(((ratio - 1).abs() < 0.15).all())
    assert bool((separation.predicted.diff() > 0).all())
    assert bool((separation.predicted < 1).all())


def test_responsibilities_depend_on_separation_over_sigma_alone() -> None:
    """Same draws, regressors and sigma in the same proportion: the same information."""
    parts = []
    for overlap in (-0.3, 0.8):
        model = two_experts(overlap, 1.0, 0.3 * (2 - 2 * overlap) ** 0.5)
        parts.append(gating_loss.gate_information(model, *model.sample(500, stream("data", 0))))
    torch.testing.assert_close(parts[0].missing, parts[1].missing, rtol=1e-9, atol=1e-12)


def test_rates_do_not_depend_on_the_dimension(dimension: gating_rates.DimensionRecord) -> None:
    spread = (torch.tensor(dimension.spec.dimensions) / dimension.spec.n).sqrt()[:, None]
    for rates, limit in (
        (dimension.em_measured, dimension.em_limit),
        (dimension.em_predicted, dimension.em_limit),
        (dimension.descent, dimension.descent_limit),
    ):
        assert bool(((rates / limit - 1).abs() < 4 * spread + 0.02).all())
    with pytest.raises(ValueError, match="dimensions"):
        gating_rates.run_dimension(gating_rates.DimensionSpec(dimensions=(4, 10)))


def test_information_splits_off_the_directions_outside_the_span() -> None:
    model = random_moe(2, 3, sigma=0.3, generator=stream("truth", 0))
    wide = MoE(
        torch.nn.functional.pad(model.regressors, (0, 2)),
        torch.nn.functional.pad(model.gating, (0, 2)),
        0.3,
    )
    values = torch.stack(
        [
            gating_loss.gate_information(wide, *wide.sample(5_000, stream("data", seed))).missing
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
    convexity: gating_loss.ConvexityRecord,
) -> None:
    assert bool((convexity.lowest[0, 0] > 0).all())
    assert bool((convexity.lowest[:, 1] < 0).double().mean((1, 2)).min() > 0.8)
    assert bool((convexity.at_minimum > 0).all())
    assert convexity.apart.max() < 0.01


def test_gate_response_is_the_derivative_of_the_minimiser() -> None:
    truth, x, y = samples(3, 4, 1_000, sigma=0.3, nonlinearity="tanh")
    best = gating_loss.best_gates(truth, x, y)
    direction = normal(3, 4, purpose="direction")
    h = 1e-5
    ends = [
        gating_loss.best_gates(
            replace(best, regressors=best.regressors + sign * h * direction), x, y
        ).gating[:-1]
        for sign in (1, -1)
    ]
    torch.testing.assert_close(
        gating_transfer.gate_response(best, x, y, direction),
        (ends[0] - ends[1]) / (2 * h),
        rtol=1e-5,
        atol=1e-7,
    )


def test_gates_move_less_than_epsilon_and_linearly_at_first(
    transfer: gating_transfer.TransferRecord,
) -> None:
    shifts = torch.tensor(transfer.spec.shifts).double()[:, None]
    sigmas = torch.tensor(transfer.spec.sigmas).double()[:, None, None]
    ratio = transfer.moved / (shifts * sigmas * transfer.slope[:, None])
    assert (ratio[:, :2] - 1).abs().max() < 0.05
    assert bool((transfer.moved < shifts / sigmas).all())
    assert bool((transfer.moved[:, 1] < transfer.statistical / 10).all())


def test_measured_rate_of_a_geometric_sequence() -> None:
    errors = 3 * 0.4 ** torch.arange(60, dtype=torch.float64)
    assert gating_loss.measured_rate(errors) == pytest.approx(0.4)
    assert math.isfinite(gating_loss.measured_rate(errors + 1e-14))


def test_figures_draw(
    convergence: gating_loss.ConvergenceRecord,
    separation: gating_rates.SeparationRecord,
    dimension: gating_rates.DimensionRecord,
    convexity: gating_loss.ConvexityRecord,
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
    names = ("measured", "information of the sample", "Hessian of the sample", "population")
    assert_shows(pictures.dimension(dimension), *names)
    for figure, sigmas in (
        (pictures.curvature(convexity), convexity.spec.sigmas),
        (pictures.transfer(transfer), transfer.spec.sigmas),
    ):
        assert_shows(figure, *(rf"$\sigma = {sigma:g}$" for sigma in sigmas))
