"""Score and information of the log-likelihood, against autograd and Monte Carlo."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import normal, samples
from torch import Tensor

from moe.likelihood import information as likelihood
from moe.likelihood.information import em_rate, information, pack, unpack
from moe.losses import log_loss
from moe.model.mixture import MoE, full_gating, random_moe
from moe.randomness import stream
from moe.solvers.em import expectation_maximisation

NAMES = ["linear", "sigmoid", "tanh", "softplus", "gelu", "relu", "leaky_relu"]


def problem(name: str, *, k: int = 3, d: int = 5, n: int = 60) -> tuple[MoE, Tensor, Tensor]:
    """A model away from the truth of its samples, so that neither score nor residuals are small."""
    _, x, y = samples(k, d, n, sigma=0.4, nonlinearity=name)
    other = random_moe(k, d, sigma=0.6, nonlinearity=name, generator=stream("another truth", 0))
    return other, x, y


def log_likelihood(theta: Tensor, model: MoE, x: Tensor, y: Tensor) -> Tensor:
    k, d = model.k, model.d
    regressors = theta[: k * d].view(k, d)
    gating = full_gating(theta[k * d : -1].view(k - 1, d))
    loss = log_loss(gating, regressors, theta[-1].exp(), x, y, model.nonlinearity)
    return -len(y) * loss


@pytest.mark.parametrize("name", NAMES)
def test_score_and_observed_information_equal_autograd(name: str) -> None:
    model, x, y = problem(name)
    theta = pack(model)
    value, gradient, observed = information(model, x, y)

    def function(point: Tensor) -> Tensor:
        return log_likelihood(point, model, x, y)

    assert value == pytest.approx(float(function(theta)), rel=1e-12)
    torch.testing.assert_close(
        gradient, torch.autograd.functional.jacobian(function, theta), rtol=1e-9, atol=1e-9
    )
    torch.testing.assert_close(
        observed, -torch.autograd.functional.hessian(function, theta), rtol=1e-9, atol=1e-8
    )


@pytest.mark.parametrize("name", ["linear", "tanh"])
def test_observed_is_complete_minus_missing(name: str) -> None:
    model, x, y = problem(name)
    observed, complete, missing = (
        information(model, x, y, kind)[2] for kind in ("observed", "complete", "missing")
    )
    torch.testing.assert_close(observed, complete - missing, rtol=1e-12, atol=1e-9)
    assert torch.linalg.eigvalsh(missing)[0] > -1e-9
    assert bool((complete[: model.k * model.d, model.k * model.d : -1] == 0).all())


def test_complete_information_is_the_curvature_of_the_complete_data_objective() -> None:
    model, x, y = problem("tanh")
    responsibilities = model.responsibilities(x, y)
    k, d = model.k, model.d

    def objective(theta: Tensor) -> Tensor:
        regressors = theta[: k * d].view(k, d)
        gating = full_gating(theta[k * d : -1].view(k - 1, d))
        residual = (y[:, None] - model.nonlinearity(x @ regressors.T)) / theta[-1].exp()
        joint = torch.log_softmax(x @ gating.T, 1) - 0.5 * residual.square() - theta[-1]
        return (responsibilities * joint).sum()

    torch.testing.assert_close(
        information(model, x, y, "complete")[2],
        -torch.autograd.functional.hessian(objective, pack(model)),
        rtol=1e-9,
        atol=1e-8,
    )


def test_outer_is_the_sum_of_squared_scores() -> None:
    model, x, y = problem("linear", n=12)
    scores = torch.stack([information(model, x[i : i + 1], y[i : i + 1])[1] for i in range(len(y))])
    torch.testing.assert_close(
        information(model, x, y, "outer")[2], scores.T @ scores, rtol=1e-10, atol=1e-9
    )


@pytest.mark.parametrize("name", ["linear", "sigmoid"])
def test_information_identity_at_the_truth(name: str) -> None:
    """The means of outer products and of minus the Hessian agree, and the mean score is zero."""
    truth = random_moe(2, 3, sigma=0.3, nonlinearity=name, generator=stream("truth", 1))
    data = stream("data", 1)
    batches, n = 60, 2_000
    gaps, scores = [], []
    for _ in range(batches):
        x, y = truth.sample(n, data)
        _, gradient, outer = information(truth, x, y, "outer")
        gaps.append((outer - information(truth, x, y, "observed")[2]) / n)
        scores.append(gradient / n)
    for values in (torch.stack(gaps), torch.stack(scores)):
        error = values.std(0) / batches**0.5
        significant = error > 1e-12
        z = values.mean(0)[significant] / error[significant]
        assert z.abs().max() < 5
        assert z.square().mean() < 2


@pytest.mark.parametrize("learn", [("gating",), ("regressors", "gating")])
def test_em_rate_equals_the_measured_rate_of_em(learn: tuple[str, ...]) -> None:
    """A step of EM from just off its fixed point, in the slowest direction, keeps that share."""
    truth, x, y = samples(3, 4, 2_000, 2, sigma=0.3)

    def em(start: MoE, iterations: int) -> MoE:
        fit = expectation_maximisation(
            x,
            y,
            start.regressors,
            start.gating,
            start.sigma,
            start.nonlinearity,
            learn=learn,
            iterations=iterations,
            tolerance=-math.inf,
        )
        return MoE(fit.regressors[0], fit.gating[0], truth.sigma)

    end = em(truth, 120)
    moving = slice(12, 20) if learn == ("gating",) else slice(0, 20)
    complete, missing = (
        information(end, x, y, kind)[2][moving, moving] for kind in ("complete", "missing")
    )
    shares, directions = torch.linalg.eig(torch.linalg.solve(complete, missing))
    slowest = torch.zeros(21, dtype=torch.float64)
    slowest[moving] = 1e-4 * directions[:, shares.real.argmax()].real
    after = pack(em(unpack(pack(end) + slowest, end), 1)) - pack(end)
    kept = float(after @ slowest / slowest.square().sum())
    assert kept == pytest.approx(em_rate(complete, missing), rel=2e-3)
    assert (after - kept * slowest).norm() < 0.01 * slowest.norm()


def test_em_rate_is_the_largest_eigenvalue_of_the_missing_share() -> None:
    root, part = normal(2, 6, 6)
    missing = part @ part.T
    complete = missing + root @ root.T
    expected = torch.linalg.eigvals(torch.eye(6) - torch.linalg.solve(complete, complete - missing))
    assert em_rate(complete, missing) == pytest.approx(float(expected.real.max()), rel=1e-9)
    assert em_rate(complete, torch.zeros_like(missing)) == pytest.approx(0.0, abs=1e-12)


def test_chunks_do_not_change_the_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, y = problem("linear")
    whole = information(model, x, y)
    monkeypatch.setattr(likelihood, "_CHUNK", 7)
    pieces = information(model, x, y)
    assert pieces[0] == pytest.approx(whole[0], rel=1e-12)
    torch.testing.assert_close(pieces[1], whole[1], rtol=1e-10, atol=1e-9)
    torch.testing.assert_close(pieces[2], whole[2], rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_unpack_inverts_pack(k: int) -> None:
    model = random_moe(k, 5, sigma=0.7, generator=stream("truth", 0))
    theta = pack(model)
    assert theta.shape == ((2 * k - 1) * 5 + 1,)
    back = unpack(theta, model)
    torch.testing.assert_close(back.regressors, model.regressors)
    torch.testing.assert_close(back.gating, model.gating)
    assert back.sigma == pytest.approx(model.sigma)


def test_one_expert_has_the_information_of_least_squares() -> None:
    model, x, y = problem("linear", k=1)
    _, gradient, observed = information(model, x, y)
    residual = y - x @ model.regressors[0]
    torch.testing.assert_close(gradient[:-1], x.T @ residual / model.sigma**2)
    torch.testing.assert_close(observed[:-1, :-1], x.T @ x / model.sigma**2)
    assert float(observed[-1, -1]) == pytest.approx(2 * float(residual.square().sum()) / 0.36)
