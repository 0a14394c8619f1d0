"""Experts of a fit against second moments, which need no gate."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import pytest
import torch
from helpers import normal
from torch import Tensor

from moe.exceptions import DoubtfulFitWarning
from moe.experiments.any_gate.gates import gated_experts
from moe.experiments.any_gate.likelihood import rare
from moe.model.nonlinearity import as_nonlinearity
from moe.randomness import stream
from moe.recovery import recover
from moe.recovery.any_gate import span
from moe.recovery.any_gate.span import contradicted
from moe.recovery.starts import Problem


def _problem(x: Tensor, y: Tensor, k: int) -> Problem:
    return Problem(x, y, k, as_nonlinearity("linear"), None, False)


def test_even_moments_show_the_experts_of_any_gate_and_of_any_length() -> None:
    """E[h(y) (x x' - I)] on the span, and between it and what is orthogonal to it, against the
    mean of four million draws; lengths 1 and 0.5, a hard gate that makes the second expert rare."""
    spec = rare.Spec(0.6, n=1)
    truth = rare.mixture(spec)
    rows = truth.regressors * torch.tensor([[1.0], [0.5]], dtype=torch.float64)
    truth = replace(truth, regressors=rows)
    x, y = truth.sample(4_000_000, stream("data", 8))
    square = float(y.square().mean())
    h = 1 - torch.exp(-0.5 * y.square() / square)
    found = (x * h[:, None]).T @ x / len(x) - h.mean() * torch.eye(6, dtype=torch.float64)
    c = square**0.5 * (square + rows.square().sum(1) + truth.sigma**2) ** -1.5
    expected = torch.einsum("i,ip,iq->pq", truth.weights(x).mean(0) * c, rows, rows)
    torch.testing.assert_close(found[:2, :2], expected[:2, :2], rtol=0, atol=1.5e-3)
    assert float(found[2:, :2].abs().max()) < 1.5e-3 < 0.01 < float(found[2:, 2:].abs().max())


def test_a_fit_that_second_moments_contradict_is_doubted_and_the_truth_is_not() -> None:
    """Under eight gates the truth is doubted in none of 24 data sets at the level 1e-4, whatever
    the shares; two copies of the common expert, bent to either side, are, and so are experts at
    wrong angles; with few samples nothing is said."""
    for kind in ("softmax", "quadrants", "shells", "network", "top-1", "tree", "stripes", "steps"):
        for seed in range(3):
            truth = gated_experts(kind, 3, 6, 0.7, seed)
            x, y = truth.sample(20_000, stream("data", seed))
            shares = truth.weights(x).mean(0)
            assert not contradicted(_problem(x, y, 3), truth.regressors, shares, 0.7)
    spec = rare.Spec(0.7, n=300_000)
    truth = rare.mixture(spec)
    x, y = truth.sample(spec.n, stream("data", 1))
    shares = truth.weights(x).mean(0)
    assert not contradicted(_problem(x, y, 2), truth.regressors, shares, 1.0)
    half, side = torch.full((2,), 0.5, dtype=torch.float64), 0.3 * torch.eye(6).double()[2]
    bent = torch.stack([truth.regressors[0] + side, truth.regressors[0] - side])
    (doubt,) = contradicted(_problem(x, y, 2), bent, half, 1.0)
    assert doubt.startswith("second moments show other experts than these, p = ")
    turned = truth.regressors.flip(0) * torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    assert contradicted(_problem(x, y, 2), turned, shares, 1.0)
    assert not contradicted(_problem(x[:200], y[:200], 2), bent, half, 1.0)


def test_the_slope_of_the_moments_is_how_they_move_with_the_experts() -> None:
    """Against differences, where the moments are exactly those of the experts and any in between:
    E[h(y) (x x' - I)] is set so on the span of two experts of unlike lengths."""
    spec = rare.Spec(0.6, n=20_000)
    truth = rare.mixture(spec)
    rows = truth.regressors * torch.tensor([[1.0], [0.5]], dtype=torch.float64)
    x, y = replace(truth, regressors=rows).sample(spec.n, stream("data", 8))
    shares, square = truth.weights(x).mean(0), float(y.square().mean())
    test = span._Test(_problem(x, y, 2), rows, shares, 1.0)

    def expected(a: Tensor) -> Tensor:
        weight = shares * square**0.5 * (square + a.square().sum(1) + 1.0) ** -1.5
        return torch.einsum("i,ip,iq->pq", weight, a, a)

    axes = torch.cat([test.inside, test.outside])
    moments = axes @ ((x * test.h[:, None]).T @ x / len(x)) @ axes.T
    wanted = axes @ expected(rows) @ axes.T
    moments[:2], moments[:, :2] = wanted[:2], wanted[:, :2]
    moments = axes.T @ moments @ axes

    def at(a: Tensor) -> Tensor:
        """In axes that turn as little as they can from those of ``test``."""
        turned = []
        for new, old in zip(torch.linalg.svd(a).Vh.split([2, 4]), axes.split([2, 4]), strict=True):
            left, _, right = torch.linalg.svd(old @ new.T)
            turned.append(left @ right @ new)
        pairs = turned[0] @ (moments - expected(a)) @ turned[0].T
        cross = turned[1] @ moments @ turned[0].T
        return torch.cat([pairs[test.row, test.column], cross.flatten()])

    for seed in range(3):
        move = normal(2, 6, seed=seed)
        change = (at(rows + 1e-5 * move) - at(rows - 1e-5 * move)) / 2e-5
        torch.testing.assert_close(test.slope() @ move.flatten(), change, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("lengths", "degrees", "sigma"),
    [((1, 2), 0, 1.0), ((1, 2), 5, 1.0), ((0.4, 2.5), 10, 2.0), ((1, 0), 0, 0.5)],
)
def test_a_right_fit_of_experts_that_hardly_differ_is_not_doubted(
    lengths: tuple[float, float], degrees: float, sigma: float
) -> None:
    """The gate looks at |v|, so that moments outside the span are far from zero, and the span of
    the fit is tilted into them by its error: without it most of these fits would be doubted."""
    turn = math.radians(degrees)
    rows = torch.zeros(2, 8, dtype=torch.float64)
    rows[0, 0], rows[1, 0] = lengths[0], lengths[1] * math.cos(turn)
    rows[1, 1] = lengths[1] * math.sin(turn)
    for seed in range(4):
        generator = stream("data", seed)
        x = torch.randn(20_000, 8, generator=generator, dtype=torch.float64)
        noise = sigma * torch.randn(20_000, generator=generator, dtype=torch.float64)
        y = (x @ rows.T).gather(1, (x[:, 4:5].abs() > 0.9).long())[:, 0] + noise
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DoubtfulFitWarning)
            fit = recover(x, y, 2, gate="any", classifiers=(), seed=seed)
        assert not any("second moments" in doubt for doubt in fit.doubts)
        away = torch.cdist(rows, fit.regressors)
        assert min(float(away.trace()), float(away.flip(1).trace())) < 0.5


def test_a_fit_led_away_by_a_rare_expert_says_so() -> None:
    spec = rare.Spec(0.85, index=1)
    found = rare.trial(spec, 0)
    assert found["error"] > 0.1 and found["converged"] == 0
