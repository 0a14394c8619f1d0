"""A gate that is wrong where calibration cannot see it; formulas against dense sums."""

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

import moe
from moe.experiments.any_gate.gates import gated_experts
from moe.likelihood import gate_check
from moe.likelihood.diagnostics import calibration_p_value, kernel_diagonal, whitened
from moe.likelihood.gate_check import gate_doubt, gate_p_value
from moe.model.mixture import random_moe
from moe.randomness import numpy_stream, stream
from moe.solvers.em import expectation_maximisation


def excess_of(seed: int, n: int, sigma: float = 0.5) -> tuple[Tensor, Tensor]:
    """r - p of the softmax fit that begins at a softmax truth, and x."""
    truth = random_moe(2, 3, sigma=sigma, gate_norm=1.0, generator=stream("truth", seed))
    x, y = truth.sample(n, stream("data", seed))
    start = truth.regressors, truth.gating, truth.sigma
    model = expectation_maximisation(x, y, *start, truth.nonlinearity).model(0, truth.nonlinearity)
    return model.responsibilities(x, y) - model.gate(x), x


@pytest.mark.parametrize("offsets", [True, False])
def test_statistic_mean_and_variance_are_those_of_the_dense_sums(offsets: bool) -> None:
    excess, x = excess_of(0, 120)
    white = whitened(x)
    products = torch.einsum("na,nb->nab", white, white) - torch.eye(3, dtype=torch.float64)
    features = products.flatten(1)
    if not offsets:
        features = torch.cat([features, torch.ones(len(x), 1, dtype=torch.float64)], 1)
    kernel, size = features @ features.T, excess.square().sum(1)
    whole = (kernel * (excess @ excess.T)).sum()
    assert gate_check._statistic(excess, white, offsets) == pytest.approx(float(whole), rel=1e-10)
    own = kernel_diagonal(white) + (not offsets)
    torch.testing.assert_close(own, kernel.diagonal())
    pairs = (kernel * (excess @ excess.T)).square().fill_diagonal_(0.0).sum()
    variance = gate_check._variance(excess, size, white, offsets)
    assert variance == pytest.approx(2 * float(pairs), rel=1e-10)


def test_the_variance_of_many_samples_is_that_of_all_pairs_nearly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    excess, x = excess_of(1, 6_000)
    args = excess, excess.square().sum(1), whitened(x), True
    drawn = gate_check._variance(*args)
    monkeypatch.setattr(gate_check, "_PAIRED", 6_000)
    assert drawn == pytest.approx(gate_check._variance(*args), rel=0.25)


def test_a_right_gate_is_rejected_no_more_often_than_the_level_says() -> None:
    p_values = np.array([gate_p_value(*excess_of(seed, 200), offsets=False) for seed in range(300)])
    assert (p_values < 0.05).mean() < 0.08
    assert (p_values < 0.25).mean() > 0.05, "nor never"
    assert p_values.min() > 1e-4


def test_a_wrong_gate_with_shares_of_one_half_is_seen_where_calibration_is_blind() -> None:
    truth = gated_experts("shells", 2, 4, 1.0, 0)
    x, y = truth.sample(20_000, stream("data", 0))
    with pytest.warns(moe.DoubtfulFitWarning, match="does not describe who answers"):
        fit = moe.recover(x, y, 2)
    assert calibration_p_value(fit.model, x, y) > 0.01
    assert 'gate="any"' in fit.reason and not fit.converged


def test_the_estimator_says_so_too_and_not_of_a_gate_that_is_right() -> None:
    rng = numpy_stream("data", 3)
    x = rng.normal(size=(1_000, 2))
    lines = np.array([[2.0, 0.0, 1.0], [-1.0, 1.0, 0.0]])

    def fitted(second: np.ndarray) -> moe.MoERegressor:
        rows = lines[second.astype(int)]
        y = (x * rows[:, :2]).sum(1) + rows[:, 2] + 0.7 * rng.normal(size=1_000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", moe.DoubtfulFitWarning)
            return moe.MoERegressor(2, random_state=0).fit(x, y)

    wrong = fitted(np.abs(x[:, 1]) < 0.67)
    assert any("who answers" in doubt and "spline" in doubt for doubt in wrong.doubts_)
    assert not wrong.converged_
    assert fitted(rng.random(1_000) < 1 / (1 + np.exp(-2 * x[:, 1] - 0.3))).doubts_ == ()


def test_few_undecided_samples_or_columns_that_do_not_vary_say_nothing() -> None:
    excess, x = excess_of(2, 200)
    assert gate_p_value(0.01 * excess, x, offsets=True) == 1.0
    assert gate_p_value(excess, torch.ones_like(x), offsets=True) == 1.0
    assert gate_doubt(0.01 * excess, x, "", offsets=True) == []


def test_units_of_the_columns_do_not_matter() -> None:
    excess, x = excess_of(4, 400)
    mixed = x @ torch.tensor([[3.0, 0, 0], [1e4, 1e4, 0], [0, 0, 1e-6]], dtype=torch.float64) + 7.0
    one, other = (gate_p_value(excess, inputs, offsets=True) for inputs in (x, mixed))
    assert one == pytest.approx(other, rel=1e-5)
