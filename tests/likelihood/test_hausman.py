"""Do two estimates of the same experts agree? Influence functions, size and power of the test."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from helpers import normal
from scipy.stats import binomtest, chi2, kstest
from torch import Tensor

from moe.experiments.any_gate.gates import GatedExperts, gated_experts
from moe.likelihood.cells import profiled
from moe.likelihood.hausman import Hausman, _tested, hausman
from moe.likelihood.information import information, scores
from moe.model.mixture import MoE
from moe.randomness import child_seed, stream
from moe.solvers.em import expectation_maximisation
from moe.solvers.em.cells import CellFit, cell_em
from moe.solvers.newton import newton_climb

K, D, SETS = 2, 4, 120


def by_cells(truth: GatedExperts, x: Tensor, y: Tensor, cells: Tensor) -> CellFit:
    shares = truth.weights(x).mean(0)
    start = (truth.regressors, truth.sigma, shares.expand(int(cells.max()) + 1, -1))
    return cell_em(x, y, *start, truth.nonlinearity, cells, tolerance=1e-9, iterations=3_000)


def by_softmax(truth: GatedExperts, x: Tensor, y: Tensor) -> MoE:
    zero = torch.zeros_like(truth.regressors)
    start = (truth.regressors, zero, truth.sigma, truth.nonlinearity)
    near = expectation_maximisation(x, y, *start, tolerance=0.1)
    at = (near.regressors, near.gating, near.sigma)
    end, _ = newton_climb(x, y, *at, tolerance=1e-9)
    assert bool(end.converged.all())
    return end.model(0, truth.nonlinearity)


def quarters(truth: GatedExperts, x: Tensor) -> Tensor:
    """Four cells, by two coordinates outside the span."""
    signs = (x @ truth.complement[:, :2] > 0).long()
    return signs[:, 0] + 2 * signs[:, 1]


def compared(
    truth: GatedExperts, x: Tensor, y: Tensor, *, tolerance: float = 1e-9
) -> tuple[Hausman, Tensor]:
    cells = quarters(truth, x)
    fit = by_cells(truth, x, y, cells)
    at = (fit.regressors, fit.sigma, fit.proportions, cells, truth.nonlinearity)
    return hausman(profiled(x, y, *at), cells, by_softmax(truth, x, y), x, y)


def test_influences_are_what_leaving_a_sample_out_changes() -> None:
    """Against the jackknife, for both estimates."""
    truth = gated_experts("softmax", K, D, 0.5, child_seed(0, "jackknife"))
    x, y = truth.sample(600, stream("data", 11))
    cells, size = quarters(truth, x), K * D
    fit, model = by_cells(truth, x, y, cells), by_softmax(truth, x, y)
    at = (fit.regressors, fit.sigma, fit.proportions, cells, truth.nonlinearity)
    profile = profiled(x, y, *at)
    inverse = torch.linalg.inv(information(model, x, y)[2])
    own = (profile.scores(x, y, cells) @ profile.inverse)[:, :size]
    other = (scores(model, x, y) @ inverse)[:, :size]
    refits: list[tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]] = [
        (own, fit.regressors, lambda m: by_cells(truth, x[m], y[m], cells[m]).regressors),
        (other, model.regressors, lambda m: by_softmax(truth, x[m], y[m]).regressors),
    ]
    for influence, whole, refitted in refits:
        assert float(influence.sum(0).abs().max()) < 1e-3 * float(influence.norm(dim=0).max())
        for left_out in influence.norm(dim=1).argsort()[::120].tolist():
            kept = torch.arange(len(x)) != left_out
            change = (whole - refitted(kept)).flatten()
            far = float((change - influence[left_out]).norm())
            assert far < 0.25 * float(change.norm()) + 1e-5


def test_scores_of_samples_are_gradients_of_their_log_densities() -> None:
    truth = gated_experts("softmax", 3, 5, 0.5, 0)
    x, y = truth.sample(300, stream("data", 12))
    model = MoE(truth.regressors, by_softmax(truth, x, y).gating, 0.7)
    own = scores(model, x, y)
    torch.testing.assert_close(own.sum(0), information(model, x, y)[1])
    torch.testing.assert_close(own.T @ own, information(model, x, y, "outer")[2])


def test_under_softmax_the_test_rejects_as_often_as_it_says() -> None:
    """The law is that of many samples: at 1,500 the level 0.5 is met too seldom, 0.05 is not."""
    p_values = []
    for index in range(SETS):
        truth = gated_experts("softmax", K, D, 0.5, child_seed(1, "size", index % 10))
        data = truth.sample(6_000, stream("data", child_seed(1, "size"), index))
        p_values.append(compared(truth, *data)[0].p_value)
    for level in (0.05, 0.5):
        rejected = sum(p < level for p in p_values)
        interval = binomtest(rejected, SETS).proportion_ci(0.99)
        assert interval.low < level < interval.high, (level, rejected)
    assert kstest(p_values, "uniform").pvalue > 1e-3


def test_under_quadrants_it_rejects() -> None:
    truth = gated_experts("quadrants", K, D, 1.0, child_seed(2, "power"))
    found = [
        compared(truth, *truth.sample(20_000, stream("data", 13, index)))[0].p_value
        for index in range(3)
    ]
    assert max(found) < 1e-3


def test_what_em_has_left_to_go_does_not_matter() -> None:
    truth = gated_experts("softmax", K, D, 0.5, child_seed(0, "early"))
    x, y = truth.sample(4_000, stream("data", 14))
    cells, model = quarters(truth, x), by_softmax(truth, x, y)
    end = by_cells(truth, x, y, cells)
    start = (end.regressors + 0.01, end.sigma, end.proportions, truth.nonlinearity, cells)
    early = cell_em(x, y, *start, tolerance=1.0)
    statistics = []
    for fit in (end, early):
        at = (fit.regressors, fit.sigma, fit.proportions, cells, truth.nonlinearity)
        statistics.append(hausman(profiled(x, y, *at), cells, model, x, y)[0].statistic)
    assert statistics[1] == pytest.approx(statistics[0], rel=0.05)


def test_the_covariance_is_the_sandwich_of_the_softmax_fit() -> None:
    truth = gated_experts("softmax", K, D, 0.5, 0)
    x, y = truth.sample(2_000, stream("data", 15))
    model, covariance = by_softmax(truth, x, y), compared(truth, x, y)[1]
    inverse = torch.linalg.inv(information(model, x, y)[2])
    whole = inverse @ information(model, x, y, "outer")[2] @ inverse
    torch.testing.assert_close(covariance, whole[: K * D, : K * D])


def test_the_statistic_does_not_depend_on_axes_and_refuses_to_divide_by_nothing() -> None:
    half, b = normal(6, 40), normal(6, purpose="errors")
    spread, own = half @ half.T / 40, 3 * torch.eye(6, dtype=torch.float64)
    found = _tested(b, spread, own)
    assert found.statistic == pytest.approx(float(b @ torch.linalg.solve(spread, b)))
    assert found.p_value == pytest.approx(float(chi2.sf(found.statistic, 6)))
    turn = normal(6, 6, purpose="turn")
    turned = _tested(turn @ b, turn @ spread @ turn.T, turn @ own @ turn.T)
    assert turned.statistic == pytest.approx(found.statistic)
    flat = torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, 0.0], dtype=torch.float64))
    unit = torch.eye(6, dtype=torch.float64)
    assert _tested(flat @ b, flat, unit).statistic == pytest.approx(float(b[:4].square().sum()))
    assert _tested(0.5 * unit[5], flat, unit).p_value < 1e-3, "a difference where none can be"
