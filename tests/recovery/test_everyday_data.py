"""moe.recover and MoERegressor on the data people have: odd arrays, no noise, idle experts."""

import math
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from helpers import samples

import moe
from moe.exceptions import DoubtfulFitWarning, NonGaussianInputWarning
from moe.likelihood.diagnostics import dependence_p_value
from moe.metrics import regressor_error, regressor_error_of
from moe.model.nonlinearity import Nonlinearity, as_nonlinearity
from moe.randomness import stream
from moe.recovery.results import Recovery
from moe.solvers.em import expectation_maximisation, sigma_floor

TRUTH, X, Y = samples(2, 4, 1_500, 0)
PLAIN = moe.recover(X, Y, 2)
WIDE = np.zeros((1_500, 8))
WIDE[:, ::2] = X.numpy()


def quietly(*arguments: Any, **options: Any) -> Recovery:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtfulFitWarning)
        warnings.simplefilter("ignore", NonGaussianInputWarning)
        return moe.recover(*arguments, **options)


def read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array = array.copy()
    array.flags.writeable = False
    return array


CONTAINERS: dict[str, tuple[Any, Any]] = {
    "reversed twice": (X.numpy()[::-1].copy()[::-1], Y.numpy()[::-1].copy()[::-1]),
    "every second column": (WIDE[:, ::2], Y.numpy()),
    "Fortran order": (np.asfortranarray(X.numpy()), Y.numpy()),
    "big-endian": (X.numpy().astype(">f8"), Y.numpy().astype(">f8")),
    "long double": (X.numpy().astype(np.longdouble), Y.numpy().astype(np.longdouble)),
    "objects": (X.numpy().astype(object), Y.numpy().astype(object)),
    "lists": (X.tolist(), Y.tolist()),
    "read-only": (read_only(X.numpy()), read_only(Y.numpy())),
    "a mask without entries": (np.ma.masked_array(X.numpy()), np.ma.masked_array(Y.numpy())),
    "a column of outputs": (X, Y[:, None]),
    "a tensor that needs gradients": (X.clone().requires_grad_(), Y),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_what_the_plain_array_gives(container: str) -> None:
    fit = moe.recover(*CONTAINERS[container], 2)
    assert torch.equal(fit.model.regressors, PLAIN.model.regressors)
    assert torch.equal(fit.model.gating, PLAIN.model.gating)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_shorter_floats_give_the_same_experts_in_the_same_order(dtype: type) -> None:
    fit = moe.recover(X.numpy().astype(dtype), Y.numpy().astype(dtype), 2)
    difference = (fit.model.regressors - PLAIN.model.regressors).norm(dim=1)
    assert float(difference.max()) < 20 * float(np.finfo(dtype).eps)


def test_the_plain_array_is_left_as_it_was() -> None:
    x, y = X.numpy().copy(), Y.numpy().copy()
    moe.recover(x, y, 2)
    np.testing.assert_array_equal(x, X.numpy())
    np.testing.assert_array_equal(y, Y.numpy())


def test_masked_entries_are_refused_by_name() -> None:
    mask = np.zeros((1_500, 4), dtype=bool)
    mask[3, 1] = mask[7, 2] = True
    with pytest.raises(ValueError, match=r"^x: expected no masked entries, got 2"):
        moe.recover(np.ma.masked_array(X.numpy(), mask), Y, 2)
    with pytest.raises(ValueError, match=r"^y: expected no masked entries, got 1"):
        moe.recover(X, np.ma.masked_array(Y.numpy(), np.arange(1_500) == 5), 2)


def test_numbers_written_as_text_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^x: expected an array or tensor of numbers.* text"):
        moe.recover(X.numpy().astype(str).astype(object), Y, 2)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("n", [60, 400])
def test_outputs_without_noise_give_exact_experts_and_the_reason_says_so(k: int, n: int) -> None:
    truth, x, _ = samples(k, 4, n, k, gate_norm=1.0 if k < 4 else 0.0)
    expert = torch.multinomial(truth.gate(x), 1, generator=stream("expert", k))
    y = truth.expert_means(x).gather(1, expert)[:, 0]
    fit = quietly(x, y, k)
    assert fit.noiseless and fit.converged, fit.reason
    assert "the outputs have no noise" in fit.reason
    assert "does not describe" not in fit.reason
    assert regressor_error(fit.model, truth) < 1e-12
    assert fit.model.sigma == pytest.approx(sigma_floor(y), rel=0.2)


def test_noise_a_thousand_times_the_floor_is_noise() -> None:
    _truth, x, y = samples(2, 4, 500, 0, sigma=1e-4)
    fit = moe.recover(x, y, 2)
    assert not fit.noiseless and fit.model.sigma == pytest.approx(1e-4, rel=0.1)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("d", [3, 6])
def test_inputs_of_mean_100_are_fitted(k: int, d: int) -> None:
    truth, _, _ = samples(k, d, 10, 7, gate_norm=0.0)
    x = 100 + torch.randn(800, d, generator=stream("inputs", 7), dtype=torch.float64)
    expert = torch.randint(k, (800,), generator=stream("expert", 7))
    noise = 0.1 * torch.randn(800, generator=stream("noise", 7), dtype=torch.float64)
    y = truth.expert_means(x)[torch.arange(800), expert] + noise
    fit = quietly(x, y, k)
    assert fit.converged, fit.reason
    assert fit.model.sigma == pytest.approx(0.1, rel=0.1)
    predicted = moe.align(fit.model, truth).expert_means(x)
    assert float((predicted - truth.expert_means(x)).square().mean().sqrt()) < 0.05


def test_raw_calendar_years_with_a_column_of_ones_are_fitted() -> None:
    year = torch.linspace(1900, 2020, 600, dtype=torch.float64)
    x = torch.stack([torch.ones(600, dtype=torch.float64), year], 1)
    second = torch.rand(600, generator=stream("expert", 1), dtype=torch.float64) < 0.4
    noise = 0.3 * torch.randn(600, generator=stream("noise", 1), dtype=torch.float64)
    y = torch.where(second, 10 - 0.05 * (year - 1960), 2 + 0.1 * (year - 1960)) + noise
    fit = quietly(x, y, 2)
    slopes = sorted(fit.model.regressors[:, 1].tolist())
    assert slopes == pytest.approx([-0.05, 0.1], abs=0.003), fit.reason


def test_an_expert_that_owns_no_sample_stays_and_the_others_go_on() -> None:
    """Its sums underflow to zero: the step is zero, not NaN."""
    _, x, y = samples(2, 3, 200, 1, sigma=0.1)
    far = torch.tensor([[1e5, 1e5, 1e5]], dtype=torch.float64)
    start = torch.cat([torch.linalg.lstsq(x, y, driver="gelsd").solution[None], far])
    for learn in (("regressors",), ("regressors", "gating", "sigma"), ("regressors", "sigmas")):
        sigma = torch.full((1, 2), 0.01, dtype=torch.float64)
        fit = expectation_maximisation(
            x, y, start, torch.zeros(2, 3).double(), sigma, as_nonlinearity("linear"), learn=learn
        )
        for part in (fit.regressors, fit.gating, fit.sigma, fit.trace):
            assert bool(torch.isfinite(part).all())
        assert float(fit.trace.diff(dim=0).min()) > -1e-8 * float(fit.trace.abs().max())


def test_a_common_sigma_does_not_fall_below_its_floor() -> None:
    _, x, _ = samples(1, 3, 50, 0, gate_norm=0.0)
    y = x @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    fit = expectation_maximisation(
        x, y, torch.zeros(1, 3).double(), torch.zeros(1, 3).double(), 1.0,
        as_nonlinearity("linear"),
    )  # fmt: skip
    rms = math.sqrt(float(y.square().mean()))
    assert bool(fit.converged) and float(fit.sigma) == pytest.approx(1e-7 * rms, rel=1e-6)


def test_what_g_is_decides_and_not_what_it_is_called() -> None:
    _truth, x, y = samples(2, 4, 2_000, 2, nonlinearity="tanh")
    misnamed = Nonlinearity("linear", torch.tanh)
    assert not misnamed.is_linear and as_nonlinearity(lambda z: 1.0 * z).is_linear
    right, fit = moe.recover(x, y, 2, "tanh"), moe.recover(x, y, 2, misnamed)
    assert torch.equal(fit.model.regressors, right.model.regressors)
    _, x, y = samples(2, 4, 2_000, 2)
    plain, identity = moe.recover(x, y, 2), moe.recover(x, y, 2, lambda z: z)
    assert torch.equal(plain.model.regressors, identity.model.regressors)


@pytest.mark.parametrize("name", ["tanh", "relu", "linear"])
def test_inference_mode_changes_nothing(name: str) -> None:
    _, x, y = samples(2, 4, 1_500, 3, nonlinearity=name)
    outside = moe.recover(x, y, 2, name)
    with torch.inference_mode():
        inside = moe.recover(x, y, 2, name)
        errors = inside.standard_errors
    assert torch.equal(inside.model.regressors, outside.model.regressors)
    torch.testing.assert_close(errors.regressors, outside.standard_errors.regressors)
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)
    with torch.inference_mode():
        slope = as_nonlinearity(name).derivative(z.clone())
    assert torch.equal(slope, as_nonlinearity(name).derivative(z)) and bool(slope.any())


