"""Conditioning of L_4 at its minimum, and the moment errors that the minimum survives."""

import numpy as np
import pytest
import torch
from helpers import normal, rotation
from hypothesis import given, settings
from hypothesis import strategies as st
from mixtures import SKEWED, random_symmetric
from torch import Tensor

from moe.landscape import (
    best_lambda,
    best_weights,
    conditioning,
    critical_points,
    curvatures_at_truth,
    displacement_bound,
    error_norm,
    first_order_displacement,
    global_minimum,
    moment_error_tolerance,
    population_tensor,
)
from moe.solvers.quartic import minimise_quartic, quartic_hessian


def truth_rows(p: Tensor, mu: float, lam: float, directions: Tensor) -> Tensor:
    return global_minimum(p, mu, lam).squared_norms.sqrt().unsqueeze(-1) * directions


def moved_minimum(p: Tensor, mu: float, lam: float, error: Tensor, directions: Tensor) -> Tensor:
    tensor = population_tensor(p, directions) + error
    start = truth_rows(p, mu, lam, directions).unsqueeze(0)
    solution = minimise_quartic(tensor, mu, lam, start, tolerance=1e-13, first_order_iterations=0)
    return solution.points[0]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    weights=st.lists(st.floats(0.1, 1.0), min_size=2, max_size=4),
    mu=st.floats(0.05, 0.95),
    margin=st.floats(1.05, 20.0),
)
def test_curvatures_at_the_truth(weights: list[float], mu: float, margin: float) -> None:
    p = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    k, lam = len(p), margin * mu / float(p.min())
    directions = rotation(k)
    rows = truth_rows(p, mu, lam, directions)
    hessian = quartic_hessian(rows, population_tensor(p, directions), mu, lam).view(k * k, k * k)
    spectrum = torch.linalg.eigvalsh(hessian)
    explicit = curvatures_at_truth(p, mu, lam).flatten().sort().values
    torch.testing.assert_close(spectrum, explicit, rtol=1e-8, atol=1e-8)
    assert conditioning(p, mu, lam) == pytest.approx(float(spectrum[-1] / spectrum[0]), rel=1e-7)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(weights=st.lists(st.floats(0.05, 1.0), min_size=2, max_size=5), mu=st.floats(0.05, 0.95))
def test_best_lambda_beats_every_other_lambda(weights: list[float], mu: float) -> None:
    p = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    best = conditioning(p, mu, best_lambda(p, mu))
    bound = mu / float(p.min())
    others = [conditioning(p, mu, bound * (1 + float(t))) for t in np.logspace(-4, 3, 1000)]
    assert best <= min(others) * (1 + 1e-12)
    assert best == pytest.approx(min(others), rel=1e-2)


@pytest.mark.parametrize("k", [2, 3, 8])
@pytest.mark.parametrize("mu", [0.1, 1 / 3, 0.9])
def test_uniform_proportions_can_be_conditioned_perfectly(k: int, mu: float) -> None:
    p = torch.full((k,), 1 / k, dtype=torch.float64)
    assert best_lambda(p, mu) == pytest.approx(k * (1 + 3 * mu) / 2)
    assert conditioning(p, mu, best_lambda(p, mu)) == pytest.approx(1.0)


@pytest.mark.parametrize("k", [2, 3])
def test_mu_of_one_third_makes_the_weakest_escape_strongest(k: int) -> None:
    p = torch.full((k,), 1 / k, dtype=torch.float64)

    def weakest_escape(mu: float) -> float:
        lam = best_lambda(p, mu)
        points = critical_points(p, mu, lam)
        return -float(points.lowest_curvature[points.index > 0].max()) / (8 * lam)

    best = weakest_escape(1 / 3)
    assert best == pytest.approx(1 / 5)
    for mu in (0.1, 0.2, 0.3, 0.32, 0.35, 0.4, 0.6, 0.9):
        formula = min(mu / (1 + 2 * mu), (1 - mu) / (3 + mu))
        assert weakest_escape(mu) == pytest.approx(formula)
        assert weakest_escape(mu) < best


