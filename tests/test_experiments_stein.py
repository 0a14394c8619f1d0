"""What chapter 3 says, at small size."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import assert_shows, normal, samples

from moe.experiments import moment_error, stein
from moe.hermite import score_tensor
from moe.plotting import stein as pictures
from moe.randomness import stream
from moe.transforms import learnability, output_transform


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("name", ["relu", "sigmoid"])
def test_the_parts_of_the_product_rule_add_up_to_the_moment(name: str, order: int) -> None:
    record = stein.run(stein.Spec(order=order, nonlinearity=name))
    assert record.direct.max() < 1e-10
    assert record.terms[:, 0].max() < 1e-12  # j = 0 cancels over the experts


@pytest.mark.parametrize("seed", range(4))
def test_the_rule_for_the_gates_is_exact_for_any_truth(seed: int) -> None:
    model = samples(3, 6, 1, seed)[0]
    (t, weight, basis), (u, other, _) = (stein.gate_rule(model, halfway=h) for h in (False, True))
    first, second = (
        torch.einsum(
            "n,nk,n...->k...", w, torch.softmax(x @ basis.T @ model.gating.T, 1), score_tensor(x, 3)
        )
        for x, w in ((t, weight), (u, other))
    )
    assert float((first - second).abs().max()) < 1e-12 < 1e-3 < float(first.abs().max())
    assert stein.run(stein.Spec(k=3, seed=seed)).direct.max() < 1e-10


def test_the_direct_moment_agrees_with_monte_carlo() -> None:
    model, x, y = samples(2, 4, 200_000, nonlinearity="relu")
    exact = stein.direct_moment(stein.power_transform(1), model, 3)
    products = y[:, None, None, None] * score_tensor(x, 3)
    error = products.std(0) / math.sqrt(len(y))
    assert float(((products.mean(0) - exact).abs() / error).max()) < 4.5


@pytest.mark.parametrize("k", [2, 3])
def test_the_gates_drop_out_for_q_3_and_not_for_y_or_its_cube(k: int) -> None:
    record = stein.run(stein.Spec(k=k))
    plain, cube, fitted = record.terms
    assert plain[3] < 1e-12 < 0.01 < plain[2]
    assert cube[2] > 0.1 * cube[3]
    assert fitted[:3].max() < 1e-12 < fitted[3]
    assert record.recovered < 1e-8
    assert (record.gate_factors[1] < 1e-12) == (k == 2)


@pytest.mark.parametrize(("d", "order"), [(1, 4), (3, 2), (4, 3), (3, 4)])
def test_mean_square_of_score_tensors(d: int, order: int) -> None:
    x = normal(400_000 // d, d)
    squares = score_tensor(x, order).flatten(1).square().sum(1)
    error = float(squares.std()) / math.sqrt(len(x))
    assert abs(float(squares.mean()) - moment_error.rising(d, order)) < 4 * error
    assert moment_error.rising(d, order) == math.prod(range(d, d + order))


def _squared_error_samples(
    name: str, d: int, degree: int, n: int = 400_000
) -> tuple[torch.Tensor, float, float, torch.Tensor]:
    """|Q_m(y) S_m(x)|^2 / c_m^2, |T|^2, <a_1, a_2>, and the same with the residual r for Q.

    Their law has heavy tails: most of the mean is made by rare, large x. So x is drawn from
    N(0, s^2 I), s = 1.6, and each value is multiplied by the ratio of the densities.
    """
    model = samples(2, d, 1, gate_norm=2.0, nonlinearity=name)[0]
    wide = 1.6
    x = wide * normal(n, d, purpose="wide")
    ratio = wide**d * (0.5 * (1 / wide**2 - 1) * x.square().sum(1)).exp()
    expert = torch.multinomial(model.gate(x), 1, generator=stream("experts"))
    y = model.expert_means(x).gather(1, expert)[:, 0] + model.sigma * normal(n, purpose="noise")
    transform = output_transform(name, model.sigma, degree)
    a = model.regressors
    cosine = float(a[0] @ a[1])
    z = x @ a.T
    top = {2: z**2 - 1, 3: z**3 - 3 * z}[degree]
    q = transform(y)
    mean = (ratio * q).mean()
    residual = q - mean - transform.normaliser / math.factorial(degree) * top.mean(1)
    size = ratio * score_tensor(x, degree).flatten(1).square().sum(1) / transform.normaliser**2
    return q.square() * size, 0.5 * (1 + cosine**degree), cosine, residual.square() * size


@pytest.mark.parametrize(
    ("name", "d", "degree"), [("tanh", 3, 3), ("sigmoid", 4, 2), ("relu", 4, 2), ("linear", 5, 2)]
)
def test_error_constants_agree_with_monte_carlo(name: str, d: int, degree: int) -> None:
    """Propositions "The error of the plain average" and "The error of least squares"."""
    squares, square, cosine, residuals = _squared_error_samples(name, d, degree)
    constant = moment_error.average_constant(name, 0.1, d, degree, square)
    error = float(squares.std()) / math.sqrt(len(squares))
    assert abs(float(squares.mean()) - square - constant) < 4 * error
    assert error < 0.01 * constant
    constant = moment_error.least_squares_constant(name, 0.1, d, degree, cosine)
    error = float(residuals.std()) / math.sqrt(len(residuals))
    assert abs(float(residuals.mean()) - constant) < 4 * error
    assert error < 0.01 * constant


@pytest.mark.parametrize("name", ["linear", "tanh", "relu"])
def test_the_rule_of_thumb_becomes_exact_for_centred_transforms_in_high_dimension(
    name: str,
) -> None:
    ratios = [
        moment_error.average_constant(name, 0.1, d, 4, 0.0, centred=True)
        / (learnability(name, 0.1) ** 2 * moment_error.rising(d, 4))
        for d in (4, 100, 10_000)
    ]
    assert ratios[0] > ratios[1] > ratios[2] > 1
    assert ratios[2] == pytest.approx(1, abs=0.02)


def test_least_squares_pays_for_the_second_moment_and_not_for_tanh_s_fourth() -> None:
    for name in ("linear", "tanh", "sigmoid", "relu"):
        plain = moment_error.average_constant(name, 0.1, 8, 2, 0.5)
        assert moment_error.least_squares_constant(name, 0.1, 8, 2, 0.0) < plain
    plain = moment_error.average_constant("tanh", 0.1, 3, 4, 0.5)
    centred = moment_error.average_constant("tanh", 0.1, 3, 4, 0.5, centred=True)
    assert centred < plain < moment_error.least_squares_constant("tanh", 0.1, 3, 4, 0.0)


@pytest.fixture(scope="module")
def second() -> moment_error.Record:
    return moment_error.run(
        moment_error.Spec(
            nonlinearities=("linear", "sigmoid"),
            d=5,
            degree=2,
            methods=("average", "least_squares"),
            sizes=(1_000, 8_000),
            trials=40,
        )
    )


@pytest.fixture(scope="module")
def fourth() -> moment_error.Record:
    return moment_error.run(
        moment_error.Spec(nonlinearities=("tanh", "relu"), sizes=(1_000, 8_000), trials=10)
    )


def test_measured_errors_of_m_match_the_prediction(second: moment_error.Record) -> None:
    assert second.errors.shape == (2, 2, 2, 40)
    assert (second.measured / second.predicted - 1).abs().max() < 0.25
    assert bool((second.measured[1] < second.measured[0]).all())


def test_measured_errors_of_t_match_for_bounded_outputs_and_are_heavy_tailed_otherwise(
    fourth: moment_error.Record,
) -> None:
    assert (fourth.measured[0, 0] / fourth.predicted[0, 0] - 1).abs().max() < 0.1
    assert (fourth.typical[0, 1] / fourth.predicted[0, 1]).max() < 0.8


def test_error_in_the_span_has_the_span_s_dimension() -> None:
    record = moment_error.run(
        moment_error.Spec(nonlinearities=("tanh",), in_span=True, sizes=(4_000,), trials=40)
    )
    exact = moment_error.average_constant("tanh", 0.1, 2, 4, 0.0)
    assert 0 < exact - float(record.constants[0, 0]) < 1.01
    assert float(record.measured / record.predicted) == pytest.approx(1, abs=0.3)


def test_a_sigmoid_must_be_neither_flat_nor_steep() -> None:
    slopes = torch.tensor([0.25, 1.0, 8.0], dtype=torch.float64)
    noise = moment_error.steepness(slopes, (0.1,))
    assert noise[0, 1] < noise[0, 0]
    assert noise[0, 1] < noise[0, 2]
    assert float(noise[0, 1]) == pytest.approx(learnability("sigmoid", 0.1))


def test_figures_draw(second: moment_error.Record, fourth: moment_error.Record) -> None:
    slopes = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    steepness = moment_error.steepness(slopes, (0.1, 0.3))
    for figure, names in (
        (pictures.fourth_moment_figure(fourth), ("tanh", "relu")),
        (pictures.second_moment_figure(second), ("average", "least squares")),
        (
            pictures.steepness_figure(slopes, (0.1, 0.3), steepness),
            (r"$\sigma = 0.1$", r"$\sigma = 0.3$"),
        ),
    ):
        assert_shows(figure, *names)
        assert all(axes.get_xlabel() for axes in figure.axes)
        assert figure.axes[0].get_ylabel()