@pytest.mark.parametrize("n", [300, 6_000])
def test_pickles_leave_the_data_out_and_keep_the_standard_errors(n: int) -> None:
    _, x, y = samples(2, 4, n, 4)
    fit = moe.recover(x, y, 2)
    text = pickle.dumps(fit)
    assert len(text) < 20_000, "whatever n is"
    copy = pickle.loads(text)
    assert torch.equal(copy.model.regressors, fit.model.regressors)
    assert (copy.reason, copy.converged, copy.origin) == (fit.reason, fit.converged, fit.origin)
    torch.testing.assert_close(copy.standard_errors.covariance, fit.standard_errors.covariance)
    torch.testing.assert_close(fit.standard_errors.regressors, copy.standard_errors.regressors)


def test_a_fitted_regressor_pickles_without_its_data() -> None:
    sizes = []
    for n in (300, 6_000):
        _, x, y = samples(2, 4, n, 4)
        regressor = moe.MoERegressor(n_experts=2).fit(x.numpy(), y.numpy())
        text = pickle.dumps(regressor)
        np.testing.assert_array_equal(
            pickle.loads(text).predict(x[:5].numpy()), regressor.predict(x[:5].numpy())
        )
        sizes.append(len(text))
    assert abs(sizes[0] - sizes[1]) < 4_000, "of the trace of EM's iterations only"


