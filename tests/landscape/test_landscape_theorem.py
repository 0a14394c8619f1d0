"""The landscape theorem beyond its first statement: any number of rows, the lines, delta, and what
the moments of one data set prove (book, chapters 4 and 5)."""

from math import factorial

import pytest
import torch
from helpers import normal, rotation
from hypothesis import given, settings
from hypothesis import strategies as st
from mixtures import COMMON, HALVES, SKEWED, THIRDS, as_proportions, random_symmetric, shares
from scipy.optimize import root
from torch import Tensor
from torch.func import jacrev

from moe.landscape import (
    CriticalPoints,
    best_lambda,
    certificate,
    conditioning,
    critical_points,
    error_norm,
    global_minimum,
    lambda_that_bounds,
    largest_delta,
    only_truths,
    population_tensor,
    squares_gradient,
    squares_loss,
)
from moe.losses import l4_moments, l4_population
from moe.randomness import stream
from moe.solvers.quartic import (
    minimise_quartic,
    quartic_gradient,
    quartic_hessian,
    quartic_loss,
    random_starts,
)


def without_negative_curvature(points: CriticalPoints) -> Tensor:
    kinds = ("truth", "spurious minimum", "degenerate")
    return torch.tensor([kind in kinds for kind in points.kinds])


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    weights=shares, mu=st.floats(0.05, 0.97), margin=st.floats(1.05, 12.0), rows=st.integers(1, 5)
)
def test_theorem_any_number_of_rows(
    weights: list[float], mu: float, margin: float, rows: int
) -> None:
    p = as_proportions(weights)
    k, lam = len(p), margin * mu / float(p.min())
    points = critical_points(p, mu, lam, rows=rows)
    minima = without_negative_curvature(points)
    seats = points.supports[minima]
    assert float(points.gradient_norms.max()) < 1e-9 * (1 + lam)
    assert bool((seats.sum(-1) <= 1).all()), "no row mixes"
    if rows <= k:
        assert bool((seats.sum(-2) <= 1).all() & (seats.sum(-1) == 1).all()), "no two rows meet"
        assert int(minima.sum()) == factorial(k) // factorial(k - rows)
        rarest = p.sort().values[:rows]
        assert float(points.values[0]) == pytest.approx(-float((mu / (rarest - mu / lam)).sum()))
    else:
        assert bool(seats.any(-2).all()), "every expert is covered"
        if lam < (mu + 1) / float(p.max()):
            assert bool((seats.sum(-2) == 1).all()), "the other rows are zero"
            assert int(minima.sum()) == factorial(rows) // factorial(rows - k)
        else:
            assert bool((seats.sum(-1) == 1).all()), "no row is zero"


@settings(max_examples=15, deadline=None, derandomize=True)
@given(weights=shares, mu=st.floats(1.0, 4.0), part=st.floats(0.05, 0.95))
def test_in_the_strip_above_mu_one_every_other_point_is_a_strict_saddle(
    weights: list[float], mu: float, part: float
) -> None:
    p = as_proportions(weights)
    low, high = mu / float(p.min()), (mu + 1) / float(p.max())
    if low < 0.999 * high:
        points = critical_points(p, mu, low + part * (high - low))
        assert set(points.kinds) == {"truth", "strict saddle", "maximum"}


def leave(two: int, empty: int, p: Tensor, lam: float, step: float) -> Tensor:
    """Two rows of length one at expert ``two``; the first moves ``step`` (in u) to ``empty``, and
    both their lengths follow (mu = 1)."""
    k = len(p)
    norms = global_minimum(p, 1.0, lam).squared_norms
    u = torch.zeros(k, k, dtype=torch.float64)
    u[0, two] = u[1, two] = 1.0
    others = [m for m in range(k) if m not in (two, empty)]
    for row, m in enumerate(others[: k - 2], start=2):
        u[row, m] = norms[m]
    a, b = lam - 1 / float(p[two]), 1 / float(p[two])
    first, second = torch.linalg.solve(
        torch.tensor([[a, b], [b, a]], dtype=torch.float64),
        torch.tensor([-lam * step, 0.0], dtype=torch.float64),
    ).tolist()
    u[0, empty], u[0, two], u[1, two] = step, 1 + first, 1 + second
    return u


