"""EM with flat gates in NumPy: the same as in torch, and as written in a textbook."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from moe.model.mixture import random_moe
from moe.model.nonlinearity import as_nonlinearity
from moe.randomness import stream
from moe.solvers import em, flat
from moe.solvers.em import EMResult, expectation_maximisation
from moe.solvers.samples import Samples

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
    assert flat.is_short(starts, k, n, d)
    quick = climbed(x, y, rows, noise, 1e-2)
    monkeypatch.setattr(em, "is_short", lambda *_: False)
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


def test_what_rounding_spoils_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs without extent give singular equations; a likelihood that falls, or is not a number,
    is not gone on with."""
    x, y, rows = problem(2, 3, 40, 3, torch.float64)
    nothing = torch.zeros_like(x)
    end = climbed(nothing, y, rows, ["sigma"], 1e-6)
    assert torch.equal(end.regressors, rows) and bool(end.log_likelihood.isfinite().all())
    data = Samples(nothing, y, 3, 2, ("regressors", "sigma"), False)
    level = y.std().expand(3, 2).clone()
    assert flat.flat_climb(flat.FlatSamples(data, nothing, y), rows, level, 10, 1e-6) is None
    sound = flat.flat_expectation

    def falling(*arguments: object) -> flat.FlatStep:
        step = sound(*arguments)  # type: ignore[arg-type]
        step.log_likelihood = np.full_like(step.log_likelihood, next(falls))
        return step

    data = Samples(x, y, 3, 2, ("regressors", "sigma"), False)
    monkeypatch.setattr(flat, "flat_expectation", falling)
    for second in (-1.0, math.nan):
        falls = iter([0.0, second])
        assert flat.flat_climb(flat.FlatSamples(data, x, y), rows, level, 10, 1e-6) is None


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
        monkeypatch.setattr(em, "is_short", lambda *_: False)
    for end in ends:
        parts = [part for part in vars(end).values() if isinstance(part, Tensor)]
        assert not any(part.is_inference() for part in parts)
        places = [part.untyped_storage().data_ptr() for part in (*parts, rows, zero, x, y)]
        assert len(set(places)) == len(places)


def test_gates_and_all_that_is_not_flat_go_through_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("not flat")

    monkeypatch.setattr(em, "FlatSamples", refuse)
    x, y, rows = problem(3, 4, 50, 2, torch.float64)
    zero, sigma = torch.zeros_like(rows), y.std()
    steep = zero + torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)[:, None]
    ones = torch.ones_like(y)
    expectation_maximisation(x, y, rows, steep, sigma, LINEAR, learn=["regressors"], iterations=2)
    expectation_maximisation(x, y, rows, zero, sigma, LINEAR, iterations=2)
    options = ({"hard": True}, {"record": True}, {"counts": ones})
    for option in options:
        expectation_maximisation(
            *(x, y, rows, zero, sigma, LINEAR),
            learn=["regressors", "sigma"],
            iterations=2,
            **option,
        )
    tanh = as_nonlinearity("tanh")
    expectation_maximisation(x, y, rows, zero, sigma, tanh, learn=["regressors"], iterations=2)
    with pytest.raises(AssertionError, match="not flat"):
        climbed(x, y, rows, ["sigma"], 1e-6)
