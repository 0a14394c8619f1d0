"""Intervals of a time series: Newey and West's sum, the scores, and what an interval is worth."""

import numpy as np
import pytest
from scipy.signal import lfilter

from moe.experiments.real_data import correlated, fits
from moe.experiments.real_data.data import Array, load
from moe.randomness import numpy_stream


@pytest.mark.parametrize("lag", [0, 1, 3, 40])
def test_the_spread_is_the_double_sum(lag: int) -> None:
    scores = numpy_stream("data", 0).normal(size=(30, 2)).cumsum(0)
    total = np.zeros((2, 2))
    for s in range(30):
        for t in range(30):
            total += max(0.0, 1 - abs(s - t) / (lag + 1)) * np.outer(scores[s], scores[t])
    np.testing.assert_allclose(correlated.spread(scores, lag), total, rtol=1e-12)


def test_scores_are_the_gradients_of_the_log_density() -> None:
    """By central differences, parameter by parameter; and lag 0 is the package's sandwich."""
    model, data = fits.regimes().two, load("inflation")
    found = correlated.scores(model, data.x, data.y)
    params, start = model.results_.params, data.x[:, 0].mean()

    def density(theta: Array) -> Array:
        odds = theta[4] * (data.x[:, 0] - start) + (theta[5] + theta[4] * start)
        weights = np.stack([1 / (1 + np.exp(-odds)), 1 / (1 + np.exp(odds))], 1)
        means = theta[[0, 2]] * data.x[:, [1]] + theta[[1, 3]]
        error = (data.y[:, None] - means) / np.exp(theta[6:])
        return np.log((weights * np.exp(-(error**2) / 2 - theta[6:])).sum(1))

    for i in range(len(params)):
        step = np.zeros(len(params))
        step[i] = 1e-8 if i == 4 else 1e-5  # a slope over years counts two thousandfold
        change = (density(params + step) - density(params - step)) / (2 * step[i])
        np.testing.assert_allclose(found[:, i], change, rtol=1e-4, atol=1e-4 * abs(change).max())
    bread, robust = model.results_.cov_params(), model.results_.cov_params(robust=True)
    sandwich = bread @ correlated.spread(found, 0) @ bread
    np.testing.assert_allclose(sandwich, robust, rtol=1e-6)


def test_intervals_of_a_correlated_mean_hold_it_more_often_with_lags() -> None:
    """The mean of a series with correlation 0.6 from step to step, 400 times."""
    noise = numpy_stream("data", 1).normal(size=(400, 300))
    series = lfilter([1.0], [1.0, -0.6], noise, axis=1)[:, 100:]
    inside = {}
    for lag in (0, 12):
        held = 0
        for one in series:
            scores = (one - one.mean())[:, None]
            error = correlated.spread(scores, lag)[0, 0] ** 0.5 / len(one)
            held += abs(one.mean()) < 1.96 * error
        inside[lag] = held / len(series)
    assert inside[0] < 0.75 < 0.88 < inside[12]