@pytest.mark.parametrize("p", [HALVES, THIRDS, SKEWED, COMMON])
def test_at_mu_one_the_truth_is_the_only_local_minimum(p: Tensor) -> None:
    lam = 3.0 / float(p.min())
    points = critical_points(p, 1.0, lam)
    assert points.count("truth") == factorial(len(p))
    assert points.count("spurious minimum") == 0
    flat = [i for i, kind in enumerate(points.kinds) if kind == "degenerate"]
    shared = points.supports[flat]
    assert len(flat) > 0, "some saddles are not strict"
    assert bool(((shared.sum(-1) == 1).all(-1) & (shared.sum(-2).amax(-1) == 2)).all())
    for two, share in enumerate(p.tolist()):
        for empty in (m for m in range(len(p)) if m != two and lam > 2 / share):
            drop = 1 / float(p[empty]) + (lam / share) / (lam - 2 / share)
            base = squares_loss(leave(two, empty, p, lam, 0.0), p, 1.0, lam)
            for step in (0.02, 0.002):
                moved = squares_loss(leave(two, empty, p, lam, step), p, 1.0, lam)
                assert float(base - moved) == pytest.approx(drop * step**2, rel=1e-5)


@pytest.mark.parametrize(("p", "mu"), [(HALVES, 1.5), (THIRDS, 2.5)])
def test_on_the_line_above_mu_one_there_are_minima_that_are_not_strict(
    p: Tensor, mu: float
) -> None:
    """lambda = (mu + 1) / p_max: the segment u_1 + u_2 = mu + 1 with both lengths above one."""
    k, lam = len(p), (mu + 1) / float(p.max())
    assert only_truths(p, mu, lam), "no nondegenerate one"
    norms = global_minimum(p, mu, lam).squared_norms
    for first in (1.05, (mu + 1) / 2, mu - 0.05):
        u = torch.zeros(k, k, dtype=torch.float64)
        u[0, 0], u[1, 0] = first, mu + 1 - first
        for row in range(2, k):
            u[row, row] = norms[row]
        slope = squares_gradient(u, p, mu, lam)
        assert float((u * slope).abs().max()) < 1e-9
        assert float(slope[u == 0].min()) > 0
        beta = u.sqrt() + 0.004 * normal(20_000, k, k)
        value = float(squares_loss(u, p, mu, lam))
        assert float(squares_loss(beta.square(), p, mu, lam).min()) >= value - 1e-9
        assert value > global_minimum(p, mu, lam).value + 1e-3


def test_finitely_many_critical_points_only_for_generic_weights() -> None:
    """A segment of saddles inside the benign region; beside the line it is gone."""
    points = critical_points(HALVES, 0.5, 1.5)
    (which,) = points.continuum.nonzero().flatten().tolist()
    assert int(points.continuum[which]) == 1
    assert points.kinds[which] == "strict saddle"
    turn = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    for size in (-0.05, 0.05):
        moved = points.squares[which] + size * turn
        assert float(squares_gradient(moved, HALVES, 0.5, 1.5).abs().max()) < 1e-12
    for lam in (1.499, 1.501):
        beside = critical_points(HALVES, 0.5, lam)
        assert int(beside.continuum.sum()) == 0
        assert set(beside.kinds) == {"truth", "strict saddle", "maximum"}


