"""moe.metrics: one permutation for experts and gates, found without looking at all k! of them."""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe.exceptions import OutsideTheoryWarning
from moe.metrics import absolute_cosines, align, gating_error, match, regressor_error
from moe.model.mixture import MoE, full_gating, random_moe
from moe.randomness import stream

seeds = st.integers(0, 2**31 - 1)


@given(seed=seeds, k=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_match_attains_the_bottleneck_optimum_of_brute_force(seed: int, k: int) -> None:
    rng = stream("rows", seed)
    estimate, truth = (torch.randn(k, 6, generator=rng, dtype=torch.float64) for _ in range(2))
    cosines = absolute_cosines(estimate, truth)
    best = max(
        float(torch.stack([cosines[p[i], i] for i in range(k)]).min())
        for p in permutations(range(k))
    )
    order = match(estimate, truth)
    assert sorted(order.tolist()) == list(range(k))
    assert float(cosines[order, torch.arange(k)].min()) == pytest.approx(best, abs=1e-14)


def test_match_can_differ_from_the_permutation_with_the_largest_sum() -> None:
    truth = torch.eye(2, dtype=torch.float64)
    estimate = torch.tensor([[0.8, 0.6], [1.0, 0.02]], dtype=torch.float64)
    assert match(estimate, truth).tolist() == [1, 0]
    estimate = torch.tensor([[0.6, 0.8], [0.0, 1.0]], dtype=torch.float64)
    assert match(estimate, truth).tolist() == [0, 1]


@given(seed=seeds, k=st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_errors_vanish_for_any_relabelling_and_any_signs(seed: int, k: int) -> None:
    truth = random_moe(k, 8, generator=stream("truth", seed))
    order = torch.randperm(k, generator=stream("order", seed))
    gating = truth.gating[order] - truth.gating[order][-1]
    relabelled = MoE(truth.regressors[order], gating, truth.sigma)
    assert regressor_error(relabelled, truth) < 1e-14
    assert gating_error(relabelled, truth) < 1e-14
    flipped = MoE(-3.0 * relabelled.regressors, gating, truth.sigma)
    assert regressor_error(flipped, truth) < 1e-14


def test_gates_are_compared_under_the_regressors_permutation_only() -> None:
    truth = random_moe(3, 8, generator=stream("truth", 0))
    swapped = truth.gating[[1, 0, 2]]
    assert gating_error(MoE(truth.regressors, swapped, 0.1), truth) > 0.5


def test_regressor_error_of_a_known_angle() -> None:
    truth = random_moe(2, 4, orthonormal=True, generator=stream("truth", 1))
    a, b = truth.regressors
    turned = MoE(torch.stack([a, (b + a) / 2**0.5]), truth.gating, 0.1)
    assert regressor_error(turned, truth) == pytest.approx(1 - 0.5**0.5, abs=1e-12)


def test_align_puts_experts_in_the_truths_order() -> None:
    truth = random_moe(4, 9, generator=stream("truth", 2))
    order = torch.tensor([2, 0, 3, 1])
    shuffled = MoE(truth.regressors[order], truth.gating[order] - truth.gating[order][-1], 0.1)
    aligned = align(shuffled, truth)
    torch.testing.assert_close(aligned.regressors, truth.regressors)
    torch.testing.assert_close(aligned.gating, truth.gating)


def test_gating_error_of_a_truth_without_gates_is_absolute() -> None:
    truth = random_moe(2, 5, gate_norm=0.0, generator=stream("truth", 3))
    gating = torch.zeros(2, 5, dtype=torch.float64)
    gating[0, 0] = 0.25
    expected = 0.25 / 2**0.5  # rows (1/8, -1/8) once centred
    assert gating_error(MoE(truth.regressors, gating, 0.1), truth) == pytest.approx(expected)


@given(seed=seeds, k=st.integers(2, 5))
@settings(max_examples=25, deadline=None)
def test_gating_error_does_not_depend_on_which_expert_stands_last(seed: int, k: int) -> None:
    truth = random_moe(k, 8, generator=stream("truth", seed))
    noise = torch.randn(k, 8, generator=stream("noise", seed), dtype=torch.float64)
    estimate = MoE(truth.regressors, truth.gating + 0.3 * (noise - noise[-1]), 0.1)
    plain = gating_error(estimate, truth)
    for shift in range(1, k):
        order = torch.arange(k).roll(shift)
        both = estimate.reordered(order), truth.reordered(order)
        assert gating_error(*both) == pytest.approx(plain, rel=1e-9)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"estimate: expected the truth's shape \(2, 4\)"):
        absolute_cosines(torch.ones(3, 4), torch.ones(2, 4))


@pytest.mark.parametrize("error", [regressor_error, gating_error])
def test_a_truth_whose_experts_are_not_independent_is_named(error: Callable[..., float]) -> None:
    estimate = random_moe(3, 5, generator=stream("truth", 4))
    a, b, _ = estimate.regressors
    twins = MoE(torch.stack([a, b, -2 * a]), estimate.gating, 0.1)
    with pytest.raises(ValueError, match=r"truth: expected experts that differ.* 0 and 2"):
        error(estimate, twins)
    plane = MoE(torch.stack([a, b, a + b]), estimate.gating, 0.1)
    with pytest.warns(OutsideTheoryWarning, match=r"truth: expected k = 3 linearly .* rank 2"):
        error(estimate, plane)


@pytest.mark.parametrize("seed", range(3))
def test_relative_to_the_last_row_one_estimate_has_several_gate_errors(seed: int) -> None:
    """Name the truth's experts in every order: centred one number, relative to the last row not."""
    truth = random_moe(3, 6, gate_norm=2.0, generator=stream("truth", seed))
    noise = torch.randn(2, 6, generator=stream("noise", seed), dtype=torch.float64)
    gating = truth.gating + full_gating(noise)
    estimate = MoE(truth.regressors, gating, 0.1)
    errors, relative_to_last = [], []
    for order in permutations(range(3)):
        relabelled = truth.reordered(torch.tensor(order))
        errors.append(gating_error(estimate, relabelled))
        change = align(estimate, relabelled).gating - relabelled.gating
        relative_to_last.append(float(change.norm() / relabelled.gating.norm()))
    assert max(errors) - min(errors) < 1e-12
    assert max(relative_to_last) / min(relative_to_last) > 1.05


def test_gate_error_of_two_experts_is_that_of_the_one_free_row() -> None:
    truth = random_moe(2, 5, gate_norm=1.5, generator=stream("truth", 0))
    gating = truth.gating.clone()
    gating[0] += torch.randn(5, generator=stream("noise", 0), dtype=torch.float64)
    expected = float((gating - truth.gating).norm() / truth.gating.norm())
    assert gating_error(MoE(truth.regressors, gating, 0.1), truth) == pytest.approx(expected)


def test_the_error_of_arrays_is_that_of_models() -> None:
    estimate, truth = (random_moe(3, 5, generator=stream("truth", seed)) for seed in (1, 2))
    error = regressor_error(estimate, truth)
    casts: list[Callable[[MoE], Any]] = [
        lambda m: m.regressors,
        lambda m: m.regressors.numpy(),
        lambda m: m.regressors.tolist(),
    ]
    for cast in casts:
        assert regressor_error(cast(estimate), cast(truth)) == error
        assert regressor_error(cast(estimate), truth) == regressor_error(estimate, cast(truth))
    with pytest.raises(ValueError, match=r"estimate: expected the truth's shape \(3, 5\)"):
        regressor_error(truth.regressors[:2], truth)
    with pytest.raises(ValueError, match=r"truth: expected shape \(k, d\), got \(5,\)"):
        regressor_error(truth.regressors, truth.regressors[0])
    with pytest.raises(TypeError, match="estimate: expected an array"):
        regressor_error("rows", truth)
