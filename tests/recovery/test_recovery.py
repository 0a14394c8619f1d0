"""moe.recovery, moe.solvers.l4, moe.likelihood.diagnostics: the whole way back."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import moe
from moe.exceptions import (
    DoubtfulFitWarning,
    NonGaussianInputWarning,
    NoTransformError,
    OutsideTheoryWarning,
    SignsLostWarning,
)
from moe.likelihood.diagnostics import calibration_p_value, doubts, probability_transform
from moe.metrics import gating_error, match, regressor_error, regressor_error_of
from moe.model.mixture import MoE, random_moe
from moe.model.nonlinearity import as_nonlinearity
from moe.moments.estimate import score_moment
from moe.moments.transforms import output_transform
from moe.randomness import stream
from moe.recovery.results import Origin, Recovery
from moe.solvers.em import EMResult, expectation_maximisation
from moe.solvers.l4 import NoMinimumError, l4_moments_of, minimise_l4, noise_edge, noise_level


def samples(
    k: int = 3, d: int = 10, n: int = 5000, seed: int = 0, **options: Any
) -> tuple[MoE, Tensor, Tensor]:
    truth = random_moe(k, d, generator=stream("truth", seed), **options)
    return truth, *truth.sample(n, stream("data", seed))


def outputs(truth: MoE, x: Tensor) -> Tensor:
    """y of the model at inputs of any law."""
    expert = torch.multinomial(truth.gate(x), 1, generator=stream("expert", 9))
    noise = torch.randn(len(x), generator=stream("noise", 9), dtype=torch.float64)
    return truth.expert_means(x).gather(1, expert)[:, 0] + truth.sigma * noise


def quietly(*arguments: Any, **options: Any) -> Recovery:
    """``recover`` where doubts and odd inputs are expected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtfulFitWarning)
        warnings.simplefilter("ignore", NonGaussianInputWarning)
        return moe.recover(*arguments, **options)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sigma", [None, 0.1])
def test_recovery_reaches_the_maximum_that_em_from_the_truth_reaches(
    seed: int, sigma: float | None
) -> None:
    truth, x, y = samples(seed=seed)
    fit = moe.recover(x, y, 3, sigma=sigma, seed=seed)
    learn = ("regressors", "gating") if sigma else ("regressors", "gating", "sigma")
    oracle = expectation_maximisation(
        x, y, truth.regressors, truth.gating, truth.sigma, truth.nonlinearity, learn=learn
    )
    best = oracle.model(0, truth.nonlinearity)
    assert fit.converged, fit.reason
    assert fit.log_likelihood == pytest.approx(float(oracle.log_likelihood), abs=1e-3)
    assert regressor_error(fit.model, truth) < 5e-4
    assert gating_error(fit.model, truth) == pytest.approx(gating_error(best, truth), rel=0.01)


@pytest.mark.parametrize("name", ["sigmoid", "relu", "tanh", "softplus"])
def test_recovery_of_nonlinear_experts(name: str) -> None:
    truth, x, y = samples(n=8000, sigma=0.05, nonlinearity=name, seed=1)
    fit = moe.recover(x, y, 3, name, seed=1)
    assert fit.converged, fit.reason
    assert regressor_error(fit.model, truth) < 2e-3


def test_one_expert_is_ordinary_least_squares() -> None:
    _, x, y = samples(k=1, d=4, n=500)
    fit = moe.recover(x, y, 1)
    torch.testing.assert_close(
        fit.model.regressors[0],
        torch.linalg.lstsq(x, y, driver="gelsd").solution,
        rtol=1e-6,
        atol=1e-8,
    )


def test_l_log_has_all_samples_though_the_search_has_a_part() -> None:
    truth, x, y = samples(n=20_000, seed=2)
    stage = moe.recover(x, y, 3).stage("L_log")
    assert stage.regressors is not None and stage.gating is not None
    zero = torch.zeros_like(stage.regressors)
    ends = [
        expectation_maximisation(
            x[:n],
            y[:n],
            stage.regressors,
            zero,
            float(y.std()),
            truth.nonlinearity,
            learn=("gating", "sigma"),
        ).gating[0]
        for n in (20_000, 4_000)
    ]
    own, all_of_them, part = (MoE(stage.regressors, gates, 0.1) for gates in (stage.gating, *ends))
    assert gating_error(own, all_of_them) < 0.01 < 3 * gating_error(own, part)


