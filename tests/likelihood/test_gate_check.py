"""A gate that is wrong where calibration cannot see it; formulas against dense sums."""

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

import moe
from moe.experiments.any_gate.gates import gated_experts
from moe.likelihood import diagnostics, gate_check
from moe.likelihood.diagnostics import calibration_p_value, whitened
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
    white, ones = whitened(x), torch.ones(len(x), 1, dtype=torch.float64)
    products = torch.einsum("na,nb->nab", white, white) - torch.eye(3, dtype=torch.float64)
    features = products.flatten(1) if offsets else torch.cat([products.flatten(1), ones], 1)
    kernel = (features @ features.T) * (excess @ excess.T)
    statistic, mean, variance = gate_check._moments(excess, white, offsets)
    assert statistic == pytest.approx(float(kernel.sum()), rel=1e-9)
    assert mean == pytest.approx(float(kernel.trace()), rel=1e-9)
    pairs = kernel.square().fill_diagonal_(0.0).sum()
    assert variance == pytest.approx(2 * float(pairs), rel=1e-9)


@pytest.mark.parametrize("tail_of", ["normal", "t3"])
def test_the_variance_of_many_samples_is_that_of_all_pairs_nearly(
    monkeypatch: pytest.MonkeyPatch, tail_of: str
) -> None:
    excess, x = excess_of(1, 6_000)
    if tail_of == "t3":  # residuals that know nothing of x
        x = torch.from_numpy(numpy_stream("data", 1).standard_t(3, size=(6_000, 2)))
    args = excess, whitened(x), True
    seen = gate_check._moments(*args)[2]
    monkeypatch.setattr(diagnostics, "_PAIRED", 6_000)
    assert seen == pytest.approx(gate_check._moments(*args)[2], rel=0.25)


@pytest.mark.parametrize("law", ["t3", "t2", "rare dummy"])
def test_a_right_gate_is_not_doubted_for_inputs_that_lie_far_out(law: str) -> None:
    """Two lines answer by halves, whatever x; once 3 to 15 % of such fits were doubted."""
    for seed in range(12):
        rng = numpy_stream("data", seed)
        x = rng.standard_t(2 if law == "t2" else 3, size=(3_000, 2))
        if law == "rare dummy":
            x = np.column_stack([rng.normal(size=3_000), rng.random(3_000) < 0.02])
        lines = np.where(rng.random(3_000) < 0.5, 6 * x[:, 0] + 1, -4 * x[:, 1] - 3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = moe.MoERegressor(2, random_state=0).fit(x, lines + rng.normal(size=3_000))
        assert not any("who answers" in doubt for doubt in model.doubts_)


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