def test_best_weights_are_nearly_the_best_of_a_grid() -> None:
    for p in (SKEWED, torch.tensor([0.05, 0.15, 0.3, 0.5], dtype=torch.float64)):
        chosen = best_weights(p)
        assert 0.1 <= chosen.mu <= 0.9
        assert chosen.condition_number == pytest.approx(conditioning(p, chosen.mu, chosen.lam))
        grid = min(
            conditioning(p, mu, mu / float(p.min()) * (1 + t))
            for mu in np.linspace(0.1, 0.9, 17).tolist()
            for t in np.logspace(-2, 2, 200).tolist()
        )
        assert chosen.condition_number <= 1.01 * grid
    uniform = best_weights(torch.full((4,), 0.25, dtype=torch.float64))
    assert [uniform.mu, uniform.lam] == pytest.approx([1 / 3, 4.0])
    with pytest.raises(ValueError, match="mu_range"):
        best_weights(SKEWED, (0.5, 1.0))


def test_first_order_displacement_is_the_derivative_of_the_minimum() -> None:
    directions, error = rotation(3), random_symmetric(3, seed=0)
    rows = truth_rows(SKEWED, 0.5, 6.0, directions)
    predicted = first_order_displacement(SKEWED, 0.5, 6.0, error, directions)
    residuals = []
    for size in (1e-3, 1e-4):
        measured = moved_minimum(SKEWED, 0.5, 6.0, size * error, directions) - rows
        residuals.append(float((measured / size - predicted).norm() / predicted.norm()))
    assert residuals[1] < 1e-3
    assert residuals[0] / residuals[1] == pytest.approx(10, rel=0.2)  # the rest is second order


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    fraction=st.floats(0.05, 1.0),
    mu=st.floats(0.1, 0.9),
    margin=st.floats(1.2, 8.0),
)
def test_a_strict_minimum_survives_every_error_within_the_tolerance(
    seed: int, fraction: float, mu: float, margin: float
) -> None:
    lam = margin * mu / float(SKEWED.min())
    tolerance = moment_error_tolerance(SKEWED, mu, lam)
    error = random_symmetric(3, seed)
    error = error * (fraction * tolerance.epsilon / error_norm(error))
    bound = displacement_bound(SKEWED, mu, lam, fraction * tolerance.epsilon)
    assert bound.radius <= tolerance.radius < float("inf")
    eye = torch.eye(3, dtype=torch.float64)
    minimum = moved_minimum(SKEWED, mu, lam, error, eye)
    distance = float((minimum - truth_rows(SKEWED, mu, lam, eye)).norm())
    assert 0 < distance <= bound.radius
    tensor = population_tensor(SKEWED) + error
    hessian = quartic_hessian(minimum, tensor, mu, lam).view(9, 9)
    assert float(torch.linalg.eigvalsh(hessian)[0]) > 0


def test_tolerance_is_where_the_proof_stops() -> None:
    tolerance = moment_error_tolerance(SKEWED, 0.5, 6.0)
    assert tolerance.epsilon > 1e-3
    assert displacement_bound(SKEWED, 0.5, 6.0, 1.001 * tolerance.epsilon).radius == float("inf")
    small = displacement_bound(SKEWED, 0.5, 6.0, 1e-6)
    error = random_symmetric(3, seed=0)
    error = 1e-6 * error / error_norm(error)
    assert float(first_order_displacement(SKEWED, 0.5, 6.0, error).norm()) <= small.radius


def test_error_norm_bounds_the_multilinear_norm() -> None:
    error = random_symmetric(4, seed=0)
    vectors = normal(4, 5000, 4)
    a, b, c, d = vectors / vectors.norm(dim=-1, keepdim=True)
    values = torch.einsum("abcd,na,nb,nc,nd->n", error, a, b, c, d)
    assert float(values.abs().max()) <= error_norm(error) <= float(error.norm())
    direction = rotation(4)[0]
    rank_one = torch.einsum("a,b,c,d->abcd", *[direction] * 4)
    assert error_norm(-2 * rank_one) == pytest.approx(2.0)
