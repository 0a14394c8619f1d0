"""The population L_4: its critical points, all of them, and its minima (book, chapter 5)."""

from itertools import product

import numpy as np
import pytest
import torch
from helpers import normal, rotation
from hypothesis import given, settings
from hypothesis import strategies as st
from mixtures import HALVES, SKEWED, THIRDS, as_proportions, shares
from torch import Tensor
from torch.func import jacrev

from moe.landscape import (
    CriticalPoints,
    benign_share,
    coordinate_hessian,
    count_spurious_minima,
    critical_points,
    describe,
    describe_pattern,
    global_minimum,
    match_points,
    only_truths,
    patterns,
    population_tensor,
    search,
    squares_gradient,
    squares_loss,
    squares_matrix,
)
from moe.randomness import stream
from moe.solvers.quartic import minimise_quartic, quartic_hessian, quartic_loss, random_starts


def only(points: CriticalPoints, pattern: str) -> list[int]:
    return [i for i, code in enumerate(points.patterns) if code == pattern]


@pytest.mark.parametrize(
    ("proportions", "mu", "lam", "total", "truths", "spurious"),
    [
        (HALVES, 0.5, 10.0, 12, 2, 0),
        (SKEWED, 0.1, 5.0, 233, 6, 0),
        (SKEWED, 1.5, 100.0, 332, 6, 18),
    ],
)
def test_known_counts_of_critical_points(
    proportions: Tensor, mu: float, lam: float, total: int, truths: int, spurious: int
) -> None:
    points = critical_points(proportions, mu, lam)
    assert len(points) == total
    assert points.count("truth") == truths
    assert points.count("spurious minimum") == spurious
    assert points.count("maximum") == 1
    assert points.count("strict saddle") == total - truths - spurious - 1
    assert points.count("degenerate") == 0
    assert int(points.continuum.sum()) == 0
    assert float(points.gradient_norms.max()) < 1e-11


def test_weakest_negative_curvature_at_the_books_parameters() -> None:
    points = critical_points(SKEWED, 0.1, 5.0)
    negative = points.lowest_curvature[points.index > 0]
    assert float(negative.max()) == pytest.approx(-55 / 34, rel=1e-9)


@pytest.mark.parametrize(
    ("proportions", "mu", "lam"), [(HALVES, 0.5, 10.0), (SKEWED, 0.1, 5.0), (SKEWED, 1.5, 100.0)]
)
def test_enumeration_agrees_with_a_loop_over_all_supports(
    proportions: Tensor, mu: float, lam: float
) -> None:
    k = len(proportions)
    p, found = proportions.numpy(), []
    for bits in product((False, True), repeat=k * k):
        on = np.flatnonzero(bits)
        system = np.zeros((len(on), len(on)))
        for row, a in enumerate(on):
            for column, b in enumerate(on):
                (i, m), (j, n) = divmod(a, k), divmod(b, k)
                same_row, same_expert = float(i == j), float(m == n)
                system[row, column] += 2 * same_expert * (1 - (1 + mu) * same_row) / p[m]
                system[row, column] += 2 * lam * same_row
        point = np.zeros(k * k)
        point[on] = np.linalg.solve(system, np.full(len(on), 2 * lam))
        if (point[on] > 1e-9).all():
            found.append(point.reshape(k, k))
    listed = critical_points(proportions, mu, lam).squares
    matches = match_points(torch.from_numpy(np.array(found)), listed)
    assert sorted(matches.tolist()) == list(range(len(listed)))


