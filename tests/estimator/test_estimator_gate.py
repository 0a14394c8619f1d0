"""moe.MoERegressor with a classifier as the gate."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import moe
from moe.estimator.fit.classified import FOLDS, cross_fitted
from moe.randomness import numpy_stream

Array = NDArray[np.float64]
TREE = DecisionTreeClassifier(max_leaf_nodes=6, min_samples_leaf=40, random_state=0)


def lines(n: int, seed: int, gate: str) -> tuple[Array, Array]:
    """Columns x and z, y on one of the lines 1 + 2 x and 20 - x, noise 1; the second: in the middle
    third of z ("bent"), the likelier the larger z ("softmax"), or by chance ("constant")."""
    rng = numpy_stream("data", seed)
    x, z = rng.uniform(0, 10, size=n), rng.uniform(-1.5, 1.5, size=n)
    chance = {
        "bent": np.where(np.abs(z) < 0.5, 0.95, 0.05),
        "softmax": 1 / (1 + np.exp(-3 * z)),
        "constant": np.full(n, 0.4),
    }[gate]
    second = rng.random(n) < chance
    y = np.where(second, 20 - x, 1 + 2 * x) + rng.normal(size=n)
    return np.column_stack([x, z]), y


def fitted(X: Any, y: Any, gate: Any, weights: Any = None, **options: Any) -> moe.MoERegressor:
    usual: dict[str, Any] = {"expert_features": [0], "gate_features": [1], "n_init": 4}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", moe.DoubtfulFitWarning)
        return moe.MoERegressor(2, gate=gate, **(usual | options)).fit(X, y, sample_weight=weights)


X, Y = lines(600, 0, "bent")
BENT = fitted(X, Y, TREE)


def test_a_bent_gate_is_learned_and_new_samples_are_likelier_than_under_softmax() -> None:
    gains = []
    for seed in range(2):
        others = lines(800, 100 + seed, "bent")
        data = lines(800, seed, "bent")
        tree, softmax = (fitted(*data, gate) for gate in (TREE, "softmax"))
        gains.append(np.mean(tree.score_samples(*others) - softmax.score_samples(*others)))
        order = np.argsort(tree.intercepts_)
        np.testing.assert_allclose(tree.experts_[order, 0], [2, -1], atol=0.1)
    assert min(gains) > 0.2
    middle = BENT.predict_gate([[5.0, 0.0], [5.0, 1.2]])[:, int(np.argmax(BENT.intercepts_))]
    assert middle[0] > 0.85 and middle[1] < 0.15


def test_any_takes_trees_softmax_or_a_constant_as_the_data_have_it() -> None:
    for gate, name in (("bent", "HistGradientBoosting"), ("softmax", "softmax")):
        model = fitted(*lines(800, 1, gate), "any")
        assert name in model.results_.settings["Gate"]
        assert (model.gate_ is not None) == (gate == "bent")
    free = fitted(*lines(800, 1, "constant"), "any")
    softmax = fitted(*lines(800, 1, "constant"), "softmax")
    assert free.results_.aic <= softmax.results_.aic


def test_the_number_of_experts_is_chosen_under_the_gate_that_is_asked_for() -> None:
    """Softmax gates need one of the two lines twice, on either side of the other."""
    bent, softmax = (
        fitted(X, Y, gate).set_params(n_experts=range(1, 4)) for gate in (TREE, "softmax")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", moe.DoubtfulFitWarning)
        assert softmax.fit(X, Y).n_experts_ == 3
        assert bent.fit(X, Y).n_experts_ == 2
    assert bent.gate_ is not None and bent.held_out_[2] > softmax.held_out_[2] + 0.2
    np.testing.assert_array_equal(bent.experts_, BENT.experts_)


def test_a_linear_classifier_does_what_softmax_does() -> None:
    data = lines(800, 2, "softmax")
    linear, softmax = (fitted(*data, gate) for gate in (LogisticRegression(C=1e6), "softmax"))
    errors = softmax.results_.bse[:4]
    assert np.abs((linear.results_.params[:4] - softmax.results_.params[:4]) / errors).max() < 0.3
    np.testing.assert_allclose(
        linear.predict_gate(data[0]), softmax.predict_gate(data[0]), atol=0.05
    )


def test_a_classifier_that_learns_every_label_by_heart_does_no_harm() -> None:
    """Cross-fitted, the scores of a full tree tell nothing where there is nothing to tell."""
    data, others = lines(600, 3, "constant"), lines(4_000, 103, "constant")
    heart = fitted(*data, DecisionTreeClassifier(random_state=0))
    constant = fitted(*data, "constant")
    assert heart.log_likelihood_ - constant.log_likelihood_ < 8
    loss = np.mean(constant.score_samples(*others) - heart.score_samples(*others))
    assert loss < 0.02


class Spy(LogisticRegression):  # type: ignore[misc]
    """Remembers what it has seen, and looks whether it is asked of that."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        self.seen_ = set(X[:, 0].tolist())
        return super().fit(X, y, sample_weight=sample_weight)

    def predict_proba(self, X: Any) -> Any:
        assert not self.seen_ & set(X[:, 0].tolist())
        return super().predict_proba(X)


