"""All critical points of the L_4 of any moments, by homotopy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mixtures import random_symmetric
from torch import Tensor

from moe.landscape import (
    critical_points,
    critical_points_of,
    critical_points_of_each,
    displacement_bound,
    displacement_bound_of,
    error_norm,
    global_minimum,
    moment_error_tolerance,
    orbit_distances,
    population_tensor,
    stationary_points,
    tolerance_of,
)
from moe.landscape.homotopy import start_system, system
from moe.landscape.zeros import _quartic_norm, proved_zeros
from moe.randomness import stream
from moe.solvers.quartic import (
    minimise_quartic,
    quartic_gradient,
    quartic_hessian,
    random_starts,
)

P2 = torch.tensor([0.4, 0.6], dtype=torch.float64)
P3 = torch.tensor([0.25, 0.33, 0.42], dtype=torch.float64)


def noisy(p: Tensor, seed: int, size: float) -> Tensor:
    turn = torch.linalg.qr(
        torch.randn(len(p), len(p), generator=stream("turn", seed), dtype=torch.float64)
    ).Q
    return population_tensor(p, turn) + size * random_symmetric(len(p), seed)


def test_the_system_is_a_quarter_of_the_gradient_and_of_the_hessian() -> None:
    tensor = random_symmetric(3, 0)
    points = random_starts(5, 3, stream("starts", 0))
    value, jacobian = system(points, tensor.reshape(9, 9), 0.7, 5.0)
    gradient = quartic_gradient(points, tensor, 0.7, 5.0).flatten(1)
    hessian = quartic_hessian(points, tensor, 0.7, 5.0).view(5, 9, 9)
    torch.testing.assert_close(4 * value, gradient)
    torch.testing.assert_close(4 * jacobian, hessian)


@pytest.mark.parametrize(("k", "rows", "orbits"), [(2, 2, 15), (2, 3, 35), (3, 1, 14), (3, 3, 560)])
def test_the_start_has_one_zero_for_each_orbit(k: int, rows: int, orbits: int) -> None:
    start = start_system(k, rows, 0.5, 5.0, 3.0, stream("homotopy", 0))
    assert len(start.points) == orbits
    value, jacobian = system(start.points, start.tensor, 0.5, 5.0)
    assert value.abs().max() < 1e-11
    assert torch.linalg.svdvals(jacobian)[:, -1].min() > 1e-3
    apart = orbit_distances(start.points, start.points) + torch.eye(orbits)
    assert apart.min() > 1e-3


def test_the_lipschitz_constant_bounds_the_change_of_the_jacobian() -> None:
    tensor = random_symmetric(3, 1)
    matrix = tensor.reshape(9, 9)
    q = _quartic_norm(matrix, 3, 3, 0.7, 5.0)
    a, b = (random_starts(50, 3, stream("starts", i)).to(torch.complex128) for i in (1, 2))
    a = a + 1j * random_starts(50, 3, stream("starts", 3))
    change = (
        system(a + b, matrix.to(a.dtype), 0.7, 5.0)[1] - system(a, matrix.to(a.dtype), 0.7, 5.0)[1]
    )
    size = torch.linalg.matrix_norm(change, ord=2)
    bound = 6 * q * (a.flatten(1).norm(dim=1) + b.flatten(1).norm(dim=1)) * b.flatten(1).norm(dim=1)
    assert (size <= bound).all()
    assert (size > 0.05 * bound).any()


@pytest.mark.parametrize("p", [P2, P3])
def test_the_population_has_the_list_that_linear_algebra_gives(p: Tensor) -> None:
    turn = torch.linalg.qr(
        torch.randn(len(p), len(p), generator=stream("turn", 5), dtype=torch.float64)
    ).Q
    listed = critical_points_of(population_tensor(p, turn), 0.5, 6.5)
    known = critical_points(p, 0.5, 6.5)
    assert listed.complete
    assert listed.found == 3 ** (len(p) ** 2)
    signs = 2 ** known.supports.flatten(1).sum(1)
    assert int(listed.copies.sum()) == int(signs.sum()), "real ones, copies counted"
    for value in known.values.unique():
        assert float((listed.values - value).abs().min()) < 1e-8
    truth = [kind == "minimum" for kind in listed.kinds]
    assert sum(truth) == 1
    assert truth[0]
    assert abs(float(listed.values[0]) - global_minimum(p, 0.5, 6.5).value) < 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_one_row_has_the_roots_of_a_polynomial_in_one_variable(seed: int) -> None:
    """b = r (1, t): T[b, b, b] is along b exactly where the cubic T[b, b, b] x b vanishes in t,
    and then (lambda |b|^2 - mu T[b, b, b, b] / |b|^2) = lambda."""
    tensor, mu, lam = random_symmetric(2, seed), 0.7, 2.0
    t0, t1, t2, t3, t4 = (float(tensor[(0,) * (4 - j) + (1,) * j]) for j in range(5))
    first = np.polynomial.Polynomial([t0, 3 * t1, 3 * t2, t3])
    second = np.polynomial.Polynomial([t1, 3 * t2, 3 * t3, t4])
    roots = (second - np.polynomial.Polynomial([0, 1]) * first).roots()
    values = []
    for t in roots[np.abs(roots.imag) < 1e-9].real:
        length = 1 + t**2
        along = float((first(t) + t * second(t)) / length**2)
        square = lam / (lam - mu * along)  # |b|^2
        if square > 0:
            values.append(lam * (1 - square))
    listed = critical_points_of(tensor, mu, lam, rows=1)
    assert listed.complete
    assert listed.found == 9
    expected = sorted([*values, lam])
    np.testing.assert_allclose(listed.values.numpy(), expected, atol=1e-9)


@pytest.mark.parametrize(("size", "seed"), [(0.0, 1), (0.3, 2), (1.5, 3)])
def test_two_rows_a_search_in_complex_numbers_finds_nothing_else(size: float, seed: int) -> None:
    """Newton's method from random complex points knows nothing of paths."""
    tensor = noisy(P2, seed, size)
    matrix = tensor.reshape(4, 4).to(torch.complex128)
    generator = stream("starts", seed)
    points = torch.complex(*(1.5 * random_starts(800, 2, generator) for _ in range(2)))
    for _ in range(40):
        value, jacobian = system(points, matrix, 0.6, 4.5)
        step = torch.linalg.solve_ex(jacobian, value.unsqueeze(-1))[0].view_as(points)
        points = points - step
    good = step.flatten(1).norm(dim=1) < 1e-10
    points = points[good]
    apart = orbit_distances(points, points) > 1e-6
    first = (apart | ~torch.ones_like(apart).tril(-1)).all(1)
    listed = critical_points_of(tensor, 0.6, 4.5)
    assert listed.complete
    assert int(first.sum()) == 15, "all orbits"
    real = points[first & (points.imag.flatten(1).norm(dim=1) < 1e-9)].real
    assert len(real) == len(listed)
    assert float(orbit_distances(real, listed.points).amin(1).max()) < 1e-8


