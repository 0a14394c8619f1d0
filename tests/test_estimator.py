"""moe.estimator: scikit-learn's own tools work on it."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import moe
from moe.exceptions import DoubtfulFitWarning
from moe.metrics import regressor_error_of

TRUTH = moe.random_moe(2, 5, generator=moe.stream("truth", 0))
X, Y = (part.numpy() for part in TRUTH.sample(2000, moe.stream("data", 0)))


def test_fit_recovers_and_predicts_the_conditional_mean() -> None:
    model = moe.MoERegressor(n_experts=2).fit(X, Y)
    assert regressor_error_of(torch.tensor(model.regressors_), TRUTH.regressors) < 1e-3
    mean = TRUTH.mean(X).numpy()
    assert np.mean((model.predict(X) - mean) ** 2) < 0.01 * np.var(Y)
    np.testing.assert_allclose(model.predict_gate(X).sum(1), 1)
    assert model.converged_ and model.n_features_in_ == 5


def test_clone_copies_the_parameters_and_not_the_fit() -> None:
    model = moe.MoERegressor(n_experts=2, sigma=0.1, seed=4).fit(X, Y)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(X)


def test_pipeline_and_grid_search_choose_the_number_of_experts() -> None:
    pipeline = make_pipeline(StandardScaler(), moe.MoERegressor())
    search = GridSearchCV(pipeline, {"moeregressor__n_experts": [1, 2]}, cv=3)
    with pytest.warns(DoubtfulFitWarning, match="not calibrated"):  # one expert for data of two
        search.fit(X, Y)
    assert search.best_params_ == {"moeregressor__n_experts": 2}
    assert search.best_score_ == pytest.approx(search.score(X, Y), abs=0.05)


def test_inputs_with_another_number_of_columns_are_refused() -> None:
    model = moe.MoERegressor().fit(X, Y)
    with pytest.raises(ValueError, match="5 features"):
        model.predict(X[:, :3])
