"""moe.MoERegressor: a fit that means little says so, and none raises."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone

import moe
from moe.estimator.fit.doubts import degenerate
from moe.estimator.fit.task import fair_rows
from moe.randomness import numpy_stream

Array = NDArray[np.float64]
RNG = numpy_stream("data", 3)
X = RNG.normal(size=(400, 2))
FIRST = RNG.random(400) < 0.5
NOISE = 0.2 * RNG.normal(size=400)
Y = np.where(FIRST, 1 + X[:, 0], -2 + 3 * X[:, 1]) + NOISE


def told(x: Any, y: Any, **options: Any) -> moe.MoERegressor:
    """A fit that warns, and does not raise."""
    with pytest.warns(moe.DoubtfulFitWarning):
        return moe.MoERegressor(**{"n_experts": 2, **options}).fit(x, y)


def with_one(x: Array, place: Any, value: float) -> Array:
    x = x.copy()
    x[place] = value
    return x


def test_a_sound_fit_says_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = moe.MoERegressor(2).fit(X, Y)
    assert model.converged_ and not model.doubts_


@pytest.mark.parametrize("n", [20, 300])
def test_two_experts_for_one_regression_are_doubted(n: int) -> None:
    believed = 0
    for seed in range(10):
        rng = numpy_stream("data", seed)
        x = rng.normal(size=(n, 1))
        model = told(x, 1 + 2 * x[:, 0] + 0.3 * rng.normal(size=n), n_init=8)
        assert n < 300 or any("one regression describes" in doubt for doubt in model.doubts_)
        believed += model.converged_
    assert believed == 0


@pytest.mark.parametrize("noise", ["shared", "each"])
def test_one_expert_too_many_is_doubted_and_one_that_is_needed_is_not(noise: str) -> None:
    for seed in range(6):
        rng = numpy_stream("data", seed)
        x = rng.normal(size=(500, 1))
        first = rng.random(500) < 0.5
        y = np.where(first, 1 + 2 * x[:, 0], -1 - x[:, 0]) + 0.3 * rng.normal(size=500)
        surplus = told(x, y, n_experts=3, n_init=20, noise=noise)
        assert any("2 experts describe the data better" in doubt for doubt in surplus.doubts_)
        y = np.where(rng.random(500) < 0.2, 4 * x[:, 0], y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", moe.DoubtfulFitWarning)
            needed = moe.MoERegressor(3, n_init=20, noise=noise).fit(x, y)
        assert not any("experts describe the data better" in doubt for doubt in needed.doubts_)


def test_a_number_of_experts_that_held_out_samples_chose_is_not_weighed_again() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", moe.DoubtfulFitWarning)
        chosen, given = (moe.MoERegressor(k, n_init=8).fit(X, Y) for k in ([3, 4], 3))
    assert chosen.n_experts_ == 3
    assert any("2 experts describe the data better" in doubt for doubt in given.doubts_)
    assert not any("by BIC" in doubt for doubt in chosen.doubts_)


def test_true_is_no_number_of_experts() -> None:
    with pytest.raises(ValueError, match=r"n_experts: expected .* got True"):
        moe.MoERegressor(True).fit(X, Y)


def test_few_samples_are_doubted_and_fewer_than_parameters_are_one_regression() -> None:
    model = told(X[:25], Y[:25])
    assert any("25 samples for 10 parameters" in doubt for doubt in model.doubts_)
    few = told(X[:9], Y[:9])
    assert any("9 distinct samples for 10 parameters" in doubt for doubt in few.doubts_)
    one = told(X[:9], Y[:9], n_experts=1)
    np.testing.assert_allclose(few.predict(X), one.predict(X), atol=1e-6)
    np.testing.assert_array_equal(few.experts_[0], few.experts_[1])
    with pytest.raises(ValueError, match="no maximum"):
        _ = few.results_.bse
    assert "No standard errors" in str(few.summary())


DEGENERATE: dict[str, tuple[Array, Array, str]] = {
    "one output of 1e150": (X, with_one(Y, 7, 1e150), "has collapsed"),
    "one input of 1e150": (with_one(X, (7, 0), 1e150), Y, "column x0: one sample holds"),
    "one row of 1e150": (with_one(X, 7, 1e150), with_one(Y, 7, 1e150), "column x1: one sample"),
    "five times the same": (np.repeat(X, 5, 0), np.repeat(Y, 5), "every row comes 5 times"),
    "separated gates": (
        X,
        np.where(X[:, 0] > 0, 5 + X[:, 1], -5 - X[:, 1]) + NOISE,
        "the gates separate the samples",
    ),
    "dummies that add to one": (
        np.column_stack([X, np.eye(3)[RNG.integers(0, 3, 400)]]),
        Y,
        "rank 4 of 5",
    ),
    "a constant column": (np.column_stack([X, np.ones(400)]), Y, "rank 2 of 3"),
    "constant outputs": (X, np.full(400, 3.0), "the outputs do not vary"),
    "another model": (X, X[:, 0] ** 2 + NOISE, "not calibrated"),
}


def _unlike(level: float) -> tuple[Array, Array]:
    rng = numpy_stream("data", 11)
    x = rng.normal(size=(200, 1))
    first, second = 3 * x[:, 0] + level * rng.normal(size=200), x[:, 0] + rng.normal(size=200)
    return x, np.where(rng.random(200) < 0.5, first, second)


@pytest.mark.parametrize("gate", ["softmax", "constant"])
def test_an_expert_without_noise_of_its_own_is_doubted_and_one_with_little_is_not(
    gate: str,
) -> None:
    for level in (1e-2, 1e-4):
        model = moe.MoERegressor(2, gate=gate, noise="each").fit(*_unlike(level))
        assert np.min(model.sigma_) == pytest.approx(level, rel=0.3) and model.doubts_ == ()
    x, y = _unlike(1.0)
    atoms = np.where(numpy_stream("data", 12).random(200) < 0.5, 0.0, y)
    for outputs in (_unlike(1e-7)[1], atoms):
        model = told(x, outputs, gate=gate, noise="each")
        assert not model.converged_
        assert any("fits its samples exactly" in doubt for doubt in model.doubts_)


@pytest.mark.parametrize("case", DEGENERATE)
def test_a_degenerate_fit_says_what_is_wrong(case: str) -> None:
    x, y, doubt = DEGENERATE[case]
    model = told(x, y)
    assert any(doubt in said for said in model.doubts_), model.doubts_
    assert np.isfinite(model.predict(x)).all()
    assert doubt in str(model.summary())


def test_dependent_columns_change_no_prediction_and_are_no_reason_to_distrust_them() -> None:
    x, y, _ = DEGENERATE["dummies that add to one"]
    model, reduced = told(x, y), moe.MoERegressor(2).fit(x[:, :4], y)
    assert model.converged_
    np.testing.assert_allclose(model.predict(x), reduced.predict(x[:, :4]), atol=1e-5)
    assert np.isfinite(model.results_.bse).all()


def test_copies_of_rows_are_the_fit_of_the_rows_with_smaller_errors() -> None:
    plain, copied = moe.MoERegressor(2).fit(X, Y), told(np.repeat(X, 5, 0), np.repeat(Y, 5))
    np.testing.assert_allclose(copied.experts_, plain.experts_, atol=1e-4)
    np.testing.assert_allclose(copied.results_.bse[:4], plain.results_.bse[:4] / 5**0.5, rtol=1e-3)


def test_outputs_without_noise_give_the_lines_exactly() -> None:
    model = moe.MoERegressor(2).fit(X, Y - NOISE)
    order = np.argsort(model.intercepts_)
    np.testing.assert_allclose(model.intercepts_[order], [-2, 1], atol=1e-6)
    np.testing.assert_allclose(model.experts_[order], [[0, 3], [1, 0]], atol=1e-6)


def test_calendar_years_beside_a_truth_value_are_fitted() -> None:
    x = np.column_stack([1990 + np.arange(400) / 10, FIRST])
    y = np.where(x[:, 0] < 2010, 5.0, -0.2 * (x[:, 0] - 2010)) + 0.3 * FIRST + NOISE
    model = told(x, y)
    assert len(model.doubts_) == 1 and "the gates separate" in model.doubts_[0]
    late = int(np.argmin(model.experts_[:, 0]))
    assert model.experts_[late, 0] == pytest.approx(-0.2, abs=0.02)


def rounded(n: int, centres: list[float], noise: float, digits: int) -> tuple[Array, Array]:
    """x 0 or 1, y around one of the centres, rounded: few distinct rows."""
    rng = numpy_stream("data", 20)
    x = rng.integers(0, 2, size=(n, 1)).astype(float)
    centre = np.array(centres)[rng.integers(0, len(centres), n)]
    return x, np.round(centre + x[:, 0] + noise * rng.normal(size=n), digits)


def test_rounded_outputs_do_not_hide_the_number_of_experts() -> None:
    x, y = rounded(1_200, [-4, 0, 4], 1.0, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", moe.DoubtfulFitWarning)
        model = moe.MoERegressor(range(1, 5), gate="constant", n_init=8).fit(x, y)
        ones = clone(model).fit(x, y, np.ones(len(y)))
    assert model.n_experts_ == 3 and ones.held_out_ == model.held_out_


def test_calibration_counts_ties_as_samples() -> None:
    """Two lines three standard deviations apart, seen as one: with ties as plain as without."""
    x, y = rounded(1_500, [-1.5, 1.5], 1.0, 1)
    assert any("not calibrated" in doubt for doubt in told(x, y, n_experts=1).doubts_)
    assert not moe.MoERegressor(1).fit(*rounded(1_500, [0], 1.0, 1)).doubts_


@pytest.mark.parametrize("level", [1e6, 1.0, 1e-6])
def test_the_deviation_of_a_constant_has_its_unit(level: float) -> None:
    model = told(np.arange(20.0)[:, None], np.full(20, level), n_experts=1)
    mean, deviation = model.predict([[3.0]], return_std=True)
    assert mean == pytest.approx(level) and deviation < 1e-6 * level


def test_of_many_samples_calibration_takes_a_random_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the first: they are sorted by y."""
    monkeypatch.setattr(degenerate, "_TESTED", 150)
    assert not moe.MoERegressor(1).fit(*rounded(600, [0], 1.0, 3)).doubts_