@pytest.mark.parametrize("seed", range(2))
def test_three_rows_a_search_from_random_points_finds_nothing_else(seed: int) -> None:
    tensor = noisy(P3, seed, 0.5)
    listed = critical_points_of(tensor, 0.6, 6.0, seed=seed)
    assert listed.complete
    points, good = stationary_points(
        random_starts(100, 3, stream("starts", seed)), tensor, 0.6, 6.0
    )
    nearest = orbit_distances(points[good], listed.points).min(1)
    assert float(nearest.values.max()) < 1e-6
    assert len(nearest.indices.unique()) > 0.25 * len(listed)
    gradient = quartic_gradient(listed.points, tensor, 0.6, 6.0).flatten(1).norm(dim=1)
    assert float(gradient.max()) < 1e-9
    by_length = 6.0 * (1 - listed.points.square().sum(-1)).sum(-1)
    assert float((listed.values - by_length).abs().max()) < 1e-9, "the value tells the lengths"


def test_the_seed_of_the_paths_does_not_matter_nor_does_the_company() -> None:
    tensors = [noisy(P2, seed, 0.4) for seed in range(4)]
    together = critical_points_of_each(tensors, 0.5, 4.0, seed=1)
    for tensor, one in zip(tensors, together, strict=True):
        alone = critical_points_of(tensor, 0.5, 4.0, seed=7)
        assert alone.complete
        assert one.kinds == alone.kinds
        torch.testing.assert_close(one.values, alone.values)
        assert int(one.index[-1]) == 4, "zero is the only maximum"
        assert one.kinds.count("maximum") == 1


