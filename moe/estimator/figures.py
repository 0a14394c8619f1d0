"""Pictures of a fit. matplotlib is imported when one is drawn; each function returns its Axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from moe.estimator.arguments import column_names
from moe.estimator.regressor import MoERegressor

Array = NDArray[np.float64]
_POINTS = 200


def _axes(axes: Any) -> Any:
    if axes is not None:
        return axes
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def _columns(model: MoERegressor, X: Any) -> dict[str, NDArray[Any]]:
    """What a fit looks at, by name: the columns of X, or of a data frame those that the formula
    names."""
    check_is_fitted(model)
    if (formula := getattr(model, "formula_", None)) is not None:
        return {str(name): X[name].to_numpy() for name in X if name in formula.variables}
    x = np.asarray(X, dtype=np.float64)
    return dict(zip(column_names(model, x.shape[1]), x.T, strict=True))


def _column(columns: dict[str, NDArray[Any]], feature: int | str) -> tuple[str, Array]:
    """One of them, of numbers, with its name."""
    names = list(columns)
    places = range(-len(names), len(names))
    if feature not in (names if isinstance(feature, str) else places):
        raise ValueError(f"feature: expected a name or place out of {names}, got {feature!r}")
    name = feature if isinstance(feature, str) else names[int(feature)]
    if not np.issubdtype(columns[name].dtype, np.number):
        raise ValueError(f"feature: expected a column of numbers, got {name!r}")
    return name, columns[name].astype(np.float64)


def _middle(model: MoERegressor, values: NDArray[Any]) -> Any:
    """The median; for a formula one of the values, and of what has no order the most frequent."""
    if not hasattr(model, "formula_"):
        return np.median(values)
    if np.issubdtype(values.dtype, np.number):
        return np.sort(values)[len(values) // 2]
    levels, counts = np.unique(values, return_counts=True)
    return levels[counts.argmax()]


def _along(model: MoERegressor, X: Any, *features: int | str) -> tuple[Any, list[Array], list[str]]:
    """A grid over one or two columns, the first the faster, the others in their middle: rows as
    they were fitted, so that nobody warns, the grids, the names."""
    columns = _columns(model, X)
    chosen = [_column(columns, feature) for feature in features]
    grids = [np.linspace(values.min(), values.max(), _POINTS) for _, values in chosen]
    size = _POINTS ** len(grids)
    rows = {name: np.full(size, _middle(model, values)) for name, values in columns.items()}
    for fast, (name, _), grid in zip((True, False), chosen, grids, strict=False):
        rows[name] = np.tile(grid, size // _POINTS) if fast else np.repeat(grid, size // _POINTS)
    names = [name for name, _ in chosen]
    if not hasattr(model, "feature_names_in_"):
        return np.column_stack(list(rows.values())), grids, names
    import pandas

    return pandas.DataFrame(rows), grids, names


def plot_gate(
    model: MoERegressor, X: Any, features: int | str | tuple[Any, Any] = 0, axes: Any = None
) -> Any:
    """p_i(x) along one column of X, or over two the most likely expert, the fainter the less sure.
    Columns not named are at their medians (of a formula's: at a value in the middle, factors at
    their most frequent level)."""
    axes = _axes(axes)
    if isinstance(features, tuple):
        return _plot_map(model, X, features, axes)
    rows, (grid,), (name,) = _along(model, X, features)
    gate = model.predict_gate(rows)
    for i, weights in enumerate(gate.T):
        axes.plot(grid, weights, color=f"C{i}", label=f"expert {i}")
    axes.set(xlabel=name, ylabel="gate", ylim=(-0.02, 1.02))
    axes.legend()
    return axes


def _plot_map(model: MoERegressor, X: Any, features: tuple[Any, Any], axes: Any) -> Any:
    from matplotlib.colors import to_rgba

    rows, (across, up), (first, second) = _along(model, X, *features)
    gate = model.predict_gate(rows)
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
    rows, (grid,), (name,) = _along(model, X, feature)
    means, gate = model.predict_experts(rows), model.predict_gate(rows)
    sigmas = np.broadcast_to(np.asarray(model.sigma_), (model.n_experts_,))
    for i in range(model.n_experts_):
        axes.plot(grid, means[:, i], color=f"C{i}", label=f"expert {i}")
        axes.fill_between(
            grid, means[:, i] - 2 * sigmas[i], means[:, i] + 2 * sigmas[i], color=f"C{i}",
            alpha=0.08 + 0.25 * float(gate[:, i].mean()), linewidth=0,
            label=f"_ expert {i}, two sigma",
        )  # fmt: skip
    if y is not None:
        _scatter(model, _column(_columns(model, X), feature)[1], X, y, axes)
    axes.set(xlabel=name, ylabel="y")
    axes.legend()
    return axes


def plot_responsibilities(
    model: MoERegressor, X: Any, y: Any, feature: int | str = 0, axes: Any = None
) -> Any:
    """The samples in one column of X and y, coloured by the expert that answers for them, the
    fainter the less sure."""
    axes = _axes(axes)
    name, column = _column(_columns(model, X), feature)
    _scatter(model, column, X, y, axes)
    axes.set(xlabel=name, ylabel="y")
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


def _scatter(model: MoERegressor, column: Array, X: Any, y: Any, axes: Any) -> None:
    from matplotlib.colors import to_rgba

    r = model.responsibilities(X, y)
    colours = np.array([to_rgba(f"C{i}") for i in range(r.shape[1])])[r.argmax(1)]
    colours[:, 3] = np.clip(0.15 + 0.75 * r.max(1), 0, 1)
    outputs = np.asarray(y, dtype=np.float64)
    axes.scatter(column, outputs, c=colours, s=12, linewidths=0, label="_ samples")