def test_stages_come_in_order_and_each_improves_on_the_last() -> None:
    truth, x, y = samples(n=20_000, seed=2)
    fit = moe.recover(x, y, 3)
    names = [stage.name for stage in fit.stages]
    assert names == ["moments", "L4", "L_log", "likelihood"]
    l4, likelihood = fit.stage("L4"), fit.stage("likelihood")
    assert fit.stage("moments").regressors is None and l4.gating is None
    assert l4.regressors is not None and likelihood.regressors is not None
    torch.testing.assert_close(l4.regressors.norm(dim=1), torch.ones(3, dtype=torch.float64))
    l4_error = regressor_error_of(l4.regressors, truth.regressors)
    assert regressor_error_of(likelihood.regressors, truth.regressors) < l4_error < 0.1
    assert float(likelihood.trace[-1]) > float(fit.stage("L_log").trace[-1])
    with pytest.raises(KeyError, match="expected one of"):
        fit.stage("nothing")


def test_proportions_are_the_gates_mean_in_the_models_order() -> None:
    truth, x, y = samples(n=50_000, seed=3, gate_norm=2.0)
    fit = moe.recover(x, y, 3)
    pbar = truth.mixing_proportions(generator=stream("inputs", 0))
    order = match(fit.model.regressors, truth.regressors)
    assert float((fit.proportions[order] - pbar).abs().max()) < 0.06


def test_recovery_is_deterministic_and_blind_to_the_container() -> None:
    _, x, y = samples(n=3000)
    first = moe.recover(x, y, 3, seed=5)
    second = moe.recover(x.numpy(), y.numpy()[:, None], 3, seed=5)
    assert torch.equal(first.model.regressors, second.model.regressors)
    single = moe.recover(x.float(), y.float(), 3, seed=5)
    assert regressor_error(single.model, first.model) < 1e-8


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_l4_alone_recovers_nonlinear_orthonormal_experts(name: str) -> None:
    truth, x, y = samples(n=100_000, sigma=0.05, nonlinearity=name, orthonormal=True)
    moments = l4_moments_of(x, y, 3, truth.nonlinearity, 0.05)
    fit = minimise_l4(moments, y @ x / len(y), stream("starts", 0))
    assert regressor_error_of(fit.regressors, truth.regressors) <= 0.01
    assert bool(((fit.regressors @ truth.regressors.T).abs().max(1).values > 0.99).all())
    signed = (fit.regressors[match(fit.regressors, truth.regressors)] * truth.regressors).sum(1)
    assert float(signed.min()) > 0.98


def test_l4_default_weights_are_inside_the_benign_region() -> None:
    truth, x, y = samples(n=50_000, seed=4, gate_norm=2.0)
    fit = minimise_l4(
        l4_moments_of(x, y, 3, truth.nonlinearity), y @ x / len(y), stream("starts", 0)
    )
    p_min = float(truth.mixing_proportions(generator=stream("inputs", 0)).min())
    assert 0 < fit.mu < 1 and fit.lam > fit.mu / p_min


def test_weights_outside_the_benign_region_draw_a_warning() -> None:
    _, x, y = samples(n=20_000)
    with pytest.warns(OutsideTheoryWarning, match="mu must be below 1, got 1.5"):
        moe.recover(x, y, 3, mu=1.5)
    with pytest.warns(OutsideTheoryWarning, match="lambda must exceed mu / p_min"):
        moe.recover(x, y, 3, mu=0.5, lam=0.6)


def test_noise_level_from_the_variance_of_the_outputs() -> None:
    for name in ("linear", "tanh"):
        truth, _, y = samples(n=200_000, sigma=0.5, nonlinearity=name)
        assert noise_level(float(y.var()), truth.nonlinearity) == pytest.approx(0.5, rel=0.03)


def no_l4(*arguments: object, **options: object) -> None:
    raise NoMinimumError("no start converged")


def no_spectral(*arguments: object, **options: object) -> None:
    raise NoTransformError("no transform")


def test_third_moments_step_in_where_l4_has_no_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, x, y = samples(n=5000)
    monkeypatch.setattr("moe.recovery.starts.minimise_l4", no_l4)
    fit = moe.recover(x, y, 3)
    assert fit.converged and fit.origin is Origin.THIRD_MOMENTS, fit.reason
    assert regressor_error(fit.model, truth) < 1e-3
    assert [stage.name for stage in fit.stages] == ["moments", "gates", "likelihood"]
    assert float(fit.proportions.sum()) == pytest.approx(1, abs=0.2)


def test_eight_experts_in_eight_dimensions_are_recovered() -> None:
    truth, x, y = samples(k=8, d=8, n=10_000, sigma=0.05, gate_norm=0.0)
    fit = moe.recover(x, y, 8)
    assert fit.converged, fit.reason
    assert regressor_error(fit.model, truth) < 1e-3


