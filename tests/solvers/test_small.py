"""EM of small data in NumPy: the same as in torch, and as written in a textbook."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from moe.model.mixture import random_moe
from moe.model.nonlinearity import as_nonlinearity
from moe.randomness import stream
from moe.solvers.em import EMResult, expectation_maximisation
from moe.solvers.em import climb as em
from moe.solvers.em.samples import Samples
from moe.solvers.em.small import SmallSamples, is_small, maximisation
from moe.solvers.em.small.expectation import SmallStep, expectation_small
from moe.solvers.linear import product, solve_ridged

LINEAR = as_nonlinearity("linear")


def problem(k: int, d: int, n: int, starts: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    truth = random_moe(k, d, sigma=0.1, gate_norm=0.0, generator=stream("truth", 0))
    x, y = truth.sample(n, stream("data", 0))
    rows = torch.randn(starts, k, d, generator=stream("starts", 0), dtype=torch.float64) / d**0.5
    return x.to(dtype), y.to(dtype), rows.to(dtype)


def climbed(
    x: Tensor, y: Tensor, rows: Tensor, noise: list[str], tolerance: float, iterations: int = 200
) -> EMResult:
    level: Tensor = y.std()
    sigma = level.expand(rows.shape[:2]) if "sigmas" in noise else level
    return expectation_maximisation(
        *(x, y, rows, torch.zeros_like(rows), sigma, LINEAR),
        learn=["regressors", *noise],
        tolerance=tolerance,
        iterations=iterations,
    )


@pytest.mark.parametrize("noise", [["sigmas"], ["sigma"], []])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1, 30, 1), (3, 3, 40, 8), (4, 6, 150, 5), (2, 12, 1_500, 2)])
def test_numpy_goes_the_way_of_torch(
    noise: list[str],
    dtype: torch.dtype,
    shape: tuple[int, int, int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every start, step for step to rounding, and to the same iteration. (In single precision the
    iteration at which so many gains are small enough may be the next.)"""
    k, d, n, starts = shape
    x, y, rows = problem(k, d, n, starts, dtype)
    assert is_small(starts, k, n, d)
    quick = climbed(x, y, rows, noise, 1e-2)
    monkeypatch.setattr(em, "is_small", lambda *_: False)
    slow = climbed(x, y, rows, noise, 1e-2)
    single = dtype == torch.float32
    assert int((quick.iterations - slow.iterations).abs().max()) <= single
    assert torch.equal(quick.converged, slow.converged)
    near = (2e-3, 2e-3) if single else (1e-8, 1e-9)
    for name in ("regressors", "sigma", "log_likelihood"):
        one, other = getattr(quick, name), getattr(slow, name)
        assert one.dtype == other.dtype == dtype and one.shape == other.shape, name
        torch.testing.assert_close(one, other, rtol=near[0], atol=near[1])
    if not single:
        torch.testing.assert_close(quick.trace, slow.trace, rtol=1e-9, atol=1e-9)
        assert quick.passes == slow.passes == int(quick.iterations.sum())


