"""Experts under any gate: the theorems by name, EM on cells, and recover(..., gate="any")."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from helpers import normal
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor

import moe
from moe.exceptions import DoubtfulFitWarning
from moe.experiments.any_gate import moments, saddles, scores
from moe.experiments.any_gate.gates import KINDS, GatedExperts, gated_experts
from moe.likelihood.cells import _Terms, cell_covariance
from moe.likelihood.efficiency import standard_errors
from moe.likelihood.information import information
from moe.metrics import match, regressor_error_of
from moe.model.nonlinearity import as_nonlinearity
from moe.moments.estimate import score_moment
from moe.moments.transforms import output_transform
from moe.randomness import stream
from moe.recovery.any_gate import constant
from moe.recovery.any_gate.classified_gate import fold_cells
from moe.recovery.starts import Problem, Starts, fourth_moments
from moe.solvers.em.cells import CellFit, _Cells, _Point, cell_em, log_joint


def data(
    kind: str, n: int, sigma: float = 0.5, g: str = "linear", **options: int
) -> tuple[GatedExperts, Tensor, Tensor]:
    truth = gated_experts(kind, options.get("k", 2), options.get("d", 5), sigma, 3, g)
    return truth, *truth.sample(n, stream("data", 3))


def without_gate() -> GatedExperts:
    """Two experts that are asked equally often, whatever the input."""
    truth = gated_experts("softmax", 2, 5, 0.5, 3)
    return replace(truth, gate=lambda v: torch.full((len(v), 2), 0.5, dtype=v.dtype))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("g", ["linear", "relu", "tanh"])
def test_any_gate_of_the_orthogonal_complement_leaves_the_moments_alone(kind: str, g: str) -> None:
    for found in moments.run(moments.Spec(nonlinearity=g, points=4), (kind,)):
        assert found.transformed < 1e-10 * max(1.0, found.size)
        assert found.plain > 1e-3 or (found.degree == 2 and g in ("linear", "tanh"))


@pytest.mark.parametrize("kind", ["quadrants", "network", "top-1"])
def test_the_moments_of_samples_are_those_of_the_theorem(kind: str) -> None:
    truth, x, y = data(kind, 80_000)
    weights = truth.weights(x).mean(0)
    for degree in (2, 3):
        parts = [
            score_moment(xs, ys, output_transform("linear", truth.sigma, degree), "average").tensor
            for xs, ys in zip(x.split(2_000), y.split(2_000), strict=True)
        ]
        every = torch.stack(parts)
        letters = "abc"[:degree]
        powers = torch.einsum(
            f"i,{','.join('i' + c for c in letters)}->{letters}",
            weights,
            *[truth.regressors] * degree,
        )
        score = (every.mean(0) - powers) / (every.std(0) / len(parts) ** 0.5)
        assert float(score.abs().max()) < 5


def test_a_gate_that_looks_into_the_span_breaks_the_theorem() -> None:
    difference, error = moments.looking_inside(20_000, 0)
    assert difference > 10 * error


@pytest.mark.parametrize("g", ["linear", "tanh", "relu"])
def test_a_calibrated_gate_is_enough(g: str) -> None:
    for found in scores.run(scores.Spec(nonlinearity=g, places=128), ("quadrants", "network")):
        right = found.fitted != scores.SHARPENED
        assert (max(found.inside, found.level) < 1e-5) == right
        if g != "relu":
            assert found.outside < 1e-12


def test_em_on_cells_rises_and_ends_where_its_score_vanishes() -> None:
    for name in ("linear", "tanh", "relu"):
        g = as_nonlinearity(name)
        truth = gated_experts("stripes", 2, 5, 0.5, 3, name)
        x, y = truth.sample(4_000, stream("data", 4))
        cells = (x @ truth.complement[:, 0] > 0).long()
        start = (truth.regressors, 0.8, torch.full((2,), 0.5).double())
        values = [
            cell_em(x, y, *start, g, cells, iterations=count, tolerance=0.0).log_likelihood
            for count in (2, 5, 20)
        ]
        assert values == sorted(values)
        end = cell_em(x, y, *start, g, cells, tolerance=1e-9, iterations=4_000)
        assert end.converged
        direct = torch.logsumexp(log_joint(end, x, y, cells, g), 1).sum()
        assert math.isclose(end.log_likelihood, float(direct), rel_tol=1e-12)
        own, shares = _terms(x, y, cells, end, name).scores()
        assert float(own.sum(0).abs().max()) < 0.3  # of sums over 4,000 samples
        for cell in (0, 1):
            assert float(shares[cells == cell].sum(0).abs().max()) < 0.3


@pytest.mark.parametrize("count", [1, 3])
def test_one_pass_over_cells_gives_the_sums_of_its_definition(count: int) -> None:
    """More samples than a chunk holds, and one cell or more."""
    truth, x, y = data("stripes", 20_000)
    cells = torch.arange(len(x)) % count
    q = torch.softmax(normal(count, 2, purpose="shares"), 1)
    at = CellFit(truth.regressors, 0.8, q, 0.0, 0, True)
    logs = log_joint(at, x, y, cells, truth.nonlinearity)
    r = torch.softmax(logs, 1)
    seen = _Cells(x, y, cells, truth.nonlinearity).look(_Point(at.regressors, 0.8, q))
    assert math.isclose(seen.value, float(torch.logsumexp(logs, 1).sum()), rel_tol=1e-12)
    shares = torch.stack([r[cells == cell].mean(0) for cell in range(count)])
    torch.testing.assert_close(seen.proportions, shares, rtol=1e-5, atol=0.0)
    for i, step in enumerate(seen.step):
        root = r[:, i].sqrt()
        exact = torch.linalg.lstsq(root[:, None] * x, (root * y)[:, None], driver="gelsd").solution[
            :, 0
        ]
        torch.testing.assert_close(at.regressors[i] + step, exact, rtol=1e-6, atol=1e-8)


def _terms(x: Tensor, y: Tensor, cells: Tensor, at: CellFit, name: str) -> _Terms:
    return _Terms(x, y, cells, at.regressors, at.sigma, at.proportions, as_nonlinearity(name))


@pytest.mark.parametrize("name", ["linear", "tanh"])
def test_the_terms_of_the_sandwich_against_automatic_differentiation(name: str) -> None:
    n, d, k, groups = 60, 3, 3, 2
    g = as_nonlinearity(name)
    x, y, rows = normal(n, d), normal(n, purpose="errors"), normal(k, d, purpose="rows")
    q = torch.softmax(normal(groups, k, purpose="shares"), 1)
    cells = torch.arange(n) % groups
    size = k * d + 1

    def value(theta: Tensor) -> Tensor:
        logs = torch.log_softmax(theta[size:].view(groups, k), 1)
        residual = (y[:, None] - g(x @ theta[: k * d].view(k, d).T)) / theta[size - 1].exp()
        joint = logs[cells] - 0.5 * residual.square() - theta[size - 1]
        return torch.logsumexp(joint, 1).sum()

    level = torch.tensor([0.3], dtype=torch.float64)
    theta = torch.cat([rows.flatten(), level, q.log().flatten()])
    hessian = -torch.autograd.functional.hessian(value, theta)
    gradient = torch.autograd.functional.jacobian(value, theta)
    terms = _Terms(x, y, cells, rows, math.exp(0.3), q, g)
    torch.testing.assert_close(terms.hessian(), hessian[:size, :size])
    torch.testing.assert_close(terms.scores()[0].sum(0), gradient[:size])
    for cell in range(groups):
        own = slice(size + cell * k, size + (cell + 1) * k)
        mixed = terms.cross()[cells == cell].sum(0).view(size, k)
        torch.testing.assert_close(mixed, hessian[:size, own])
        inner = terms.inner()[cells == cell].sum(0).view(k, k)
        torch.testing.assert_close(inner, hessian[own, own])


def test_the_sandwich_is_the_inverse_information_where_the_model_is_true() -> None:
    flat = without_gate()
    x, y = flat.sample(40_000, stream("data", 5))
    fit = cell_em(x, y, flat.regressors, 0.5, torch.full((2,), 0.5).double(), flat.nonlinearity)
    cells = torch.zeros(len(x), dtype=torch.long)
    at = (fit.regressors, fit.sigma, fit.proportions, cells, flat.nonlinearity)
    robust, plain = cell_covariance(x, y, *at)
    assert float((robust.diagonal() / plain.diagonal() - 1).abs().max()) < 0.1


def test_robust_standard_errors_are_the_sandwich_of_hessian_and_scores() -> None:
    truth = moe.random_moe(2, 4, sigma=0.5, generator=stream("truth", 1))
    x, y = truth.sample(3_000, stream("data", 1))
    model = moe.recover(x, y, 2).model
    inverse = torch.linalg.inv(information(model, x, y)[2])
    outer = information(model, x, y, "outer")[2]
    robust = standard_errors(model, x, y, robust=True)
    torch.testing.assert_close(robust.covariance, inverse @ outer @ inverse)


def test_cells_of_a_fold_do_not_depend_on_its_own_labels() -> None:
    x = data("stripes", 4_000)[1]
    labels = torch.softmax(normal(4_000, 2), 1)
    other = labels.clone()
    other[::2] = labels.roll(2, 0)[::2]  # the samples of fold 0
    tree = DecisionTreeClassifier(max_leaf_nodes=16, random_state=0)
    first, second = (fold_cells(tree, x[:, :2], r, 0)[0] for r in (labels, other))
    assert torch.equal(first[::2], second[::2])
    assert not torch.equal(first[1::2], second[1::2])


def test_the_best_of_several_classifiers_wins_whatever_their_order_and_names() -> None:
    _, x, y = data("stripes", 6_000, k=2, d=5)
    trees = [DecisionTreeClassifier(max_leaf_nodes=m, random_state=0) for m in (30, 3)]
    fits = [moe.recover(x, y, 2, gate="any", classifiers=order) for order in (trees, trees[::-1])]
    for fit in fits:
        assert set(fit.gains) == {"DecisionTreeClassifier", "DecisionTreeClassifier 2"}
    assert fits[0].log_likelihood == pytest.approx(fits[1].log_likelihood, rel=0.01)
    assert fits[0].gains["DecisionTreeClassifier"] > fits[0].gains["DecisionTreeClassifier 2"]


def test_nonlinear_experts_stay_in_the_span_of_the_moments() -> None:
    for left in saddles.run(saddles.Spec(n=20_000, mixtures=2), workers=1):
        assert left.free > 0.1 > 3 * left.in_span
    truth, x, y = data("quadrants", 60_000, k=2, d=5, g="tanh")
    fit = moe.recover(x, y, 2, "tanh", gate="any", classifiers=())
    span = torch.linalg.qr(fit.moments.T).Q
    torch.testing.assert_close(fit.regressors @ span @ span.T, fit.regressors, rtol=0, atol=1e-8)
    assert regressor_error_of(fit.regressors, truth.regressors) < 0.1


def test_few_samples_and_none_of_noise_are_told() -> None:
    _, x, y = data("shells", 200, k=2, d=5)
    with pytest.warns(moe.DoubtfulFitWarning, match="fewer than 100 samples a weight"):
        moe.recover(x, y, 2, gate="any", classifiers=())
    truth, x, _ = data("shells", 20_000, k=2, d=5)
    expert = (truth.weights(x)[:, 0] > 0.5).long()
    exact = (x @ truth.regressors.T).gather(1, expert[:, None])[:, 0]
    fit = moe.recover(x, exact, 2, gate="any", classifiers=())
    assert not any("looks into the span" in doubt for doubt in fit.doubts)


def test_recover_with_any_gate_finds_experts_sigma_and_proportions() -> None:
    truth, x, y = data("shells", 40_000, k=3, d=6)
    fit = moe.recover(x, y, 3, gate="any", classifiers=())
    assert fit.gating is None and fit.gate is None and fit.converged, fit.reason
    assert regressor_error_of(fit.regressors, truth.regressors) < 1e-3
    assert abs(fit.sigma - truth.sigma) < 0.01
    order = match(fit.regressors, truth.regressors)
    assert float((fit.proportions[order] - truth.weights(x).mean(0)).abs().max()) < 0.05
    z = (fit.regressors[order] - truth.regressors) / fit.standard_errors[order]
    assert 0.4 < float(z.square().mean()) < 2.2


def test_a_classifier_as_the_gate_helps_where_it_sees_the_gate() -> None:
    truth, x, y = data("stripes", 10_000)
    tree = DecisionTreeClassifier(max_leaf_nodes=30, random_state=0)
    fit = moe.recover(x, y, 2, gate="any", classifiers=[tree])
    assert fit.gate is not None and fit.gains["DecisionTreeClassifier"] > 100
    order = match(fit.regressors, truth.regressors)
    near = (fit.weights(x)[:, order] - truth.weights(x)).abs().mean()
    flat = (fit.proportions[order] - truth.weights(x)).abs().mean()
    assert float(near) < 0.6 * float(flat)
    torch.testing.assert_close(fit.weights(x).sum(1), torch.ones(len(x), dtype=x.dtype))


def test_a_classifier_that_sees_nothing_is_not_kept() -> None:
    flat = without_gate()
    x, y = flat.sample(6_000, stream("data", 6))
    tree = DecisionTreeClassifier(max_leaf_nodes=30, random_state=0)
    fit = moe.recover(x, y, 2, gate="any", classifiers=[tree])
    assert fit.gate is None and fit.gains["DecisionTreeClassifier"] < 0


def test_where_the_gate_is_softmax_the_fit_is_that_of_softmax_recover() -> None:
    _, x, y = data("softmax", 10_000, k=3, d=6)
    fit = moe.recover(x, y, 3, gate="any", classifiers=("softmax", LogisticRegression()))
    own = moe.recover(x, y, 3)
    assert fit.chosen == "softmax" == max(fit.gains, key=lambda name: fit.gains[name])
    assert fit.hausman is not None and fit.hausman.p_value > 0.05 and fit.hausman.degrees == 18
    assert fit.gating is not None and fit.gate is not None
    near = partial(torch.testing.assert_close, rtol=0, atol=1e-3)  # EM's tolerance; errors are 0.02
    near(fit.regressors, own.model.regressors)
    near(fit.gating, own.model.gating)
    near(fit.weights(x), own.model.gate(x))
    assert fit.sigma == pytest.approx(own.model.sigma, rel=1e-4)
    assert fit.log_likelihood == pytest.approx(own.log_likelihood, abs=1e-3)
    share = own.model.responsibilities(x, y).mean(0)
    near(fit.proportions, share)
    robust = standard_errors(own.model, x, y, robust=True).regressors
    torch.testing.assert_close(fit.standard_errors, robust, rtol=0.02, atol=0)
    constant = moe.recover(x, y, 3, gate="any", classifiers=())
    gain = fit.log_likelihood - constant.log_likelihood - 2 * 5
    assert fit.gains["softmax"] == pytest.approx(gain, abs=1e-3)


@pytest.mark.parametrize("kind", ["quadrants", "shells"])
def test_where_softmax_is_not_taken_nothing_changes(kind: str) -> None:
    _, x, y = data(kind, 10_000, sigma=1.0, k=3)
    tree = DecisionTreeClassifier(max_leaf_nodes=16, random_state=0)
    fits = [moe.recover(x, y, 3, gate="any", classifiers=c) for c in ((tree,), ("softmax", tree))]
    assert fits[0].hausman is None and fits[1].hausman is not None
    assert fits[1].chosen == fits[0].chosen != "softmax"
    assert fits[0].gains == {name: v for name, v in fits[1].gains.items() if name != "softmax"}
    for name in ("regressors", "proportions", "covariance", "moments"):
        assert torch.equal(*(getattr(fit, name) for fit in fits))
    assert fits[0].sigma == fits[1].sigma and torch.equal(*(fit.weights(x) for fit in fits))


def test_a_softmax_that_gains_most_is_not_taken_where_it_finds_other_experts() -> None:
    _, x, y = data("offsets", 60_000, sigma=1.0)
    fit = moe.recover(x, y, 2, gate="any", classifiers=("softmax",))
    assert fit.gains["softmax"] > 0 and fit.chosen is None and fit.gate is None
    assert fit.hausman is not None and fit.hausman.p_value < 1e-3


@pytest.mark.parametrize("seed", range(6))
def test_outputs_without_noise_are_fitted_whether_or_not_a_test_is_possible(seed: int) -> None:
    rows, x = normal(2, 5, seed=seed), normal(300, 5, seed=seed, purpose="data")
    outside = torch.linalg.svd(rows).Vh[2:]
    first = torch.rand(300, generator=stream("gate", seed)) < torch.sigmoid((x @ outside.T).sum(1))
    y = torch.where(first, x @ rows[0], x @ rows[1])
    with pytest.warns(DoubtfulFitWarning):
        fit = moe.recover(x, y, 2, gate="any")
    assert fit.hausman is None or 0 <= fit.hausman.p_value <= 1
    assert regressor_error_of(fit.regressors, rows) < 1e-6
    assert bool(fit.standard_errors.isnan().all())


def test_a_steep_softmax_gate_is_hardly_ever_refused() -> None:
    """At the level 0.05 more than four of twenty are refused once in 400 such tests."""
    p_values = []
    for seed in range(20):
        rows, w = normal(2, 4, seed=seed), 4 * normal(2, purpose="gate", seed=seed)
        rows = rows / rows.norm(dim=1, keepdim=True)
        x = normal(3_000, 4, seed=seed, purpose="data")
        odds = x @ torch.linalg.svd(rows).Vh[2:].T @ w
        first = torch.rand(3_000, generator=stream("gate", seed)) < torch.sigmoid(odds)
        noise = 0.5 * normal(3_000, purpose="noise", seed=seed)
        y = torch.where(first, x @ rows[0], x @ rows[1]) + noise
        fit = moe.recover(x, y, 2, gate="any", classifiers=("softmax", LogisticRegression()))
        assert fit.hausman is not None
        p_values.append(fit.hausman.p_value)
    assert sum(p < 0.05 for p in p_values) <= 4


def test_one_classifier_by_name_is_a_list_of_one() -> None:
    x, y = gated_experts("softmax", 2, 4, 0.3, 1).sample(2_000, stream("data", 1))
    one, listed = (
        moe.recover(x, y, 2, gate="any", classifiers=c) for c in ("softmax", ["softmax"])
    )
    assert torch.equal(one.regressors, listed.regressors)


def test_softmax_is_not_tried_for_nonlinear_experts_nor_where_a_gate_has_nothing_to_see() -> None:
    _, x, y = data("softmax", 6_000, g="tanh")
    assert "softmax" not in moe.recover(x, y, 2, "tanh", gate="any", classifiers=("softmax",)).gains
    x, second = x[:, :2], normal(6_000, purpose="experts") > 0
    y = torch.where(second, x[:, 0], x[:, 1]) + 0.3 * normal(6_000, purpose="noise")
    fit = moe.recover(x, y, 2, gate="any", classifiers=("softmax",))
    assert fit.gains == {} and fit.hausman is None


def test_units_of_the_outputs_and_linear_maps_of_the_inputs_do_not_matter() -> None:
    _, x, y = data("quadrants", 5_000)
    turn = normal(5, 5, purpose="turn") + 3 * torch.eye(5)
    plain = moe.recover(x, y, 2, gate="any", classifiers=())
    other = moe.recover(x @ turn, 7 * y, 2, gate="any", classifiers=())
    torch.testing.assert_close(
        other.regressors, 7 * torch.linalg.solve(turn, plain.regressors.T).T, rtol=1e-3, atol=1e-4
    )
    assert math.isclose(other.sigma, 7 * plain.sigma, rel_tol=1e-3)


def test_nor_do_they_for_a_softmax_gate() -> None:
    _, x, y = data("softmax", 5_000)
    turn = normal(5, 5, purpose="turn") + 3 * torch.eye(5)
    plain, other = (
        moe.recover(inputs, outputs, 2, gate="any", classifiers=("softmax",))
        for inputs, outputs in ((x, y), (x @ turn, 7 * y))
    )
    assert plain.chosen == other.chosen == "softmax"
    assert plain.gating is not None and other.gating is not None
    back = torch.linalg.solve(turn, plain.gating.T).T
    torch.testing.assert_close(other.gating, back, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(other.weights(x @ turn), plain.weights(x), rtol=1e-3, atol=1e-4)
    assert plain.hausman is not None and other.hausman is not None
    assert other.hausman.statistic == pytest.approx(plain.hausman.statistic, rel=1e-2)


def test_a_gate_that_looks_into_the_span_is_doubted() -> None:
    truth = gated_experts("softmax", 2, 5, 0.5, 3)
    x = normal(20_000, 5, purpose="inputs")
    z = x @ truth.regressors.T
    y = torch.where(z[:, 0].abs() > 1, z[:, 0], z[:, 1]) + 0.3 * normal(20_000, purpose="noise")
    with pytest.warns(UserWarning, match="looks into the span"):
        fit = moe.recover(x, y, 2, gate="any", classifiers=())
    assert not fit.converged


def test_bad_arguments_are_named() -> None:
    _, x, y = data("softmax", 500)
    with pytest.raises(ValueError, match="gate: expected"):
        moe.recover(x, y, 2, gate="tree")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="classifiers: expected None"):
        moe.recover(x, y, 2, classifiers=())  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="fit\\(X, y, sample_weight\\)"):
        moe.recover(x, y, 2, gate="any", classifiers=[object()])
    with pytest.raises(ValueError, match="kind: expected"):
        gated_experts("oracle", 2, 5, 0.1, 0)


def test_an_expert_that_holds_on_to_an_outlier_is_doubted() -> None:
    _, x, y = data("softmax", 2_000)
    y = y.clone()
    y[0] = 1e6
    with pytest.warns(DoubtfulFitWarning, match="has collapsed: it answers for 1"):
        fit = moe.recover(x, y, 2, seed=0, gate="any")
    assert not fit.converged and float(fit.proportions.min()) < 1e-3


def test_gains_count_parameters_whether_or_not_sigma_is_given() -> None:
    """Softmax has (k - 1) (d - 1) more than constant proportions, which learn sigma in any case."""
    truth, x, y = data("softmax", 3_000)
    k, d = truth.regressors.shape
    for sigma in (None, truth.sigma):
        fit = moe.recover(x, y, k, sigma=sigma, gate="any", classifiers="softmax")
        plain = moe.recover(x, y, k, sigma=sigma, gate="any", classifiers=())
        assert fit.chosen == "softmax"
        more = (k - 1) * (d - 1) - (sigma is not None)
        gain = fit.log_likelihood - plain.log_likelihood - more
        assert fit.gains["softmax"] == pytest.approx(gain, abs=1e-6)


def test_a_wrong_end_of_one_way_gives_way_to_a_likelier_one_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """EM begins with one expert zero and two at the truths' mean in the place of L_4's start, and
    nothing is said against where it ends."""
    truth, x, y = data("quadrants", 20_000, 0.2, k=3, d=6)

    def astray(full: Problem, *rest: Any) -> Starts:
        begun = fourth_moments(full, *rest)
        middle = truth.regressors.mean(0)
        rows = torch.stack([torch.zeros_like(middle), middle, middle])
        return replace(begun, regressors=rows[None], sigma=begun.sigma[:1])

    monkeypatch.setattr(constant, "fourth_moments", astray)
    monkeypatch.setattr(constant, "uncalibrated", lambda *_: [])
    fit = moe.recover(x, y, 3, gate="any", classifiers=())
    assert fit.origin == "T3" and regressor_error_of(fit.regressors, truth.regressors) < 0.01