def test_l4_is_quadratic_in_the_squared_coordinates() -> None:
    directions, rows = rotation(3), normal(6, 3, 3)
    squares = (rows @ directions.T).square()
    direct = quartic_loss(rows, population_tensor(SKEWED, directions), 0.3, 4.0)
    torch.testing.assert_close(squares_loss(squares, SKEWED, 0.3, 4.0), direct)

    def loss(u: Tensor) -> Tensor:
        return squares_loss(u.view(3, 3), SKEWED, 0.3, 4.0)

    flat = squares[0].flatten()
    slope = jacrev(loss)(flat)
    torch.testing.assert_close(squares_gradient(squares[0], SKEWED, 0.3, 4.0).flatten(), slope)
    curvature = jacrev(jacrev(loss))(flat)
    torch.testing.assert_close(squares_matrix(SKEWED, 0.3, 4.0), curvature)


def test_whitened_hessian_splits() -> None:
    points = critical_points(SKEWED, 0.1, 5.0)
    directions = rotation(3)
    signs = torch.randint(0, 2, points.squares.shape, generator=stream("signs", 0)) * 2 - 1
    rows = signs * points.squares.sqrt() @ directions
    full = quartic_hessian(rows, population_tensor(SKEWED, directions), 0.1, 5.0).view(-1, 9, 9)
    torch.testing.assert_close(torch.linalg.eigvalsh(full), points.curvatures)
    slopes = squares_gradient(points.squares, SKEWED, 0.1, 5.0).flatten(1)
    active = points.supports.flatten(1)
    assert float(slopes[active].abs().max()) < 1e-12
    for whole, slope, on in zip(
        coordinate_hessian(points.squares, SKEWED, 0.1, 5.0), slopes, active, strict=True
    ):
        torch.testing.assert_close(whole[~on][:, ~on], torch.diag(2 * slope[~on]))
        assert float(whole[on][:, ~on].abs().sum()) == 0


@settings(max_examples=40, deadline=None, derandomize=True)
@given(weights=shares, mu=st.floats(0.02, 0.97), margin=st.floats(1.02, 20.0))
def test_theorem_every_local_minimum_is_the_truth(
    weights: list[float], mu: float, margin: float
) -> None:
    p = as_proportions(weights)
    k, lam = len(p), margin * mu / float(p.min())
    points = critical_points(p, mu, lam)
    assert points.count("truth") == [1, 2, 6][k - 1]
    assert set(points.kinds) == {"truth", "strict saddle", "maximum"}
    assert only_truths(p, mu, lam)
    expected = global_minimum(p, mu, lam)
    for i, kind in enumerate(points.kinds):
        if kind == "truth":
            experts = points.squares[i].argmax(-1)
            torch.testing.assert_close(
                points.squares[i].sum(-1), expected.squared_norms[experts], rtol=1e-9, atol=1e-9
            )
            assert float(points.values[i]) == pytest.approx(expected.value, rel=1e-9)


def test_theorem_holds_for_four_experts() -> None:
    p = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    points = critical_points(p, 0.5, 10.0)
    assert len(points) == 9954
    assert points.count("truth") == 24
    assert points.count("spurious minimum") + points.count("degenerate") == 0
    assert float(points.gradient_norms.max()) < 1e-11


def test_zero_is_the_only_maximum() -> None:
    points = critical_points(SKEWED, 0.1, 5.0)
    (which,) = (i for i, kind in enumerate(points.kinds) if kind == "maximum")
    assert float(points.squares[which].sum()) == 0
    torch.testing.assert_close(points.curvatures[which], torch.full((9,), -20.0).double())
    assert int(points.index[which]) == 9


def test_rows_sharing_an_expert_become_minima_for_mu_above_one() -> None:
    below, above = (critical_points(THIRDS, mu, 20.0) for mu in (0.99, 1.01))
    assert {below.kinds[i] for i in only(below, "a|a|b")} == {"strict saddle"}
    assert {above.kinds[i] for i in only(above, "a|a|b")} == {"spurious minimum"}
    assert above.count("spurious minimum") == len(only(above, "a|a|b")) == 18
    three = critical_points(THIRDS, 2.01, 20.0)
    assert {three.kinds[i] for i in only(three, "a|a|a")} == {"spurious minimum"}


