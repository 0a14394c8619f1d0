"""What predicts y from x here: each is fitted to samples and gives a mean and a density."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from moe.estimator.regressor import MoERegressor
from moe.exceptions import DoubtfulFitWarning
from moe.model.mixture import MoE
from moe.model.nonlinearity import as_nonlinearity
from moe.randomness import child_seed, stream
from moe.solvers.em import expectation_maximisation

Array = NDArray[np.float64]
LINEAR, CONSTANT, SOFTMAX, RESTARTS = "linear", "constant gate", "softmax gate", "EM, 20 restarts"
CUBIC, BOOSTING, NETWORK = "cubic gate", "boosting", "network"
_STARTS, _FOLDS = 20, 3


@dataclass(frozen=True, eq=False)
class Predictor:
    """mean: x (n, d) -> (n,); density: (x, y) -> log density in nats, (n,)."""

    mean: Callable[[Array], Array]
    density: Callable[[Array, Array], Array]


def linear(x: Array, y: Array, k: int, seed: int) -> Predictor:
    """Least squares, and the Gaussian with the residuals' unbiased variance."""
    rows, *_ = np.linalg.lstsq(_closed(x), y, rcond=None)
    rest = y - _closed(x) @ rows
    sigma = np.sqrt(rest @ rest / (len(y) - len(rows)))
    return _gaussian(lambda new: _closed(new) @ rows, float(sigma))


def mixture(x: Array, y: Array, k: int, seed: int, gate: str = "softmax") -> Predictor:
    """``MoERegressor`` as it comes, with k experts and one noise level."""
    model = _fitted(MoERegressor(k, gate=gate, random_state=seed), x, y)
    return Predictor(model.predict, model.score_samples)


def constant_gate(x: Array, y: Array, k: int, seed: int) -> Predictor:
    """The mixture whose proportions do not depend on x."""
    return mixture(x, y, k, seed, "constant")


def cubic_gate(x: Array, y: Array, k: int, seed: int) -> Predictor:
    """The mixture whose gate sees x, x^2 and x^3 of every column, and its experts x alone."""
    d = x.shape[1]
    middle, scale = x.mean(0), x.std(0)

    def powers(new: Array) -> Array:
        unit = (new - middle) / scale
        return np.column_stack([new, unit, unit**2, unit**3])

    model = _fitted(
        MoERegressor(
            k,
            expert_features=range(d),
            gate_features=range(d, 4 * d),
            random_state=seed,
        ),
        powers(x),
        y,
    )
    return Predictor(
        lambda new: model.predict(powers(new)), lambda new, z: model.score_samples(powers(new), z)
    )


def restarts(x: Array, y: Array, k: int, seed: int) -> Predictor:
    """EM for the same model from 20 random starts, sigma learned; the best likelihood wins.

    In standardised units: experts' rows N(0, I/p), gates zero, sigma the outputs' deviation. Every
    start runs until an iteration gains less than 0.001 nats, 500 iterations at most.
    """
    inputs, outputs = StandardScaler().fit(x), StandardScaler().fit(y[:, None])
    design = torch.tensor(_closed(inputs.transform(x)))
    target = torch.tensor(outputs.transform(y[:, None])[:, 0])
    p = design.shape[1]
    rows = torch.randn(_STARTS, k, p, generator=stream("starts", seed), dtype=torch.float64)
    run = expectation_maximisation(
        design,
        target,
        rows / p**0.5,
        torch.zeros_like(rows),
        target.std().expand(_STARTS),
        as_nonlinearity("linear"),
        learn=("regressors", "gating", "sigma"),
        iterations=500,
        tolerance=1e-3,
    ).best
    law = MoE(run.regressors[0], run.gating[0], float(run.sigma[0]), as_nonlinearity("linear"))
    middle, scale = float(outputs.mean_[0]), float(outputs.scale_[0])

    def at(new: Array) -> torch.Tensor:
        return torch.tensor(_closed(inputs.transform(new)))

    return Predictor(
        lambda new: middle + scale * law.mean(at(new)).numpy(),
        lambda new, z: (
            law.log_density(at(new), torch.tensor((z - middle) / scale)).numpy() - np.log(scale)
        ),
    )


def boosting(x: Array, y: Array, k: int, seed: int) -> Predictor:
    """Boosted trees: leaves and number by three-fold cross-validation, whose residuals at the
    chosen pair give the Gaussian's variance."""
    most, best = 200, (np.inf, 1, 1)
    for leaves in (4, 16):
        squares = np.zeros(most)
        for kept, out in _folds(x, seed):
            model = _boosted(leaves, most).fit(x[kept], y[kept])
            squares += [((y[out] - m) ** 2).sum() for m in model.staged_predict(x[out])]
        best = min(best, (float(squares.min()), leaves, int(squares.argmin()) + 1))
    left, leaves, count = best
    model = _boosted(leaves, count).fit(x, y)
    return _gaussian(model.predict, float(np.sqrt(left / len(y))))


def _boosted(leaves: int, count: int) -> Any:
    return HistGradientBoostingRegressor(
        max_iter=count,
        max_leaf_nodes=leaves,
        min_samples_leaf=5,
        early_stopping=False,
        random_state=0,
    )


def network(x: Array, y: Array, k: int, seed: int) -> Predictor:
    """One hidden layer of 16, inputs and outputs standardised, L-BFGS; weight decay by three-fold
    cross-validation, whose residuals give the Gaussian's variance."""

    def fitted(rows: NDArray[np.int64], decay: float) -> Callable[[Array], Array]:
        inputs, outputs = StandardScaler().fit(x[rows]), StandardScaler().fit(y[rows, None])
        model = MLPRegressor(
            hidden_layer_sizes=(16,),
            alpha=decay,
            solver="lbfgs",
            max_iter=300,
            random_state=seed % 2**32,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(inputs.transform(x[rows]), outputs.transform(y[rows, None])[:, 0])
        middle, scale = float(outputs.mean_[0]), float(outputs.scale_[0])
        return lambda new: middle + scale * model.predict(inputs.transform(new))

    tried = []
    for decay in (0.1, 3.0):
        rest = [((y[o] - fitted(kept, decay)(x[o])) ** 2).sum() for kept, o in _folds(x, seed)]
        tried.append((float(sum(rest)), decay))
    squares, decay = min(tried)
    return _gaussian(fitted(np.arange(len(y)), decay), float(np.sqrt(squares / len(y))))


METHODS: dict[str, Callable[[Array, Array, int, int], Predictor]] = {
    LINEAR: linear,
    CONSTANT: constant_gate,
    SOFTMAX: mixture,
    RESTARTS: restarts,
    BOOSTING: boosting,
    NETWORK: network,
}


OTHERS = {CUBIC: cubic_gate}


def _fitted(model: MoERegressor, x: Array, y: Array) -> MoERegressor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtfulFitWarning)
        return model.fit(x, y)


def _folds(x: Array, seed: int) -> Any:
    state = child_seed(seed, "folds") % 2**32
    return list(KFold(_FOLDS, shuffle=True, random_state=state).split(x))


def _closed(x: Array) -> Array:
    return np.column_stack([x, np.ones(len(x))])


def _gaussian(mean: Callable[[Array], Array], sigma: float) -> Predictor:
    level = np.log(sigma) + 0.5 * np.log(2 * np.pi)
    return Predictor(mean, lambda x, y: -0.5 * ((y - mean(x)) / sigma) ** 2 - level)