def test_no_sample_is_scored_by_a_classifier_that_has_seen_it() -> None:
    x = torch.tensor(X)
    soft = torch.full((len(x), 2), 0.5, dtype=torch.float64)
    gate, scores = cross_fitted(Spy(), x, soft, torch.arange(len(x)) % FOLDS, [0])
    assert scores.shape == (len(x), 1) and len(gate.classifiers) == FOLDS


def test_a_class_that_a_classifier_does_not_know_has_little_weight() -> None:
    class Blind(LogisticRegression):  # type: ignore[misc]
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            return super().fit(X[y > 0], y[y > 0], sample_weight=sample_weight[y > 0])

    soft = torch.full((len(X), 3), 1 / 3, dtype=torch.float64)
    fold = torch.arange(len(X)) % FOLDS
    _, scores = cross_fitted(Blind(), torch.tensor(X), soft, fold, [0, 1])
    assert bool((scores[:, 0] < -5).all()) and bool((scores[:, 1].abs() < 1).all())


def test_answers_belong_together() -> None:
    gate, experts = BENT.predict_gate(X), BENT.predict_experts(X)
    np.testing.assert_allclose(gate.sum(1), 1)
    np.testing.assert_allclose(BENT.predict(X), (gate * experts).sum(1))
    density = np.exp(-0.5 * ((Y[:, None] - experts) / BENT.sigma_) ** 2) * gate
    np.testing.assert_allclose(
        BENT.responsibilities(X, Y), density / density.sum(1, keepdims=True), atol=1e-9
    )
    total = np.log(density.sum(1) / (np.sqrt(2 * np.pi) * BENT.sigma_))
    np.testing.assert_allclose(BENT.score_samples(X, Y), total)
    low, high = BENT.predict_interval(X, 0.1).T
    assert np.mean((low <= Y) & (high >= Y)) == pytest.approx(0.9, abs=0.05)
    draws = np.stack([BENT.sample(X, seed) for seed in range(200)])
    mean, deviation = BENT.predict(X, return_std=True)
    assert np.abs((draws.mean(0) - mean) / deviation).max() < 5 / 200**0.5
    assert "DecisionTreeClassifier" in str(BENT.summary())
    assert BENT.gate_names_ == ["score 0"] and BENT.gates_.shape == (2, 1)
    assert BENT.results_.df_model == 2 * 2 + 2 + 1
    assert (BENT.results_.errors(robust=True) > 0).all()


def test_a_pipeline_that_ends_in_a_classifier_is_a_gate() -> None:
    """Scaling by the sizes of the columns changes nothing for trees; the weights reach the tree."""
    alone = fitted(X, Y, TREE)
    piped = fitted(X, Y, make_pipeline(StandardScaler(), TREE))
    assert piped.log_likelihood_ == pytest.approx(alone.log_likelihood_, abs=0.5)
    with pytest.raises(TypeError, match="gate: expected a classifier whose fit takes sample_w"):
        fitted(X, Y, make_pipeline(StandardScaler(), KNeighborsClassifier()))