def test_a_zero_is_in_hand_three_times_nearer_than_it_is_alone() -> None:
    """So no count of copies and no verdict on realness rests on a distance that proves nothing."""
    tensor = noisy(P2, 1, 0.4)
    matrix = tensor.reshape(4, 4)
    point = critical_points_of(tensor, 0.5, 4.0).minima[0].to(torch.complex128)
    ways = torch.complex(*(random_starts(1, 2, stream("starts", i))[0] for i in (1, 2)))
    sizes = torch.logspace(-6, 0, 200, dtype=torch.float64)
    points = point + sizes[:, None, None] * ways / ways.abs().square().sum().sqrt()
    arrived = torch.ones(1, dtype=torch.bool)
    held = [proved_zeros(each[None], arrived, matrix, 0.5, 4.0)[0] for each in points]
    last = max(i for i, zeros in enumerate(held) if len(zeros.points))
    assert 0 < last < len(held) - 1, "near ones are proved, far ones not"
    for size, zeros in zip(sizes.tolist(), held, strict=True):
        if len(zeros.points):
            assert float(3 * zeros.near) <= float(zeros.alone)
            assert size <= float(zeros.near), "the zero is as near as it is said to be"


def test_a_continuum_of_critical_points_is_never_called_complete() -> None:
    half = torch.tensor([0.5, 0.5], dtype=torch.float64)
    assert not critical_points_of(population_tensor(half), 0.5, 1.5).complete
    assert not critical_points_of(torch.zeros(2, 2, 2, 2, dtype=torch.float64), 0.5, 1.5).complete


def test_what_cannot_be_listed_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"tensor, rows: .*43,046,721"):
        critical_points_of(random_symmetric(4, 0), 0.5, 4.0)
    with pytest.raises(
        ValueError,
        match=r"tensor: expected it symmetric, got entries that differ by 4 when axes 0 and 1",
    ):
        critical_points_of(torch.arange(16.0).view(2, 2, 2, 2), 0.5, 4.0)
    with pytest.raises(ValueError, match="tensor: expected shape"):
        critical_points_of(torch.eye(2), 0.5, 4.0)
    with pytest.raises(ValueError, match="mu: "):
        critical_points_of(random_symmetric(2, 0), -0.5, 4.0)
    with pytest.raises(ValueError, match="rows: "):
        critical_points_of(random_symmetric(2, 0), 0.5, 4.0, rows=0)


def test_at_the_truth_the_bounds_are_those_of_the_population() -> None:
    truth = torch.diag(global_minimum(P3, 0.5, 6.0).squared_norms.sqrt())
    tensor = population_tensor(P3)
    ours = tolerance_of(truth, tensor, 0.5, 6.0)
    known = moment_error_tolerance(P3, 0.5, 6.0)
    assert ours.epsilon == pytest.approx(known.epsilon, rel=1e-6)
    for size in (0.5, 2.0):
        bound = displacement_bound_of(truth, tensor, 0.5, 6.0, size * known.epsilon)
        expected = displacement_bound(P3, 0.5, 6.0, size * known.epsilon)
        assert bound.radius == pytest.approx(expected.radius, rel=1e-6)


def test_errors_within_the_tolerance_leave_a_minimum_within_the_radius() -> None:
    tensor = noisy(P2, 3, 0.3)
    point = critical_points_of(tensor, 0.5, 5.0).minima[0]
    bound = tolerance_of(point, tensor, 0.5, 5.0)
    assert 0 < bound.epsilon < 1
    for seed in range(20):
        error = random_symmetric(2, seed)
        moved = tensor + bound.epsilon / error_norm(error) * error
        end = minimise_quartic(moved, 0.5, 5.0, point[None], first_order_iterations=0)
        assert bool(end.converged[0])
        assert float((end.points[0] - point).norm()) <= bound.radius
    saddle = critical_points_of(tensor, 0.5, 5.0)
    where = saddle.kinds.index("saddle")
    assert tolerance_of(saddle.points[where], tensor, 0.5, 5.0).epsilon == 0