def test_two_threads_do_not_disturb_each_other() -> None:
    with ThreadPoolExecutor(2) as pool:
        fits = list(pool.map(lambda _: moe.recover(X, Y, 2), range(4)))
    assert all(torch.equal(fit.model.regressors, PLAIN.model.regressors) for fit in fits)


EFFORTS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a fraction": ({"starts": 2.5}, TypeError, r"^starts: expected a whole number, got 2.5"),
    "text": ({"starts": "8"}, TypeError, r"^starts: expected a whole number, got '8'"),
    "nothing": ({"iterations": None}, TypeError, r"^iterations: expected a whole number, got None"),
    "a truth value": (
        {"restarts": True},
        TypeError,
        "^restarts: expected a whole number, got True",
    ),
    "seed is text": ({"seed": "a"}, TypeError, r"^seed: expected a non-negative integer"),
    "seed is negative": ({"seed": -1}, ValueError, r"^seed: expected a non-negative integer"),
}


@pytest.mark.parametrize("effort", EFFORTS)
def test_an_effort_or_seed_of_the_wrong_kind_is_refused_by_name(effort: str) -> None:
    options, error, message = EFFORTS[effort]
    with pytest.raises(error, match=message):
        moe.recover(X, Y, 2, **options)


def test_a_column_of_ones_does_not_switch_calibration_off() -> None:
    """Residuals that depend on x are seen whatever constant columns stand beside it."""
    z = torch.randn(2_000, 3, generator=stream("inputs", 1), dtype=torch.float64)
    noise = torch.randn(2_000, generator=stream("noise", 1), dtype=torch.float64)
    uniform = torch.special.ndtr(noise * (0.3 + z[:, 0].abs()))
    ones = torch.ones(2_000, 1, dtype=torch.float64)
    plain = dependence_p_value(uniform, z)
    assert plain < 1e-50
    for x in (torch.cat([ones, z], 1), torch.cat([z, z[:, :1] - z[:, 1:2]], 1)):
        assert dependence_p_value(uniform, x) == pytest.approx(plain, rel=1e-3)
    assert dependence_p_value(torch.special.ndtr(noise), torch.cat([ones, z], 1)) > 1e-3


def test_a_compromise_is_doubted_beside_a_column_of_ones() -> None:
    passed = 0
    for seed in range(8):
        _truth, x, y = samples(3, 5, 1_500, seed, gate_norm=0.0)
        x = torch.cat([torch.ones(1_500, 1, dtype=torch.float64), x], 1)
        passed += quietly(x, y, 2).converged
    assert passed <= 4, "three experts fitted by two; 21 of 30 passed without the test"


@pytest.mark.parametrize("sigma", [1e-8, 1e-20])
def test_a_tiny_sigma_that_is_given_does_not_make_the_outputs_exact(sigma: float) -> None:
    fit = quietly(X, Y, 2, sigma=sigma)
    assert not fit.noiseless and not fit.converged