@pytest.mark.parametrize(("mu", "lam"), [(0.5, 35.0), (0.8, 30.0), (0.6, 100.0)])
@pytest.mark.parametrize("p", [COMMON, SKEWED, as_proportions([1.0, 4.0])])
def test_delta_creates_spurious_minima_beyond_a_threshold(p: Tensor, mu: float, lam: float) -> None:
    threshold = largest_delta(p, mu, lam)
    assert threshold < 4 * mu
    pairs = [
        4 * (1 - mu) / a / ((1 + (1 - mu) / (lam * a)) / b - 1 / a)
        for a in p.tolist() for b in p.tolist() if a > b
    ]  # fmt: skip
    assert threshold == pytest.approx(min(pairs))
    below, above = (critical_points(p, mu, lam, delta=f * threshold) for f in (0.999, 1.001))
    assert set(below.kinds) == {"truth", "strict saddle", "maximum"}
    assert above.count("spurious minimum") > 0
    truth = rotation(5)[: len(p)]  # orthonormal experts in R^5
    for points, kind in ((below, "truth"), (above, "truth"), (above, "spurious minimum")):
        which = points.kinds.index(kind)
        delta = threshold * (0.999 if points is below else 1.001)
        rows = (points.squares[which] / p).sqrt() @ truth

        def loss(a: Tensor, delta: float = delta) -> Tensor:
            return l4_population(a.view(-1, 5), truth, p, mu, lam, delta)

        assert float(jacrev(loss)(rows.flatten()).abs().max()) < 1e-8
        assert float(torch.linalg.eigvalsh(jacrev(jacrev(loss))(rows.flatten()))[0]) > 1e-6
        assert float(loss(rows)) == pytest.approx(float(points.values[which]))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(weights=shares, mu=st.floats(0.1, 0.95), margin=st.floats(1.1, 8.0), part=st.floats(0, 0.99))
def test_below_the_threshold_of_delta_every_local_minimum_is_the_truth(
    weights: list[float], mu: float, margin: float, part: float
) -> None:
    p = as_proportions(weights)
    lam = margin * mu / float(p.min())
    delta = part * largest_delta(p, mu, lam)
    points = critical_points(p, mu, lam, delta=delta)
    assert set(points.kinds) == {"truth", "strict saddle", "maximum"}
    for i in (i for i, kind in enumerate(points.kinds) if kind == "truth"):
        squared = points.squares[i].amax(0)
        torch.testing.assert_close(squared, (lam - delta / (4 * p)) / (lam - mu / p))
        torch.testing.assert_close((mu * squared - delta / 4), p * lam * (squared - 1))


def test_equal_proportions_have_no_threshold_before_the_truth_itself_ends() -> None:
    assert largest_delta(THIRDS, 0.5, 8.0) == pytest.approx(4 * 8.0 / 3)
    assert largest_delta(THIRDS, 0.5, 2.0) == pytest.approx(4 * 2.0 / 3)  # rows never share
    with pytest.raises(ValueError, match="mu: expected"):
        largest_delta(THIRDS, 1.2, 8.0)


@pytest.mark.parametrize("delta", [0.0, 0.7])
@pytest.mark.parametrize("seed", range(3))
def test_the_value_identity_holds_for_every_empirical_loss(seed: int, delta: float) -> None:
    """L_4 = lambda sum_i (1 - M[a_i,a_i]) + delta/4 |A|^2 at critical points, whatever M and T."""
    tensor, pair = random_symmetric(3, seed), normal(3, 3, seed=seed, purpose="second")
    second, found = (pair + pair.T) / 2 + torch.diag(torch.tensor([1.0, 1.0, 0.0])).double(), 0

    def loss(flat: Tensor) -> Tensor:
        return l4_moments(flat.view(2, 3), second, tensor, 0.6, 2.0, delta)

    gradient, curvature = jacrev(loss), jacrev(jacrev(loss))
    for start in normal(40, 6, seed=seed, purpose="starts"):
        end = root(
            lambda a: gradient(torch.from_numpy(a)).numpy(),
            start.numpy(),
            jac=lambda a: curvature(torch.from_numpy(a)).numpy(),
        )
        rows = torch.from_numpy(end.x)
        if not end.success or float(gradient(rows).norm()) > 1e-9 or float(rows.norm()) < 1e-3:
            continue
        found += 1
        a = rows.view(2, 3)
        lengths = torch.einsum("ia,ab,ib->i", a, second, a)
        identity = 2.0 * (1 - lengths).sum() + delta / 4 * a.square().sum()
        torch.testing.assert_close(loss(rows), identity, rtol=1e-8, atol=1e-8)
    assert found > 0


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), size=st.floats(0.0, 8.0), mu=st.floats(0.1, 1.5))
def test_the_certificate_proves_a_lower_bound(seed: int, size: float, mu: float) -> None:
    error = random_symmetric(3, seed)
    tensor = population_tensor(SKEWED) + size * error / error_norm(error)
    lam = 10.0
    proof = certificate(tensor, mu, lam)
    rows = normal(1_000, 3, 3, seed=seed)
    squared = rows.square().sum(-1)
    excess = lam * (squared - 1).square().sum(-1)
    top = quartic_loss(rows, tensor, mu, lam) - excess + lam * squared.square().sum(-1)
    assert bool((top >= proof.margin * squared.square().sum(-1) - 1e-9).all())
    assert bool((top <= proof.growth * squared.sum(-1).square() + 1e-9).all())
    if proof.bounded:
        end = minimise_quartic(tensor, mu, lam, random_starts(12, 3, stream("starts", seed)))
        assert bool(end.converged.all())
        assert float(end.points.flatten(1).norm(dim=1).max()) <= proof.critical_radius
        level = float(end.values.max())
        assert float(end.points.flatten(1).norm(dim=1).max()) <= proof.level_radius(level) + 1e-9


