"""Pictures of a fit. matplotlib is imported when one is drawn; each function returns its Axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from moe.estimator.regressor import MoERegressor

Array = NDArray[np.float64]
_POINTS = 200


def _axes(axes: Any) -> Any:
    if axes is not None:
        return axes
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def _along(model: MoERegressor, X: Any, feature: int | str) -> tuple[Array, Array, str]:
    """A grid over one column of X, the others at their medians: (points, m), the grid, a name."""
    check_is_fitted(model)
    x = np.asarray(X, dtype=np.float64)
    names = [str(name) for name in getattr(model, "feature_names_in_", range(x.shape[1]))]
    place = names.index(feature) if isinstance(feature, str) else int(feature)
    grid = np.linspace(x[:, place].min(), x[:, place].max(), _POINTS)
    rows = np.tile(np.median(x, axis=0), (_POINTS, 1))
    rows[:, place] = grid
    return rows, grid, names[place]


def _framed(model: MoERegressor, rows: Array) -> Any:
    """The rows under the names they were fitted with, so that nobody warns."""
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        return rows
    import pandas

    return pandas.DataFrame(rows, columns=names)


def plot_gate(
    model: MoERegressor, X: Any, features: int | str | tuple[Any, Any] = 0, axes: Any = None
) -> Any:
    """p_i(x) along one column of X, or over two the most likely expert, the fainter the less sure.
    Columns not named are at their medians."""
    axes = _axes(axes)
    if isinstance(features, tuple):
        return _plot_map(model, X, features, axes)
    rows, grid, name = _along(model, X, features)
    gate = model.predict_gate(_framed(model, rows))
    for i, weights in enumerate(gate.T):
        axes.plot(grid, weights, color=f"C{i}", label=f"expert {i}")
    axes.set(xlabel=name, ylabel="gate", ylim=(-0.02, 1.02))
    axes.legend()
    return axes


def _plot_map(model: MoERegressor, X: Any, features: tuple[Any, Any], axes: Any) -> Any:
    from matplotlib.colors import to_rgba

    rows, across, first = _along(model, X, features[0])
    _, up, second = _along(model, X, features[1])
    names = [str(n) for n in getattr(model, "feature_names_in_", range(rows.shape[1]))]
    places = [names.index(first), names.index(second)]
    grid = np.tile(rows[0], (_POINTS * _POINTS, 1))
    grid[:, places[0]], grid[:, places[1]] = np.tile(across, _POINTS), np.repeat(up, _POINTS)
    gate = model.predict_gate(_framed(model, grid))
    colours = np.array([to_rgba(f"C{i}") for i in range(gate.shape[1])])[gate.argmax(1)]
    colours[:, 3] = (gate.max(1) - 1 / gate.shape[1]) / max(1e-9, 1 - 1 / gate.shape[1])
    axes.imshow(
        colours.reshape(_POINTS, _POINTS, 4), origin="lower", aspect="auto",
        extent=(across[0], across[-1], up[0], up[-1]),
    )  # fmt: skip
    axes.set(xlabel=first, ylabel=second)
    return axes


def plot_experts(
    model: MoERegressor, X: Any, y: Any = None, feature: int | str = 0, axes: Any = None
) -> Any:
    """What each expert says along one column of X, with a band of two sigma, drawn the stronger
    the more weight the gate gives it; with y the samples, coloured by responsibility."""
    axes = _axes(axes)
    rows, grid, name = _along(model, X, feature)
    framed = _framed(model, rows)
    means, gate = model.predict_experts(framed), model.predict_gate(framed)
    sigmas = np.broadcast_to(np.asarray(model.sigma_), (model.n_experts_,))
    for i in range(model.n_experts_):
        axes.plot(grid, means[:, i], color=f"C{i}", label=f"expert {i}")
        axes.fill_between(
            grid, means[:, i] - 2 * sigmas[i], means[:, i] + 2 * sigmas[i], color=f"C{i}",
            alpha=0.08 + 0.25 * float(gate[:, i].mean()), linewidth=0,
        )  # fmt: skip
    if y is not None:
        column = np.asarray(X, dtype=np.float64)[:, _place(model, feature)]
        _scatter(model, column, X, y, axes)
    axes.set(xlabel=name, ylabel="y")
    axes.legend()
    return axes


def plot_responsibilities(
    model: MoERegressor, X: Any, y: Any, feature: int | str = 0, axes: Any = None
) -> Any:
    """The samples in one column of X and y, coloured by the expert that answers for them, the
    fainter the less sure."""
    axes = _axes(axes)
    column = np.asarray(X, dtype=np.float64)[:, _place(model, feature)]
    _scatter(model, column, X, y, axes)
    axes.set(xlabel=_along(model, X, feature)[2], ylabel="y")
    return axes


def plot_calibration(model: MoERegressor, X: Any, y: Any, axes: Any = None) -> Any:
    """The share of samples below each quantile of their predictive law against its level: on the
    diagonal for a model that describes the data."""
    axes = _axes(axes)
    x, z, outputs = model._samples(X, y)
    uniform = np.sort(model._law.cumulative(x, z, outputs).numpy())
    share = (np.arange(len(uniform)) + 0.5) / len(uniform)
    axes.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="calibrated")
    axes.plot(uniform, share, color="C0", label="this fit")
    axes.set(xlabel="predicted F(y | x)", ylabel="share of samples below", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    return axes


def _place(model: MoERegressor, feature: int | str) -> int:
    if isinstance(feature, str):
        return [str(name) for name in model.feature_names_in_].index(feature)
    return int(feature)


def _scatter(model: MoERegressor, column: Array, X: Any, y: Any, axes: Any) -> None:
    from matplotlib.colors import to_rgba

    r = model.responsibilities(X, y)
    colours = np.array([to_rgba(f"C{i}") for i in range(r.shape[1])])[r.argmax(1)]
    colours[:, 3] = np.clip(0.15 + 0.75 * r.max(1), 0, 1)
    axes.scatter(column, np.asarray(y, dtype=np.float64), c=colours, s=12, linewidths=0)