def test_rows_in_proportion_to_their_weights() -> None:
    counts = torch.tensor([1.0, 3.0, 2.0])
    assert fair_rows(counts).tolist() == [0, 1, 1, 1, 2, 2]
    assert fair_rows(torch.tensor([0.5, 1.5])).tolist() == [1]
    many = fair_rows(torch.tensor([1.0, 999_999.0]))
    assert len(many) == 100_000 and int((many == 1).sum()) > 99_990


@pytest.mark.parametrize("sigma", [1e-170, 1e170])
def test_a_noise_level_in_other_units_than_the_outputs_is_refused_by_name(sigma: float) -> None:
    with pytest.raises(
        ValueError, match=r"sigma: expected a noise level within a factor of 1e\+100"
    ):
        moe.MoERegressor(2, sigma=sigma, n_init=4).fit(X, Y)


@pytest.mark.parametrize("g", ["relu", "tanh"])
def test_two_nonlinear_experts_where_one_is_enough_are_doubted(g: str) -> None:
    for seed in range(6):
        rng = numpy_stream("data", seed)
        x = rng.normal(size=(400, 2))
        one, other = (_of(g, x @ row) for row in ((1.5, -1.0), (-1.0, 2.0)))
        noise = 0.3 * rng.normal(size=400)
        assert told(x, one + noise, n_init=8, nonlinearity=g).doubts_
        y = np.where(rng.random(400) < 0.5, one, other) + noise
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", moe.DoubtfulFitWarning)
            needed = moe.MoERegressor(2, n_init=8, nonlinearity=g).fit(x, y)
        assert not any("by BIC" in doubt for doubt in needed.doubts_)


def _of(g: str, z: np.ndarray) -> np.ndarray:
    return np.maximum(z, 0) if g == "relu" else np.tanh(z)
