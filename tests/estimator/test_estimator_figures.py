"""moe.estimator.figures: what is drawn is what the fit says."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from helpers import assert_shows
from matplotlib.colors import to_rgb

import moe
from moe.estimator.figures import (
    plot_calibration,
    plot_experts,
    plot_gate,
    plot_responsibilities,
)
from moe.randomness import numpy_stream

RNG = numpy_stream("data", 0)
X = RNG.normal(size=(300, 2))
SECOND = RNG.random(300) < 1 / (1 + np.exp(-3 * X[:, 1]))
Y = np.where(SECOND, 3 + X[:, 0], -2 * X[:, 0]) + 0.3 * RNG.normal(size=300)
FITTED = moe.MoERegressor(2).fit(X, Y)
FRAME = pd.DataFrame(X, columns=["a", "b"])
NAMED = moe.MoERegressor(2).fit(FRAME, Y)


def test_gates_along_one_column() -> None:
    axes = plot_gate(FITTED, X, 1)
    assert_shows(axes.figure, "expert 0", "expert 1")
    grid, weights = axes.lines[0].get_data()
    at = np.column_stack([np.full_like(grid, np.median(X[:, 0])), grid])
    np.testing.assert_allclose(weights, FITTED.predict_gate(at)[:, 0])
    assert plot_gate(NAMED, FRAME, "b").get_xlabel() == "b"
    plt.close("all")


def test_gates_over_two_columns() -> None:
    axes = plot_gate(NAMED, FRAME, ("a", "b"))
    axes.figure.canvas.draw()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("a", "b") and len(axes.images) == 1
    colours = np.asarray(axes.images[0].get_array())
    surest = int(FITTED.predict_gate([[0.0, X[:, 1].max()]]).argmax())
    np.testing.assert_allclose(colours[-1, 0, :3], to_rgb(f"C{surest}"))
    plt.close("all")


def test_lines_of_the_experts_with_bands_and_samples() -> None:
    axes = plot_experts(NAMED, FRAME, Y, "a")
    assert_shows(axes.figure, "expert 0", "expert 1")
    grid, line = axes.lines[1].get_data()
    at = np.column_stack([grid, np.full_like(grid, np.median(X[:, 1]))])
    np.testing.assert_allclose(line, FITTED.predict_experts(at)[:, 1])
    assert len(axes.collections) == 3
    plt.close("all")


def test_responsibilities_and_calibration() -> None:
    axes = plot_responsibilities(FITTED, X, Y, 0)
    assert axes.collections[0].get_offsets().shape == (300, 2)
    axes = plot_calibration(FITTED, X, Y)
    assert_shows(axes.figure, "calibrated", "this fit")
    predicted, share = axes.lines[1].get_data()
    assert np.abs(predicted - share).max() < 0.08
    plt.close("all")


def test_a_figure_goes_where_it_is_told() -> None:
    _, axes = plt.subplots()
    assert plot_gate(FITTED, X, 0, axes=axes) is axes
    with pytest.raises(
        ValueError, match=r"feature: expected a name or place out of .'a', 'b'., got 'z'"
    ):
        plot_experts(NAMED, FRAME, feature="z")
    plt.close("all")


def test_figures_of_a_formula_take_its_data_frame() -> None:
    frame = FRAME.assign(f=np.where(np.arange(300) % 3 > 0, "u", "v"), other="w", y=Y)
    model = moe.MoERegressor.from_formula("y ~ a + f | scale(b) + f", frame)
    grid, weights = plot_gate(model, frame, "b").lines[0].get_data()
    at = pd.DataFrame({"a": np.sort(X[:, 0])[150], "b": grid, "f": "u"})
    np.testing.assert_allclose(weights, model.predict_gate(at)[:, 0])
    assert plot_gate(model, frame, ("a", "b")).get_ylabel() == "b"
    assert plot_experts(model, frame, frame.y).get_xlabel() == "a"
    assert plot_responsibilities(model, frame, frame.y, "b").collections
    assert plot_calibration(model, frame, frame.y).lines
    with pytest.raises(ValueError, match="feature: expected a column of numbers, got 'f'"):
        plot_experts(model, frame, feature="f")
    plt.close("all")


@pytest.mark.parametrize("feature", [7, -9, "no such column"])
def test_a_column_that_is_not_there_is_named(feature: int | str) -> None:
    with pytest.raises(ValueError, match=r"feature: expected a name or place out of .*, got"):
        plot_gate(FITTED, X, feature)
