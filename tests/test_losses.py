"""The losses against naive loops, known optima, invariances, gradients and each other."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from helpers import normal, rotation, samples
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from moe.losses import l4_moments, l4_population, l4_samples, log_loss, squared_loss
from moe.model.mixture import random_moe
from moe.model.nonlinearity import as_nonlinearity
from moe.moments.hermite import score_tensor
from moe.moments.transforms import output_transform
from moe.randomness import stream

MU, LAM, DELTA = 0.5, 10.0, 0.3
QUARTIC, QUADRATIC = output_transform("linear", 0.1, 4), output_transform("linear", 0.1, 2)
LINEAR = as_nonlinearity("linear")
SEEDS = st.integers(0, 10_000)


def _proportions(k: int, seed: int = 0) -> Tensor:
    p = 0.3 + torch.rand(k, generator=stream("proportions", seed), dtype=torch.float64)
    return p / p.sum()


def _empirical_moments(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    second = torch.einsum("n,nab->ab", QUADRATIC(y), score_tensor(x, 2)) / len(y)
    fourth = torch.einsum("n,nabcd->abcd", QUARTIC(y), score_tensor(x, 4)) / len(y)
    return second / QUADRATIC.normaliser, fourth / QUARTIC.normaliser


def _moments(truth: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    second = torch.einsum("m,ma,mb->ab", p, truth, truth)
    return second, torch.einsum("m,ma,mb,mc,md->abcd", p, truth, truth, truth, truth)


# --- the three forms of L_4 -------------------------------------------------------------------


@pytest.mark.parametrize("delta", [0.0, DELTA])
def test_samples_equal_moments_of_the_same_samples(delta: float) -> None:
    _, x, y = samples(3, 4, 60)
    rows = normal(3, 4)
    sampled = l4_samples(rows, x, y, QUARTIC, QUADRATIC, MU, LAM, delta)
    momented = l4_moments(rows, *_empirical_moments(x, y), MU, LAM, delta)
    assert float(sampled) == pytest.approx(float(momented), rel=1e-11)


@pytest.mark.parametrize("delta", [0.0, DELTA])
def test_moments_with_exact_tensors_equal_population(delta: float) -> None:
    truth, p, rows = normal(3, 5, purpose="truth"), _proportions(3), normal(7, 3, 5)
    exact = l4_moments(rows, *_moments(truth, p), MU, LAM, delta)
    torch.testing.assert_close(
        exact, l4_population(rows, truth, p, MU, LAM, delta), rtol=1e-11, atol=0
    )


def test_population_is_the_double_sum_of_the_definition() -> None:
    truth, p, rows = normal(3, 3, purpose="truth"), _proportions(3), normal(3, 3)
    s = [[float(rows[i] @ truth[m]) ** 2 for m in range(3)] for i in range(3)]
    value = sum(
        float(p[m]) * s[i][m] * s[j][m]
        for m in range(3)
        for i in range(3)
        for j in range(3)
        if i != j
    )
    value -= MU * sum(float(p[m]) * s[i][m] ** 2 for m in range(3) for i in range(3))
    value += LAM * sum((sum(float(p[m]) * s[i][m] for m in range(3)) - 1) ** 2 for i in range(3))
    value += DELTA / 2 * float(rows.square().sum())
    assert float(l4_population(rows, truth, p, MU, LAM, DELTA)) == pytest.approx(value, rel=1e-12)


def test_samples_tend_to_population_within_error_bars() -> None:
    model = random_moe(2, 3, gate_norm=1.0, generator=stream("truth", 0))
    data, rows = stream("data", 0), 0.5 * normal(2, 3)
    p = torch.tensor([0.5, 0.5], dtype=torch.float64)  # two gates without offset
    population = l4_population(rows, model.regressors, p, MU, LAM)
    batches = torch.stack(
        [
            l4_samples(rows, *model.sample(20_000, data), QUARTIC, QUADRATIC, MU, LAM)
            for _ in range(40)
        ]
    )
    error = float(batches.std()) / math.sqrt(len(batches))
    assert abs(float(batches.mean() - population)) < 4 * error
    assert error < 0.05 * abs(float(population))


# --- known optima -----------------------------------------------------------------------------


@pytest.mark.parametrize("orthonormal", [False, True])
@pytest.mark.parametrize("k", [2, 3, 5])
def test_known_optimum_has_known_value_zero_gradient_and_positive_curvature(
    k: int, orthonormal: bool
) -> None:
    model = random_moe(k, k, gate_norm=0.0, orthonormal=orthonormal, generator=stream("truth", k))
    truth, p, lam = model.regressors, _proportions(k), 40.0
    lengths = (lam / (lam - MU / p) / p).sqrt()
    rows = lengths[:, None] * torch.linalg.pinv(truth).mT
    if orthonormal:
        torch.testing.assert_close(rows, lengths[:, None] * truth)
    value = l4_population(rows, truth, p, MU, lam)
    assert float(value) == pytest.approx(-float((MU / (p - MU / lam)).sum()), rel=1e-10)

    def loss(flat: Tensor) -> Tensor:
        return l4_population(flat.reshape(k, k), truth, p, MU, lam)

    gradient = torch.autograd.functional.jacobian(loss, rows.flatten())
    curvature = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, rows.flatten()))
    assert float(gradient.abs().max()) < 1e-9 * float(curvature[-1])
    assert float(curvature[0]) > 0


def test_squared_loss_at_the_truth_is_the_mean_conditional_variance() -> None:
    model, x, y = samples(3, 5, 200_000, sigma=0.3)
    p, means = model.gate(x), model.expert_means(x)
    variance = model.sigma**2 + (p * means.square()).sum(-1) - model.mean(x).square()
    squares = (y - model.mean(x)).square()
    loss = squared_loss(model.regressors, model.gating, x, y, LINEAR)
    error = float((squares - variance).std()) / math.sqrt(len(y))
    assert abs(float(loss - variance.mean())) < 4 * error


def test_log_loss_has_zero_expected_gradient_at_the_truth() -> None:
    model, x, y = samples(3, 5, 400, sigma=0.3)
    gating = model.gating.clone().requires_grad_()

    def one(w: Tensor, x_n: Tensor, y_n: Tensor) -> Tensor:
        return log_loss(w, model.regressors, model.sigma, x_n[None], y_n[None], LINEAR)

    scores = torch.func.vmap(torch.func.grad(one), in_dims=(None, 0, 0))(gating.detach(), x, y)
    z = scores.mean(0) / (scores.std(0) / math.sqrt(len(y)))
    assert float(z.abs().max()) < 4
    (gradient,) = torch.autograd.grad(
        log_loss(gating, model.regressors, model.sigma, x, y, LINEAR), gating
    )
    torch.testing.assert_close(gradient, scores.mean(0))


# --- naive twins ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["linear", "sigmoid", "relu"])
def test_squared_and_log_loss_equal_naive_loops(name: str) -> None:
    model, x, y = samples(3, 4, 25, sigma=0.4, nonlinearity=name)
    g = as_nonlinearity(name)
    squares = logs = 0.0
    for x_n, y_n in zip(x, y, strict=True):
        scores = [math.exp(float(w @ x_n)) for w in model.gating]
        p = [score / sum(scores) for score in scores]
        means = [float(g(a @ x_n)) for a in model.regressors]
        density = [
            math.exp(-0.5 * ((float(y_n) - m) / 0.4) ** 2) / (0.4 * math.sqrt(2 * math.pi))
            for m in means
        ]
        squares += (float(y_n) - sum(q * m for q, m in zip(p, means, strict=True))) ** 2 / 25
        logs -= math.log(sum(q * f for q, f in zip(p, density, strict=True))) / 25
    assert float(squared_loss(model.regressors, model.gating, x, y, g)) == pytest.approx(squares)
    assert float(log_loss(model.gating, model.regressors, 0.4, x, y, g)) == pytest.approx(logs)


def test_log_loss_is_minus_the_mean_log_density() -> None:
    model, x, y = samples(3, 4, 60)
    loss = log_loss(model.gating, model.regressors, model.sigma, x, y, model.nonlinearity)
    torch.testing.assert_close(loss, -model.log_density(x, y).mean())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_no_overflow_at_gate_norm_100(dtype: torch.dtype) -> None:
    model, x, y = samples(3, 5, 500, gate_norm=100.0, dtype=dtype)
    gating = model.gating.clone().requires_grad_()
    regressors = model.regressors.clone().requires_grad_()
    for value in (
        squared_loss(regressors, gating, x, y, LINEAR),
        log_loss(gating, regressors, model.sigma, x, y, LINEAR),
        log_loss(gating, -regressors, 1e-3, 10 * x, y, LINEAR),
    ):
        gradients = torch.autograd.grad(value, (gating, regressors))
        assert math.isfinite(float(value.detach()))
        assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


# --- invariances ------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, k=st.integers(1, 4), extra=st.integers(0, 2))
def test_l4_is_invariant_under_permutation_sign_and_rotation(seed: int, k: int, extra: int) -> None:
    d = k + extra
    truth, rows = (normal(k, d, seed=seed, purpose=name) for name in ("truth", "rows"))
    p = _proportions(k, seed)
    x = normal(30, d, seed=seed, purpose="inputs")
    y = normal(30, seed=seed, purpose="outputs")
    order = torch.randperm(k, generator=stream("order", seed))
    signs = 2.0 * torch.randint(0, 2, (k, 1), generator=stream("signs", seed)) - 1.0
    turn = rotation(d, seed)
    second, fourth = _moments(truth, p)

    def values(a: Tensor, star: Tensor, q: Tensor, inputs: Tensor) -> Tensor:
        return torch.stack(
            [
                l4_population(a, star, q, MU, LAM, DELTA),
                l4_samples(a, inputs, y, QUARTIC, QUADRATIC, MU, LAM, DELTA),
            ]
        )

    plain = values(rows, truth, p, x)
    close = partial(torch.testing.assert_close, rtol=1e-8, atol=1e-8)
    close(values((signs * rows)[order], truth, p, x), plain)
    close(values(rows, truth[order], p[order], x), plain)
    turned = values(rows @ turn, truth @ turn, p, x @ turn)
    close(turned, plain)
    signed = l4_moments((signs * rows)[order], second, fourth, MU, LAM, DELTA)
    close(signed, plain[0])


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, k=st.integers(1, 4))
def test_squared_and_log_loss_invariances(seed: int, k: int) -> None:
    a, w = (normal(k, 4, seed=seed, purpose=name) for name in ("regressors", "gates"))
    x = normal(20, 4, seed=seed, purpose="inputs")
    y = normal(20, seed=seed, purpose="outputs")
    order, turn = torch.randperm(k, generator=stream("order", seed)), rotation(4, seed)
    shift = normal(4, seed=seed, purpose="shift")

    def values(a: Tensor, w: Tensor, x: Tensor) -> Tensor:
        return torch.stack([squared_loss(a, w, x, y, LINEAR), log_loss(w, a, 0.5, x, y, LINEAR)])

    plain = values(a, w, x)
    torch.testing.assert_close(values(a[order], w[order], x), plain)
    torch.testing.assert_close(values(a, w + shift, x), plain)
    torch.testing.assert_close(values(a @ turn, w @ turn, x @ turn), plain)


# --- gradients, dtypes, batches ---------------------------------------------------------------


def test_gradcheck_in_float64() -> None:
    model, x, y = samples(2, 3, 12)
    rows = (0.7 * normal(2, 2, 3, purpose="rows")).requires_grad_()
    gating = normal(2, 2, 3, purpose="gates").requires_grad_()
    p, g = torch.tensor([0.4, 0.6], dtype=torch.float64), as_nonlinearity("tanh")
    second, fourth = _moments(model.regressors, p)
    truth = model.regressors
    check = torch.autograd.gradcheck
    assert check(lambda a: l4_population(a, truth, p, MU, LAM, DELTA), rows)
    assert check(lambda a: l4_moments(a, second, fourth, MU, LAM, DELTA), rows)
    assert check(lambda a: l4_samples(a, x, y, QUARTIC, QUADRATIC, MU, LAM, DELTA), rows)
    assert check(lambda a, w: squared_loss(a, w, x, y, g), (rows, gating))
    assert check(lambda a, w: log_loss(w, a, 0.5, x, y, g), (rows, gating))


@pytest.mark.parametrize("delta", [0.0, DELTA])
def test_the_gradient_of_l4_from_samples_is_that_of_its_moments(delta: float) -> None:
    """Regressors may be shared by several data sets, or be many for one."""
    _, x, y = samples(3, 4, 90)
    xs, ys = x.reshape(3, 30, 4), y.reshape(3, 30)
    moments = [_empirical_moments(*one) for one in zip(xs, ys, strict=True)]
    for shape in ((3, 4), (3, 3, 4), (2, 3, 3, 4)):
        rows = normal(*shape, purpose="rows").requires_grad_()
        ours = l4_samples(rows, xs, ys, QUARTIC, QUADRATIC, MU, LAM, delta)
        each = rows.expand(3, 3, 4) if len(shape) == 2 else rows
        theirs = [
            l4_moments(each[..., s, :, :], *moments[s], MU, LAM, delta) for s in range(len(xs))
        ]
        torch.testing.assert_close(ours, torch.stack(theirs, -1))
        weights = normal(*ours.shape, purpose="weights")
        found, wanted = (
            torch.autograd.grad((weights * losses).sum(), rows)[0]
            for losses in (ours, torch.stack(theirs, -1))
        )
        torch.testing.assert_close(found, wanted)


def test_float32_stays_float32_and_agrees_with_float64() -> None:
    model, x, y = samples(3, 4, 60)
    rows, p = 0.5 * normal(3, 4), _proportions(3)
    second, fourth = _moments(model.regressors, p)
    gating = model.gating

    def values(convert: torch.dtype) -> list[Tensor]:
        a, w, xs, ys, star, q, m2, m4 = (
            tensor.to(convert)
            for tensor in (rows, gating, x, y, model.regressors, p, second, fourth)
        )
        return [
            l4_population(a, star, q, MU, LAM, DELTA),
            l4_moments(a, m2, m4, MU, LAM, DELTA),
            l4_samples(a, xs, ys, QUARTIC, QUADRATIC, MU, LAM, DELTA),
            squared_loss(a, w, xs, ys, LINEAR),
            log_loss(w, a, 0.5, xs, ys, LINEAR),
        ]

    for single, double in zip(values(torch.float32), values(torch.float64), strict=True):
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), double, rtol=2e-4, atol=1e-4)


def test_batch_dimensions_agree_with_a_loop() -> None:
    model, x, y = samples(3, 4, 60)
    rows, gating = (normal(2, 3, 3, 4, purpose=name) for name in ("rows", "gates"))
    p = _proportions(3)
    second, fourth = _moments(model.regressors, p)
    sigma = 0.2 + torch.rand(2, 3, generator=stream("sigma", 0), dtype=torch.float64)
    batched = torch.stack(
        [
            l4_population(rows, model.regressors, p, MU, LAM, DELTA),
            l4_moments(rows, second, fourth, MU, LAM, DELTA),
            l4_samples(rows, x, y, QUARTIC, QUADRATIC, MU, LAM, DELTA),
            squared_loss(rows, gating, x, y, LINEAR),
            log_loss(gating, rows, sigma, x, y, LINEAR),
        ]
    )
    assert batched.shape == (5, 2, 3)
    for i in range(2):
        for j in range(3):
            a, w = rows[i, j], gating[i, j]
            alone = torch.stack(
                [
                    l4_population(a, model.regressors, p, MU, LAM, DELTA),
                    l4_moments(a, second, fourth, MU, LAM, DELTA),
                    l4_samples(a, x, y, QUARTIC, QUADRATIC, MU, LAM, DELTA),
                    squared_loss(a, w, x, y, LINEAR),
                    log_loss(w, a, float(sigma[i, j]), x, y, LINEAR),
                ]
            )
            torch.testing.assert_close(batched[:, i, j], alone)


def test_losses_accept_a_batch_of_data_sets() -> None:
    _, x, y = samples(3, 4, 60)
    xs, ys = x.reshape(3, 20, 4), y.reshape(3, 20)
    a, w = (normal(3, 3, 4, purpose=name) for name in ("rows", "gates"))
    together = squared_loss(a, w, xs, ys, LINEAR), log_loss(w, a, 0.5, xs, ys, LINEAR)
    for s in range(3):
        torch.testing.assert_close(together[0][s], squared_loss(a[s], w[s], xs[s], ys[s], LINEAR))
        torch.testing.assert_close(together[1][s], log_loss(w[s], a[s], 0.5, xs[s], ys[s], LINEAR))


@pytest.mark.parametrize("delta", [0.0, DELTA])
def test_l4_from_samples_refuses_second_derivatives_that_it_does_not_have(delta: float) -> None:
    """With delta alone in the graph a Hessian would come out as delta times the identity."""
    _, x, y = samples(3, 4, 60)
    a = normal(3, 4, purpose="rows").requires_grad_()
    value = l4_samples(a, x, y, QUARTIC, QUADRATIC, MU, LAM, delta)
    with pytest.raises(RuntimeError, match="differentiable once; l4_moments is twice"):
        torch.autograd.grad(value, a, create_graph=True)