def test_the_certificate_of_the_population_is_the_theorems_condition() -> None:
    for lam in (2.4, 2.6, 9.0):
        proof = certificate(population_tensor(SKEWED), 0.5, lam)
        assert proof.margin == pytest.approx(lam - 0.5 / 0.2)
    assert certificate(population_tensor(SKEWED), 0.5, 2.4).critical_radius == float("inf")


def test_raising_lambda_bounds_the_loss_where_m_is_positive_definite() -> None:
    tensor, pair = random_symmetric(3, 0), normal(3, 3, purpose="second")
    positive = pair @ pair.T + 0.1 * torch.eye(3, dtype=torch.float64)
    lam = lambda_that_bounds(positive, tensor, 0.5, 2)
    assert certificate(tensor, 0.5, 1.01 * lam, second=positive, rows=2).bounded
    assert not certificate(tensor, 0.5, 0.99 * lam, second=positive, rows=2).bounded
    rows = 1e3 * normal(2_000, 2, 3)
    assert float(l4_moments(rows, positive, tensor, 0.5, 1.01 * lam).min()) > 0
    e = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    indefinite = torch.diag(torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64))
    assert lambda_that_bounds(indefinite, tensor, 0.5, 2) == float("inf")
    upward = torch.einsum("a,b,c,d->abcd", e, e, e, e)  # M[e,e] = 0 and T[e,e,e,e] > 0
    row = 1e3 * torch.stack([e, torch.zeros_like(e)])
    assert float(l4_moments(row, indefinite, upward, 0.5, 1e6)) < -1e11


def test_gradient_descent_converges_to_the_truth_from_random_starts() -> None:
    """The corollary: with the proven step the loss never rises and every start ends at a truth."""
    mu, lam = 1 / 3, 3.0
    tensor = population_tensor(THIRDS)
    rows = random_starts(12, 3, stream("starts", 0))
    level = float(quartic_loss(rows, tensor, mu, lam).max())
    step = certificate(tensor, mu, lam).safe_step(level)
    curvature = quartic_hessian(rows, tensor, mu, lam).view(-1, 9, 9)
    assert float(torch.linalg.eigvalsh(curvature).abs().max()) * step < 1
    trace = [quartic_loss(rows, tensor, mu, lam)]
    for iteration in range(1_500):
        rows = rows - step * quartic_gradient(rows, tensor, mu, lam)
        if iteration % 25 == 24:
            trace.append(quartic_loss(rows, tensor, mu, lam))
    assert float(torch.stack(trace).diff(dim=0).max()) <= 1e-12 * (1 + abs(level))
    expected = global_minimum(THIRDS, mu, lam).value
    torch.testing.assert_close(trace[-1], torch.full_like(trace[-1], expected))


@pytest.mark.parametrize("mu", [1.0, 1.5, 3.0])
def test_best_lambda_is_best_above_mu_one_too(mu: float) -> None:
    for p in (as_proportions([1.0, 3.0, 6.0]), SKEWED, THIRDS, as_proportions([1.0, 4.0])):
        best = conditioning(p, mu, best_lambda(p, mu))
        bound = mu / float(p.min())
        others = [conditioning(p, mu, bound * (1 + 10 ** (t / 100 - 3))) for t in range(500)]
        assert best <= min(others) * (1 + 1e-12)