@pytest.mark.parametrize("noise", [["sigmas"], ["sigma"]])
def test_an_iteration_is_that_of_the_textbook(noise: list[str]) -> None:
    x, y, rows = problem(3, 4, 60, 1, torch.float64)
    step = climbed(x, y, rows, noise, 0.0, iterations=1)
    level = y.std()
    r = torch.softmax(-(y - rows[0] @ x.T).square() / (2 * level**2), 0)
    new = torch.stack([torch.linalg.solve((x.T * w) @ x, (x.T * w) @ y) for w in r])
    squares = (r * (y - new @ x.T).square()).sum(1)
    nu, prior = 0.3 * 4, 0.01 * y.var()
    own = ((squares + nu * prior) / (r.sum(1) + nu)).sqrt()
    sigma = own if "sigmas" in noise else (squares.sum() / len(y)).sqrt().expand(3)
    torch.testing.assert_close(step.regressors[0], new, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(step.sigma[0].expand(3), sigma, rtol=1e-6, atol=0.0)
    normal = torch.distributions.Normal(new @ x.T, sigma[:, None])
    value = (torch.logsumexp(normal.log_prob(y), 0) - math.log(3)).sum()
    if "sigmas" in noise:
        value = value - 0.5 * nu * (sigma.square().log() + prior / sigma.square()).sum()
    assert float(step.log_likelihood[0]) == pytest.approx(float(value), rel=1e-7)


GATED = ["regressors", "gating"]


@pytest.mark.parametrize("learn", [[*GATED, "sigmas"], [*GATED, "sigma"], GATED, ["gating"], []])
@pytest.mark.parametrize("shape", [(2, 3, 40, 8), (3, 4, 25, 6), (4, 6, 300, 3), (3, 25, 120, 4)])
def test_with_gates_it_goes_the_way_of_torch(
    learn: list[str], shape: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every start, step for step, its halvings among them: samples are few, and Newton's steps of
    gates that grow too long. Where ends are ill determined (gates that grow without end) the
    likelihood is compared alone."""
    k, d, n, starts = shape
    truth = random_moe(k, d, sigma=0.1, gate_norm=2.0, generator=stream("truth", 1))
    x, y = truth.sample(n, stream("data", 1))
    rows = torch.randn(starts, k, d, generator=stream("starts", 1), dtype=torch.float64) / d**0.5
    gates = torch.randn(starts, k, d, generator=stream("starts", 2), dtype=torch.float64)
    gates[:, -1] = 0
    sigma = y.std().expand(starts, k) if "sigmas" in learn else y.std()
    assert is_small(starts, k + k * (k - 1) // 2, n, d)

    def ends() -> EMResult:
        return expectation_maximisation(
            x, y, rows, gates, sigma, LINEAR, learn=learn, iterations=40, tolerance=1e-4
        )

    quick = ends()
    monkeypatch.setattr(em, "is_small", lambda *_: False)
    slow = ends()
    assert torch.equal(quick.iterations, slow.iterations)
    assert torch.equal(quick.converged, slow.converged) and quick.passes == slow.passes
    torch.testing.assert_close(quick.trace, slow.trace, rtol=1e-6, atol=1e-6)
    moderate = slow.gating.abs().amax((1, 2)) < 30
    assert bool(moderate.any()) or n < 200
    for name in ("regressors", "gating", "sigma"):
        one, other = getattr(quick, name)[moderate], getattr(slow, name)[moderate]
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert not bool(quick.gating[:, -1].any())


def test_a_step_that_overshoots_is_halved_and_at_last_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The likelihood never falls, and NaN is not stepped to; regressors whose step is
    dropped stay put."""
    x, y, rows = problem(2, 3, 40, 3, torch.float64)
    data = Samples(x, y, 3, 2, ("regressors", "gating", "sigma"), False)
    small, level = SmallSamples(data, x, y), np.full((3, 2), float(y.std()))
    begin = expectation_small(small, rows.numpy(), 0 * rows.numpy(), level)
    looks, spoilt, worse = 0, 0, 0.0

    def falling(*arguments: object) -> SmallStep:
        nonlocal looks
        looks += 1
        step = expectation_small(*arguments)  # type: ignore[arg-type]
        if looks <= spoilt:
            step.log_likelihood = np.full_like(step.log_likelihood, worse)
        return step

    monkeypatch.setattr(maximisation, "expectation_small", falling)
    for case in itertools.product((-1e9, math.nan), (3, 12)):
        worse, spoilt = case
        looks, kept = 0, 0.125 if spoilt == 3 else 0.0
        full = maximisation._moves(small, begin).regressors
        new, gain, dropped = maximisation.iterated_small(small, begin)
        assert looks == spoilt + 1 and dropped.all() == (kept == 0.0) == dropped.any()
        np.testing.assert_allclose(new.regressors, begin.regressors + kept * full)
        assert (gain > 0).all()  # of sigma alone, where the rest is dropped


def test_singular_equations_give_no_step() -> None:
    """Inputs without extent; and, of many systems, those that have no solution."""
    x, y, rows = problem(2, 3, 40, 3, torch.float64)
    end = climbed(torch.zeros_like(x), y, rows, ["sigma"], 1e-6)
    assert torch.equal(end.regressors, rows) and bool(end.log_likelihood.isfinite().all())
    data = Samples(x, y, 3, 2, ("regressors", "sigma"), False)
    small = SmallSamples(data, x, y)
    for count in (4, 400):
        square = torch.randn(count, 6, 9, generator=stream("noise", 0), dtype=torch.float64)
        matrix, right = square @ square.mT, square[..., 0].clone()
        matrix[1], right[2], matrix[3, 0, 0] = -torch.eye(6), 0.0, torch.nan
        solution = maximisation._solved(small, matrix.numpy(), right.numpy())
        expected = solve_ridged(matrix, right, data.curvature)
        np.testing.assert_allclose(solution, expected.numpy(), rtol=1e-6, atol=1e-9)
        assert not solution[1:4].any() and solution[0].any()


def test_its_tensors_are_like_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their own memory, usable in gradients; no warning where nothing is finite."""
    x, y, rows = problem(3, 4, 50, 2, torch.float64)
    ends = [climbed(x, y, rows, ["sigmas"], 1e-3)]
    zero = torch.zeros_like(rows)
    for _ in range(2):
        for sigma in (y.std(), 0.0):
            end = expectation_maximisation(
                *(x, y, rows, zero, sigma, LINEAR), learn=["regressors", "sigma"], iterations=3
            )
            ends.append(end)
        monkeypatch.setattr(em, "is_small", lambda *_: False)
    for end in ends:
        parts = [part for part in vars(end).values() if isinstance(part, Tensor)]
        assert not any(part.is_inference() for part in parts)
        places = [part.untyped_storage().data_ptr() for part in (*parts, rows, zero, x, y)]
        assert len(set(places)) == len(places)


def test_what_it_has_no_steps_for_goes_through_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("small")

    monkeypatch.setattr(em, "SmallSamples", refuse)
    x, y, rows = problem(3, 4, 50, 2, torch.float64)
    zero, sigma = torch.zeros_like(rows), y.std()
    ones = torch.ones_like(y)
    both = torch.arange(4), torch.arange(4)
    for option in ({"hard": True}, {"record": True}, {"counts": ones}, {"columns": both}):
        expectation_maximisation(
            *(x, y, rows, zero, sigma, LINEAR),
            learn=["regressors", "sigma"],
            iterations=2,
            **option,
        )
    tanh = as_nonlinearity("tanh")
    expectation_maximisation(x, y, rows, zero, sigma, tanh, learn=["regressors"], iterations=2)
    wide = torch.zeros(2, 3, 120, dtype=torch.float64)  # gates by conjugate gradients
    x_wide = torch.randn(30, 120, generator=stream("noise", 0), dtype=torch.float64)
    expectation_maximisation(x_wide, y[:30], wide, wide, sigma, LINEAR, iterations=2)
    with pytest.raises(AssertionError, match="small"):
        climbed(x, y, rows, ["sigma"], 1e-6)
    with pytest.raises(AssertionError, match="small"):
        expectation_maximisation(x, y, rows, zero, sigma, LINEAR, iterations=2)


def test_a_product_does_not_depend_on_where_its_factors_lie() -> None:
    """In memory: bit for bit, also where one of them is a vector, small and large."""
    for rows, n, columns in ((6, 500, 56), (6, 2_000, 56), (1, 4_000, 9), (3, 70, 4), (40, 90, 1)):
        one, other = (
            torch.randn(shape, generator=stream("noise", 0), dtype=torch.float64).numpy()
            for shape in ((rows, n), (n, columns))
        )
        found = product(one, other)
        np.testing.assert_allclose(found, one @ other, rtol=1e-10, atol=1e-10)
        for shift in range(1, 8):
            moved = []
            for part in (one, other):
                room = np.empty(part.size + 8)
                room[shift : shift + part.size] = part.ravel()
                moved.append(room[shift : shift + part.size].reshape(part.shape))
            assert np.array_equal(product(*moved), found)
