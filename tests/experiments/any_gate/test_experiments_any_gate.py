"""The limit of softmax fits, and one step of scoring."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from helpers import normal
from torch import Tensor

from moe.experiments.any_gate.efficiency.one_step import one_step
from moe.experiments.any_gate.gates import gated_experts
from moe.experiments.any_gate.likelihood import curves, limits
from moe.experiments.any_gate.likelihood.curves import softmax_from_the_truth
from moe.likelihood.cells import _Terms
from moe.metrics import regressor_error_of
from moe.model.nonlinearity import as_nonlinearity
from moe.randomness import child_seed, stream
from moe.recovery import recover
from moe.solvers.em.cells import cell_em

SPEC = limits.Spec(kinds=("softmax", "quadrants"), mixtures=1, log_points=9, k=2, d=4)


MOMENTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "first": lambda x, y: y * x[:, 0],
    "fourth": lambda x, y: y**2 * x[:, 1] ** 2,
    "tail": lambda x, y: (y > 0.5) * y,
}


def test_l4_of_a_stream_goes_on_where_samples_in_memory_end() -> None:
    spec = curves.Spec(
        kinds=("quadrants",),
        sigmas=(0.2, 1.0),
        sizes=(500,),
        far=(1_000,),
        streamed=(250_000,),
        mixtures=2,
        k=2,
        d=4,
    )
    found = curves.run(spec, workers=1)
    assert found.sizes(curves.L4, 1.0) == (500, 1_000, 250_000)
    assert found.sizes(curves.L4, 0.2) == (500,)
    assert found.sizes(curves.CONSTANT, 1.0) == (500, 1_000)
    first, second = found.at("quadrants", 1.0, curves.L4, 250_000).tolist()
    assert first < 0.01
    assert math.isnan(second)


def test_what_the_curves_fit_is_what_recover_finds() -> None:
    truth = gated_experts("shells", 2, 5, 0.5, 2)
    x, y = truth.sample(4_000, stream("data", 2))
    free = recover(x, y, 2, seed=1, gate="any", classifiers=())
    expected = [regressor_error_of(r, truth.regressors) for r in (free.moments, free.regressors)]
    assert curves.experts(truth, x, y, 1) == pytest.approx(expected, rel=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        softmax = recover(x, y, 2, seed=1)
    error, doubted = curves.recovered(truth, x, y, 1)
    own = regressor_error_of(softmax.model.regressors, truth.regressors)
    assert error == pytest.approx(own, rel=1e-2)
    assert doubted == ('gate="any"' in softmax.reason)


def test_a_limit_that_is_not_reached_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_ITERATIONS", 1)
    found = limits.run(replace(SPEC, kinds=("quadrants",), nonlinearity="tanh"))
    assert bool(found.errors["quadrants"].isnan().all())
    assert bool(found.apart["quadrants"].isnan().all())


def test_the_second_set_of_points_begins_where_the_first_has_ended() -> None:
    """So that both see one maximum: by the first set from its own end nothing moves."""
    truth = gated_experts("quadrants", 2, 4, 1.0, 3)
    end = limits.softmax_limit(truth, SPEC)
    again = limits.softmax_limit(truth, SPEC, 0, end)
    assert bool(end.converged.all())
    assert regressor_error_of(end.regressors[0], again.regressors[0]) < 1e-6


@pytest.mark.parametrize("name", MOMENTS)
def test_the_points_stand_for_the_law_of_the_samples(name: str) -> None:
    truth = gated_experts("quadrants", 2, 4, 0.5, 3, "tanh")
    x, y, counts = limits.population(truth, 2**13, 9, 0)
    assert math.isclose(float(counts.sum()), limits.COUNT, rel_tol=1e-9)
    mean = float(counts @ MOMENTS[name](x, y)) / limits.COUNT
    values = MOMENTS[name](*truth.sample(200_000, stream("data", 3)))
    assert abs(mean - float(values.mean())) < 4.5 * float(values.std()) / 200_000**0.5


def test_under_a_softmax_gate_the_limit_is_the_truth() -> None:
    """The expected score given x is zero there, but for the points of the noise."""
    found = limits.run(replace(SPEC, kinds=("softmax",), mixtures=2))
    assert float(found.errors["softmax"].max()) < 1e-6
    assert float(found.apart["softmax"].max()) < 1e-6


def test_under_another_gate_large_samples_come_near_the_limit() -> None:
    spec = replace(SPEC, log_points=12)
    seed = child_seed(spec.seed, "quadrants", 0)
    truth = gated_experts("quadrants", spec.k, spec.d, spec.sigma, seed)
    limit = regressor_error_of(limits.softmax_limit(truth, spec).regressors[0], truth.regressors)
    data = truth.sample(300_000, stream("data", seed))
    assert limit > 0.01
    assert math.isclose(softmax_from_the_truth(truth, *data), limit, rel_tol=0.1)


def test_one_step_is_scoring_with_the_outer_product_of_the_scores() -> None:
    """Against the scores of the package, written out by hand."""
    g = as_nonlinearity("tanh")
    truth = gated_experts("tree", 3, 6, 0.5, 1, "tanh")
    x, y = truth.sample(400, stream("data", 1))
    rows, sigma = truth.regressors + 0.1, 0.6
    shares = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    terms = _Terms(x, y, torch.zeros(400, dtype=torch.long), rows, sigma, shares[None], g)
    scores = torch.cat(terms.scores(), 1)[:, :-1]  # proportions add to one
    step = torch.linalg.solve(scores.T @ scores, scores.sum(0))[:18].view(3, 6)
    torch.testing.assert_close(one_step(x, y, rows, sigma, shares, g), rows + step)


def test_one_step_from_near_leads_most_of_the_way_to_the_maximum() -> None:
    truth = gated_experts("shells", 2, 5, 0.5, 2)
    x, y = truth.sample(50_000, stream("data", 2))
    shares = truth.weights(x).mean(0)
    g, start = truth.nonlinearity, truth.regressors + 0.02 * normal(2, 5, purpose="starts")
    most = cell_em(x, y, truth.regressors, truth.sigma, shares, g, tolerance=1e-6).regressors
    after = one_step(x, y, start, truth.sigma, shares, g)
    assert float((after - most).norm()) < 0.3 * float((start - most).norm())
