"""moe.likelihood.efficiency: the bound nobody beats, and errors bars that mean what they say."""

import pytest
import torch
from helpers import samples

import moe
from moe.likelihood.efficiency import cramer_rao, fisher_information, standard_errors
from moe.likelihood.information import pack, unpack
from moe.metrics import align
from moe.model.mixture import MoE, random_moe
from moe.randomness import stream
from moe.solvers.em import expectation_maximisation


def test_one_linear_expert_has_the_bound_of_least_squares() -> None:
    truth = random_moe(1, 4, sigma=0.3, generator=stream("truth", 0))
    bound = cramer_rao(truth, 100, samples=200_000)
    expected = torch.full((1, 4), 0.3 / 10, dtype=torch.float64)
    torch.testing.assert_close(bound.regressors, expected, rtol=0.01, atol=0)
    with_noise = cramer_rao(truth, 100, sigma_known=False, samples=200_000)
    assert with_noise.sigma == pytest.approx(0.3 / 200**0.5, rel=0.01)


def test_fisher_information_is_minus_the_mean_hessian() -> None:
    truth, x, y = samples(2, 3, 20_000, 1, sigma=0.4, nonlinearity="tanh")

    def mean_log_density(theta: torch.Tensor) -> torch.Tensor:
        a, w = theta[:6].reshape(2, 3), torch.cat([theta[6:9], theta.new_zeros(3)]).reshape(2, 3)
        joint = torch.log_softmax(x @ w.T, 1) + torch.distributions.Normal(
            torch.tanh(x @ a.T), theta[-1].exp()
        ).log_prob(y[:, None])
        return torch.logsumexp(joint, 1).mean()

    hessian = torch.autograd.functional.hessian(mean_log_density, pack(truth))
    fisher = fisher_information(truth, samples=200_000)
    torch.testing.assert_close(fisher, -hessian, rtol=0.05, atol=0.08)


def test_pack_and_unpack_are_inverse() -> None:
    truth = random_moe(3, 5, sigma=0.2, generator=stream("truth", 0))
    again = unpack(pack(truth), truth)
    torch.testing.assert_close(again.regressors, truth.regressors)
    torch.testing.assert_close(again.gating, truth.gating)
    assert again.sigma == pytest.approx(0.2)


def test_standard_errors_match_the_spread_of_maximum_likelihood_over_data_sets() -> None:
    truth, data = random_moe(2, 3, sigma=0.2, generator=stream("truth", 2)), stream("data", 2)
    fits, errors = [], []
    for _ in range(150):
        x, y = truth.sample(400, data)
        end = expectation_maximisation(
            x, y, truth.regressors, truth.gating, truth.sigma, truth.nonlinearity
        )
        fit = end.model(0, truth.nonlinearity)
        fits.append(pack(align(fit, truth)))
        errors.append(standard_errors(fit, x, y).covariance.diagonal().sqrt())
    spread = torch.stack(fits).std(0)
    ratio = torch.stack(errors).mean(0) / spread
    assert 0.85 < float(ratio.mean()) < 1.15
    assert float(ratio.min()) > 0.75 and float(ratio.max()) < 1.3
    bound = cramer_rao(truth, 400, sigma_known=False).covariance.diagonal().sqrt()
    assert 0.9 < float((spread / bound).mean()) < 1.2


def test_recovery_carries_its_standard_errors() -> None:
    truth, x, y = samples(2, 5, 5000, 3)
    fit = moe.recover(x, y, 2)
    errors = fit.standard_errors
    assert errors.regressors.shape == errors.gating.shape == (2, 5)
    assert not bool(errors.gating[-1].any())
    off = (align(fit.model, truth).regressors - truth.regressors) / errors.regressors.mean()
    assert float(off.square().mean()) < 4
    bound = cramer_rao(truth, 5000, sigma_known=False)
    assert errors.gating[0].mean() == pytest.approx(float(bound.gating[0].mean()), rel=0.15)


def test_parameters_that_are_not_identified_are_refused() -> None:
    twins = torch.ones(2, 3, dtype=torch.float64)
    model = MoE(twins, torch.zeros(2, 3, dtype=torch.float64), 0.1)
    with pytest.raises(ValueError, match="truth: expected a positive definite information matrix"):
        cramer_rao(model, 100, samples=1000)
