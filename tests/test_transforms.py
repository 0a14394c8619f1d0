"""Output transforms: the table, closed forms, the moment identity, refusals."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pytest
import torch
from helpers import normal
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.hermite_e import herme2poly, hermegauss
from torch import Tensor

from moe.exceptions import SignsLostWarning
from moe.model.nonlinearity import Nonlinearity, as_nonlinearity
from moe.moments.hermite import hermite_features, multi_indices, root_factorials, score_tensor
from moe.moments.transforms import OutputTransform, learnability, output_transform
from moe.randomness import stream

# alpha, beta, gamma | c_4, c_2 | sd(Q_4) / |c_4| at sigma = 0.05, 0.1, 0.5, to the digits printed
TABLE = {
    "linear": "0 -6.06 0 24 2 0.205 0.208 0.319",
    "relu": "-5.352 8.065 -3.131 0.5010 0.3634 1.06 1.18 6.0",
    "leaky_relu": "-4.429 4.658 -0.354 1.585 0.4943 0.480 0.495 1.53",
    "sigmoid": "-2 1.279 -0.279 0.009359 0.0624 0.38 0.74 44",
    "tanh": "0 -1.079 0 0.1569 0.3636 0.60 0.75 7.8",
    "softplus": "-5.391 8.759 -4.667 1.315 0.4881 0.42 0.43 1.3",
    "gelu": "-5.59 8.38 -2.49 -0.453 0.376 1.37 1.57 8.5",
}
SMOOTH = ("linear", "sigmoid", "tanh", "softplus", "gelu")


def gaussian(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Hermite: exact for polynomials, and unlike the rules under test."""
    z, weights = hermegauss(nodes)
    return z, weights / weights.sum()


@pytest.mark.parametrize("name", TABLE)
def test_table_of_the_nonlinearities(name: str) -> None:
    quartic, quadratic = (output_transform(name, 0.1, degree) for degree in (4, 2))
    gamma, beta, alpha, leading = quartic.coefficients
    noises = [learnability(name, sigma) for sigma in (0.05, 0.1, 0.5)]
    assert leading == 1.0
    got = [alpha, beta, gamma, quartic.normaliser, quadratic.normaliser, *noises]
    for value, printed in zip(got, TABLE[name].split(), strict=True):
        half_a_unit = 0.5 * 10.0 ** int(Decimal(printed).as_tuple().exponent)
        assert abs(value - float(printed)) <= half_a_unit * 1.0001


@settings(max_examples=25, deadline=None)
@given(sigma=st.floats(0.0, 3.0))
def test_linear_closed_forms(sigma: float) -> None:
    expected = {
        2: ((0.0, 1.0), 2.0),
        3: ((-3 * (1 + sigma**2), 0.0, 1.0), 6.0),
        4: ((0.0, -6 * (1 + sigma**2), 0.0, 1.0), 24.0),
    }
    for degree, (coefficients, normaliser) in expected.items():
        transform = output_transform("linear", sigma, degree)
        assert transform.coefficients == pytest.approx(coefficients, rel=1e-12, abs=1e-12)
        assert transform.normaliser == pytest.approx(normaliser, rel=1e-12)
        variance = math.factorial(degree) * (1 + sigma**2) ** degree
        if degree == 2:
            variance = 2 * (1 + sigma**2) ** 2
        assert transform.noise == pytest.approx(math.sqrt(variance) / normaliser, rel=1e-12)


@pytest.mark.parametrize(("name", "slope"), [("relu", 0.0), ("leaky_relu", 0.1)])
def test_kinked_nonlinearities_agree_with_half_line_moments(name: str, slope: float) -> None:
    """E[z^r; z > 0] = 2^(r/2 - 1) Gamma((r + 1)/2) / sqrt(pi) makes every entry a closed form."""

    def half(r: int) -> float:
        return math.exp2(r / 2 - 1) * math.gamma((r + 1) / 2) / math.sqrt(math.pi)

    def entry(r: int, j: int) -> float:
        terms = [
            float(c) * half(r + i) * (1 + slope**r * (-1) ** (r + i))
            for i, c in enumerate(herme2poly([0.0] * j + [1.0]))
        ]
        return math.fsum(terms)

    for degree in (2, 3, 4):
        system = np.array([[entry(r, j) for r in range(1, degree)] for j in range(1, degree)])
        q = [*np.linalg.solve(system, [-entry(degree, j) for j in range(1, degree)]), 1.0]
        normaliser = sum(c * entry(r, degree) for r, c in enumerate(q, start=1))
        transform = output_transform(name, 0.0, degree)
        assert transform.coefficients == pytest.approx(q, rel=1e-10)
        assert transform.normaliser == pytest.approx(normaliser, rel=1e-10)


