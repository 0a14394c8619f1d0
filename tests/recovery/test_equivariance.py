"""moe.recovery.coordinates, moe.recover: units, order of rows and columns change only the units."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from helpers import samples
from torch import Tensor

import moe
from moe.exceptions import NonGaussianInputWarning
from moe.model.mixture import MoE
from moe.model.nonlinearity import Nonlinearity, as_nonlinearity
from moe.randomness import stream
from moe.recovery.coordinates import coordinates_of, sample_order
from moe.recovery.results import Recovery

LINEAR = as_nonlinearity("linear")
UNITS = torch.logspace(-6, 6, 7, dtype=torch.float64)
ORDER = torch.randperm(7, generator=stream("columns"))
MIXING = torch.randn(7, 7, generator=stream("mixing"), dtype=torch.float64)

# name: (what is done to x, what that does to regressors and gates)
CHANGES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "units of the columns": (lambda x: x * UNITS, lambda rows: rows / UNITS),
    "order of the columns": (lambda x: x[:, ORDER], lambda rows: rows[:, ORDER]),
    "any linear map": (lambda x: x @ MIXING, lambda rows: torch.linalg.solve(MIXING, rows.T).T),
}
# name: k, n and options; the ways they take: L_4, a subset of all samples, T_3 or search, held W
PROBLEMS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "moments": ("linear", 6_000, {}),
    "subset": ("linear", 9_000, {}),
    "scarce": ("linear", 150, {}),
    "sigma known": ("linear", 2_000, {"sigma": 0.1}),
    "no gates": ("linear", 400, {"gated": False}),
    "relu": ("relu", 4_000, {}),
    "leaky relu": ("leaky_relu", 4_000, {}),
    "tanh": ("tanh", 4_000, {}),
}


def drawn(name: str, n: int, options: dict[str, Any]) -> tuple[MoE, Tensor, Tensor]:
    norm = 1.0 if options.get("gated", True) else 0.0
    return samples(3, 7, n, 0, nonlinearity=name, gate_norm=norm)


def fitted(x: Tensor, y: Tensor, name: str, options: dict[str, Any]) -> Recovery:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NonGaussianInputWarning)
        return moe.recover(x, y, 3, name, **options)


def assert_close(rows: Tensor, expected: Tensor) -> None:
    scale = float(expected.norm(dim=1).max())
    torch.testing.assert_close(rows, expected, rtol=0, atol=1e-7 * scale)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_linear_map_of_the_inputs_maps_the_answer(problem: str) -> None:
    name, n, options = PROBLEMS[problem]
    _, x, y = drawn(name, n, options)
    plain = fitted(x, y, name, options)
    for change, effect in CHANGES.values():
        other = fitted(change(x), y, name, options)
        weights = effect(torch.eye(7, dtype=torch.float64)).norm(dim=0)
        assert_close(other.model.regressors / weights, effect(plain.model.regressors) / weights)
        assert_close(other.model.gating / weights, effect(plain.model.gating) / weights)
        predicted, expected = other.model.mean(change(x)), plain.model.mean(x)
        torch.testing.assert_close(predicted, expected, rtol=0, atol=1e-8)
        assert other.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-5)
        assert (other.converged, other.origin) == (plain.converged, plain.origin)


@pytest.mark.parametrize("problem", [p for p in PROBLEMS if p != "tanh"])
@pytest.mark.parametrize("unit", [1e6, 1e-6])
def test_another_unit_of_the_outputs_scales_experts_and_noise(problem: str, unit: float) -> None:
    name, n, options = PROBLEMS[problem]
    _, x, y = drawn(name, n, options)
    plain = fitted(x, y, name, options)
    if "sigma" in options:
        options = {**options, "sigma": unit * options["sigma"]}
    other = fitted(x, unit * y, name, options)
    assert_close(other.model.regressors / unit, plain.model.regressors)
    assert_close(other.model.gating, plain.model.gating)
    assert other.model.sigma / unit == pytest.approx(plain.model.sigma, rel=1e-7)
    shift = len(y) * float(np.log(unit))
    assert other.log_likelihood + shift == pytest.approx(plain.log_likelihood, abs=1e-5)
    for mine, theirs in zip(other.stages, plain.stages, strict=True):
        if theirs.sigma is not None and mine.sigma is not None:
            assert mine.sigma / unit == pytest.approx(theirs.sigma, rel=1e-7)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_order_of_the_samples_does_not_matter(problem: str) -> None:
    name, n, options = PROBLEMS[problem]
    _, x, y = drawn(name, n, options)
    order = torch.randperm(n, generator=stream("rows"))
    plain, other = fitted(x, y, name, options), fitted(x[order], y[order], name, options)
    assert torch.equal(other.model.regressors, plain.model.regressors)
    assert torch.equal(other.model.gating, plain.model.gating)


def test_other_seeds_find_the_same_experts_in_the_same_order() -> None:
    truth, x, y = samples(4, 8, 4_000, 1)
    fits = [moe.recover(x, y, 4, seed=seed) for seed in range(5)]
    for fit in fits[1:]:
        torch.testing.assert_close(
            fit.model.regressors, fits[0].model.regressors, rtol=0, atol=1e-3
        )
    share = fits[0].model.responsibilities(x, y).mean(0)
    assert bool((share.diff() < 0).all()), "by falling share of the samples"
    aligned = moe.align(fits[0].model, truth)
    assert float((aligned.regressors - truth.regressors).norm(dim=1).max()) < 0.03


def test_coordinates_whiten_turn_and_bring_back() -> None:
    _truth, x, y = samples(3, 7, 2_000, 2)
    for change, _ in CHANGES.values():
        coordinates = coordinates_of(change(x), y, LINEAR, None)
        inside, output = coordinates.of(change(x), y)
        eye = torch.eye(7, dtype=torch.float64)
        torch.testing.assert_close(inside.T @ inside / len(x), eye, rtol=0, atol=1e-9)
        size = output / output.abs().max()
        weighted = inside.T @ ((size.square() + 0.37 * size)[:, None] * inside) / len(x)
        spread = weighted.diagonal()
        torch.testing.assert_close(weighted, spread.diag(), rtol=0, atol=1e-9)
        assert bool((spread.diff() < 0).all()) and bool((output @ inside > 0).all())
        model = MoE(torch.eye(3, 7).double(), torch.zeros(3, 7).double(), 0.3)
        outside = coordinates.model(model)
        torch.testing.assert_close(
            outside.log_density(change(x), y),
            model.log_density(inside, output) - float(np.log(coordinates.scale)),
            rtol=0, atol=1e-7,
        )  # fmt: skip


def test_columns_that_depend_on_others_are_left_out() -> None:
    _truth, x, y = samples(2, 5, 1_500, 3)
    plain = moe.recover(x, y, 2)
    twice = torch.cat([x, x[:, :2] - x[:, 2:4], torch.zeros(len(x), 1).double()], 1)
    fit = fitted_with(twice, y)
    torch.testing.assert_close(fit.model.mean(twice), plain.model.mean(x), rtol=0, atol=1e-6)
    assert coordinates_of(twice, y, LINEAR, None).basis.shape == (8, 5)


def fitted_with(x: Tensor, y: Tensor) -> Recovery:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NonGaussianInputWarning)
        return moe.recover(x, y, 2)


def test_the_scale_of_the_outputs_is_the_length_of_the_experts() -> None:
    for name, sigma in (("linear", 0.1), ("linear", None), ("relu", None), ("leaky_relu", None)):
        _, x, y = samples(3, 6, 200_000, 4, nonlinearity=name, sigma=0.1)
        g = as_nonlinearity(name)
        for unit in (1.0, 50.0):
            given = None if sigma is None else unit * sigma
            assert coordinates_of(x, unit * y, g, given).scale == pytest.approx(unit, rel=0.02)
    tanh = as_nonlinearity("tanh")
    assert coordinates_of(x, y, tanh, None).scale == 1.0, "tanh(c z) is no multiple of tanh(z)"


def test_the_order_of_samples_is_random_and_the_samples_own() -> None:
    _, x, y = samples(2, 4, 5_000, 5)
    y = y.round(decimals=1)  # ties
    order, moved = sample_order(x, y, 0), torch.randperm(5_000, generator=stream("rows"))
    assert torch.equal(x[order], x[moved][sample_order(x[moved], 3.0 * y[moved], 0)])
    assert sorted(order.tolist()) == list(range(5_000))
    assert abs(float(y[order][:1_000].mean() - y.mean())) < 4 * float(y.std()) / 1_000**0.5
    assert not torch.equal(order, sample_order(x, y, 1))


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "linear"])
def test_homogeneous_experts_scale(name: str) -> None:
    assert as_nonlinearity(name).is_homogeneous


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "gelu"])
def test_the_others_do_not(name: str) -> None:
    assert not as_nonlinearity(name).is_homogeneous
    assert not Nonlinearity("nothing", torch.zeros_like).is_homogeneous
    assert Nonlinearity("modulus", torch.abs).is_homogeneous
