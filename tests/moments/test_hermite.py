"""Score tensors and Hermite features: definitions, Stein's lemma, contractions, index tables."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from helpers import normal
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import eval_hermitenorm
from torch import Tensor

from moe.moments.hermite import (
    feature_count,
    hermite_features,
    hermite_from_powers,
    index_table,
    multi_indices,
    polynomial,
    powers_from_hermite,
    root_factorials,
    s2_uu,
    s4_uuuu,
    s4_uuvv,
    score_tensor,
    weighted_powers,
)


def gaussian_grid(dim: int, nodes: int) -> tuple[Tensor, Tensor]:
    """Product Gauss-Hermite rule: points (nodes^dim, dim), weights; exact to degree 2 nodes - 1."""
    z, weights = (torch.from_numpy(part) for part in hermegauss(nodes))
    weights = weights / weights.sum()
    points = torch.cartesian_prod(*[z] * dim).reshape(-1, dim)
    return points, torch.cartesian_prod(*[weights] * dim).reshape(-1, dim).prod(1)


def symmetric(dim: int, degree: int, seed: int) -> Tensor:
    values = normal(len(multi_indices(dim, degree)), seed=seed, purpose="tensor")
    return values[index_table(dim, degree)] if degree else values[0]


def contract(tensor: Tensor, *vectors: Tensor) -> Tensor:
    """T[..., v_m, ..., v_1], one vector (d,) an axis, from the last axis on."""
    for vector in vectors:
        tensor = tensor @ vector
    return tensor


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_score_tensor_is_the_signed_derivative_of_the_density(order: int) -> None:
    """S_m(x) = (-1)^m grad^m phi(x) / phi(x)."""

    def density(x: Tensor) -> Tensor:
        return torch.exp(-x.square().sum() / 2)

    derivative = density
    for _ in range(order):
        derivative = torch.func.jacrev(derivative)
    x = normal(4, 3)
    for row, score in zip(x, score_tensor(x, order), strict=True):
        torch.testing.assert_close(score, (-1) ** order * derivative(row) / density(row))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_steins_lemma(order: int) -> None:
    """E[f S_m] = E[grad^m f] for f(x) = exp(<a, x>): exp(|a|^2 / 2) a^(m)."""
    a = torch.tensor([0.5, -0.3, 0.2], dtype=torch.float64)
    x, weights = gaussian_grid(3, 16)
    moment = torch.einsum("n,n...->...", weights * (x @ a).exp(), score_tensor(x, order))
    expected = math.exp(float(a @ a) / 2) * torch.ones((), dtype=torch.float64)
    for _ in range(order):
        expected = expected[..., None] * a
    torch.testing.assert_close(moment, expected, rtol=1e-11, atol=1e-13)


def test_contracted_forms_are_contractions_of_the_dense_tensors() -> None:
    x, u, v = normal(20, 4), normal(3, 4, seed=1), normal(2, 3, 4, seed=2)
    s2, s4 = score_tensor(x, 2), score_tensor(x, 4)
    for i in range(3):
        torch.testing.assert_close(s2_uu(x, u)[i], contract(s2, u[i], u[i]))
        torch.testing.assert_close(s4_uuuu(x, u)[i], contract(s4, *[u[i]] * 4))
        for b in range(2):
            expected = contract(s4, v[b, i], v[b, i], u[i], u[i])
            torch.testing.assert_close(s4_uuvv(x, u, v)[b, i], expected)


def test_contracted_forms_broadcast_over_pairs_of_rows() -> None:
    x, a = normal(7, 3), normal(2, 5, 3, seed=3)
    pairs = s4_uuvv(x, a[:, :, None], a[:, None])
    assert pairs.shape == (2, 5, 5, 7)
    torch.testing.assert_close(pairs, pairs.transpose(1, 2))
    torch.testing.assert_close(pairs.diagonal(dim1=1, dim2=2).movedim(-1, 1), s4_uuuu(x, a))
    assert s2_uu(x, a[0, 0]).shape == (7,)


def test_contracted_forms_pass_gradcheck() -> None:
    x = normal(3, 2)
    u, v = normal(2, 2, seed=1).requires_grad_(), normal(2, 2, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda u, v: s4_uuvv(x, u, v), (u, v))
    assert torch.autograd.gradcheck(lambda u: s4_uuuu(x, u) + s2_uu(x, u), (u,))


@pytest.mark.parametrize(("dim", "degree"), [(1, 4), (2, 3), (3, 4), (5, 2)])
def test_features_are_normalised_products_of_hermite_polynomials(dim: int, degree: int) -> None:
    z = normal(6, dim)
    columns = []
    for m in range(degree + 1):
        for row in multi_indices(dim, m).tolist():
            powers = [row.count(i) for i in range(dim)]
            factors = [
                torch.from_numpy(eval_hermitenorm(p, z[:, i].numpy()))
                / math.sqrt(math.factorial(p))
                for i, p in enumerate(powers)
            ]
            columns.append(torch.stack(factors).prod(0))
    features = hermite_features(z, degree)
    assert features.shape == (6, feature_count(dim, degree))
    torch.testing.assert_close(features, torch.stack(columns, dim=1))
    assert hermite_features(z.float(), degree).dtype == torch.float32


def test_features_are_orthonormal_under_the_gaussian() -> None:
    z, weights = gaussian_grid(3, 6)
    features = hermite_features(z, 4)
    gram = features.T @ (weights[:, None] * features)
    torch.testing.assert_close(gram, torch.eye(len(gram)).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dim", "degree"), [(1, 2), (4, 1), (3, 2), (3, 3), (4, 4)])
def test_index_table_maps_every_entry_to_its_sorted_indices(dim: int, degree: int) -> None:
    rows = multi_indices(dim, degree)
    table = index_table(dim, degree)
    assert len(rows) == math.comb(dim + degree - 1, degree)
    for entry in product(range(dim), repeat=degree):
        assert rows[table[entry]].tolist() == sorted(entry)


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_score_tensor_entries_are_scaled_features(degree: int) -> None:
    z = normal(5, 3)
    roots = root_factorials(3, degree)
    top = hermite_features(z, degree)[:, -len(roots) :] * roots
    torch.testing.assert_close(top[:, index_table(3, degree)], score_tensor(z, degree))


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_weighted_powers_are_sums_of_outer_powers(degree: int) -> None:
    z, w = normal(30, 3), normal(30, seed=1)
    outer = torch.ones(30).double()
    for power in weighted_powers(z, w, degree):
        torch.testing.assert_close(power, torch.einsum("n,n...->...", w, outer))
        outer = torch.einsum("n...,nz->n...z", outer, z)


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_powers_from_hermite_is_the_transpose_of_hermite_from_powers(degree: int) -> None:
    """sum_j <C_j, z^(j)> = sum_j <B_j, S_j(z)>, and both equal `polynomial`."""
    z = normal(8, 3)
    scores = [symmetric(3, j, seed=j) for j in range(degree + 1)]
    powers = [torch.ones(8).double()]
    for _ in range(degree):
        powers.append(torch.einsum("n...,nz->n...z", powers[-1], z))
    expected = sum(
        (hermite_from_powers(powers[: j + 1]) * scores[j]).flatten(1).sum(1)
        if j
        else powers[0] * scores[0]
        for j in range(degree + 1)
    )
    coefficients = powers_from_hermite(scores)
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(polynomial(z, coefficients), expected)


def test_other_orders_are_refused() -> None:
    with pytest.raises(ValueError, match="order: expected 1, 2, 3 or 4, got 5"):
        score_tensor(normal(2, 2), 5)


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_hermite_moments_are_symmetric_to_the_last_bit(degree: int) -> None:
    z = normal(50, 5)
    moment = hermite_from_powers(weighted_powers(z, z[:, 0] ** 2, degree))
    for axis in range(degree - 1):
        assert torch.equal(moment, moment.transpose(axis, axis + 1))
