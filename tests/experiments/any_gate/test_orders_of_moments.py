"""Moments of several orders: their means, covariances and what they estimate, by other routes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from helpers import normal
from torch import Tensor

from moe.experiments.any_gate.efficiency import variances
from moe.experiments.any_gate.efficiency.orders import (
    _weighted,
    expected,
    hermite_blocks,
    system,
    transforms,
    weighted_moments,
)
from moe.experiments.any_gate.gates import GatedExperts, gated_experts
from moe.likelihood.cells import _Terms
from moe.metrics import regressor_error_of
from moe.moments.hermite import multi_indices, score_tensor
from moe.randomness import stream

ORDERS = (1, 2, 3)


def shares(truth: GatedExperts) -> Tensor:
    x = torch.randn(400_000, truth.regressors.shape[1], generator=stream("inputs"))
    return truth.weights(x.double()).mean(0)


def in_span(truth: GatedExperts) -> tuple[Tensor, Tensor]:
    """The experts in the span's coordinates, and its basis."""
    basis = torch.linalg.svd(truth.regressors).Vh[: len(truth.regressors)]
    return truth.regressors @ basis.T, basis


def test_expected_moments_are_entries_of_the_dense_tensors() -> None:
    rows, w = torch.randn(3, 3, generator=stream("truth")).double(), torch.tensor([0.2, 0.3, 0.5])
    dense = torch.einsum("i,ia,ib,ic->abc", w.double(), rows, rows, rows)
    entries = 6 * torch.stack([dense[tuple(index)] for index in multi_indices(3, 3)])
    torch.testing.assert_close(expected(rows, w.double(), (3,)), entries)


def test_blocks_are_distinct_entries_of_the_score_tensors() -> None:
    z = torch.randn(7, 2, generator=stream("inputs")).double()
    for m in (1, 2, 3, 4):
        entries = torch.stack([score_tensor(z, m)[:, *index] for index in multi_indices(2, m)], 1)
        torch.testing.assert_close(hermite_blocks(z, 4)[m], entries)


@pytest.mark.parametrize("kind", ["quadrants", "steps"])
def test_means_and_covariances_inside_the_span_are_those_of_samples_under_any_gate(
    kind: str,
) -> None:
    truth = gated_experts(kind, 2, 5, 1.0, 4)
    (rows, basis), n = in_span(truth), 400_000
    found = system(rows, shares(truth), 1.0, ORDERS)
    x, y = truth.sample(n, stream("data", 4))
    q, blocks = transforms(y, math.sqrt(2.0), 3), hermite_blocks(x @ basis.T, 3)
    every = torch.cat([blocks[m] * q[m][:, None] for m in ORDERS], 1)
    error = every.std(0) / n**0.5
    assert bool(((every.mean(0) - found.value).abs() < 5 * error).all())
    centred = every - every.mean(0)
    products = centred[:, :, None] * centred[:, None, :]
    error = products.std(0) / n**0.5
    assert bool(((products.mean(0) - found.inside_covariance).abs() < 5 * error + 0.01).all())


def test_outside_the_span_a_moment_tells_how_far_an_expert_leaves_it() -> None:
    """From samples whose experts lie outside of the basis that is used."""
    truth, n, angle = gated_experts("quadrants", 2, 5, 0.5, 4), 400_000, 0.6
    _, basis = in_span(truth)
    out = torch.linalg.svd(truth.regressors).Vh[2]
    used = torch.stack([math.cos(angle) * basis[0] + math.sin(angle) * out, basis[1]])
    v = math.cos(angle) * out - math.sin(angle) * basis[0]
    x, y = truth.sample(n, stream("data", 5))
    q, blocks = transforms(y, math.sqrt(1.25), 3), hermite_blocks(x @ used.T, 3)
    every = torch.cat([blocks[m - 1] * (q[m] * (x @ v))[:, None] for m in ORDERS], 1)
    told = system(truth.regressors @ used.T, shares(truth), 0.5, ORDERS).outside
    value, error = told @ (truth.regressors @ v), every.std(0) / n**0.5
    assert bool(((every.mean(0) - value).abs() < 5 * error).all())
    assert int((value.abs() > 10 * error).sum()) > 3


def constant(truth: GatedExperts, w: Tensor) -> GatedExperts:
    return replace(truth, gate=lambda v: w.expand(len(v), -1))


def test_outside_the_span_the_covariance_is_that_of_a_constant_gate() -> None:
    w, n = torch.tensor([0.7, 0.3]).double(), 400_000
    truth = constant(gated_experts("quadrants", 2, 5, 1.0, 4), w)
    rows, basis = in_span(truth)
    x, y = truth.sample(n, stream("data", 8))
    q, blocks = transforms(y, math.sqrt(2.0), 3), hermite_blocks(x @ basis.T, 3)
    v = x @ truth.complement[:, 0]
    every = torch.cat([blocks[m - 1] * (q[m] * v)[:, None] for m in ORDERS], 1)
    products = every[:, :, None] * every[:, None, :]
    found, error = system(rows, w, 1.0, ORDERS).outside_covariance, products.std(0) / n**0.5
    assert bool(((products.mean(0) - found).abs() < 5 * error).all())


