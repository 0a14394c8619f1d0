"""What chapter 3 says, at small size."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import assert_shows, normal, rotation, samples
from numpy.polynomial.hermite_e import hermeval, hermevander

from moe.experiments.stein import estimators as stein
from moe.experiments.stein import figures as pictures
from moe.experiments.stein import interactive, moment_error
from moe.model.nonlinearity import NONLINEARITIES, Nonlinearity, as_nonlinearity
from moe.moments.hermite import score_tensor
from moe.moments.quadrature import gauss_hermite
from moe.moments.transforms import learnability, output_transform


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("name", ["relu", "sigmoid"])
def test_the_parts_of_the_product_rule_add_up_to_the_moment(name: str, order: int) -> None:
    record = stein.run(stein.Spec(order=order, nonlinearity=name))
    assert record.direct.max() < 1e-10
    assert record.terms[:, 0].max() < 1e-12  # j = 0 cancels over the experts


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_a_score_tensor_splits_along_a_direction(order: int) -> None:
    """S_m(x)[u, ..., u] = sum_j C(m, j) S_(m-j)(x')[u, ..., u] <a, u>^j He_j(<a, x>)."""
    x, u = normal(20, 4, purpose="inputs"), normal(4, purpose="direction")
    turn = rotation(4)
    a, rest = turn[0], turn[1:]

    def contracted(points: torch.Tensor, direction: torch.Tensor, m: int) -> torch.Tensor:
        tensor = score_tensor(points, m) if m else torch.ones(len(points), dtype=points.dtype)
        for _ in range(m):
            tensor = tensor @ direction
        return tensor

    hermite = torch.from_numpy(hermevander((x @ a).numpy(), order))
    parts = [
        math.comb(order, j)
        * contracted(x @ rest.T, rest @ u, order - j)
        * (a @ u) ** j
        * hermite[:, j]
        for j in range(order + 1)
    ]
    torch.testing.assert_close(sum(parts), contracted(x, u, order))


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
    (exact,) = stein.direct_moments([stein.power_transform(1)], model, 3)
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


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_size_of_a_score_tensor_is_a_function_of_the_radius(d: int, degree: int) -> None:
    x = normal(50, d)
    direct = score_tensor(x, degree).flatten(1).square().sum(1)
    torch.testing.assert_close(moment_error.score_size(x, degree), direct)


@pytest.mark.parametrize(
    ("name", "d", "degree"), [("tanh", 3, 3), ("sigmoid", 4, 2), ("relu", 4, 2), ("linear", 5, 4)]
)
def test_error_constants_agree_with_monte_carlo(name: str, d: int, degree: int) -> None:
    """Propositions "The error of the plain average" and "The error of least squares"."""
    for check in moment_error.sampled_constants(name, 0.1, d, degree).values():
        assert abs(check.sampled - check.exact) < 4 * check.error
        assert check.error < 0.02 * check.exact


STAIRS = {
    "step": (lambda z: (z > 0) + 0 * z, (0.0,)),
    "far": (lambda z: (z.abs() > 1) + 0 * z, (-1.0, 1.0)),
    "ternary": (lambda z: z.round().clamp(-1, 1), (-0.5, 0.5)),
    "even": (lambda z: z.abs().round().clamp(max=2), (-1.5, -0.5, 0.5, 1.5)),
    "four": (lambda z: (z > -0.5) + 1.0 * (z > 0.5) + (z > 1) + 0 * z, (-0.5, 0.5, 1.0)),
    "square": (torch.square, ()),
    "constant": (lambda z: 0 * z + 1, ()),
}


@pytest.mark.filterwarnings("ignore::moe.exceptions.SignsLostWarning")
@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("name", [*STAIRS, *NONLINEARITIES])
def test_a_transform_is_found_exactly_where_dimensions_allow_it(name: str, order: int) -> None:
    """Proposition "When there is a transform"."""
    g = Nonlinearity(name, *STAIRS[name]) if name in STAIRS else as_nonlinearity(name)
    counted = stein.conditions(g, order)
    assert counted.freedom > counted.binding or not counted.solvable
    if counted.solvable:
        assert output_transform(g, 0.1, order).degree == order
    else:
        with pytest.raises(ValueError, match="no output transform"):
            output_transform(g, 0.1, order)


def test_dimensions_by_hand() -> None:
    """v values leave min(m, v - 1) dimensions; conditions with odd j do not bind an even g."""
    counts = {
        name: [
            (c.freedom, c.binding)
            for c in (stein.conditions(Nonlinearity(name, *STAIRS[name]), m) for m in (2, 3, 4))
        ]
        for name in STAIRS
    }
    assert counts["step"] == [(1, 1), (1, 1), (1, 1)]
    assert counts["far"] == [(1, 0), (1, 1), (1, 1)]
    assert counts["ternary"] == [(2, 1), (2, 2), (2, 2)]
    assert counts["even"] == [(2, 0), (2, 1), (2, 1)]
    assert counts["four"] == [(2, 1), (3, 2), (3, 3)]
    assert counts["square"] == [(2, 0), (3, 1), (4, 1)]
    assert counts["constant"] == [(0, 0)] * 3


def test_a_transform_of_lower_degree_can_exist_where_no_monic_one_does() -> None:
    g = Nonlinearity("He_2 + He_3", lambda z: z**2 - 1 + z**3 - 3 * z)
    assert stein.conditions(g, 2).solvable
    with pytest.raises(ValueError, match="no output transform"):
        output_transform(g, 0.1, 2)


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


def _relative(name: str, d: int, degree: int, cosine: float) -> tuple[float, float]:
    square = (1 + cosine**degree) / 2
    plain, centred = (
        moment_error.average_constant(name, 0.1, d, degree, square, centred=c)
        for c in (False, True)
    )
    fit = moment_error.least_squares_constant(name, 0.1, d, degree, cosine)
    return centred / plain, fit / plain


def test_least_squares_pays_for_the_second_moment_but_not_as_a_law() -> None:
    for name in NONLINEARITIES:
        centred, fit = _relative(name, 8, 2, 0.3)
        assert fit < min(1.0, centred)
    centred, fit = _relative("tanh", 2, 2, 0.9)
    assert centred < fit < 1


@pytest.mark.parametrize(("d", "cosine"), [(2, 0.0), (3, 0.3), (5, 0.9)])
def test_no_estimate_of_the_fourth_moment_is_the_best_for_all(d: int, cosine: float) -> None:
    for name in NONLINEARITIES:
        centred, fit = _relative(name, d, 4, cosine)
        assert (centred < min(1.0, fit)) == (name in ("sigmoid", "tanh", "gelu"))
    assert (_relative("tanh", d, 4, 0.3)[1] > 1) == (d < 5)


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
        (
            pictures.leak_figure(stein.run(stein.Spec())),
            ("gates mixed in", "experts alone"),
        ),
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


@pytest.mark.parametrize(("name", "degree", "sigma"), [("tanh", 3, 0.5), ("gelu", 4, 0.1)])
def test_the_coefficients_that_a_reader_moves_are_means_over_inputs_and_noise(
    name: str, degree: int, sigma: float
) -> None:
    figure = interactive.hermite_coefficients().data
    g, m = list(NONLINEARITIES).index(name), interactive.DEGREES.index(degree)
    level = interactive.SIGMAS.index(sigma)
    z, weights = (torch.tensor(part) for part in gauss_hermite(150))
    xi, noise = (torch.tensor(part) for part in gauss_hermite(20))
    y = NONLINEARITIES[name](z)[:, None] + sigma * xi
    functions = (y**degree @ noise, output_transform(name, sigma, degree)(y) @ noise)
    for q, bars in zip(functions, figure["panels"][0]["marks"][1:], strict=True):
        sd = (weights @ q.square() - (weights @ q) ** 2).sqrt()
        shown = bars["y2"][g][m][level]
        for j in range(1, 7):
            he = hermeval(z, [0] * j + [1])
            expected = float((weights * q) @ he) / math.sqrt(math.factorial(j)) / float(sd)
            assert shown[j - 1] == pytest.approx(expected, abs=2e-4)
    assert shown[: degree - 1] == [0] * (degree - 1) and abs(shown[degree - 1]) > 0.05