def test_clones_pickles_searches_and_formulas_work() -> None:
    copy = pickle.loads(pickle.dumps(BENT))
    np.testing.assert_array_equal(copy.predict(X), BENT.predict(X))
    again = clone(BENT)
    assert again.gate is not BENT.gate and again.gate.max_leaf_nodes == 6
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", moe.DoubtfulFitWarning)
        search = GridSearchCV(again, {"gate__max_leaf_nodes": [2, 6]}, cv=2).fit(X, Y)
        assert search.best_params_ == {"gate__max_leaf_nodes": 6}
        frame = pd.DataFrame({"x": X[:, 0], "z": X[:, 1], "y": Y})
        model = moe.MoERegressor.from_formula("y ~ x | z", frame, gate=TREE, n_init=10)
    np.testing.assert_allclose(model.predict(frame), BENT.predict(X), atol=1e-6)
    assert model.feature_names_in_[list(model.gate_.columns)] == ["z"]  # type: ignore[union-attr]


def test_weights_count_samples_and_their_order_does_not_matter() -> None:
    counts = numpy_stream("weights", 0).integers(0, 3, len(Y))
    weighted = fitted(X, Y, TREE, counts)
    rows = numpy_stream("rows", 0).permutation(np.repeat(np.arange(len(Y)), counts))
    np.testing.assert_array_equal(weighted.experts_, fitted(X[rows], Y[rows], TREE).experts_)


def test_noise_may_differ_sigma_be_known_and_a_start_be_given() -> None:
    each = fitted(X, Y, TREE, noise="each")
    np.testing.assert_allclose(each.sigma_, [1, 1], atol=0.15)
    assert fitted(X, Y, TREE, sigma=1.0).sigma_ == pytest.approx(1.0)
    started = fitted(X, Y, TREE, start=BENT)
    assert started.origin_ == "start"
    np.testing.assert_allclose(started.experts_, BENT.experts_, atol=0.05)
    warm = clone(BENT).set_params(warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", moe.DoubtfulFitWarning)
        warm.fit(X, Y)
        assert warm.origin_ != "start"
        assert warm.fit(X, Y).origin_ == "start"
    one = fitted(X, Y, TREE).set_params(n_experts=1)
    with pytest.warns(moe.DoubtfulFitWarning):
        assert one.fit(X, Y).gate_ is None


def test_three_experts_and_a_forest() -> None:
    rng = numpy_stream("data", 7)
    x, z = rng.uniform(0, 10, size=900), rng.uniform(0, 3, size=900)
    level = np.choose(np.array([0, 2, 1])[z.astype(int)], [x, 20 - x, 30 + x])
    data = np.column_stack([x, z]), level + rng.normal(size=900)
    forest = RandomForestClassifier(10, min_samples_leaf=30, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", moe.DoubtfulFitWarning)
        options: dict[str, Any] = {"expert_features": [0], "gate_features": [1], "n_init": 4}
        model = moe.MoERegressor(3, gate=forest, **options).fit(*data)
    assert model.gates_.shape == (3, 2)
    chosen = model.predict_gate(data[0]).argmax(1)
    assert np.mean(chosen == model.assign(*data)) > 0.9


def test_gates_that_cannot_be_are_refused_by_name() -> None:
    with pytest.raises(
        TypeError, match="gate: expected a classifier whose fit takes sample_weight"
    ):
        moe.MoERegressor(gate=KNeighborsClassifier()).fit(X, Y)
    with pytest.raises(ValueError, match="'gate' parameter"):
        moe.MoERegressor(gate=LinearRegression()).fit(X, Y)
    with pytest.raises(ValueError, match="gate_features: expected a column"):
        moe.MoERegressor(gate=TREE, gate_features=[]).fit(X, Y)


@pytest.mark.parametrize("seed", [7, 14, 17])
def test_constant_proportions_are_fitted_as_well_with_a_rare_expert(seed: int) -> None:
    """No start of the user's own finds a higher likelihood: once a third of such fits had missed
    it, by up to hundreds of nats, since the search held the proportions equal."""
    rng = numpy_stream("data", seed)
    x = rng.normal(size=(500, 1))
    who = rng.choice(3, 500, p=[0.6, 0.3, 0.1])
    lines = 3 * numpy_stream("truth", seed).normal(size=(3, 2))
    y = lines[who, 0] * x[:, 0] + lines[who, 1] + rng.normal(size=500)
    start = {"experts": lines[:, :1], "intercepts": lines[:, 1], "sigma": 1.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", moe.DoubtfulFitWarning)
        found = moe.MoERegressor(3, gate="constant").fit(x, y)
        best = moe.MoERegressor(3, gate="constant", start=start).fit(x, y)
    assert found.results_.llf > best.results_.llf - 0.01
