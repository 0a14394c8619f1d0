"""moe.MoERegressor: scikit-learn's own checks, and its tools work on it."""

import doctest
import logging
import pickle
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_config
from sklearn.base import BaseEstimator, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

import moe
from moe.metrics import regressor_error_of
from moe.randomness import numpy_stream, stream

TRUTH = moe.random_moe(2, 4, generator=moe.stream("truth", 0))
X, Y = (part.numpy() for part in TRUTH.sample(1_200, moe.stream("data", 0)))
FITTED = moe.MoERegressor(n_experts=2).fit(X, Y)


VARIANTS: list[BaseEstimator] = [
    moe.MoERegressor(),
    moe.MoERegressor(
        gate=DecisionTreeClassifier(max_leaf_nodes=2, random_state=0),
        n_init=1,
        l4_starts=1,
        max_iter=10,
    ),
]
"""As it comes, and with a classifier as the gate, which is cheap: the checks ask for no optimum."""


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
@parametrize_with_checks(VARIANTS)  # type: ignore[untyped-decorator]
def test_scikit_learns_checks(estimator: Any, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else the array API is not checked
    check(estimator)


def test_fit_recovers_and_predicts_the_conditional_mean() -> None:
    assert regressor_error_of(torch.tensor(FITTED.experts_), TRUTH.regressors) < 1e-3
    assert np.abs(FITTED.intercepts_).max() < 0.05 and FITTED.sigma_ == pytest.approx(0.1, rel=0.1)
    mean = TRUTH.mean(X).numpy()
    assert np.mean((FITTED.predict(X) - mean) ** 2) < 0.01 * np.var(Y)
    np.testing.assert_allclose(FITTED.predict_gate(X).sum(1), 1)
    assert FITTED.converged_ and FITTED.n_features_in_ == 4 and FITTED.n_iter_ >= 1


def test_without_intercepts_it_is_the_model_of_the_paper() -> None:
    model = moe.MoERegressor(2, fit_intercept=False, random_state=0).fit(X, Y)
    fit = moe.recover(X, Y, 2)
    np.testing.assert_allclose(model.experts_, fit.model.regressors.numpy(), atol=1e-5)
    np.testing.assert_allclose(model.gates_, fit.model.gating.numpy(), atol=1e-4)
    assert model.log_likelihood_ == pytest.approx(fit.log_likelihood, abs=1e-4)
    np.testing.assert_allclose(
        model.results_.bse[:8].reshape(2, 4), fit.standard_errors.regressors.numpy(), rtol=1e-4
    )
    assert not model.intercepts_.any() and not model.gate_intercepts_.any()


def test_clone_copies_the_parameters_and_not_the_fit() -> None:
    model = moe.MoERegressor(n_experts=2, sigma=0.1, random_state=4).fit(X, Y)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(X)


def test_grid_search_over_a_pipeline_chooses_the_number_of_experts() -> None:
    pipeline = make_pipeline(StandardScaler(), moe.MoERegressor())
    search = GridSearchCV(pipeline, {"moeregressor__n_experts": [1, 2]}, cv=3)
    with pytest.warns(moe.DoubtfulFitWarning, match="not calibrated"):  # one expert for two
        search.fit(X, Y)
    assert search.best_params_ == {"moeregressor__n_experts": 2}
    with parallel_config(backend="threading"), pytest.warns(moe.DoubtfulFitWarning):
        twice = GridSearchCV(pipeline, search.param_grid, cv=3, n_jobs=2).fit(X, Y)
    np.testing.assert_array_equal(
        twice.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"]
    )


def test_a_fit_uses_one_thread_and_leaves_the_programs_setting() -> None:
    before, seen = torch.get_num_threads(), set()

    def watched(z: torch.Tensor) -> torch.Tensor:
        if z.ndim == 3:  # starts, experts, samples: not a look at the function alone
            seen.add(torch.get_num_threads())
        return torch.tanh(z)

    torch.set_num_threads(2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", moe.DoubtfulFitWarning)
            moe.MoERegressor(2, nonlinearity=watched, n_init=1, max_iter=3).fit(X[:99], Y[:99])
            moe.recover(X[:99], Y[:99], 2, watched, restarts=1, iterations=3)
        after = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    assert seen == {1} and after == 2


def test_of_one_expert_it_says_that_least_squares_found_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", moe.DoubtfulFitWarning)
        one = moe.MoERegressor(1).fit(X, Y)
    assert one.origin_ == "least squares" and not any("start" in why for why in one.doubts_)
    with pytest.raises(TypeError, match="reference: expected a fitted MoERegressor, got 'a'"):
        one.align("a")  # type: ignore[arg-type]


def test_tools_that_wrap_an_estimator_work() -> None:
    scores = cross_val_score(moe.MoERegressor(), X, Y, cv=3)
    assert scores.shape == (3,) and scores.min() > 0.3
    scaled = TransformedTargetRegressor(moe.MoERegressor(), transformer=StandardScaler())
    np.testing.assert_allclose(scaled.fit(X, Y).predict(X), FITTED.predict(X), atol=1e-6)
    both = MultiOutputRegressor(moe.MoERegressor()).fit(X, np.column_stack([Y, 3 * Y + 1]))
    np.testing.assert_allclose(both.predict(X)[:, 1], 3 * FITTED.predict(X) + 1, atol=1e-5)
    frozen = FrozenEstimator(FITTED).fit(X[:5], Y[:5])
    np.testing.assert_array_equal(frozen.predict(X), FITTED.predict(X))


def test_pickles_do_not_grow_with_the_samples_and_keep_the_standard_errors() -> None:
    small = pickle.dumps(moe.MoERegressor().fit(X[:300], Y[:300]))
    large = pickle.dumps(FITTED)
    assert abs(len(small) - len(large)) < 200
    copy = pickle.loads(large)
    np.testing.assert_array_equal(copy.predict(X), FITTED.predict(X))
    np.testing.assert_array_equal(copy.results_.bse, FITTED.results_.bse)


def test_a_lambda_as_nonlinearity_pickles() -> None:
    model = moe.MoERegressor(2, nonlinearity=lambda z: 1.0 * z).fit(X, Y)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(X), model.predict(X))
    generator = (z for z in [1])
    stuck = moe.MoERegressor(2, nonlinearity=lambda z: generator)  # type: ignore
    with pytest.raises(pickle.PicklingError, match=r"^nonlinearity: expected a function"):
        pickle.dumps(stuck)


def test_warm_start_goes_on_from_the_previous_fit() -> None:
    model = moe.MoERegressor(2, warm_start=True).fit(X, Y)
    before = model.log_likelihood_
    model.fit(X, Y)
    assert model.origin_ == "start" and model.n_iter_ <= 2
    assert model.log_likelihood_ == pytest.approx(before, abs=1e-5)
    three = clone(model.set_params(n_experts=3, n_init=5, max_iter=1))
    with pytest.warns(moe.DoubtfulFitWarning):
        assert model.fit(X, Y).origin_ != "start"
    with pytest.warns(moe.DoubtfulFitWarning):
        assert three.fit(X[:6], Y[:6]).origin_ == "least squares"
    with pytest.warns(moe.DoubtfulFitWarning):
        assert three.fit(X, Y).origin_ != "start"


def test_a_fitted_start_survives_a_clone_and_an_unfitted_one_is_refused() -> None:
    model = clone(moe.MoERegressor(2, start=FITTED))
    assert model.start is FITTED and model.fit(X, Y).origin_ == "start"
    assert np.isfinite(cross_val_score(model, X, Y, cv=2)).all()
    with pytest.raises(NotFittedError, match=r"^start: expected a fitted MoERegressor"):
        moe.MoERegressor(2, start=moe.MoERegressor()).fit(X, Y)
    with pytest.raises(ValueError, match=r"^start: expected .* k = 3 experts, got shape \(2, 4\)"):
        moe.MoERegressor(3, start=FITTED).fit(X, Y)


def test_data_frames_give_names_and_hold_predict_to_them() -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = moe.MoERegressor(2).fit(frame, pd.Series(Y))
    assert list(model.feature_names_in_) == list("abcd") == model.expert_names_
    assert model.results_.param_names[:5] == tuple(
        f"expert 0: {term}" for term in ("a", "b", "c", "d", "intercept")
    )
    np.testing.assert_array_equal(model.predict(frame), FITTED.predict(X))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a", "c", "d"]])
    with pytest.raises(ValueError, match="4 features"):
        FITTED.predict(X[:, :3])


def test_the_warning_of_doubt_has_its_category_and_points_at_the_callers_line() -> None:
    with pytest.warns(moe.DoubtfulFitWarning, match="one regression") as caught:
        moe.MoERegressor(2).fit(X[:, :1], X[:, 0] + 0.1 * Y)
    assert issubclass(caught[0].category, ConvergenceWarning)
    assert {warning.filename for warning in caught} == {__file__} and len(caught) == 1


@pytest.mark.parametrize("seed", [numpy_stream("seeds", 3), stream("seeds", 3), None, 2**40])
def test_every_kind_of_random_state_is_taken(seed: Any) -> None:
    model = moe.MoERegressor(2, random_state=seed).fit(X, Y)
    np.testing.assert_allclose(model.experts_, FITTED.experts_, atol=1e-4)


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no experts": ({"n_experts": 0}, ValueError, "'n_experts' parameter"),
    "experts as text": ({"n_experts": "many"}, ValueError, "'n_experts' parameter"),
    "fractions of experts": ({"n_experts": [1, 2.5]}, ValueError, "^n_experts: expected whole"),
    "gate": ({"gate": "hard"}, ValueError, "'gate' parameter"),
    "noise": ({"noise": "none"}, ValueError, "'noise' parameter"),
    "sigma": ({"sigma": -1.0}, ValueError, "'sigma' parameter"),
    "two sigmas": ({"sigma": 1.0, "noise": "each"}, ValueError, "^sigma: expected None"),
    "max_iter": ({"max_iter": 1.5}, ValueError, "'max_iter' parameter"),
    "n_init": ({"n_init": "8"}, ValueError, "'n_init' parameter"),
    "random_state": ({"random_state": "a"}, ValueError, "'random_state' parameter"),
    "mu": ({"mu": 0}, ValueError, "'mu' parameter"),
    "nonlinearity": ({"nonlinearity": "cubic"}, ValueError, "nonlinearity"),
    "a column too far": ({"gate_features": [4]}, ValueError, "^gate_features: expected places"),
    "a column twice": ({"expert_features": [1, 1]}, ValueError, "^expert_features: expected col"),
    "a column unknown": ({"gate_features": ["z"]}, ValueError, "^gate_features: expected names"),
    "no column for the experts": (
        {"expert_features": [], "fit_intercept": False},
        ValueError,
        "^expert_features: expected a",
    ),
    "no column for the gate": (
        {"gate_features": [], "fit_intercept": False},
        ValueError,
        "^gate_features: expected a col",
    ),
    "a class as gate": ({"gate": DecisionTreeClassifier}, TypeError, "^gate: .* got the class"),
    "tol": ({"tol": -1.0}, ValueError, "'tol' parameter"),
    "a start of another size": ({"start": np.ones((3, 4))}, ValueError, "^start: expected finite"),
    "a start of other words": ({"start": {"a": 1}}, ValueError, "^start: expected keys"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_parameters_are_refused_by_name(case: str) -> None:
    parameters, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        moe.MoERegressor(**parameters).fit(X, Y)


def test_an_even_nonlinearity_and_weights_outside_the_theory_are_warned_of() -> None:
    with pytest.warns(moe.SignsLostWarning), pytest.warns(moe.DoubtfulFitWarning):
        moe.MoERegressor(2, nonlinearity=torch.square, max_iter=1).fit(X[:200], Y[:200])
    with pytest.warns(moe.OutsideTheoryWarning, match="mu"):
        moe.MoERegressor(2, mu=1.5).fit(X, Y)


def test_a_choice_of_k_from_one_sample_is_refused_and_from_equal_ones_is_one() -> None:
    one = np.eye(len(Y))[0]
    with pytest.raises(ValueError, match=r"^n_experts: expected a number"):
        moe.MoERegressor("auto").fit(X, Y, sample_weight=one)
    with pytest.warns(moe.DoubtfulFitWarning):
        same = moe.MoERegressor("auto").fit(np.ones((10, 2)), np.ones(10))
    assert same.n_experts_ == 1 and same.predict([[1.0, 1.0]]) == pytest.approx(1.0)


def test_masked_samples_are_refused_by_name() -> None:
    masked = np.ma.masked_array(X, np.arange(X.size).reshape(X.shape) < 3)
    with pytest.raises(ValueError, match=r"^X: expected no masked entries, got 3"):
        moe.MoERegressor().fit(masked, Y)


def test_progress_is_one_bar_or_lines_of_the_log(
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moe.MoERegressor(2, verbose=1).fit(X, Y)
    assert "stage" in capsys.readouterr().err and not caplog.messages
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    moe.MoERegressor(2, verbose=1).fit(X, Y)
    assert all(line.startswith("recover: ") for line in caplog.messages)
    assert "likelihood" in caplog.messages[-1]
    caplog.clear()
    moe.MoERegressor(2).fit(X, Y)
    assert not capsys.readouterr().err and not caplog.messages


def test_progress_without_tqdm_and_logging_is_heard_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    monkeypatch.setattr(logging.getLogger("moe"), "propagate", False)  # pytest listens at the root
    moe.MoERegressor(2, verbose=1).fit(X, Y)
    assert "recover: " in capsys.readouterr().err
    moe.MoERegressor(2).fit(X, Y)
    assert not capsys.readouterr().err, "and no longer"


def test_the_examples_of_the_docstring_and_of_the_readme_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (example,) = doctest.DocTestFinder(recurse=False).find(moe.MoERegressor, "MoERegressor")
    assert doctest.DocTestRunner().run(example) == (0, len(example.examples))
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    block = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(block, names)
    assert "expert 1, share" in capsys.readouterr().out
    assert names["model"].converged_ and names["deviation"].shape == (500,)
