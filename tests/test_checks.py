"""moe.checks and the diagnostics: what is accepted, what is refused, what is said about it."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from moe.checks import as_floating, as_samples, check_experts, check_positive, warn_unless_gaussian
from moe.exceptions import NonGaussianInputWarning
from moe.likelihood.diagnostics import calibration_p_value, doubts, probability_transform
from moe.model.mixture import random_moe
from moe.randomness import stream


def test_numbers_of_any_container_become_tensors_and_floats_keep_their_type() -> None:
    for value in ([1, 2], np.array([1, 2]), np.array([1.0, 2.0]), torch.tensor([1, 2])):
        assert as_floating(value, "x").dtype == torch.float64
    assert as_floating(torch.ones(2, dtype=torch.float32), "x").dtype == torch.float32
    tracked = torch.ones(2, dtype=torch.float64, requires_grad=True)
    assert not as_floating(tracked, "x").requires_grad


@pytest.mark.parametrize("value", [torch.tensor([True]), torch.tensor([1j]), object(), ["a"]])
def test_what_is_no_real_number_is_a_type_error_with_its_name(value: object) -> None:
    with pytest.raises(TypeError, match=r"^gating: expected"):
        as_floating(value, "gating")


def test_bad_entries_are_counted() -> None:
    with pytest.raises(ValueError, match="x: expected finite values, got 2 NaN or infinite"):
        as_floating(torch.tensor([1.0, torch.nan, torch.inf]), "x")


def test_samples_get_one_dtype_and_a_flat_output() -> None:
    x, y = as_samples(torch.ones(4, 2, dtype=torch.float32), np.ones((4, 1)))
    assert x.dtype == y.dtype == torch.float64
    assert y.shape == (4,)
    for bad in (torch.ones(0, 2), torch.ones(4), torch.ones(4, 0)):
        with pytest.raises(ValueError, match=r"x: expected shape \(n, d\) with n, d >= 1"):
            as_samples(bad, torch.ones(4))
    with pytest.raises(ValueError, match=r"y: expected shape \(4,\)"):
        as_samples(torch.ones(4, 2), torch.ones(4, 2))


def test_the_number_of_experts_is_an_integer_between_one_and_d() -> None:
    assert check_experts(np.int64(3), 3) == 3
    assert check_experts(1, 1) == 1
    for bad, error in ((0, ValueError), (4, ValueError), (2.0, TypeError), ("2", TypeError)):
        with pytest.raises(error, match=r"^k: expected"):
            check_experts(bad, 3)  # type: ignore[arg-type]


def test_positive_means_finite_and_above_zero() -> None:
    assert check_positive(np.float32(0.5), "sigma") == 0.5
    assert check_positive("0.5", "sigma") == 0.5
    for bad, error in ((0, ValueError), (-1, ValueError), (np.nan, ValueError), (None, TypeError)):
        with pytest.raises(error, match=r"^sigma: expected a positive"):
            check_positive(bad, "sigma")


@pytest.mark.parametrize("n", [50, 2_000, 50_000])
@pytest.mark.parametrize("seed", range(3))
def test_gaussian_inputs_draw_no_warning_at_any_size_and_covariance(n: int, seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = torch.randn(n, 8, generator=stream("inputs", seed), dtype=torch.float64)
        mixed = torch.randn(8, 8, generator=stream("mixing", seed), dtype=torch.float64)
        for units in (
            torch.eye(8).double(),
            torch.logspace(-150, 150, 8, dtype=torch.float64).diag(),
            mixed,
        ):
            warn_unless_gaussian(x @ units)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x + 0.3,
        lambda x: x.sign(),
        lambda x: x * torch.where(x[:, :1].abs() < 0.7, 1.6, 0.6),
        lambda x: torch.cat([x, torch.ones_like(x[:, :1])], 1),
    ],
    ids=["mean", "light tails", "heavy tails", "constant"],
)
def test_each_departure_from_centred_gaussians_draws_the_warning(
    change: Callable[[Tensor], Tensor],
) -> None:
    x = torch.randn(20_000, 3, generator=stream("inputs", 0), dtype=torch.float64)
    with pytest.warns(NonGaussianInputWarning, match="x: expected inputs close to Gaussian"):
        warn_unless_gaussian(change(x))


def test_the_probability_transform_is_the_integral_of_the_density() -> None:
    truth = random_moe(3, 4, sigma=0.3, generator=stream("truth", 0))
    x, y = truth.sample(20, stream("data", 0))
    grid = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    value = probability_transform(truth, x, y)
    for row, limit, found in zip(x, y, value, strict=True):
        density = truth.log_density(row.expand(len(grid), -1), grid).exp()
        below = torch.where(grid <= limit, density, 0.0).sum() * (grid[1] - grid[0])
        assert float(found) == pytest.approx(float(below), abs=2e-3)


def test_calibration_p_values_of_the_truth_are_spread_evenly() -> None:
    values = []
    for seed in range(40):
        truth = random_moe(2, 3, generator=stream("truth", seed))
        values.append(calibration_p_value(truth, *truth.sample(500, stream("data", seed))))
    assert 0.3 < np.mean(values) < 0.7
    assert np.min(values) > 1e-4


def test_a_wrong_noise_level_is_doubted_and_the_truth_is_not() -> None:
    truth = random_moe(2, 3, generator=stream("truth", 1))
    x, y = truth.sample(3_000, stream("data", 1))
    assert doubts(truth, x, y) == []
    wide = type(truth)(truth.regressors, truth.gating, 3 * truth.sigma)
    (doubt,) = doubts(wide, x, y)
    assert "does not describe the data" in doubt
    assert doubts(wide, x, y, level=0.0) == []