def test_twelve_experts_are_recovered_where_one_annealed_start_mostly_fails() -> None:
    truth, x, y = samples(k=12, d=12, n=5000, sigma=0.05, gate_norm=0.0)
    fit = moe.recover(x, y, 12)
    oracle = expectation_maximisation(
        x, y, truth.regressors, truth.gating, truth.sigma, truth.nonlinearity
    )
    assert fit.converged, fit.reason
    assert fit.origin is Origin.SEARCH and "a random annealed start won" in fit.reason
    assert fit.log_likelihood == pytest.approx(float(oracle.log_likelihood), abs=1e-3)


def test_without_gates_the_weights_stay_equal() -> None:
    for seed in range(3):
        truth, x, y = samples(k=3, d=6, n=400, sigma=0.3, gate_norm=0.0, seed=seed)
        free, held = (moe.recover(x, y, 3, gated=gated) for gated in (True, False))
        assert free.model.gating.any() and not held.model.gating.any()
        assert held.converged and held.log_likelihood < free.log_likelihood
        assert regressor_error(held.model, truth) < 0.02


def test_moments_that_noise_alone_could_give_are_not_trusted() -> None:
    _, x, y = samples(k=4, d=10, n=400, seed=1)
    with pytest.raises(NoMinimumError, match=r"eigenvalue 4 of M, .* too small to be told from"):
        l4_moments_of(x, y, 4, as_nonlinearity("linear"), resolution=1.0)
    rng = stream("noise", 2)
    transform = output_transform(as_nonlinearity("linear"), 0.1, 2)
    x = torch.randn(20_000, 60, generator=rng, dtype=torch.float64)
    y = torch.randn(20_000, generator=rng, dtype=torch.float64)
    largest = torch.linalg.eigvalsh(score_moment(x, y, transform, "average").tensor)[-1]
    assert noise_edge(x, y, transform) == pytest.approx(float(largest), rel=0.1)


def test_recovery_survives_moments_that_give_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, x, y = samples(n=2000)
    monkeypatch.setattr("moe.recovery.starts.minimise_l4", no_l4)
    monkeypatch.setattr("moe.recovery.starts.spectral_start", no_spectral)
    fit = moe.recover(x, y, 3)
    assert fit.converged and "L_4 gave no start: no start converged" in fit.reason
    assert regressor_error(fit.model, truth) < 1e-3
    assert bool(fit.proportions.isnan().all())