@settings(max_examples=40, deadline=None, derandomize=True)
@given(weights=shares, mu=st.floats(0.3, 3.5), margin=st.floats(1.01, 4.0))
def test_spurious_minima_are_counted_by_the_loads_of_the_experts(
    weights: list[float], mu: float, margin: float
) -> None:
    p = as_proportions(weights)
    lam = margin * mu / float(p.min())
    counted = critical_points(p, mu, lam).count("spurious minimum")
    assert count_spurious_minima(p, mu, lam) == counted
    assert only_truths(p, mu, lam) == (counted == 0)


def test_mu_above_one_is_benign_below_a_second_line_in_lambda() -> None:
    bounded, second = 3.0 / (1 / 3), 4.0 / (1 / 3)  # mu / p_min and (mu + 1) / p_max at mu = 3
    for lam, benign in ((1.05 * bounded, True), (0.99 * second, True), (1.01 * second, False)):
        assert only_truths(THIRDS, 3.0, lam) == benign
        spurious = critical_points(THIRDS, 3.0, lam).count("spurious minimum")
        assert (spurious == 0) == benign
        share = benign_share(THIRDS, 3.0, lam, 200, stream("starts", 0))
        assert (share == 1.0) == benign


def test_a_singular_support_is_a_continuum_or_empty() -> None:
    mu, lam = 1.5, 5.0  # lambda = (mu + 1) / p: only the sum of two rows' squares is fixed
    points = critical_points(HALVES, mu, lam)
    families = only(points, "a|a")
    assert len(families) == 2
    for i in families:
        assert int(points.continuum[i]) == 1
        assert points.kinds[i] == "degenerate"
        first, second = points.squares[i].sum(-1).tolist()
        assert first + second == pytest.approx(mu + 1)
        moved = points.squares[i] * torch.tensor(
            [[1 + 0.1 / first], [1 - 0.1 / second]], dtype=torch.float64
        )
        value = squares_loss(moved, HALVES, mu, lam)
        assert float(value) == pytest.approx(float(points.values[i]), rel=1e-12)
        slopes = squares_gradient(moved, HALVES, mu, lam)
        assert float((moved.sqrt() * slopes).abs().max()) < 1e-12
    assert only(critical_points(HALVES, 1.5, 1.0), "a|a") == []  # singular and inconsistent


@pytest.mark.parametrize(
    ("proportions", "mu", "lam", "starts"),
    [(HALVES, 0.5, 10.0, 1_000), (SKEWED, 1.5, 100.0, 20_000)],
)
def test_search_finds_the_listed_points_and_no_others(
    proportions: Tensor, mu: float, lam: float, starts: int
) -> None:
    listed = critical_points(proportions, mu, lam)
    found = search(proportions, mu, lam, starts, stream("starts", 0))
    matches = match_points(found.points.squares, listed.squares).tolist()
    assert sorted(matches) == list(range(len(listed)))
    assert found.points.kinds == tuple(listed.kinds[i] for i in matches)
    assert int(found.hits.sum()) + found.lost == starts


