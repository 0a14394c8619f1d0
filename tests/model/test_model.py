"""The model: densities, moments of its samples, invariances, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers import normal, rotation, samples
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from moe.metrics import gating_error, regressor_error
from moe.model.mixture import MoE, gaussian_log_density, log_gate, random_moe
from moe.model.nonlinearity import NONLINEARITIES
from moe.randomness import stream


def example(seed: int = 0, *, k: int = 3, d: int = 6, **options: Any) -> MoE:
    return random_moe(k, d, generator=stream("truth", seed), **options)


def naive_density(model: MoE, x: Tensor, y: Tensor) -> Tensor:
    """P(y | x) from exponentials and sums, one sample and one expert at a time."""
    values = []
    for point, output in zip(x, y, strict=True):
        odds = [math.exp(float(w @ point)) for w in model.gating]
        total = 0.0
        for weight, a in zip(odds, model.regressors, strict=True):
            mean = float(model.nonlinearity((a @ point)[None])[0])
            bump = math.exp(-0.5 * ((float(output) - mean) / model.sigma) ** 2)
            total += weight / sum(odds) * bump / (model.sigma * math.sqrt(2 * math.pi))
        values.append(total)
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("name", sorted(NONLINEARITIES))
def test_density_integrates_to_one_over_y(name: str) -> None:
    model = example(nonlinearity=name, sigma=0.3, gate_norm=2.0)
    x = normal(5, model.d, purpose="inputs")
    y = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    for point in x:
        density = model.log_density(point.expand(len(y), -1), y).exp()
        assert torch.trapezoid(density, y) == pytest.approx(1.0, abs=1e-10)
        mean = torch.trapezoid(density * y, y)
        assert mean == pytest.approx(float(model.mean(point[None])[0]), abs=1e-9)


@pytest.mark.parametrize("name", ["linear", "relu", "tanh"])
def test_log_density_equals_the_naive_formula(name: str) -> None:
    model = example(nonlinearity=name, sigma=0.5, gate_norm=3.0)
    x, y = model.sample(40, stream("data", 0))
    torch.testing.assert_close(
        model.log_density(x, y).exp(), naive_density(model, x, y), rtol=1e-12, atol=0
    )


def test_gaussian_log_density_is_the_normal_density() -> None:
    residual = torch.tensor([-1.0, 0.0, 2.5], dtype=torch.float64)
    expected = torch.distributions.Normal(0.0, 0.7).log_prob(residual.float()).double()
    torch.testing.assert_close(gaussian_log_density(residual, 0.7), expected, rtol=1e-6, atol=0)


def test_nothing_overflows_at_gate_norm_100_nor_far_from_the_experts() -> None:
    model = example(gate_norm=100.0, sigma=0.01)
    x = 30 * normal(500, model.d, purpose="inputs")
    y = torch.linspace(-1e4, 1e4, 500, dtype=torch.float64)
    for value in (
        model.log_density(x, y),
        model.log_joint(x, y),
        model.gate(x),
        model.responsibilities(x, y),
    ):
        assert bool(torch.isfinite(value).all())
    ones = torch.ones(500, dtype=torch.float64)
    torch.testing.assert_close(model.gate(x).sum(1), ones)
    torch.testing.assert_close(model.responsibilities(x, y).sum(1), ones)
    furthest = (y[:, None] - model.expert_means(x)).abs().amax(1)
    lowest = -0.5 * (furthest / model.sigma).square() - 1e7
    assert bool((model.log_density(x, y) >= lowest).all())


def test_log_gate_of_a_batch_equals_one_at_a_time() -> None:
    gating = normal(4, 2, 3, 5, purpose="gates")
    x = normal(7, 5, purpose="inputs")
    together = log_gate(gating, x)
    assert together.shape == (4, 2, 7, 3)
    torch.testing.assert_close(together[2, 1], log_gate(gating[2, 1], x))


def test_sample_moments_agree_with_mean_and_variance() -> None:
    model = example(sigma=0.4, gate_norm=2.0, nonlinearity="tanh")
    n = 200_000
    x, y = model.sample(n, stream("data", 0))
    gate, means = model.gate(x), model.expert_means(x)
    second = (gate * (means.square() + model.sigma**2)).sum(1)
    for residual in (
        y - model.mean(x),
        (y - model.mean(x)) * x[:, 0],
        y.square() - second,
        (y.square() - second) * x[:, 1],
        x[:, 0],
        x[:, 0].square() - 1,
        x[:, 0] * x[:, 1],
    ):
        error = float(residual.std()) / n**0.5
        assert abs(float(residual.mean())) < 5 * error


def test_samples_depend_on_the_generator_alone() -> None:
    model = example()
    first, again, another = (model.sample(50, stream("data", seed)) for seed in (0, 0, 1))
    for i in range(2):
        assert torch.equal(first[i], again[i]) and not torch.equal(first[i], another[i])


def test_mixing_proportions_are_the_mean_gate() -> None:
    model = example(gate_norm=3.0)
    n = 50_000
    proportions = model.mixing_proportions(n, generator=stream("proportions", 0))
    x = normal(n, model.d, purpose="inputs")
    gate = model.gate(x)
    assert proportions.sum() == pytest.approx(1.0)
    assert bool(((proportions - gate.mean(0)).abs() < 5 * (2 / n) ** 0.5 * gate.std(0)).all())


@pytest.mark.parametrize("orthonormal", [False, True])
@pytest.mark.parametrize("gate_norm", [0.0, 1.0, 5.0])
def test_random_moe_meets_the_assumptions(orthonormal: bool, gate_norm: float) -> None:
    model = example(1, k=4, d=9, orthonormal=orthonormal, gate_norm=gate_norm)
    gram = model.regressors @ model.regressors.T
    torch.testing.assert_close(gram.diagonal(), torch.ones(4, dtype=torch.float64))
    assert (torch.linalg.eigvalsh(gram)[0] > 1e-3) and model.regressors.is_contiguous()
    if orthonormal:
        torch.testing.assert_close(gram, torch.eye(4, dtype=torch.float64))
    assert (model.regressors @ model.gating.T).abs().max() < 1e-12 * (1 + gate_norm)
    norms = torch.tensor([gate_norm] * 3 + [0.0], dtype=torch.float64)
    torch.testing.assert_close(model.gating.norm(dim=1), norms)


def test_random_moe_puts_gates_in_any_direction_on_request() -> None:
    model = example(2, k=3, d=3, gates_in_span=True)
    assert (model.regressors @ model.gating[:-1].T).abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype: torch.dtype) -> None:
    model, x, y = samples(2, 4, 10, dtype=dtype)
    for value in (x, y, model.gate(x), model.mean(x), model.log_density(x, y)):
        assert value.dtype == dtype


GOOD: dict[str, Any] = {"regressors": np.eye(2, 3), "gating": np.zeros((2, 3)), "sigma": 0.1}


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("regressors", np.ones(3), ValueError),
        ("regressors", np.full((2, 3), np.nan), ValueError),
        ("regressors", [["a", "b", "c"], ["d", "e", "f"]], TypeError),
        ("regressors", np.ones((2, 3), dtype=complex), TypeError),
        ("gating", np.zeros((3, 3)), ValueError),
        ("gating", np.ones((2, 3)), ValueError),
        ("gating", np.full((2, 3), np.inf), ValueError),
        ("sigma", 0.0, ValueError),
        ("sigma", -1.0, ValueError),
        ("sigma", math.nan, ValueError),
        ("sigma", math.inf, ValueError),
        ("sigma", "small", TypeError),
        ("nonlinearity", "cubic", ValueError),
        ("nonlinearity", 3, TypeError),
    ],
)
def test_a_model_refuses_bad_parameters_by_name(
    argument: str, value: Any, error: type[Exception]
) -> None:
    MoE(**GOOD)
    with pytest.raises(error, match=argument):
        MoE(**{**GOOD, argument: value})


@pytest.mark.parametrize(
    ("argument", "x", "y"),
    [
        ("x", np.zeros((4, 2)), np.zeros(4)),
        ("x", np.zeros(3), np.zeros(4)),
        ("x", np.full((4, 3), np.nan), np.zeros(4)),
        ("y", np.zeros((4, 3)), np.zeros(5)),
        ("y", np.zeros((4, 3)), np.zeros((4, 1))),
        ("y", np.zeros((4, 3)), [0, 1, 2, math.inf]),
        ("y", np.zeros((4, 3)), ["a", "b", "c", "d"]),
    ],
)
def test_a_model_refuses_bad_data_by_name(argument: str, x: Any, y: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{argument}:"):
        MoE(**GOOD).log_density(x, y)


@pytest.mark.parametrize(
    ("argument", "options", "error"),
    [
        ("k", {"k": 0}, ValueError),
        ("k", {"k": 5}, ValueError),
        ("k", {"k": 2.5}, TypeError),
        ("gate_norm", {"gate_norm": -1.0}, ValueError),
        ("gate_norm", {"gate_norm": math.nan}, ValueError),
        ("gate_norm", {"k": 4}, ValueError),
        ("sigma", {"sigma": 0.0}, ValueError),
        ("nonlinearity", {"nonlinearity": "cubic"}, ValueError),
    ],
)
def test_random_moe_refuses_bad_arguments_by_name(
    argument: str, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=argument):
        random_moe(**{"k": 2, "d": 4, "generator": stream("truth", 0), **options})


seeds = st.integers(0, 10_000)


@settings(deadline=None, max_examples=30)
@given(seeds, st.permutations(range(4)), st.sampled_from(sorted(NONLINEARITIES)))
def test_one_permutation_of_experts_and_gates_changes_nothing(
    seed: int, order: list[int], name: str
) -> None:
    model = example(seed, k=4, nonlinearity=name)
    gating = model.gating[order]
    permuted = MoE(model.regressors[order], gating - gating[-1], model.sigma, model.nonlinearity)
    x, y = model.sample(30, stream("data", seed))
    torch.testing.assert_close(permuted.log_density(x, y), model.log_density(x, y))
    torch.testing.assert_close(permuted.mean(x), model.mean(x))
    assert regressor_error(permuted, model) < 1e-12
    assert gating_error(permuted, model) < 1e-12


@settings(deadline=None, max_examples=30)
@given(seeds, st.floats(0.0, 20.0))
def test_a_shift_of_all_gates_changes_nothing(seed: int, size: float) -> None:
    model = example(seed)
    shift = size * normal(model.d, seed=seed, purpose="shift")
    x, _ = model.sample(30, stream("data", seed))
    torch.testing.assert_close(
        log_gate(model.gating + shift, x), log_gate(model.gating, x), rtol=1e-9, atol=1e-9
    )


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_a_rotation_of_inputs_and_parameters_changes_nothing(seed: int) -> None:
    model = example(seed)
    x, y = model.sample(30, stream("data", seed))
    turn = rotation(model.d, seed)
    rotated = MoE(model.regressors @ turn.T, model.gating @ turn.T, model.sigma)
    torch.testing.assert_close(rotated.log_density(x @ turn.T, y), model.log_density(x, y))


@settings(deadline=None, max_examples=20)
@given(seeds, st.lists(st.sampled_from([-1.0, 1.0]), min_size=3, max_size=3))
def test_an_even_nonlinearity_cannot_see_signs(seed: int, signs: list[float]) -> None:
    model = example(seed, nonlinearity=torch.square)
    flipped = MoE(
        torch.tensor(signs).double()[:, None] * model.regressors,
        model.gating,
        model.sigma,
        model.nonlinearity,
    )
    x, y = model.sample(20, stream("data", seed))
    torch.testing.assert_close(flipped.log_density(x, y), model.log_density(x, y))