def test_a_bad_start_from_moments_loses_the_race(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, x, y = samples(n=3000)
    stuck = expectation_maximisation(
        x, y, truth.regressors[[0, 0, 1]] + 0.01, torch.zeros(3, 10, dtype=torch.float64), 0.02,
        truth.nonlinearity, learn=("regressors", "gating"), iterations=3,
    )  # fmt: skip
    calls = iter([stuck, stuck])

    def em(*arguments: Any, **options: Any) -> EMResult:
        return next(calls, None) or expectation_maximisation(*arguments, **options)

    monkeypatch.setattr("moe.recovery.judging.expectation_maximisation", em)
    monkeypatch.setattr("moe.recovery.climbing.expectation_maximisation", em)
    monkeypatch.setattr("moe.recovery.starts.spectral_start", no_spectral)
    fit = moe.recover(x, y, 3)
    assert fit.origin in (Origin.SEARCH, Origin.GATES) and fit.supporters >= 2
    assert regressor_error(fit.model, truth) < 1e-3


def test_an_answer_that_one_population_alone_reached_is_not_trusted() -> None:
    """k = 8, d = 8, 192 samples, no gates: most answers are wrong, and none says so in its
    residuals. The two populations do not meet in a wrong one."""
    wrong = 0
    for seed in range(6):
        truth, x, y = samples(8, 8, 192, seed, sigma=0.05, gate_norm=0.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DoubtfulFitWarning)
            fit = moe.recover(x, y, 8, gated=False)
        if regressor_error(fit.model, truth) > 0.05:
            wrong += 1
            assert not fit.converged and "only one reached" in fit.reason
            assert not doubts(fit.model, x, y)
    assert wrong >= 3


def test_the_probability_transform_of_the_truth_is_uniform_and_of_a_wrong_model_is_not() -> None:
    truth, x, y = samples(n=4000)
    assert float(probability_transform(truth, x, y).mean()) == pytest.approx(0.5, abs=0.02)
    assert calibration_p_value(truth, x, y) > 0.01
    wrong = MoE(truth.regressors[[0, 0, 1]], truth.gating, truth.sigma)
    assert calibration_p_value(wrong, x, y) < 1e-6
    assert any("not calibrated" in reason for reason in doubts(wrong, x, y))


def test_doubts_name_collapsed_and_duplicate_experts() -> None:
    truth, x, y = samples(n=500)
    twins = MoE(truth.regressors[[0, 0, 1]], truth.gating, truth.sigma)
    assert any("experts 0 and 1 are alike" in reason for reason in doubts(twins, x, y))
    far = torch.cat([truth.regressors[:2], 1e4 * truth.regressors[2:]])
    collapsed = MoE(far, truth.gating, truth.sigma)
    assert any("expert 2 has collapsed" in reason for reason in doubts(collapsed, x, y))


def test_non_convergence_is_reported_not_raised() -> None:
    _, x, y = samples(n=2000)
    with pytest.warns(DoubtfulFitWarning, match="joint EM had not converged after 1 iterations"):
        fit = moe.recover(x, y, 3, iterations=1)
    assert not fit.converged and "1 iterations" in fit.reason


def test_even_nonlinearity_warns_that_signs_are_lost_and_recovers_the_directions() -> None:
    truth, x, y = samples(k=2, d=4, n=30_000, nonlinearity=torch.square, sigma=0.1)
    with pytest.warns(SignsLostWarning, match="signs of the regressors cannot be recovered"):
        fit = moe.recover(x, y, 2, torch.square)
    assert regressor_error(fit.model, truth) < 1e-3


def test_a_nonlinearity_without_transform_is_refused() -> None:
    _, x, y = samples(n=1000)
    with pytest.raises(ValueError, match="is constant: no output transform exists"):
        moe.recover(x, y, 3, lambda z: torch.ones_like(z))


GOOD = samples(k=2, d=4, n=400)[1:]
BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "x has three axes": (dict(x=torch.ones(5, 2, 2)), ValueError, r"x: expected shape \(n, d\)"),
    "y is longer": (dict(y=torch.ones(401)), ValueError, r"y: expected shape \(400,\)"),
    "k is zero": (dict(k=0), ValueError, "k: expected at least 1"),
    "k is a fraction": (dict(k=2.5), TypeError, "k: expected an integer"),
    "k exceeds d": (dict(k=5), ValueError, "k: expected at most d = 4"),
    "too few samples": (
        dict(x=GOOD[0][:10], y=GOOD[1][:10]),
        ValueError,
        "x: expected more samples than the model has parameters.* = 13, got n = 10",
    ),
    "x has a NaN": (
        dict(x=torch.where(GOOD[0] > 3, torch.nan, GOOD[0])), ValueError, "x: expected finite",
    ),
    "y is infinite": (dict(y=GOOD[1] / 0.0), ValueError, "y: expected finite values, got 400"),
    "y is constant": (dict(y=torch.full((400,), 2.0)), ValueError, "y: .* got the constant 2"),
    "y is text": (dict(y=np.array(["a"] * 400)), TypeError, "y: expected an array or tensor"),
    "y is complex": (dict(y=GOOD[1] + 1j), TypeError, "y: expected real numbers"),
    "sigma is negative": (dict(sigma=-0.1), ValueError, "sigma: expected a positive finite"),
    "sigma is text": (dict(sigma="small"), TypeError, "sigma: expected a positive number"),
    "mu is zero": (dict(mu=0.0), ValueError, "mu: expected a positive finite number"),
    "lam is infinite": (dict(lam=float("inf")), ValueError, "lam: expected a positive finite"),
    "no restarts": (dict(restarts=0), ValueError, "restarts: expected at least 1, got 0"),
    "no starts": (dict(starts=0), ValueError, "starts: expected at least 1, got 0"),
    "g is unknown": (dict(nonlinearity="cubic"), ValueError, "cubic.*linear"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD, ids=BAD)
def test_bad_input_is_refused_by_name(case: str) -> None:
    changes, error, message = BAD[case]
    arguments = {"x": GOOD[0], "y": GOOD[1], "k": 2, **changes}
    with pytest.raises(error, match=message):
        moe.recover(**arguments)


def test_inputs_far_from_gaussian_draw_a_warning_with_the_measurements() -> None:
    truth, x, y = samples(k=2, d=4, n=3000)
    with pytest.warns(
        NonGaussianInputWarning, match=r"max \|mean\| = [23]\.\d\d standard deviations.*kurtosis"
    ):
        moe.recover(x + 3.0, outputs(truth, x + 3.0), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moe.recover(x, y, 2)


def test_discrete_inputs_do_not_break_the_moments() -> None:
    truth = random_moe(2, 4, generator=stream("truth", 3))
    x = torch.randint(0, 2, (3000, 4), generator=stream("inputs", 3), dtype=torch.float64) * 2 - 1
    y = outputs(truth, x)
    with pytest.warns(NonGaussianInputWarning, match="expected inputs close to Gaussian"):
        fit = moe.recover(x, y, 2)
    assert regressor_error(fit.model, truth) < 1e-2