def test_unix_time_over_two_hours_keeps_its_slope() -> None:
    """Mean over spread of 10^6: whitening squares no condition number."""
    seconds = 7_200 * torch.rand(1_000, generator=stream("inputs", 2), dtype=torch.float64)
    x = torch.stack([torch.ones_like(seconds), 1.7e9 + seconds], 1)
    noise = 0.5 * torch.randn(1_000, generator=stream("noise", 2), dtype=torch.float64)
    y = 0.6 * seconds / 7_200 + noise
    fit = quietly(x, y, 1)
    centred = torch.stack([x[:, 0], seconds / 7_200], 1)
    best = centred @ torch.linalg.lstsq(centred, y, driver="gelsd").solution
    assert float((fit.model.mean(x) - best).abs().max()) < 1e-4


def test_doubts_name_the_experts_of_the_model() -> None:
    _, x, y = samples(2, 4, 600, 5)
    y[7] = 1e15
    fit = quietly(x, y, 2)
    load = fit.model.responsibilities(x, y).sum(0)
    lost = int(load.argmin())
    assert any(f"expert {lost} has collapsed" in doubt for doubt in fit.doubts)


def test_outputs_of_plus_and_minus_one_do_not_depend_on_the_columns_order() -> None:
    """y^2 is constant, which alone would leave the axes to rounding."""
    _truth, x, y = samples(2, 4, 3_000, 6, sigma=0.5)
    y = y.sign()
    plain, other = quietly(x, y, 2), quietly(x[:, [2, 0, 3, 1]], y, 2)
    torch.testing.assert_close(
        other.model.mean(x[:, [2, 0, 3, 1]]), plain.model.mean(x), rtol=0, atol=1e-6
    )


EXTREMES: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "sigma tiny": (X, Y, {"sigma": 1e-300}, "^sigma: expected a noise level within a factor"),
    "sigma huge": (X, Y, {"sigma": 1e200}, "^sigma: expected a noise level within a factor"),
    "y huge for tanh": (
        X,
        Y * 1e150,
        {"nonlinearity": "tanh"},
        r"^y: expected outputs below 1e\+100",
    ),
    "x is zero": (X * 0, Y, {}, "^x: expected inputs that are not all zero"),
}


@pytest.mark.parametrize("case", EXTREMES)
def test_extremes_are_refused_by_name(case: str) -> None:
    x, y, options, message = EXTREMES[case]
    with pytest.raises(ValueError, match=message):
        moe.recover(x, y, 2, **options)


def test_standard_errors_that_overflow_are_refused_and_do_not_stop_a_pickle() -> None:
    fit = quietly(X * 1e150, Y * 1e-150, 2)
    with pytest.raises(ValueError, match="information matrix"):
        _ = fit.standard_errors
    assert pickle.loads(pickle.dumps(fit)).reason == fit.reason


@pytest.mark.parametrize("seed", [np.int64(3), 2**70, None, stream("seeds")])
def test_every_kind_of_seed_finds_the_experts(seed: Any) -> None:
    fit = moe.recover(X, Y, 2, seed=seed)
    assert regressor_error_of(fit.model.regressors, TRUTH.regressors) < 1e-3


def test_without_gates_the_model_has_fewer_parameters() -> None:
    _truth, x, y = samples(6, 6, 60, 0, gate_norm=0.0)
    with pytest.raises(ValueError, match=r"\(2k - 1\) d \+ 1 = 67, got n = 60"):
        moe.recover(x, y, 6)
    quietly(x, y, 6, gated=False)
    with pytest.raises(ValueError, match=r"k d \+ 1 = 37, got n = 37"):
        moe.recover(x[:37], y[:37], 6, gated=False)


def two_regimes(seed: int) -> tuple[moe.MoE, torch.Tensor, torch.Tensor]:
    """A change point: overlapping lines in t, told apart by t alone."""
    t = 2 * torch.rand(400, generator=stream("inputs", seed), dtype=torch.float64) - 1
    x = torch.stack([torch.ones_like(t), t], 1)
    rows = torch.randn(2, 2, generator=stream("truth", seed), dtype=torch.float64)
    truth = moe.MoE(rows, torch.tensor([[0.0, -12.0], [0.0, 0.0]]).double(), 0.5)
    expert = torch.multinomial(truth.gate(x), 1, generator=stream("expert", seed))
    noise = 0.5 * torch.randn(400, generator=stream("noise", seed), dtype=torch.float64)
    return truth, x, truth.expert_means(x).gather(1, expert)[:, 0] + noise


def test_steep_gates_between_overlapping_experts_are_found() -> None:
    """Starts with flat gates alone ended below the truth's own likelihood in a quarter of these."""
    missed = []
    for seed in range(12):
        truth, x, y = two_regimes(seed)
        fit = quietly(x, y, 2)
        best = expectation_maximisation(
            x, y, truth.regressors, truth.gating, truth.sigma, truth.nonlinearity
        )
        missed.append(fit.log_likelihood < float(best.log_likelihood) - 1)
    assert sum(missed) <= 1
