"""The constant to subtract from Q_m, and what it saves: against brute quadrature and samples."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from helpers import normal
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor

from moe.model.nonlinearity import NONLINEARITIES, as_nonlinearity
from moe.moments.centring import Method, centre, cheapest, costs
from moe.moments.estimate import METHODS, Moments, score_moment
from moe.moments.hermite import score_tensor
from moe.moments.transforms import OutputTransform, output_transform

CASES = [("linear", 0.3), ("relu", 0.1), ("tanh", 0.1), ("sigmoid", 0.5), ("gelu", 0.1)]


def brute(name: str, sigma: float, degree: int) -> tuple[Tensor, Tensor, Tensor, float]:
    """Nodes of (x_1, x_2, xi): |S_m(x)|^2 by dense tensors, Q_m(y), weights, c_m; expert e_1."""
    edges = np.linspace(-10, 10, 41)
    points, lengths = np.polynomial.legendre.leggauss(12)
    z = (edges[:-1, None] + 0.25 * (1 + points)).ravel()
    z_weight = np.tile(0.25 * lengths, 40) * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    t, t_weight = hermegauss(12)
    grid = torch.tensor(list(product(z, t, t)), dtype=torch.float64)
    weight = torch.from_numpy(
        np.einsum("a,b,c->abc", z_weight, *[t_weight / t_weight.sum()] * 2).ravel()
    )
    size = score_tensor(grid[:, :2], degree).flatten(1).square().sum(1)
    transform = output_transform(name, sigma, degree)
    y = as_nonlinearity(name)(grid[:, 0]) + sigma * grid[:, 2]
    squares = grid[:, :2].square()
    he = squares - 1 if degree == 2 else squares.square() - 6 * squares + 3
    signal = he.sum(1) / (2 * math.factorial(degree))
    q = transform(y) / transform.normaliser
    return size, torch.stack([q, signal]), weight, transform.normaliser


@pytest.mark.parametrize("degree", [2, 4])
@pytest.mark.parametrize(("name", "sigma"), CASES)
def test_proposition_the_best_constant(name: str, sigma: float, degree: int) -> None:
    """Centre and all three costs for two orthonormal experts, by quadrature over the plane."""
    size, (q, signal), weight, scale = brute(name, sigma, degree)
    transform = output_transform(name, sigma, degree)
    best = float((weight * size * q).sum() / (weight * size).sum())
    assert centre(transform, 2) / scale == pytest.approx(best, rel=1e-8)
    cost = costs(transform, 2, 2)
    mean = float((weight * q).sum())
    for value, left, signal_left in (
        (cost.average, q, 0.5),
        (cost.centred, q - best, 0.5),
        (cost.least_squares, q - mean - signal, 0.0),
    ):
        expected = float((weight * size * left.square()).sum()) - signal_left
        assert value == pytest.approx(expected, rel=1e-7)
    for other in (best - 0.1, best + 0.1):
        assert float((weight * size * (q - other).square()).sum()) - 0.5 > cost.centred


@pytest.mark.parametrize("degree", [2, 3, 4])
@pytest.mark.parametrize("name", NONLINEARITIES)
def test_the_centred_average_is_never_the_worse_one(name: str, degree: int) -> None:
    for sigma, dim in product((0.0, 0.05, 0.5, 2.0), (1, 2, 5, 30)):
        cost = costs(output_transform(name, sigma, degree), dim, 1)
        assert cost.centred <= cost.average


def test_which_is_cheapest() -> None:
    """Bounded outputs and GELU: the centred average, for T; least squares for all others."""
    for dim, sigma in product((2, 3, 5), (0.05, 0.1)):
        for name in NONLINEARITIES:
            centred = name in ("sigmoid", "tanh", "gelu")
            expected: Method = "centred" if centred else "least_squares"
            assert cheapest(output_transform(name, sigma, 4), dim, dim) == expected
    by_hand = OutputTransform(2, (0.0, 1.0), 2.0, 1.0)
    assert (cheapest(by_hand, 3, 3), centre(by_hand, 3)) == ("least_squares", 0.0)
    with pytest.raises(ValueError, match="transform: expected one that output_transform made"):
        costs(by_hand, 3, 3)
    with pytest.raises(ValueError, match="k: expected 1 to dim = 3 experts, got 4"):
        costs(output_transform("tanh", 0.1, 4), 3, 4)


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_centred_moments_are_the_average_less_a_multiple_of_the_mean_score(degree: int) -> None:
    x, y = normal(900, 3, seed=1), normal(900, seed=2).tanh()
    transform = output_transform("tanh", 0.2, degree)
    shift = centre(transform, 3) / transform.normaliser
    plain, centred = (score_moment(x, y, transform, method).tensor for method in METHODS[:2])
    expected = plain - shift * score_tensor(x, degree).mean(0)
    torch.testing.assert_close(centred, expected, rtol=0, atol=1e-11)
    parts = Moments(transform, 3, None, "centred").update(x[:300], y[:300])
    parts.merge(Moments(transform, 3, None, "centred").update(x[300:], y[300:]))
    torch.testing.assert_close(parts.tensor(), expected, rtol=0, atol=1e-11)
    sums = Moments(transform, 3, None, "least_squares").update(x, y)
    torch.testing.assert_close(sums.tensor("centred"), expected, rtol=0, atol=1e-11)
    with pytest.raises(ValueError, match="method: these moments accumulate 'centred' only"):
        parts.tensor("average")


def test_equal_transforms_of_different_noise_have_centres_of_their_own() -> None:
    """Q_2 does not depend on sigma; the constant does."""
    one, other = (output_transform("linear", sigma, 2) for sigma in (0.1, 1.0))
    assert centre(other, 3) - centre(one, 3) == pytest.approx(0.99, rel=1e-9)