def test_the_weighting_is_that_of_generalised_least_squares() -> None:
    jacobian, right = normal(9, 3), normal(9, 2, purpose="errors")
    half = normal(9, 9, purpose="noise") * torch.logspace(0, 3, 9).double()[:, None]
    inverse = torch.linalg.inv(half @ half.T)
    expect = torch.linalg.solve(jacobian.T @ inverse @ jacobian, jacobian.T @ inverse @ right)
    torch.testing.assert_close(_weighted(jacobian, half @ half.T, right), expect)


def test_over_data_sets_the_part_outside_has_the_variance_of_its_weighting() -> None:
    """From a start that lies outside, under a constant gate."""
    w, n, orders = torch.tensor([0.7, 0.3]).double(), 10_000, (1, 2, 3)
    truth = constant(gated_experts("quadrants", 2, 4, 1.0, 4), w)
    rows, _ = in_span(truth)
    start = truth.regressors + 0.05 * truth.complement[:, 0]
    off = []
    for trial in range(150):
        x, y = truth.sample(n, stream("data", 9, trial))
        off.append(weighted_moments(x, y, start, w, orders, 1) @ truth.complement)
    each, here = torch.stack(off), system(rows, w, 1.0, orders)
    whitened = torch.linalg.solve(here.outside_covariance, here.outside)
    predicted = torch.linalg.inv(here.outside.T @ whitened).diagonal() / n
    squares = each.square().mean(2)
    error = squares.std(0) / len(each) ** 0.5
    assert bool(((squares.mean(0) - predicted).abs() < 4 * error + 0.1 * predicted).all())
    assert bool((each.mean(0).abs() < 4 * (predicted / len(each)).sqrt()[:, None] + 0.005).all())


def test_the_likelihoods_information_is_the_outer_product_of_scores() -> None:
    truth = gated_experts("quadrants", 2, 5, 1.0, 4)
    (rows, basis), w, n = in_span(truth), shares(truth), 400_000
    x, y = truth.sample(n, stream("data", 6))
    none = torch.zeros(n, dtype=torch.long)
    terms = _Terms(x @ basis.T, y, none, rows, 1.0, w[None], truth.nonlinearity)
    scores = torch.cat(terms.scores(), 1)[:, :-1]  # proportions add to one
    covariance = n * torch.linalg.inv(scores.T @ scores)[:4, :4].view(2, 2, 2, 2)
    worst = max(
        float(covariance[i, :, i].trace() - row @ covariance[i, :, i] @ row)
        for i, row in enumerate(rows)
    )
    assert math.isclose(variances.of_likelihood(rows, w, 1.0), worst, rel_tol=0.03)


@pytest.mark.parametrize("orders", [(1, 2, 3, 4), (1, 2, 3, 4, 5, 6)])
def test_over_data_sets_the_estimate_has_the_variance_that_is_predicted(
    orders: tuple[int, ...],
) -> None:
    """Its part inside the span, within the error of 100 data sets."""
    truth = gated_experts("quadrants", 2, 4, 1.0, 4)
    (rows, basis), w, n = in_span(truth), shares(truth), 10_000
    off = []
    for trial in range(100):
        x, y = truth.sample(n, stream("data", 7, trial))
        found = weighted_moments(x, y, truth.regressors, w, orders, 2) @ basis.T
        across = found - (found * rows).sum(1, keepdim=True) * rows
        off.append(across.square().sum(1))
    each = n * torch.stack(off)
    error = each.std(0) / len(each) ** 0.5
    worst = int(each.mean(0).argmax())
    predicted = variances.of_moments(rows, w, 1.0, orders)
    assert abs(float(each.mean(0)[worst]) - predicted) < 4 * float(error[worst])


def test_more_orders_never_have_a_larger_variance_and_the_likelihood_has_the_least() -> None:
    spec = variances.Spec(mixtures=1, orders=("2 and 4", "2 to 4", "1 to 4", "1 to 5", "1 to 6"))
    for found in variances.run(spec):
        values = list(found.of.values())
        assert values == sorted(values, reverse=True)


def test_from_a_start_that_is_far_the_moments_lead_near_the_truth() -> None:
    truth = gated_experts("quadrants", 3, 7, 0.5, 2)
    x, y = truth.sample(200_000, stream("data", 2))
    start = truth.regressors + 0.2 * torch.randn(3, 7, generator=stream("starts")).double()
    w = torch.full((3,), 1 / 3, dtype=torch.float64)
    found = weighted_moments(x, y, start, w, (1, 2, 3, 4))
    assert regressor_error_of(found, truth.regressors) < 0.1 * regressor_error_of(
        start, truth.regressors
    )


def test_a_singular_covariance_gives_no_numbers() -> None:
    x, rows = torch.randn(500, 3, generator=stream("inputs")).double(), torch.eye(2, 3).double()
    w = torch.tensor([0.5, 0.5]).double()
    assert bool(weighted_moments(x, torch.zeros(500).double(), 0 * rows, w, (1, 2)).isnan().all())