@pytest.mark.parametrize(("k", "lam"), [(5, 8.0), (8, 14.0)])
def test_search_beyond_enumeration_meets_no_spurious_minimum(k: int, lam: float) -> None:
    p = as_proportions([1 + 0.1 * m for m in range(k)])
    assert benign_share(p, 0.5, lam, 500, stream("starts", 0)) == 1.0
    found = search(p, 0.5, lam, 4000 // k**2, stream("search", 0)).points
    assert set(found.kinds) <= {"truth", "strict saddle", "maximum"}
    assert len(found) > 20
    tensor = population_tensor(p)
    for rows, kind in zip(found.squares.sqrt(), found.kinds, strict=True):
        curvatures = torch.linalg.eigvalsh(quartic_hessian(rows, tensor, 0.5, lam).view(k * k, -1))
        assert (float(curvatures[0]) < 0) == (kind != "truth")


def test_global_minimum_is_what_the_solver_finds() -> None:
    expected = global_minimum(THIRDS, 0.1, 10.0)
    assert expected.value == pytest.approx(-0.9278, abs=5e-5)
    starts = random_starts(20, 3, stream("starts", 0))
    solution = minimise_quartic(population_tensor(THIRDS), 0.1, 10.0, starts)
    torch.testing.assert_close(solution.values, torch.full_like(solution.values, expected.value))
    norms = solution.points.square().sum(-1)
    torch.testing.assert_close(norms, expected.squared_norms.expand_as(norms))


def test_benign_share_is_one_exactly_inside_the_benign_region() -> None:
    for p in (THIRDS, SKEWED):
        for margin, share in ((1.2, 1.0), (0.9, 0.0)):
            lam = margin * 0.5 / float(p.min())
            assert benign_share(p, 0.5, lam, 100, stream("starts", 0)) == share
    falling = [benign_share(THIRDS, mu, 100.0, 400, stream("starts", 0)) for mu in (1.1, 1.5, 3.0)]
    assert falling == pytest.approx([0.92, 0.70, 0.43], abs=0.07)


def test_patterns_agree_exactly_for_relabelled_supports() -> None:
    every = torch.tensor(list(product((False, True), repeat=9))).view(-1, 3, 3)
    codes = patterns(every)
    assert len(set(codes)) == 36  # 3 x 3 binary matrices up to row and column permutations
    shuffled = every[:, [2, 0, 1]][:, :, [1, 0, 2]]
    assert patterns(shuffled) == codes
    four = torch.tensor(list(product((False, True), repeat=16))).view(-1, 4, 4)
    assert len(set(patterns(four))) == 317
    with pytest.raises(ValueError, match="at most"):
        patterns(torch.zeros(1, 6, 6, dtype=torch.bool))


def test_names_say_who_sits_where() -> None:
    cases = {
        "001 001 010": "rows 1 and 2 share expert 3; expert 1 unoccupied",
        "110 001 000": "row 1 mixes experts 1 and 2; row 3 is zero",
        "111 000 000": "row 1 mixes experts 1, 2 and 3; rows 2 and 3 are zero",
        "011 011 100": "rows 1 and 2 mix experts 2 and 3",
        "100 100 100": "rows 1, 2 and 3 share expert 1; experts 2 and 3 unoccupied",
        "010 100 001": "the truth: row 1 at expert 2, row 2 at expert 1, row 3 at expert 3",
        "000 000 000": "all rows are zero",
    }
    for rows, name in cases.items():
        support = torch.tensor([[bit == "1" for bit in row] for row in rows.split()])
        assert describe(support) == name
    words = {
        "a|a|b": "two rows share an expert; one expert unoccupied",
        "ab|ab|c": "two rows mix the same two experts",
        "ab|a|0": "one row mixes two experts; one zero row; one expert unoccupied",
        "ab|ac|b": "two rows mix two experts each",
        "a|b|c": "the truth",
        "0|0|0": "all rows zero",
    }
    for code, name in words.items():
        assert describe_pattern(code) == name
    points = critical_points(HALVES, 0.5, 10.0)
    assert points.name(only(points, "a|a")[0]).startswith("rows 1 and 2 share expert")


def test_bad_input_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="proportions: expected positive"):
        critical_points(torch.tensor([0.5, 0.6]), 0.5, 10.0)
    with pytest.raises(ValueError, match="proportions: expected at most 4"):
        critical_points(torch.full((5,), 0.2), 0.5, 10.0)
    with pytest.raises(ValueError, match="mu: expected a positive"):
        critical_points(HALVES, 0.0, 10.0)
    with pytest.raises(ValueError, match="lam: expected more than"):
        global_minimum(HALVES, 0.5, 1.0)
    with pytest.raises(ValueError, match="orthonormal"):
        population_tensor(HALVES, torch.ones(2, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="kind: expected one of"):
        critical_points(HALVES, 0.5, 10.0).count("saddle")