@pytest.mark.parametrize("degree", [2, 3, 4])
@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("name", SMOOTH)
def test_conditions_normaliser_and_noise_by_a_double_integral(
    name: str, sigma: float, degree: int
) -> None:
    """E over z and xi of Q(y), with no use of the algebra that removes the noise."""
    transform = output_transform(name, sigma, degree)
    z, weights = gaussian(180)
    xi, xi_weights = gaussian(9)
    values = as_nonlinearity(name)(torch.from_numpy(z)).numpy()
    y = torch.from_numpy(values[:, None] + sigma * xi)
    q = transform(y).numpy() @ xi_weights
    projections = [weights @ (q * np.polynomial.HermiteE.basis(j)(z)) for j in range(degree + 1)]
    scale = abs(transform.normaliser)
    assert np.abs(projections[1:degree]).max() < 1e-7 * scale
    assert projections[degree] == pytest.approx(transform.normaliser, rel=1e-7)
    second = weights @ (transform(y).numpy() ** 2 @ xi_weights)
    noise = math.sqrt(second - projections[0] ** 2) / scale
    assert transform.noise == pytest.approx(noise, rel=1e-6)


def test_calling_a_transform_is_its_polynomial() -> None:
    transform = OutputTransform(3, (2.0, -3.0, 1.0), 6.0, 1.0)
    y = torch.tensor([-1.0, 0.0, 2.0])
    assert transform(y).dtype == torch.float32
    assert transform(y).equal(y**3 - 3 * y**2 + 2 * y)


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_an_affine_change_of_the_output_changes_no_noise(degree: int) -> None:
    shifted = as_nonlinearity(lambda z: 40.0 - 0.01 * torch.nn.functional.softplus(z))
    plain = output_transform("softplus", 0.2, degree)
    moved = output_transform(shifted, 0.002, degree)
    assert moved.noise == pytest.approx(plain.noise, rel=1e-6)
    assert moved.normaliser == pytest.approx((-0.01) ** degree * plain.normaliser, rel=1e-6)


def test_an_undeclared_kink_costs_nothing_but_time() -> None:
    kink = 0.3141
    function: Callable[[Tensor], Tensor] = lambda z: torch.relu(z - kink) + 0.2 * z  # noqa: E731
    declared = output_transform(Nonlinearity("declared", function, (kink,)), 0.1, 4)
    undeclared = output_transform(function, 0.1, 4)
    assert undeclared.coefficients == pytest.approx(declared.coefficients, rel=1e-9)
    assert undeclared.noise == pytest.approx(declared.noise, rel=1e-9)


def expected_moment(a: Tensor, proportions: Tensor, degree: int) -> Tensor:
    """sum_i p_i a_i^(m)."""
    axes = "abcd"[:degree]
    return torch.einsum(
        f"k,{','.join('k' + axis for axis in axes)}->{axes}", proportions, *[a] * degree
    )


def mixture(k: int, d: int) -> tuple[Tensor, Tensor]:
    """Unit regressors in the first k coordinates, not orthogonal; gates in the last two."""
    a, w = torch.zeros(k, d).double(), torch.zeros(k, d).double()
    a[:, :k] = torch.eye(k) + 0.3 * normal(k, k, purpose="regressors")
    w[:-1, -2:] = normal(k - 1, 2, purpose="gates")
    return a / a.norm(dim=1, keepdim=True), w


@pytest.mark.parametrize("degree", [2, 3, 4])
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("name", ["linear", "relu", "sigmoid", "gelu"])
def test_moment_identity_by_quadrature(name: str, k: int, degree: int) -> None:
    """E[Q_m(y) S_m(x)] / c_m = sum_i pbar_i a_i^(m), gates orthogonal to the regressors.

    Expert i sees three coordinates only: <a_i, x> and the gates' two. Every other direction is
    independent of y, with mean-zero score.
    """
    a, w = mixture(k, k + 2)
    transform = output_transform(name, 0.3, degree)
    gate_nodes, gate_weights = gaussian(24)
    xi, xi_weights = gaussian(5)
    points, base = np.polynomial.legendre.leggauss(60)
    z = np.concatenate([4.5 * points - 4.5, 4.5 * points + 4.5])
    density = np.tile(4.5 * base, 2) * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    y = as_nonlinearity(name)(torch.from_numpy(z))[:, None] + 0.3 * torch.from_numpy(xi)
    q = transform(y) @ torch.from_numpy(xi_weights)

    grid = [torch.from_numpy(nodes) for nodes in (z, gate_nodes, gate_nodes)]
    local = torch.cartesian_prod(*grid)
    weight = torch.einsum(
        "a,b,c->abc", *map(torch.from_numpy, (density, gate_weights, gate_weights))
    )
    gate = torch.softmax(local[:, 1:] @ w[:, -2:].T, dim=1)
    response = q.repeat_interleave(len(gate_nodes) ** 2) * weight.flatten() / transform.normaliser
    scores = score_tensor(local, degree).flatten(1)
    total = torch.zeros((k + 2,) * degree).double()
    for i in range(k):
        frame = torch.zeros(k + 2, 3).double()
        frame[:, 0], frame[-2, 1], frame[-1, 2] = a[i], 1.0, 1.0
        moment = ((gate[:, i] * response) @ scores).reshape((3,) * degree)
        for _ in range(degree):
            moment = torch.tensordot(moment, frame, dims=([0], [1]))
        total += moment
    proportions = weight.flatten() @ gate
    assert proportions.sum().item() == pytest.approx(1.0, abs=1e-12)
    torch.testing.assert_close(total, expected_moment(a, proportions, degree), rtol=0, atol=1e-8)


@pytest.mark.parametrize("degree", [2, 3, 4])
@pytest.mark.parametrize(
    ("name", "k"), [("linear", 2), ("linear", 3), ("tanh", 3), ("softplus", 2), ("sigmoid", 2)]
)
def test_moment_identity_by_sampling(name: str, k: int, degree: int) -> None:
    """The same identity, every distinct entry within 4.5 standard errors of its own."""
    n, d, sigma = 200_000, k + 2, 0.1
    a, w = mixture(k, d)
    x = normal(n, d, seed=degree, purpose="inputs")
    gate = torch.softmax(x @ w.T, dim=1)
    expert = torch.multinomial(gate, 1, generator=stream("experts", degree))[:, 0]
    noise = sigma * normal(n, seed=degree, purpose="noise")
    transform = output_transform(name, sigma, degree)
    q = transform(as_nonlinearity(name)((a[expert] * x).sum(1)) + noise) / transform.normaliser
    roots = root_factorials(d, degree)
    products = q[:, None] * hermite_features(x, degree)[:, -len(roots) :] * roots
    error = products.std(0) / math.sqrt(n)
    truth = expected_moment(a, gate.mean(0), degree)[multi_indices(d, degree).unbind(1)]
    assert ((products.mean(0) - truth).abs() / error).max() < 4.5
    assert (truth.abs() / error).max() > 4.5


def test_the_bare_quartic_breaks_the_identity() -> None:
    """E[p(x) y^4 He_2(z) He_2(u)] mixes in E[p''(u)] of the gate; Q_4 removes it."""
    z, weights = (torch.from_numpy(part) for part in gaussian(60))
    gate = torch.softmax(torch.stack([2 * z, -z, 0 * z], dim=1), dim=1)[:, 0]
    mixed = (weights * gate * (z**2 - 1)).sum()
    bare, repaired = (
        (mixed * (weights * q * (z**2 - 1)).sum() / 24).item()
        for q in (z**4, output_transform("linear", 0.0, 4)(z))
    )
    assert abs(bare) > 0.01
    assert abs(repaired) < 1e-12


def test_an_even_nonlinearity_is_accepted_with_a_warning() -> None:
    with pytest.warns(SignsLostWarning, match="signs of the regressors cannot be recovered"):
        quartic = output_transform(torch.square, 0.1, 4)
    assert quartic.normaliser == pytest.approx(1711.7065, abs=1e-3)
    with pytest.warns(SignsLostWarning, match="is even"):
        assert output_transform(torch.square, 0.1, 2).normaliser == pytest.approx(12.0)
    z, weights = gaussian(30)
    xi, xi_weights = gaussian(5)
    q = quartic(torch.from_numpy(z[:, None] ** 2 + 0.1 * xi)).numpy() @ xi_weights
    assert abs(weights @ (q * (z**2 - 1))) < 1e-8
    assert weights @ (q * (z**4 - 6 * z**2 + 3)) == pytest.approx(quartic.normaliser)


@pytest.mark.parametrize(
    ("function", "degree", "message"),
    [
        (torch.zeros_like, 4, r"is constant: .* E\[q_m\(z\) He_m\(z\)\] = c_m is 0"),
        (torch.sign, 2, r"E\[q_2\(z\) He_2\(z\)\] = c_2 is 0"),
        (torch.sign, 3, r"E\[q_3\(z\) He_3\(z\)\] = c_3 is 0"),
        (torch.sign, 4, r"E\[q_4\(z\) He_4\(z\)\] = c_4 is 0"),
        (torch.square, 3, r"E\[q_3\(z\) He_3\(z\)\] = c_3 is 0"),
        (
            lambda z: z**2 + z**3 - 3 * z,
            2,
            r"condition E\[q_2\(z\) He_1\(z\)\] = 0 has no solution",
        ),
        (lambda z: torch.exp(z**2 / 16), 2, "two quadrature rules disagree"),
    ],
    ids=["constant", "sign-2", "sign-3", "sign-4", "square-3", "no-he1", "no-moments"],
)
def test_without_a_transform_the_failing_condition_is_named(
    function: Callable[[Tensor], Tensor], degree: int, message: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SignsLostWarning)
        with pytest.raises(ValueError, match=message):
            output_transform(function, 0.1, degree)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sigma: expected a finite number >= 0, got -0.1"):
        output_transform("linear", -0.1, 4)
    with pytest.raises(ValueError, match="sigma: expected a finite number >= 0, got nan"):
        output_transform("linear", math.nan, 4)
    with pytest.raises(TypeError, match="sigma: expected a number >= 0, got 'small'"):
        output_transform("linear", "small", 4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"degree: expected one of \(2, 3, 4\), got 5"):
        output_transform("linear", 0.1, 5)
